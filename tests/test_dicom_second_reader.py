"""Every picture that comes with pydicom, read by SimpleITK too: the same one within 2 gray levels, or a named reason.

SimpleITK (of GDCM) shares no code with what is tested here: not the parser, not the decoders, not the rescale.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import make_dicom
from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.data.radiograph import decode

sitk = pytest.importorskip("SimpleITK", reason="needs the second reader: pip install SimpleITK")
pytestmark = pytest.mark.filterwarnings("ignore")

FOLDER = Path(pydicom.__file__).parent / "data"
FILES = {
    path.relative_to(FOLDER).as_posix(): path
    for path in sorted(FOLDER.rglob("*"))
    if path.is_file() and path.suffix in ("", ".dcm") and "DICOMDIR" not in path.name and path.name != "README"
}
LEVELS = 2
# Why a file is refused, in the words of the error.
REFUSED = {
    "frames; export the frame": "several frames: nobody knows which is meant",
    "without a picture": "a report, a plan, a directory, a palette or a part of a header",
    "deflated": "may unpack to any size",
    "is missing": "pieces of headers",
    "NumberOfFrames (0028,0008) is no number": "badVR.dcm says 1A",
    "damaged or unsupported": "cut off in the pixels, or a code stream that is damaged",
    "not an image": "no_meta.dcm begins with a stray byte",
}
# What SimpleITK does not read, or not rightly.
UNREAD = {
    "test_files/rtdose_1frame.dcm": "GDCM refuses dose grids of one frame",
    "test_files/rtdose_expb_1frame.dcm": "the same",
    "test_files/rtdose_rle_1frame.dcm": "the same",
    "test_files/SC_rgb_rle_16bit.dcm": "GDCM mixes the bytes of deep RLE colours; dcmtk shows what is shown here",
    "test_files/SC_rgb_rle_32bit.dcm": "the same",
}


def show(path: Path) -> np.ndarray:
    """The picture by SimpleITK: its values of the modality, windowed by it or between the ends of their bit depth."""
    image = sitk.ReadImage(str(path))
    header = pydicom.dcmread(path, force=True)
    if header.PhotometricInterpretation == "MONOCHROME1":  # of which SimpleITK inverts the stored values
        slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
        image = (2**header.BitsStored - 1) * slope + 2 * intercept - sitk.Cast(image, sitk.sitkFloat64)
    pixels = sitk.GetArrayFromImage(image)[0]
    if pixels.ndim == 3:
        top = {1: 255, 2: 65535, 4: 4294967295}[pixels.itemsize]
        return np.asarray(Image.fromarray((pixels / top * 255).round().astype(np.uint8)).convert("L"))
    if "WindowWidth" in header:
        center, width = (float(np.atleast_1d(header[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    else:
        low, high = find_ends(header)
    shown = sitk.GetArrayFromImage(sitk.IntensityWindowing(sitk.Cast(image, sitk.sitkFloat64), low, high, 0, 255))[0]
    return 255 - shown if header.PhotometricInterpretation == "MONOCHROME1" else shown


def find_ends(header: pydicom.Dataset) -> tuple[float, float]:
    """Of the bit depth. SimpleITK gives single bits as 0 and 255."""
    bits = 8 if header.BitsStored == 1 else header.BitsStored
    if bits == 16 and header.pixel_array.max() <= 4095 and header.pixel_array.min() >= -2048:
        bits = 12  # the rule of this project, for detectors of 12 bits that call themselves 16
    is_signed = header.PixelRepresentation == 1 and (header.pixel_array.min() < 0 or header.BitsStored < 16)
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if is_signed else [0, 2**bits - 1], dtype=float)
    ends = ends * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0))
    return float(ends.min()), float(ends.max())


def compare(path: Path, name: str) -> float:
    """Mean difference in gray levels."""
    return float(np.abs(decode(path.read_bytes(), name).pixels - show(path).astype(float)).mean())


@pytest.mark.parametrize("name", FILES)
def test_same_picture_or_a_named_reason(name):
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        decode(FILES[name].read_bytes(), name)
    except PneumoniaError as error:
        assert [reason for reason in REFUSED if reason in str(error)], error
        return
    if name in UNREAD:
        with contextlib.suppress(RuntimeError):
            assert compare(FILES[name], name) > LEVELS, "a later version reads it: compare it"
        return
    assert compare(FILES[name], name) <= LEVELS


def test_most_files_are_compared():
    """The reasons must not swallow the test."""
    read = 0
    for name, path in FILES.items():
        with contextlib.suppress(PneumoniaError):
            decode(path.read_bytes(), name)
            read += name not in UNREAD
    assert read >= 80


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 1725, "WindowWidth": 2550, "RescaleSlope": -10, "RescaleIntercept": 3000},
        {"WindowCenter": 100, "WindowWidth": 80},
        {"RescaleSlope": -1, "RescaleIntercept": 255},
        {"RescaleSlope": 0.5, "RescaleIntercept": -20, "WindowCenter": 40, "WindowWidth": 90},
    ],
)
def test_slopes_and_windows_are_as_the_second_reader_has_them(tmp_path, tags, photometric):
    ramp = (np.linspace(10, 200, 80)[None, :] + np.linspace(0, 40, 60)[:, None]).round().astype(np.uint8)
    path = tmp_path / "x.dcm"
    path.write_bytes(make_dicom(ramp, PhotometricInterpretation=photometric, **tags))
    assert compare(path, "x.dcm") <= LEVELS
