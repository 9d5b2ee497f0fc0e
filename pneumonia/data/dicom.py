"""A DICOM file or data set -> one 8-bit picture as a viewer would show it, and what its header says about it.

Nothing that identifies the child (name, number, dates) leaves this module: not in a result, and not in an error. So
pydicom's own messages, which may quote the header, are never passed on.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..config import PneumoniaError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_PIXELS = 64_000_000  # of one picture, DICOM or not; the largest radiographs have a quarter of this
IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
# The transfer syntaxes of JPEG frames by their SOF marker, for files that do not name it.
JPEG_SYNTAXES = {0xC0: "4.50", 0xC1: "4.51", 0xC3: "4.57", 0xF7: "4.80"}
JPEG_2000 = b"\xff\x4f\xff\x51"
# The first element of a data set without the header of part 10: of group 2 or 8, with a value representation or, in
# the implicit form, a short length.
BARE_DATASET = re.compile(
    rb"[\x02\x08]\x00..(?:AE|CS|DA|DT|IS|LO|OB|PN|SH|SL|SQ|ST|TM|UI|UL|UN|US|UT|[^\x00].\x00\x00|\x00[\x00-\x03]\x00\x00)"
    rb"|\x00[\x02\x08]..(?:AE|CS|DA|DT|IS|LO|OB|PN|SH|SL|SQ|ST|TM|UI|UL|UN|US|UT)",
    re.DOTALL,
)
GRAY = ("MONOCHROME1", "MONOCHROME2")
COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"
RADIOGRAPHY = ("CR", "DX", "DR", "RG", "XA", "RF")  # modalities that give projections
# Words of machines and of those who fill in their forms, in capitals without accents.
CHEST = re.compile(
    "CHEST|THORA|TORA[XCK]|LUNG|PULM|POUMON|POLMON|CXR|PECHO|BRUSTKORB|BORSTKAS|KLATKA|GOGUS|AKCIGER|HRUDNIK"
)
SPINE = re.compile("SPINE|VERTEBR|COLUMNA|COLUNA|COLONNA|WIRBEL|RACHIS|LUMB")  # the thoracic one is no chest
FRONTAL = {"AP", "PA", "FRONT", "FRONTAL", "FRONTALE", "FACE", "FRENTE", "DORSOVENTRAL", "VENTRODORSAL"}
FRONTAL |= {"POSTEROANTERIOR", "POSTERIORANTERIOR", "POSTEROANTERIORE", "POSTEROANTERIEUR"}
FRONTAL |= {"ANTEROPOSTERIOR", "ANTERIORPOSTERIOR", "ANTEROPOSTERIORE", "ANTEROPOSTERIEUR"}
LATERAL = {"LL", "RL", "LLD", "RLD", "LAT", "LATERAL", "LATERALE", "LATERALIS", "LLAT", "RLAT", "LATERALL", "LATERALR"}
LATERAL |= {"PROFIL", "PROFILE", "PERFIL", "SEITLICH", "LATEROLATERAL", "LATEROLATERALE", "DECUBITUS"}
OBLIQUE = {"OBL", "OBLIQUE", "OBLIQUA", "OBLICUA", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO"}
UNKNOWN = {"UNKNOWN", "UNK", "UNDEFINED", "UNSPECIFIED", "NONE", "NULL", "NA", "OTHER"}
DAYS = {"D": 1, "W": 7, "M": 30.44, "Y": 365.25}
TABLE_SIZE = 1 << 17  # up to so many stored values are worked out once each, and not for every pixel


@dataclass(frozen=True)
class Header:
    """What a DICOM header says about whether the model is made for this picture; None where it says nothing."""

    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    age_years: float | None = None


def is_dicom(content: bytes) -> bool:
    """Whether a DICOM file begins like this: by part 10 of the standard, or with the data set itself."""
    return content[128:132] == b"DICM" or BARE_DATASET.match(content) is not None


def is_dataset(source: object) -> bool:
    """Whether this is a pydicom Dataset. Only if pydicom is loaded can it be one; another thread may be loading it."""
    dataset = getattr(sys.modules.get("pydicom.dataset"), "Dataset", None)
    return dataset is not None and isinstance(source, dataset)


def read_dicom(source: bytes | Dataset, name: str) -> tuple[np.ndarray, Header]:
    """The picture, uint8 (h, w), 0 = black, or (h, w, 3) in RGB, and the header of a single-frame file or data set.

    Stored values -> modality table or rescale -> VOI table or window -> presentation -> 0-255. Without a usable table
    or window the range of the bit depth counts, never the extremes of the image, so that exposure is kept.

    Raises: PneumoniaError naming the file, without a word of its header.
    """
    return _read(source, name, lambda dataset: (_to_picture(dataset, name), _read_header(dataset)))


def read_dicom_size(content: bytes, name: str) -> tuple[int, int, str]:
    """Width and height in pixels and Pillow mode ("L" or "RGB"), without decoding pixels. Raises: as `read_dicom`."""
    return _read(content, name, lambda dataset: (int(dataset.Columns), int(dataset.Rows), _find_mode(dataset)))


def _read(source: bytes | Dataset, name: str, take: Callable[[Dataset], tuple]) -> tuple:
    is_file = isinstance(source, bytes)
    try:
        pydicom = _load_pydicom()
        if is_file and _is_deflated(source):
            raise PneumoniaError(f"{name}: deflated DICOM is not read; save it with another transfer syntax")
        dataset = pydicom.dcmread(io.BytesIO(source), force=True) if is_file else source
        _check_shape(dataset, name)
        return take(dataset)
    except PneumoniaError:
        raise
    except ImportError as error:
        raise PneumoniaError(f"{name}: DICOM needs pydicom and imagecodecs; run `pip install -e .`") from error
    except MemoryError:
        raise too_costly(name) from None
    except Exception as error:  # decoders of unknown bytes raise anything; the message may quote the patient
        kind = type(error).__name__
        raise PneumoniaError(f"{name}: damaged or unsupported DICOM ({kind}); export it again") from None


@functools.cache
def _load_pydicom():
    """pydicom, silenced for good: its warnings and logs quote odd values. (Filters set for a while are not safe between
    threads.)"""
    import pydicom  # here, so that users of JPEG files need not wait for it

    from . import dicom_decoders  # noqa: F401  (known to pydicom from now on)

    logging.getLogger("pydicom").disabled = True
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def _is_deflated(content: bytes) -> bool:
    """Whether the header declares that the rest is one zlib stream, which may unpack to any size."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = io.BytesIO(content)
    file.seek(132 if content[128:132] == b"DICM" else 0)  # behind the preamble, if there is one
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    return meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian


