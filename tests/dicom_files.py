"""DICOM files written with pydicom, of an invented patient."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

SECRETS = ("Zzyzx", "Quuxley", "PID-904417", "19990203", "20031114", "Qwertyville")
SYNTAXES = {
    "plain": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "rle": RLELossless,
    "jpeg": JPEGBaseline8Bit,
    "jpeg of 12 bits": JPEGExtended12Bit,
    "lossless jpeg": JPEGLosslessSV1,
    "jpeg-ls": JPEGLSLossless,
    "near-lossless jpeg-ls": JPEGLSNearLossless,
    "jpeg2000": JPEG2000Lossless,
    "htj2k": HTJ2KLossless,
}
LOSSY = ("jpeg", "jpeg of 12 bits", "near-lossless jpeg-ls")
UNCOMPRESSED = ("plain", "implicit", "big endian")


def make_dicom(pixels: np.ndarray, syntax: str = "plain", bits: int | None = None, **tags: object) -> bytes:
    """A digital radiograph of `pixels`, integers (h, w) or (h, w, 3) in RGB; a tag that is None is left out."""
    file = io.BytesIO()
    make_dataset(pixels, syntax, bits, **tags).save_as(file, enforce_file_format=True)
    return file.getvalue()


def make_bare_dicom(pixels: np.ndarray, syntax: str = "implicit", bits: int | None = None, **tags: object) -> bytes:
    """The same without preamble and file meta information, as old machines write it."""
    dataset, file = make_dataset(pixels, syntax, bits, **tags), io.BytesIO()
    uid = SYNTAXES[syntax]
    del dataset.file_meta
    dcmwrite(file, dataset, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    return file.getvalue()


def make_dataset(pixels: np.ndarray, syntax: str = "plain", bits: int | None = None, **tags: object) -> Dataset:
    """What `make_dicom` writes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = "Zzyzx^Quuxley", "PID-904417"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.InstitutionName = "19990203", "20031114", "Qwertyville"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition, dataset.PatientAge = "DX", "CHEST", "AP", "004Y"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    allocated = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored = allocated, bits or allocated
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    if syntax in UNCOMPRESSED:
        stored = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == "big endian" else "<")).tobytes()
        dataset.PixelData = stored + b"\0" * (len(stored) % 2)
        dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
    elif syntax == "rle":
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = pixels.tobytes()
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        dataset.PixelData = encapsulate([_encode(pixels, syntax, dataset.BitsStored)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def _encode(pixels: np.ndarray, syntax: str, bits: int) -> bytes:
    if syntax == "jpeg":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=100)
        return file.getvalue()
    encoded = {
        "jpeg of 12 bits": lambda: imagecodecs.jpeg8_encode(pixels, 100, bitspersample=bits),
        "lossless jpeg": lambda: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits),
        "jpeg-ls": lambda: imagecodecs.jpegls_encode(pixels),
        "near-lossless jpeg-ls": lambda: imagecodecs.jpegls_encode(pixels, 2),
        "jpeg2000": lambda: imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"),
        "htj2k": lambda: imagecodecs.htj2k_encode(pixels, reversible=True),
    }[syntax]()
    return bytes(encoded)
