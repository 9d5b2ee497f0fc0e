"""DICOM: the picture that a viewer would show, and nothing that identifies the child."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from dicom_files import LOSSY, SECRETS, SYNTAXES, UNCOMPRESSED, make_bare_dicom, make_dataset, make_dicom
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumonia.config import PneumoniaError
from pneumonia.data.dicom import Header, explain_header, is_dicom, read_dicom
from pneumonia.data.radiograph import decode, read_header

pytestmark = pytest.mark.filterwarnings("ignore")  # pytest undoes the package's own silence
RAMP = (np.linspace(10, 200, 80)[None, :] + np.linspace(0, 40, 60)[:, None]).round().astype(np.uint8)
TWELVE_BITS = (RAMP.astype(np.uint16) * 16) + 8


def read(content: bytes) -> np.ndarray:
    return read_dicom(content, "x.dcm")[0].astype(int)


def gray(content: bytes) -> np.ndarray:
    return decode(content, "x.dcm").pixels.astype(int)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("pixels", [RAMP, np.dstack([RAMP] * 3)], ids=["gray", "RGB"])
def test_transfer_syntaxes_give_the_same_picture(syntax, pixels):
    assert np.abs(gray(make_dicom(pixels, syntax)) - RAMP).max() <= (2 if syntax in LOSSY else 0)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", sorted(set(SYNTAXES) - {"jpeg"}))
def test_deep_pixels_are_scaled_by_their_depth(syntax, bits):
    if bits == 16 and syntax == "jpeg of 12 bits":
        bits = 12
    pixels = TWELVE_BITS if bits == 12 else RAMP.astype(np.uint16) * 257
    assert np.abs(read(make_dicom(pixels, syntax, bits)) - RAMP).max() <= 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_files_that_are_only_a_data_set(syntax):
    """Without preamble, file meta information and transfer syntax."""
    content = make_bare_dicom(RAMP, syntax)
    assert is_dicom(content[:132])
    assert np.abs(read(content) - RAMP).max() <= (2 if syntax in LOSSY else 0)
    assert read_header(content, "x.dcm")["width"] == 80


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_preamble_without_a_transfer_syntax(syntax):
    assert np.array_equal(read(b"\0" * 128 + b"DICM" + make_bare_dicom(RAMP, syntax)), RAMP)
    dataset = make_dataset(RAMP, syntax)
    del dataset.file_meta.TransferSyntaxUID
    file = io.BytesIO()
    implicit, little = SYNTAXES[syntax].is_implicit_VR, SYNTAXES[syntax].is_little_endian
    dcmwrite(file, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    assert np.array_equal(read(file.getvalue()), RAMP)


@pytest.mark.parametrize("start", [b"", b"\x08", b"\x89PNG\r\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"BM\x08\0"])
def test_other_files_are_not_taken_for_a_data_set(start):
    assert not is_dicom(start)


def test_the_data_set_of_the_caller_stays_as_it_is():
    dataset = make_dataset(RAMP, PhotometricInterpretation="monochrome 2", BitsStored=None, SamplesPerPixel=None)
    before = dataset.to_json()
    assert np.array_equal(read_dicom(dataset, "x")[0], RAMP)
    assert dataset.to_json() == before and not hasattr(dataset, "BitsStored")


def test_twelve_bits_in_a_sixteen_bit_file():
    assert np.abs(read(make_dicom(TWELVE_BITS, bits=16)) - RAMP).max() <= 1


def test_dark_exposure_is_kept():
    assert read(make_dicom(np.full((20, 20), 400, np.uint16), bits=12)).max() == round(400 * 255 / 4095)


def test_monochrome1_is_inverted():
    assert np.array_equal(read(make_dicom(255 - RAMP, PhotometricInterpretation="MONOCHROME1")), RAMP)


def test_window_is_applied():
    windowed = read(make_dicom(TWELVE_BITS, bits=12, WindowCenter=2048, WindowWidth=1024))
    assert (windowed[TWELVE_BITS < 1500] == 0).all() and (windowed[TWELVE_BITS > 2600] == 255).all()
    middle = (TWELVE_BITS > 1900) & (TWELVE_BITS < 2200)
    expected = (TWELVE_BITS[middle] - 2047.5) / 1023 * 255 + 127.5
    assert np.abs(windowed[middle] - expected).max() <= 1


def test_rescale_comes_before_the_window():
    stored = TWELVE_BITS // 2
    plain = make_dicom(TWELVE_BITS, bits=12, WindowCenter=2048, WindowWidth=2048)
    tags = {"RescaleSlope": 2, "RescaleIntercept": 100, "WindowCenter": 2148, "WindowWidth": 2048}
    rescaled = make_dicom(stored, bits=12, **tags)
    assert np.abs(read(rescaled) - read(plain)).max() <= 1


def test_signed_pixels():
    signed = (TWELVE_BITS.astype(int) - 2048).astype(np.int16)
    assert np.abs(read(make_dicom(signed, bits=12)) - RAMP).max() <= 1


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
def test_window_functions_are_those_of_the_standard(function):
    """pydicom applies them rightly where the slope is positive, and by a range that is one of 0-255 here."""
    tags = {"WindowCenter": 130, "WindowWidth": 90, "RescaleSlope": 1, "RescaleIntercept": 0}
    if function:
        tags["VOILUTFunction"] = function
    dataset = make_dataset(RAMP, **tags)
    assert np.abs(read_dicom(dataset, "x")[0] - apply_voi_lut(RAMP, dataset)).max() <= 0.5


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 1725, "WindowWidth": 2551}], ids=["full range", "window"])
def test_negative_slope_turns_the_picture_once(tags):
    content = make_dicom(255 - RAMP, RescaleSlope=-10, RescaleIntercept=3000, **tags)
    values = 3000 - 10.0 * (255 - RAMP)
    low, high = (1725 - 0.5 - 1275, 1725 - 0.5 + 1275) if tags else (3000 - 2550, 3000)
    assert np.abs(read(content) - np.clip((values - low) / (high - low), 0, 1) * 255).max() <= 1


def make_table(entries: np.ndarray, first: int = 0, bits: int = 16, as_bytes: bool = False, **tags: object) -> Dataset:
    table = Dataset()
    table.LUTDescriptor = [len(entries) % 65536, first, bits]
    table.LUTData = entries.astype("<u2").tobytes() if as_bytes else entries.tolist()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "SS" if first < 0 else "US", "OW" if as_bytes else "US"
    for keyword, value in tags.items():
        setattr(table, keyword, value)
    return table


@pytest.mark.parametrize("as_bytes", [False, True])
def test_voi_table(as_bytes):
    table = make_table(257 * (255 - np.arange(256)), as_bytes=as_bytes)
    assert np.array_equal(read(make_dicom(RAMP, VOILUTSequence=[table])), 255 - RAMP)


@pytest.mark.parametrize(
    ("declared", "held"), [(16, 8), (16, 10), (16, 12), (16, 14), (16, 15), (14, 12), (12, 12), (12, 8)]
)
def test_voi_table_with_narrower_entries_than_it_declares(declared, held):
    table = make_table((np.arange(4096) * ((2**held - 1) / 4095)).round().astype(int), bits=declared)
    content = make_dicom(TWELVE_BITS, bits=12, VOILUTSequence=[table])
    assert np.abs(read(content) - RAMP).max() <= 1


def test_voi_table_of_a_dark_picture_stays_dark():
    table = make_table(np.arange(256) * 200, bits=16)  # the brightest entry, 51000, is not 65535
    assert np.abs(read(make_dicom(RAMP, VOILUTSequence=[table])) - RAMP * (200 / 257)).max() <= 1


def test_voi_table_begins_at_its_first_value():
    table = make_table(np.arange(1000, 3000) * 16, first=1000)
    found = read(make_dicom(TWELVE_BITS, bits=12, VOILUTSequence=[table]))
    assert np.abs(found - np.clip(TWELVE_BITS, 1000, 2999) * 16 / 257).max() <= 1
    signed = (TWELVE_BITS.astype(int) - 2048).astype(np.int16)
    table = make_table(np.arange(4096), first=-2048, bits=12)
    assert np.abs(read(make_dicom(signed, bits=12, VOILUTSequence=[table])) - RAMP).max() <= 1


def test_empty_voi_table_gives_way_to_the_next_and_to_the_window():
    full, empty = make_table(257 * (255 - np.arange(256))), Dataset()
    empty.LUTDescriptor = None
    assert np.array_equal(read(make_dicom(RAMP, VOILUTSequence=[empty, full])), 255 - RAMP)
    tags = {"WindowCenter": 100, "WindowWidth": 50}
    windowed = read(make_dicom(RAMP, VOILUTSequence=[empty], **tags))
    assert np.array_equal(windowed, read(make_dicom(RAMP, **tags)))


def test_modality_table_comes_before_slope_and_window():
    """It takes the place of slope and intercept; the window is one of its entries."""
    table = make_table(np.arange(256) * 16, bits=12, ModalityLUTType="US")
    window = {"WindowCenter": 2048, "WindowWidth": 1024}
    expected = read(make_dicom(RAMP.astype(np.uint16) * 16, bits=12, **window))
    slope = {"RescaleSlope": -2, "RescaleIntercept": 77}
    assert np.array_equal(read(make_dicom(RAMP, ModalityLUTSequence=[table], **slope, **window)), expected)
    assert np.abs(read(make_dicom(RAMP, ModalityLUTSequence=[table], **slope)) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("stored", "scale"),
    [
        (TWELVE_BITS.astype(np.int16), 4095),
        (RAMP.astype(np.int16), 255),
        (RAMP.astype(np.uint16), 255),
        (TWELVE_BITS.astype(np.int32), 4095),
        (TWELVE_BITS.astype(np.uint32), 4095),
        (RAMP.astype(np.int16) * 128, 32767),
    ],
    ids=["signed 12", "signed 8", "8", "signed 32", "32", "signed 15"],
)
def test_files_that_hold_fewer_bits_than_they_say(stored, scale):
    assert np.abs(read(make_dicom(stored)) - stored * (255 / scale)).max() <= 1


def test_signed_twelve_bits_with_negative_values_in_sixteen():
    assert np.abs(read(make_dicom((TWELVE_BITS.astype(int) - 2048).astype(np.int16))) - RAMP).max() <= 1


def test_a_windowed_file_of_sixteen_bits_is_not_scaled_by_its_extremes():
    tags = {"WindowCenter": 32768, "WindowWidth": 65536}
    assert np.abs(read(make_dicom(TWELVE_BITS, **tags)) - TWELVE_BITS / 257).max() <= 1


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_deep_colours(size, syntax):
    pixels = np.dstack([RAMP] * 3).astype(f"u{size // 8}") * ((2**size - 1) // 255)
    found = decode(make_dicom(pixels, syntax), "x")
    assert np.abs(found.pixels.astype(int) - RAMP).max() <= 1 and found.is_gray
    held = np.dstack([TWELVE_BITS] * 3).astype(f"u{size // 8}")
    assert np.abs(gray(make_dicom(held, syntax)) - RAMP).max() <= 1


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
@pytest.mark.parametrize("top", [1, 255, 4095, 65535])
def test_pixels_in_floats(keyword, dtype, top):
    pixels = (RAMP / 255 * top).astype(dtype)
    pixels[-1, -1] = top
    tags = {keyword: pixels.tobytes(), "PixelData": None, "BitsAllocated": 8 * pixels.itemsize}
    found = read(make_dicom(RAMP, **tags, BitsStored=None, HighBit=None, PixelRepresentation=None))
    assert np.abs(found - RAMP).flat[:-1].max() <= 1
    pixels[3, 3] = np.nan
    with pytest.raises(PneumoniaError, match="NaN or infinite"):
        read(make_dicom(RAMP, **tags | {keyword: pixels.tobytes()}))


def test_colour_is_seen_in_the_picture_and_not_in_the_header():
    assert decode(make_dicom(np.dstack([RAMP] * 3)), "x").is_gray
    assert not decode(make_dicom(np.dstack([RAMP, RAMP // 2, 255 - RAMP])), "x").is_gray


def make_palette(entries: np.ndarray, bits: int, width: str, tints: tuple[float, ...] = (1, 1, 1)) -> dict[str, object]:
    """The header elements of a palette: gray, or tinted."""
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for color, tint in zip(("Red", "Green", "Blue"), tints, strict=True):
        tags[f"{color}PaletteColorLookupTableDescriptor"] = [len(entries) % 65536, 0, bits]
        tags[f"{color}PaletteColorLookupTableData"] = (entries * tint).astype(width).tobytes()
    return tags


@pytest.mark.parametrize(
    ("entries", "bits", "width"),
    [
        (257 * (255 - np.arange(256)), 16, "<u2"),
        (256 * (255 - np.arange(256)), 16, "<u2"),
        (255 - np.arange(256), 8, "u1"),
        (255 - np.arange(256), 16, "<u2"),  # declares more than it holds
        (255 - np.arange(256), 8, "<u2"),
    ],
)
def test_palette(entries, bits, width):
    found = decode(make_dicom(RAMP, **make_palette(entries, bits, width)), "x")
    assert np.abs(found.pixels.astype(int) - (255 - RAMP)).max() <= 1 and found.is_gray
    tinted = decode(make_dicom(RAMP, **make_palette(entries, bits, width, (1, 0.5, 0.2))), "x")
    assert not tinted.is_gray


def test_palette_with_more_entries_than_a_byte_counts():
    entries = 255 - np.arange(4096) // 16
    content = make_dicom(TWELVE_BITS, bits=12, **make_palette(entries, 8, "u1"))
    assert np.abs(gray(content) - (255 - RAMP)).max() <= 1


def test_palette_in_segments():
    tags = make_palette(np.arange(256), 16, "<u2")
    segments = np.array([0, 1, 65535, 1, 255, 0], "<u2").tobytes()  # one entry, then a line down to 0
    for color in ("Red", "Green", "Blue"):
        del tags[f"{color}PaletteColorLookupTableData"]
        tags[f"Segmented{color}PaletteColorLookupTableData"] = segments
    assert np.abs(gray(make_dicom(RAMP, **tags)) - (255 - RAMP)).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "value", "tags"),
    [
        (np.uint16, 65535, {"PixelPaddingValue": 65535}),
        (np.uint16, 65000, {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65535}),
        (np.int16, -32768, {"PixelPaddingValue": -32768}),
        (np.int16, 32767, {"PixelPaddingValue": 32767}),
        (np.int16, -2000, {"PixelPaddingValue": 63536}),  # written as if it were unsigned
    ],
)
@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_no_part_of_the_range(dtype, value, tags, interpretation):
    stored = (TWELVE_BITS if interpretation == "MONOCHROME2" else 4095 - TWELVE_BITS).astype(dtype)
    stored[:, :20] = value
    dataset = make_dataset(stored, PhotometricInterpretation=interpretation)
    for keyword, padding in tags.items():
        dataset.add_new(keyword, "SS" if padding < 0 else "US", padding)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    found = read(file.getvalue())
    assert (found[:, :20] == 0).all()
    assert np.abs(found - RAMP)[:, 20:].max() <= 1


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["INVERSE", "IDENTITY", "", None])
def test_presentation_shape_says_more_than_the_interpretation(interpretation, shape):
    """As viewers read them: the two are no double negative."""
    is_inverse = shape == "INVERSE" or not shape and interpretation == "MONOCHROME1"
    tags = {} if shape is None else {"PresentationLUTShape": shape}
    found = read(make_dicom(RAMP, PhotometricInterpretation=interpretation, **tags))
    assert np.array_equal(found, 255 - RAMP if is_inverse else RAMP)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": 0.5},
        {"WindowCenter": 2048, "WindowWidth": -100},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 2048},
        {"WindowWidth": 4096},
        {"WindowCenter": [1, 2], "WindowWidth": [0, 0]},
        {"WindowCenter": 2048, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_without_a_usable_rescale_or_window_the_whole_range_counts(tags):
    dataset = make_dataset(TWELVE_BITS, bits=12)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    assert np.abs(read(file.getvalue()) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("centers", "widths"),
    [
        (["", "2048"], ["", "1024"]),
        (["500", "2048"], ["0", "1024"]),
        (["2048", ""], ["1024", ""]),
        (["2048", "9"], ["1024"]),
        (["x", "2048"], ["9", "1024"]),
    ],
)
def test_the_first_usable_window_counts(centers, widths):
    expected = read(make_dicom(TWELVE_BITS, bits=12, WindowCenter=2048, WindowWidth=1024))
    dataset = make_dataset(TWELVE_BITS, bits=12)
    for keyword, texts in (("WindowCenter", centers), ("WindowWidth", widths)):
        dataset.add_new(keyword, "LO" if "x" in centers else "DS", texts)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    assert np.array_equal(read(file.getvalue()), expected)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("RescaleSlope", 0, r"RescaleSlope \(0028,1053\) is zero"),
        ("Rows", None, r"Rows \(0028,0010\) is missing"),
        ("BitsAllocated", None, r"BitsAllocated \(0028,0100\) is missing"),
        ("PhotometricInterpretation", None, r"PhotometricInterpretation \(0028,0004\) is missing"),
        (
            "PhotometricInterpretation",
            "RGB",
            r"PhotometricInterpretation \(0028,0004\) is at odds with the number of samples",
        ),
        ("PhotometricInterpretation", "HSV", r"PhotometricInterpretation \(0028,0004\) is not known"),
    ],
)
def test_what_cannot_be_read_without_is_named(keyword, value, said):
    with pytest.raises(PneumoniaError, match=rf"^x\.dcm: {said}.*; export it again$"):
        decode(make_dicom(RAMP, **{keyword: value}), "x.dcm")


def test_png_and_dicom_are_the_same_input(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "x.png")
    png = decode((tmp_path / "x.png").read_bytes(), "x.png", 32)
    dicom = decode(make_dicom(RAMP), "x.dcm", 32)
    assert np.array_equal(png.pixels, dicom.pixels)
    assert (dicom.width, dicom.height) == (png.width, png.height) == (80, 60)


def damaged() -> dict[str, bytes]:
    whole, meta = make_dicom(RAMP), make_dicom(RAMP, "rle")
    syntax = b"1.2.840.10008.1.2.1\0"  # the transfer syntax of `whole`
    return {
        "no picture": make_dicom(RAMP, PixelData=None),
        "several frames": make_dicom(RAMP, NumberOfFrames=4),
        "too large": make_dicom(RAMP, Rows=30000, Columns=30000),
        "fewer pixels than the header says": make_dicom(RAMP, Rows=200),
        "pixels cut off": whole[:-2000],
        "compressed pixels cut off": meta[: len(meta) // 2],
        "broken header": whole[:150] + b"\xff" * 60 + whole[210:],
        "nothing but the preamble": whole[:132],
        "another transfer syntax": whole.replace(syntax, b"1.2.840.10008.1.2.5\0"),
        "unknown transfer syntax": whole.replace(syntax, b"1.2.840.99999.9.9.9\0"),
        "no rows": make_dicom(RAMP, Rows=0),
        "no slope": make_dicom(RAMP, RescaleSlope=0, RescaleIntercept=5),
        "a data set that is cut off": make_bare_dicom(RAMP)[:400],
    }


@pytest.mark.parametrize("problem", damaged())
def test_bad_files_end_in_one_line_without_the_patient(problem, capsys, caplog):
    with pytest.raises(PneumoniaError) as caught:
        decode(damaged()[problem], "scan.dcm", 32)
    said = "".join([str(caught.value), *capsys.readouterr(), caplog.text])
    assert str(caught.value).startswith("scan.dcm: ") and "\n" not in str(caught.value)
    assert [secret for secret in SECRETS if secret in said] == []
    assert caught.value.__cause__ is None, "a traceback would quote the header"


def deflate(content: bytes, version: bytes) -> bytes:
    """The file with all behind its header as one zlib stream; `version` is an element before the transfer syntax."""
    dataset = dcmread(io.BytesIO(content))
    dataset.file_meta.FileMetaInformationVersion = version
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize("version", [b"\0\1", b"\0" * 5000], ids=["usual", "the syntax stands behind byte 4,096"])
def test_deflated_is_refused_before_it_is_unpacked(version, monkeypatch):
    content = deflate(make_dicom(RAMP), version)
    monkeypatch.setattr(zlib, "decompress", None)
    with pytest.raises(PneumoniaError, match="deflated"):
        decode(content, "x.dcm", 32)


def test_the_syntax_of_deflated_files_in_a_text_is_no_reason_to_refuse():
    assert np.array_equal(read(make_dicom(RAMP, ImageComments=f"not {DeflatedExplicitVRLittleEndian}")), RAMP)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"PatientAge": "001Y"}, []),
        ({"PatientAge": "018M"}, []),
        ({"PatientAge": "071M"}, []),
        ({"PatientAge": "006Y"}, ["child is not one to five years old"]),
        ({"PatientAge": "045Y"}, ["child is not one to five years old"]),
        ({"PatientAge": "010D"}, ["child is not one to five years old"]),
        ({"PatientAge": None, "BodyPartExamined": None, "ViewPosition": None}, []),
        ({"BodyPartExamined": "HAND"}, ["body part is not the chest"]),
        ({"BodyPartExamined": "Chest PA"}, []),
        ({"ViewPosition": "LL"}, ["lateral view"]),
        ({"ViewPosition": "OBL"}, ["view is not frontal"]),
        ({"ViewPosition": "Oblique PA"}, ["view is not frontal"]),
        ({"Modality": "CT"}, ["modality is not radiography"]),
    ],
)
def test_header_says_what_the_model_is_not_made_for(changes, expected):
    assert explain_header(read_dicom(make_dicom(RAMP, **changes), "x.dcm")[1]) == expected


FRONTAL = ["AP", "PA", "AP SUPINE", "PA ERECT", "POSTEROANTERIOR", "POSTERO-ANTERIOR", "Antero Posterior", "FRONTAL"]
FRONTAL += [
    "A.P.",
    "p.a.",
    "P-A",
    "AP_PORTABLE",
    "CHEST PA",
    "PA CHEST",
    "P\xf3stero-anterior",
    "FACE",
    "AP1",
    "UNKNOWN",
]
LATERAL = ["LL", "RL", "LATERAL", "LEFT LATERAL", "LAT", "Lateral L", "LLAT", "PROFIL", "PERFIL", "AP LAT", "LLD"]
CHESTS = ["CHEST", "THORAX", "TORAX", "T\xd3RAX", "TORACE", "LUNG", "LUNGS", "CHEST_1 VIEW", "Chest PA", "CHESTABDOMEN"]
CHESTS += ["THORAX AP", "PULMON", "CXR", "TORAKS", "BRUSTKORB", "UNKNOWN"]


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        *(("ViewPosition", text, []) for text in FRONTAL),
        ("ViewPosition", "UNKNOWN", []),
        *(("ViewPosition", text, ["lateral view"]) for text in LATERAL),
        *(("ViewPosition", text, ["view is not frontal"]) for text in ("LAO", "OBL", "LPO", "AXIAL", "AP OBLIQUE")),
        *(("BodyPartExamined", text, []) for text in CHESTS),
        *(
            ("BodyPartExamined", text, ["body part is not the chest"])
            for text in ("HAND", "THORACIC SPINE", "TSPINE", "ABDOMEN", "COLUNA TORACICA", "SKULL")
        ),
    ],
)
def test_words_of_machines(keyword, text, expected):
    content = make_dicom(RAMP, SpecificCharacterSet="ISO_IR 100", **{keyword: text})
    assert explain_header(read_dicom(content, "x")[1]) == expected


def test_header_holds_nothing_that_identifies_the_patient():
    header = read_dicom(make_dicom(RAMP), "x.dcm")[1]
    assert isinstance(header, Header)
    assert [secret for secret in SECRETS if secret in repr(header)] == []
