"""A file, an array or a DICOM data set -> one grayscale array, or one clear error.

Everything that a model is given passes through here.
"""

from __future__ import annotations

import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..config import PneumoniaError
from .dicom import MAX_PIXELS, Header, is_dataset, is_dicom, read_dicom, too_costly, too_large
from .sizes import look_up_original_size

if TYPE_CHECKING:
    from pydicom import Dataset

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")  # Pillow knows more, and some of those run other programs
MAX_BYTES = 512_000_000
CHUNK = 1 << 18  # pixels that are converted at a time
# Pillow's remarks on odd metadata, and on sizes that our own stricter limit refuses. (Not for a while only: filters
# are not safe between threads.)
warnings.filterwarnings("ignore", module="PIL")

# Annex K of ITU-T T.81 (the JPEG standard): the luminance table that libjpeg scales by its "quality".
STANDARD_LUMA_TABLE = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
     51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
     120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """One radiograph, and what the file says about it."""

    pixels: np.ndarray  # uint8 (h, w), 0 = black
    width: int  # of the file, in pixels
    height: int
    is_gray: bool  # no colour in it, whatever its mode
    header: Header | None = None  # of DICOM
    shape: tuple[int, int] | None = None  # width, height of the original; None: a square file, perhaps a stretched copy


def read_radiograph(path: Path, size: int, window: float = 0.0) -> np.ndarray:
    """Read one radiograph as a model of this input size and window sees it.

    Grayscale, then an antialiased bilinear stretch of the window, or of the whole picture, to size x size, so that an
    original and a smaller copy of it give nearly the same input.

    Returns: uint8 array of shape (size, size), 0 = black, 255 = white.
    Raises: PneumoniaError naming the file when it is empty, truncated, or not an image.
    """
    return decode_file(path, size, window).pixels


def decode_file(
    path: Path, size: int | None = None, window: float = 0.0, shape: tuple[int, int] | None = None
) -> Decoded:
    """As `decode`, of a file; the shape of the original is looked up where the file is one of the archive's."""
    return decode(read_bytes(path), str(path), size, window, look_up_original_size(path) or shape)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file that is not empty.

    Raises: PneumoniaError naming the file for anything else (a folder, a pipe, a link to nowhere, no permission).
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise PneumoniaError(f"{path}: not a file that can be read; name an image")
        if found.st_size == 0:
            raise PneumoniaError(f"{path}: empty file; fetch it again or remove it")
        if found.st_size > MAX_BYTES:
            raise PneumoniaError(f"{path}: larger than {MAX_BYTES // 10**6} MB; shrink it")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PneumoniaError(f"{path}: cannot be read (No such file); check its name or pattern") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # str() of an OSError would name the path once more
        raise PneumoniaError(f"{path}: cannot be read ({reason}); check the file and its permissions") from error


def decode(
    source: bytes | np.ndarray | Dataset,
    name: str,
    size: int | None = None,
    window: float = 0.0,
    shape: tuple[int, int] | None = None,
) -> Decoded:
    """The picture in the bytes of a file, in an array, or in a DICOM data set, by the same rules.

    Args:
        source: bytes of a JPEG, PNG, TIFF, BMP, WebP, still GIF or single-frame DICOM file; an array of uint8, uint16
            or float, (h, w) or (h, w, 3 or 4) for RGB and RGBA; or a pydicom Dataset.
        size: resample to size x size as `read_radiograph` does; None keeps the resolution of the source.
        window: width / height of the central window that is kept (`find_window`); 0: the whole picture.
        shape: width and height of the original of which a square source is a stretched copy; None: unknown. Sources
            that are not square, and DICOM, are originals.
    Raises: PneumoniaError, beginning with `name`, whatever is wrong with the source.
    """
    header = None
    if is_dataset(source) or (isinstance(source, bytes) and is_dicom(source)):
        pixels, header = read_dicom(source, name)
        image, is_gray, full = Image.fromarray(pixels), not header.is_color, pixels.shape[::-1]
        shape = full  # of the detector
    elif isinstance(source, np.ndarray):
        image = _open_array(source, name)
        full = image.size
        image, is_gray = _load(image, name, size)
    else:
        with _open(source, name) as image:
            full = image.size
            image, is_gray = _load(image, name, size)
    if full[0] != full[1]:
        shape = full
    if size is not None:
        image = image.resize(
            (size, size), Image.Resampling.BILINEAR, find_window(image.size, window, shape), reducing_gap=None
        )
    return Decoded(np.asarray(image, dtype=np.uint8), *full, is_gray, header, shape)


def find_window(
    size: tuple[int, int], window: float, shape: tuple[int, int] | None = None
) -> tuple[float, float, float, float]:
    """The largest central window of a given width / height: left, top, right, bottom in pixels.

    Args:
        size: width and height of the picture at hand.
        window: width / height, measured on the original; 0: the whole picture.
        shape: width and height of the original, of which the picture may be a stretched copy.
    """
    width, height = size
    if not window:
        return 0, 0, width, height
    aspect = shape[0] / shape[1] if shape else width / height
    across, down = min(1, window / aspect), min(1, aspect / window)  # shares of the sides
    return (
        width * (1 - across) / 2,
        height * (1 - down) / 2,
        width * (1 + across) / 2,
        height * (1 + down) / 2,
    )


