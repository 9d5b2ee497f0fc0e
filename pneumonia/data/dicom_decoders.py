"""Compressed DICOM pixels for pydicom, by imagecodecs: JPEG of 8, 12 and 16 bits, lossless JPEG, JPEG-LS, JPEG 2000.

pydicom itself reads RLE and deflated files, and by Pillow 8-bit JPEG. It knows no free decoder of the rest for every
platform, but takes one in this form.
"""

from __future__ import annotations

import imagecodecs
from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner

JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, *HTJ2K)
DECODER_DEPENDENCIES = dict.fromkeys(JPEG + JPEG_LS + JPEG_2000, ("imagecodecs",))


def is_available(syntax: str) -> bool:
    """Asked for by pydicom."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """The samples of one frame, color-by-pixel, as pydicom wants them. Raises: whatever imagecodecs does."""
    syntax = runner.transfer_syntax
    if syntax in JPEG:
        # Three samples come as they are stored: pydicom turns YCbCr into RGB, by what the header says.
        stored = "YCbCr" if runner.samples_per_pixel == 3 else None
        frame = imagecodecs.jpeg8_decode(source, colorspace=stored, outcolorspace=stored)
    elif syntax in JPEG_LS:
        frame = imagecodecs.jpegls_decode(source)
    else:
        frame = imagecodecs.htj2k_decode(source) if syntax in HTJ2K else imagecodecs.jpeg2k_decode(source, verbose=0)
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")  # the transform of JPEG 2000 is undone
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    return frame.tobytes()


for syntax in DECODER_DEPENDENCIES:  # upon import, which happens once whatever the number of threads
    get_decoder(syntax).add_plugin("imagecodecs", (__name__, "decode_frame"))
