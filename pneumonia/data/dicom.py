"""A DICOM file or data set -> one 8-bit grayscale picture as a viewer would show it, and what its header says about it.

Nothing that identifies the child (name, number, dates) leaves this module: not in a result, and not in an error. So
pydicom's own messages, which may quote the header, are never passed on.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..config import PneumoniaError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_PIXELS = 64_000_000  # of one picture, DICOM or not; the largest radiographs have a quarter of this
FRONTAL, LATERAL = ("AP", "PA"), ("LL", "RL", "LATERAL", "LLD", "RLD")
RADIOGRAPHY = ("CR", "DX", "DR", "RG", "XA", "RF")  # modalities that give projections
CHEST = ("CHEST", "THORAX", "LUNG")
DAYS = {"D": 1, "W": 7, "M": 30.44, "Y": 365.25}


@dataclass(frozen=True)
class Header:
    """What a DICOM header says about whether the model is made for this picture; None where it says nothing."""

    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    age_years: float | None = None
    is_color: bool = False


def is_dicom(content: bytes) -> bool:
    """Whether a file of part 10 of the standard begins like this."""
    return content[128:132] == b"DICM"


def is_dataset(source: object) -> bool:
    """Whether this is a pydicom Dataset. Only if pydicom is loaded can it be one; another thread may be loading it."""
    dataset = getattr(sys.modules.get("pydicom.dataset"), "Dataset", None)
    return dataset is not None and isinstance(source, dataset)


def read_dicom(source: bytes | Dataset, name: str) -> tuple[np.ndarray, Header]:
    """The picture, uint8 (h, w), 0 = black, and the header of a single-frame DICOM file or data set.

    Stored values -> rescale or modality table -> window or VOI table -> 0-255; MONOCHROME1 is inverted. Without a
    window the range of the bit depth counts, never the extremes of the image, so that exposure is kept.

    Raises: PneumoniaError naming the file, without a word of its header.
    """
    is_file = isinstance(source, bytes)
    try:
        pydicom = _load_pydicom()
        if is_file and _is_deflated(source):
            raise PneumoniaError(f"{name}: deflated DICOM is not read; save it with another transfer syntax")
        dataset = pydicom.dcmread(io.BytesIO(source)) if is_file else source
        _check_shape(dataset, name)
        return _to_gray(dataset), _read_header(dataset)
    except PneumoniaError:
        raise
    except ImportError as error:
        raise PneumoniaError(f"{name}: DICOM needs pydicom; run `pip install -e .`") from error
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
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise PneumoniaError(f"{name}: DICOM of {frames} frames; export the frame that is meant")
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= MAX_PIXELS:
        raise too_large(name)


def _to_gray(dataset) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    stored = dataset.pixel_array
    if stored.ndim == 3:  # colour, which pydicom has turned into RGB: the luma of ITU-R 601
        return (stored[..., :3] @ np.array([0.299, 0.587, 0.114])).round().clip(0, 255).astype(np.uint8)
    pixels = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)
    low, high = _find_range(dataset, pixels)
    gray = np.clip((pixels.astype(np.float64) - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    return 255 - gray if dataset.PhotometricInterpretation == "MONOCHROME1" else gray


def too_large(name: str) -> PneumoniaError:
    """To be raised for a picture with more than MAX_PIXELS."""
    return PneumoniaError(f"{name}: more than {MAX_PIXELS // 10**6} million pixels; shrink it")


def too_costly(name: str) -> PneumoniaError:
    """To be raised where the memory does not suffice."""
    return PneumoniaError(f"{name}: takes too much memory to decode; shrink it, or save it in another format")


def _find_range(dataset, pixels: np.ndarray) -> tuple[float, float]:
    """The values that mean black and white after all tables."""
    if dataset.get("VOILUTSequence"):
        return 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    is_windowed = dataset.get("WindowCenter") is not None
    if not is_windowed and bits == 16 and pixels.min() >= 0 and 255 < pixels.max() <= 4095:
        bits = 12  # a 12-bit detector in a 16-bit file: as for PNG and TIFF
    signed = int(dataset.PixelRepresentation) == 1
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1], dtype=float)
    ends = ends * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())


def _read_header(dataset) -> Header:
    def text(keyword: str) -> str | None:
        return str(dataset.get(keyword) or "").strip().upper() or None

    return Header(
        modality=text("Modality"),
        body_part=text("BodyPartExamined"),
        view=text("ViewPosition"),
        age_years=_read_age(str(dataset.get("PatientAge") or "")),
        is_color=int(dataset.get("SamplesPerPixel", 1)) != 1,
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
    if header.body_part and not any(part in header.body_part for part in CHEST):
        found.append("body part is not the chest")
    if header.view in LATERAL:
        found.append("lateral view")
    elif header.view and header.view not in FRONTAL:
        found.append("view is not frontal")
    return found