def _open_array(pixels: np.ndarray, name: str) -> Image.Image:
    """An array as the Pillow image that its file would have given; `to_grayscale` scales what has more than 8 bits."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    is_known = pixels.dtype in (np.uint8, np.uint16) or pixels.dtype.kind == "f"
    if not (is_known and pixels.size and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4)))):
        shape = " x ".join(map(str, pixels.shape))
        raise PneumoniaError(
            f"{name}: array {shape} of {pixels.dtype}; give (h, w), (h, w, 3) or (h, w, 4) of uint8, uint16 or float"
        )
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise too_large(name)
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    if pixels.ndim == 3 and pixels.dtype != np.uint8:  # Pillow has no deep colours
        try:
            pixels = to_8_bits(pixels)
        except ValueError as error:
            raise PneumoniaError(f"{name}: {error}; give finite numbers") from error
    return Image.fromarray(np.ascontiguousarray(pixels))


def _load(image: Image.Image, name: str, size: int | None) -> tuple[Image.Image, bool]:
    """(8-bit grayscale image, whether there was no colour) of an opened file."""
    if image.width * image.height > MAX_PIXELS:
        raise too_large(name)
    try:
        if image.format != "MPO" and getattr(image, "is_animated", False):  # n_frames would walk through all of them
            raise PneumoniaError(f"{name}: several pictures in one file; save the one that is meant")
        if size is not None:
            image.draft("L", (2 * size, 2 * size))  # JPEG only: decode large originals at a fraction of their size
        return to_grayscale(image), is_colorless(image)
    except PneumoniaError:
        raise
    except MemoryError as error:
        raise too_costly(name) from error
    except Exception as error:  # decoders of unknown bytes raise anything
        raise PneumoniaError(f"{name}: damaged image ({error}); replace the file or remove it") from error


def to_grayscale(image: Image.Image) -> Image.Image:
    """Any Pillow mode to 8-bit grayscale ("L").

    16-bit files are scaled by the range of their bit depth (12 bits when no pixel exceeds 4,095, else 16), never by
    the image's own extremes, so that exposure is kept; floats that do not exceed 1 are shares of white. Transparency
    is dropped: it hides no anatomy. Raises: ValueError for pixels that are no numbers.
    """
    if image.mode == "L":
        return image.convert("L")  # a copy that is fully decoded: truncation shows here
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_8_bits(np.asarray(image)))
    return image.convert("RGB").convert("L")


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Integers or floats of any shape to uint8, by the rule of `to_grayscale`. Raises: ValueError."""
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # both are NaN where any pixel is
        raise ValueError("NaN or infinite pixels")
    full_scale = next((top for top in (255, 4095) if high <= top), 65535)
    if pixels.dtype.kind == "f" and high <= 1:
        full_scale = 1
    flat, scaled = pixels.reshape(-1), np.empty(pixels.size, np.uint8)
    for start in range(0, pixels.size, CHUNK):  # in float64, a whole picture would be eight times as large
        values = flat[start : start + CHUNK].astype(np.float64)
        scaled[start : start + CHUNK] = np.clip(values * (255 / full_scale), 0, 255).round()
    return scaled.reshape(pixels.shape)


def is_colorless(image: Image.Image) -> bool:
    """Whether a decoded image looks gray: hardly any pixel whose channels are more than 24 levels apart."""
    if image.mode in ("L", "LA", "1", "F") or image.mode.startswith("I"):
        return True
    small = np.asarray(image.convert("RGB").resize((64, 64)), dtype=int)
    return bool(np.mean(np.ptp(small, axis=2) > 24) < 0.05)  # a coloured marker or note is no reason to warn


def read_header(content: bytes, name: str) -> dict[str, object]:
    """Width and height in pixels, Pillow mode, and JPEG quality (nan for other formats), without decoding pixels.

    Raises: PneumoniaError as `decode`.
    """
    with _open(content, name) as image:
        tables = getattr(image, "quantization", None)  # numbered by the encoder; luminance comes first
        quality = estimate_jpeg_quality(np.asarray(tables[min(tables)])) if tables else float("nan")
        return {"width": image.width, "height": image.height, "mode": image.mode, "jpeg_quality": quality}


def estimate_jpeg_quality(luma_table: np.ndarray) -> int:
    """The libjpeg quality (1-100) whose scaled luminance table is closest to this one (order of entries ignored)."""
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)
    tables = np.clip((STANDARD_LUMA_TABLE[None] * scale[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(tables.sum(axis=1) - luma_table.sum()).argmin()])


def _open(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise too_large(name) from error
    except MemoryError as error:
        raise too_costly(name) from error
    except UnidentifiedImageError as error:
        raise PneumoniaError(f"{name}: not an image; remove the file or fetch it again") from error
    except Exception as error:  # decoders of unknown bytes raise anything
        raise PneumoniaError(f"{name}: damaged image ({error}); replace the file or remove it") from error
