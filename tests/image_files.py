"""TIFF and PNG files that Pillow cannot write: white is zero, deep colours, planes, either order of bytes."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np

MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
SHORT, LONG = 3, 4


def make_png(pixels: np.ndarray, orientation: int | None = None) -> bytes:
    """A PNG of uint8 or uint16, (h, w) or (h, w, 2 to 4); its EXIF orientation stands behind the pixels."""
    content = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    if orientation is None:
        return content
    exif = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, SHORT, 1, orientation, 0, 0)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return content[:-12] + chunk + content[-12:]


def make_tiff(
    pixels: np.ndarray, photometric: int, order: str = "<", compressed: bool = False, planes: bool = False
) -> bytes:
    """A TIFF of integers or floats, (h, w) or (h, w, n), stored as they are.

    Args: order: of the bytes, "<" or ">". planes: one strip for each channel.
    """
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    strips = [part.tobytes() for part in (np.moveaxis(stored, 2, 0) if planes else [stored])]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    height, width = pixels.shape[:2]
    tags = {
        256: (SHORT, [width]),
        257: (SHORT, [height]),
        258: (SHORT, [8 * pixels.itemsize] * samples),
        259: (SHORT, [8 if compressed else 1]),
        262: (SHORT, [photometric]),
        273: (LONG, [0] * len(strips)),  # where the strips are: known when the length of all tags is
        277: (SHORT, [samples]),
        278: (SHORT, [height]),
        279: (LONG, [len(strip) for strip in strips]),
        284: (SHORT, [2 if planes else 1]),
        339: (SHORT, [form] * samples),
    }
    start = 8 + 2 + 12 * len(tags) + 4
    behind = sum(len(_pack(order, *tag)) for tag in tags.values() if len(_pack(order, *tag)) > 4)
    lengths = np.cumsum([start + behind, *(len(strip) for strip in strips)]).tolist()
    tags[273] = LONG, lengths[: len(strips)]
    entries, values = b"", b""
    for number, (kind, numbers) in tags.items():
        packed = _pack(order, kind, numbers)
        if len(packed) > 4:
            values, packed = values + packed, struct.pack(order + "I", start + len(values))
        entries += struct.pack(order + "HHI", number, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + b"\0" * 4 + values + b"".join(strips)


def _pack(order: str, kind: int, numbers: list[int]) -> bytes:
    return struct.pack(f"{order}{len(numbers)}{'H' if kind == SHORT else 'I'}", *numbers)
