"""DICOM files written with pydicom, of an invented patient."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

SECRETS = ("Zzyzx", "Quuxley", "PID-904417", "19990203", "20031114", "Qwertyville")
SYNTAXES = {"plain": ExplicitVRLittleEndian, "rle": RLELossless, "jpeg2000": JPEG2000Lossless, "jpeg": JPEGBaseline8Bit}


def make_dicom(pixels: np.ndarray, syntax: str = "plain", bits: int | None = None, **tags: object) -> bytes:
    """A digital radiograph of `pixels` (h, w), uint8 or uint16; a tag that is None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = "Zzyzx^Quuxley", "PID-904417"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.InstitutionName = "19990203", "20031114", "Qwertyville"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition, dataset.PatientAge = "DX", "CHEST", "AP", "004Y"
    dataset.Rows, dataset.Columns = pixels.shape
    allocated = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored = allocated, bits or allocated
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    _encode(dataset, pixels, syntax)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _encode(dataset: Dataset, pixels: np.ndarray, syntax: str) -> None:
    if syntax in ("rle", "jpeg2000"):
        dataset.compress(SYNTAXES[syntax], generate_instance_uid=False)
    elif syntax == "jpeg":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=100)
        dataset.PixelData = encapsulate([file.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
