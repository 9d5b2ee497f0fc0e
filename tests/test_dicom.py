"""DICOM: the picture that a viewer would show, and nothing that identifies the child."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from dicom_files import SECRETS, SYNTAXES, make_dicom
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumonia.config import PneumoniaError
from pneumonia.data.dicom import Header, explain_header, read_dicom
from pneumonia.data.radiograph import decode

pytestmark = pytest.mark.filterwarnings("ignore")  # pytest undoes the package's own silence
RAMP = (np.linspace(10, 200, 80)[None, :] + np.linspace(0, 40, 60)[:, None]).round().astype(np.uint8)
TWELVE_BITS = (RAMP.astype(np.uint16) * 16) + 8


def read(content: bytes) -> np.ndarray:
    return read_dicom(content, "x.dcm")[0].astype(int)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes_give_the_same_picture(syntax):
    tolerance = 2 if syntax == "jpeg" else 0
    assert np.abs(read(make_dicom(RAMP, syntax)) - RAMP).max() <= tolerance


@pytest.mark.parametrize("syntax", ["plain", "rle", "jpeg2000"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_pixels_are_scaled_by_their_depth(syntax, bits):
    pixels = TWELVE_BITS if bits == 12 else RAMP.astype(np.uint16) * 257
    assert np.abs(read(make_dicom(pixels, syntax, bits)) - RAMP).max() <= 1


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


def test_voi_table():
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], [257 * (255 - level) for level in range(256)]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    assert np.array_equal(read(make_dicom(RAMP, VOILUTSequence=[table])), 255 - RAMP)


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
        "no window": make_dicom(RAMP, WindowCenter=100, WindowWidth=0),
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
        ({"Modality": "CT"}, ["modality is not radiography"]),
    ],
)
def test_header_says_what_the_model_is_not_made_for(changes, expected):
    assert explain_header(read_dicom(make_dicom(RAMP, **changes), "x.dcm")[1]) == expected


def test_header_holds_nothing_that_identifies_the_patient():
    header = read_dicom(make_dicom(RAMP), "x.dcm")[1]
    assert isinstance(header, Header)
    assert [secret for secret in SECRETS if secret in repr(header)] == []