def _check_shape(dataset, name: str) -> None:
    """One picture of an acceptable size, or an error, before any pixel is decoded."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise PneumoniaError(f"{name}: DICOM without a picture; choose the image of this study")
    for keyword in ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"):
        if dataset.get(keyword) in (None, "", 0):
            raise _unusable(name, keyword, "missing")
    frames = (_find_numbers(dataset, "NumberOfFrames") or [1])[0]
    if math.isnan(frames):
        raise _unusable(name, "NumberOfFrames", "no number")
    if frames not in (0, 1):
        raise PneumoniaError(f"{name}: DICOM of {frames:.0f} frames; export the frame that is meant")
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= MAX_PIXELS:
        raise too_large(name)


def too_large(name: str) -> PneumoniaError:
    """To be raised for a picture with more than MAX_PIXELS."""
    return PneumoniaError(f"{name}: more than {MAX_PIXELS // 10**6} million pixels; shrink it")


def too_costly(name: str) -> PneumoniaError:
    """To be raised where the memory does not suffice."""
    return PneumoniaError(f"{name}: takes too much memory to decode; shrink it, or save it in another format")


def _unusable(name: str, keyword: str, what: str) -> PneumoniaError:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    return PneumoniaError(f"{name}: {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is {what}; export it again")


# --- pixels ------------------------------------------------------------------------------------------------------


def _to_picture(dataset, name: str) -> np.ndarray:
    """uint8 (h, w) or (h, w, 3)."""
    from pydicom.pixels import pixel_array

    from .dicom_decoders import find_decoder

    image = _select_image(dataset)
    interpretation = image.PhotometricInterpretation
    if interpretation not in (*GRAY, *COLORS, PALETTE):
        raise _unusable(name, "PhotometricInterpretation", "not known")
    # By these decoders, whatever else is installed; YCbCr comes as RGB.
    stored = pixel_array(image, decoding_plugin=find_decoder(image.file_meta.TransferSyntaxUID))
    if (interpretation in COLORS) != (stored.ndim == 3):
        raise _unusable(name, "PhotometricInterpretation", "at odds with the number of samples")
    if interpretation in COLORS:
        return _scale_colors(stored, image)
    if interpretation == PALETTE:
        return map_values(stored, functools.partial(_apply_palette, image))
    return map_values(stored, _make_display(dataset, image, stored, name))


def map_values(pixels: np.ndarray, show: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`show` of every pixel: by a table of all values where there are not too many, else by some rows at a time.

    So a large picture is never copied in floats.
    """
    rows = np.array_split(pixels, min(len(pixels), 1 + pixels.size // TABLE_SIZE))
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f" or int(high) - int(low) >= TABLE_SIZE:
        return np.concatenate([show(some) for some in rows])
    table = show(np.arange(int(low), int(high) + 1))
    return np.concatenate([table[some.astype(np.int64) - int(low)] for some in rows])


def _select_image(dataset) -> Dataset:
    """A data set of its own with the pixels and how they are stored. What the file leaves out is what it must mean; the
    caller's data set stays as it is."""
    from pydicom import DataElement
    from pydicom.datadict import dictionary_VR
    from pydicom.dataset import FileMetaDataset

    image = dataset.group_dataset(0x0028)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            image.add(dataset[keyword])
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    interpretation = _find_interpretation(dataset)
    samples = int(dataset.get("SamplesPerPixel") or (3 if interpretation in COLORS else 1))
    for keyword, value in {
        "NumberOfFrames": 1,
        "PhotometricInterpretation": interpretation,
        "SamplesPerPixel": samples,
        "BitsStored": bits,
        "HighBit": bits - 1 if dataset.get("HighBit") is None else int(dataset.HighBit),
        "PixelRepresentation": int(dataset.get("PixelRepresentation") or 0),
        "PlanarConfiguration": int(dataset.get("PlanarConfiguration") or 0),
    }.items():
        image.add(DataElement(keyword, dictionary_VR(keyword), value))  # a new one: others are the caller's, too
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = _find_transfer_syntax(dataset)
    return image


def _find_interpretation(dataset) -> str:
    """In the spelling of the standard: capitals, "MONOCHROME2" without blanks."""
    text = " ".join(str(dataset.PhotometricInterpretation).upper().split())
    return text.replace(" ", "") if text.startswith("MONOCHROME") else text


def _find_mode(dataset) -> str:
    return "L" if _find_interpretation(dataset) in GRAY else "RGB"


def _find_transfer_syntax(dataset) -> str:
    """What the file says, or how it turned out to be written."""
    named = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return named
    is_implicit, is_little = dataset.original_encoding
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        return _recognize_compression(dataset.PixelData)
    if is_implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_BIG if is_little is False else EXPLICIT_LITTLE


def _recognize_compression(encapsulated: bytes) -> str:
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(encapsulated, number_of_frames=1))
    if frame.startswith((JPEG_2000, b"\0\0\0\x0cjP")):
        return "1.2.840.10008.1.2.4.91"
    if frame.startswith(b"\xff\xd8"):
        marker = re.search(rb"\xff([\xc0\xc1\xc3\xf7])\x00[\x08-\x2f]", frame)
        return f"1.2.840.10008.1.2.{JPEG_SYNTAXES[marker[1][0]]}"
    return "1.2.840.10008.1.2.5"  # RLE


def _scale_colors(colors: np.ndarray, image) -> np.ndarray:
    """Unsigned RGB of any depth to uint8."""
    if colors.dtype == np.uint8 and image.BitsStored == 8:
        return colors
    _, top = _find_ends(image, 0, colors.max().item())
    return map_values(colors, lambda values: _to_levels(values / top))


def _to_levels(shares: np.ndarray) -> np.ndarray:
    """Shares of white to 0-255."""
    return np.clip(shares * 255, 0, 255).round().astype(np.uint8)


def _find_ends(image, low: float, high: float) -> tuple[float, float]:
    """The stored values that mean black and white by the bit depth alone.

    Args: low, high: the extremes of the picture. A detector of 8 or 12 bits often calls itself one of 16, signed or
        not; as in PNG and TIFF, it is known by values that need no more.
    """
    if "PixelData" not in image:  # floats, which have no depth
        return 0.0, next((top for top in (1.0, 255.0, 4095.0) if high <= top), 65535.0)
    bits, is_signed = int(image.BitsStored), bool(image.PixelRepresentation)
    if bits in (16, 32):
        is_signed = is_signed and low < 0
        needed = int(max(high, -1 - low)).bit_length() + is_signed
        declared = bits - bool(image.PixelRepresentation and not is_signed)
        bits = next((few for few in (8, 12, 16) if needed <= few < bits), declared)
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if is_signed else (0.0, 2.0**bits - 1)


def _make_display(dataset, image, stored: np.ndarray, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function of stored gray values that gives 0-255, from black to white."""
    padding = _find_padding(image)
    kept = stored
    if padding is not None:
        kept = stored[(stored < padding[0]) | (stored > padding[1])]
    if not np.isfinite(kept).all():
        raise PneumoniaError(f"{name}: NaN or infinite pixels; export it again")
    low, high = (kept.min().item(), kept.max().item()) if kept.size else padding
    to_modality, ends = _make_modality(image, low, high, name)
    to_share = _make_voi(image, ends)
    # The shape decides where it is given, as in other viewers: INVERSE and MONOCHROME1 together invert once.
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    is_known = shape in ("IDENTITY", "INVERSE")
    is_inverse = shape == "INVERSE" if is_known else image.PhotometricInterpretation == "MONOCHROME1"

    def show(values: np.ndarray) -> np.ndarray:
        shares = to_share(to_modality(values.astype(np.float64)))
        levels = _to_levels(1 - shares if is_inverse else shares)
        if padding is not None:
            levels[(values >= padding[0]) & (values <= padding[1])] = 0  # what is not a part of the picture is dark
        return levels

    return show


def _find_padding(image) -> tuple[int, int] | None:
    """The stored values that only fill the rectangle."""
    ends = _find_numbers(image, "PixelPaddingValue")[:1] + _find_numbers(image, "PixelPaddingRangeLimit")[:1]
    if not ends or not np.isfinite(ends).all():
        return None
    if image.PixelRepresentation:  # some write them as if they were unsigned
        ends = [end - 2**image.BitsAllocated if end >= 2 ** (image.BitsAllocated - 1) else end for end in ends]
    return int(min(ends)), int(max(ends))


def _make_modality(image, low: float, high: float, name: str) -> tuple[Callable, tuple[float, float]]:
    """The function from stored values to those of the modality, and what of these means the darkest and brightest."""
    if table := _find_table(image, "ModalityLUTSequence", low):
        return table.look_up, (0.0, table.top)
    slope, intercept = (
        (_find_numbers(image, keyword) or [neutral])[0]
        for keyword, neutral in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0:
        raise _unusable(name, "RescaleSlope", "zero")
    for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if not math.isfinite(value):
            raise _unusable(name, keyword, "no number")
    ends = sorted(end * slope + intercept for end in _find_ends(image, low, high))
    return lambda values: values * slope + intercept, (ends[0], ends[1])


def _make_voi(image, ends: tuple[float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The function from values of the modality to shares of white: by the first table or window that can be used, else
    from the one end to the other."""
    if table := _find_table(image, "VOILUTSequence", ends[0]):
        return lambda values: table.look_up(values) / table.top
    function = str(image.get("VOILUTFunction") or "").strip().upper()
    least = 0 if function in ("SIGMOID", "LINEAR_EXACT") else 1
    for center, width in zip(_find_numbers(image, "WindowCenter"), _find_numbers(image, "WindowWidth"), strict=False):
        if math.isfinite(center) and math.isfinite(width) and width >= least and width > 0:
            return functools.partial(_apply_window, center=center, width=width, function=function)
    return lambda values: (values - ends[0]) / (ends[1] - ends[0])


def _apply_window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Shares of white by part 3 of the standard, C.11.2. (pydicom mirrors them where the rescale slope is negative.)"""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1
    return (values - center) / width + 0.5 if width else (values > center).astype(float)


def _find_numbers(image, keyword: str) -> list[float]:
    """The values of an element in their order; nan for what is empty beside others, or no number."""
    try:
        value = image.get(keyword)
    except ValueError:  # raised by pydicom for a text that should be a number
        return [math.nan]
    if value is None or value == "":
        return []
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    found = []
    for one in values:
        try:
            found.append(float(one))
        except (TypeError, ValueError):
            found.append(math.nan)
    return found


@dataclass(frozen=True)
class _Table:
    """A lookup table of the header."""

    entries: np.ndarray
    first: int  # the value that the first entry is for
    top: float  # the entry that means white

    def look_up(self, values: np.ndarray) -> np.ndarray:
        return self.entries[np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(int)]


def _find_table(image, keyword: str, low: float) -> _Table | None:
    """The first table of a sequence that can be used. Args: low: the smallest value that it is for."""
    for item in image.get(keyword) or ():
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # empty, or not three numbers
            table = _make_table(item.LUTDescriptor, item.LUTData, low, image.file_meta.TransferSyntaxUID)
            if table.entries.max(initial=0) > 0:
                return table
    return None


def _make_table(descriptor, data, low: float, syntax: str) -> _Table:
    """A table from its descriptor (entries, first value, bits) and its data, which are bytes or numbers.

    The bits that its largest entry needs count, eight at least: many a table declares 16 and holds 12.
    """
    count, first, bits = (int(value) for value in descriptor)
    count = (count & 0xFFFF) or 1 << 16
    if first >= 1 << 15 and low < 0:
        first -= 1 << 16  # a signed number, read as an unsigned one
    if isinstance(data, bytes):
        deep = ">u2" if syntax == EXPLICIT_BIG else "<u2"
        entries = np.frombuffer(data, np.uint8 if len(data) < 2 * count else deep)
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
        if len(entries) < count <= 2 * len(entries) and bits == 8:  # two in a word
            entries = entries.astype("<u2").view(np.uint8)
    entries = entries[:count].astype(np.float64)
    return _Table(entries, first, 2.0 ** max(8, int(entries.max()).bit_length()) - 1)


def _apply_palette(image, values: np.ndarray) -> np.ndarray:
    """Indices to RGB, uint8 (..., 3)."""
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    if f"{names[0]}Data" not in image:  # perhaps in segments
        from pydicom.pixels import apply_color_lut

        colors = apply_color_lut(values, image)[..., :3]
        return _to_levels(colors / np.iinfo(colors.dtype).max)
    low, syntax = values.min(initial=0), image.file_meta.TransferSyntaxUID
    tables = [_make_table(image[f"{name}Descriptor"].value, image[f"{name}Data"].value, low, syntax) for name in names]
    top = 255 if max(table.top for table in tables) == 255 else 65535
    return _to_levels(np.stack([table.look_up(values) / top for table in tables], axis=-1))


# --- header ------------------------------------------------------------------------------------------------------


def _read_header(dataset) -> Header:
    def text(keyword: str) -> str | None:
        return str(dataset.get(keyword) or "").strip().upper() or None

    return Header(
        modality=text("Modality"),
        body_part=text("BodyPartExamined"),
        view=text("ViewPosition"),
        age_years=_read_age(str(dataset.get("PatientAge") or "")),
    )


def _read_age(value: str) -> float | None:
    """Years, of "004Y", "018M", "003W" or "010D"; None for anything else."""
    number, unit = value.strip()[:-1], value.strip()[-1:].upper()
    return int(number) * DAYS[unit] / DAYS["Y"] if number.isascii() and number.isdigit() and unit in DAYS else None


def explain_header(header: Header) -> list[str]:
    """Why the model is not made for this radiograph, one short phrase each, in our own words only."""
    found = []
    if header.age_years is not None and not 1 <= header.age_years < 6:
        found.append("child is not one to five years old")
    if header.modality and header.modality not in RADIOGRAPHY:
        found.append("modality is not radiography")
    body, view = _split_words(header.body_part), _split_words(header.view)
    part = " ".join(body)
    if body and not UNKNOWN.issuperset(body) and (not CHEST.search(part) or SPINE.search(part)):
        found.append("body part is not the chest")
    known = {*view, *(first + second for first, second in zip(view, view[1:], strict=False))}  # A.P., POSTERO-ANTERIOR
    if known & LATERAL:
        found.append("lateral view")
    elif view and not UNKNOWN & known and (known & OBLIQUE or not known & FRONTAL):
        found.append("view is not frontal")
    return found


def _split_words(text: str | None) -> list[str]:
    """In capitals, without accents, digits and signs."""
    plain = unicodedata.normalize("NFKD", text or "").encode("ascii", "ignore").decode()
    return re.findall("[A-Z]+", plain.upper())
