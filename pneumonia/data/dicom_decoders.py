"""Compressed DICOM pixels for pydicom, by imagecodecs: JPEG of 8, 12 and 16 bits, lossless JPEG, JPEG-LS, JPEG 2000.

pydicom itself reads RLE and deflated files. The decoders of the rest that it knows are under the GPL, or read a part.
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
NAME = "imagecodecs"
DECODER_DEPENDENCIES = dict.fromkeys(JPEG + JPEG_LS + JPEG_2000, ("imagecodecs",))


def find_decoder(syntax: str) -> str:
    """The name of the one to be used; "" for pixels that are not compressed, and for syntaxes that nobody decodes."""
    if syntax in DECODER_DEPENDENCIES:
        return NAME
    return "pydicom" if syntax == uid.RLELossless else ""


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
    get_decoder(syntax).add_plugin(NAME, (__name__, "decode_frame"))
