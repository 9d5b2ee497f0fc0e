"""A file, an array or a DICOM data set -> one grayscale array, or one clear error.

Everything that a model is given passes through here.
"""

from __future__ import annotations

import io
import itertools
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageChops, TiffImagePlugin, UnidentifiedImageError

from ..config import PneumoniaError
from .dicom import (
    MAX_PIXELS,
    Header,
    is_dataset,
    is_dicom,
    map_values,
    read_dicom,
    read_dicom_size,
    too_costly,
    too_large,
)
from .sizes import look_up_original_size

if TYPE_CHECKING:
    from pydicom import Dataset

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")  # Pillow knows more, and some of those run other programs
MAX_BYTES = 512_000_000
READ = "a JPEG, PNG, TIFF, BMP, WebP, GIF or DICOM file"
# What other files begin with: the brand of an ISO medium (its first four bytes are a length), or magic numbers.
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"jp2 ": "JPEG 2000", b"jpx ": "JPEG 2000", b"jph ": "JPEG 2000"}
BRANDS |= dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC")
MAGIC = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"II\xbc": "JPEG XR",
    b"II*\0": "this TIFF (damaged, or of a rare kind)",
    b"MM\0*": "this TIFF (damaged, or of a rare kind)",
    b"II+\0": "this TIFF (damaged, or of a rare kind)",
    b"MM\0+": "this TIFF (damaged, or of a rare kind)",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x5c\x01\0\0": "NIfTI",
}
# Pillow's remarks on odd metadata, and on sizes that our own stricter limit refuses. (Not for a while only: filters
# are not safe between threads.)
warnings.filterwarnings("ignore", module="PIL")

# Pillow knows white-is-zero TIFF of 1 to 8 bits, and inverts it. It is to open those of more bits, too, which `_load`
# inverts, in either order of bytes. (A key is order, photometric interpretation, and what does not matter here.)
DEEP_MODES = ("I", "I;16", "I;16B", "F")
for (_, photometric, *rest), modes in tuple(TiffImagePlugin.OPEN_INFO.items()):
    if photometric == 1 and modes[0] in DEEP_MODES:
        for key in itertools.product((TiffImagePlugin.II, TiffImagePlugin.MM), (0, 1)):
            TiffImagePlugin.OPEN_INFO.setdefault((*key, *rest), modes)
TURNS = {  # EXIF orientation -> what sets it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(TURNS[number] for number in (5, 6, 7, 8))

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
    width: int  # of the file, in pixels, when it is upright
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
        image = Image.fromarray(pixels)
        image, is_gray, full = to_grayscale(image), is_colorless(image), image.size
        shape = full  # of the detector
    elif isinstance(source, np.ndarray):
        image, is_gray, full = _load(_open_array(source, name), name, size)
    else:
        with _open(source, name) as image:
            image, is_gray, full = _load(image, name, size, source)
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


def _load(
    image: Image.Image, name: str, size: int | None, content: bytes = b""
) -> tuple[Image.Image, bool, tuple[int, int]]:
    """(8-bit grayscale image, whether there was no colour, full width and height), upright, of an opened file."""
    if image.width * image.height > MAX_PIXELS:
        raise too_large(name)
    try:
        if image.format != "MPO" and getattr(image, "is_animated", False):  # n_frames would walk through all of them
            raise PneumoniaError(f"{name}: several pictures in one file; save the one that is meant")
        full = image.size
        if size is not None and image.format in ("JPEG", "MPO"):  # decode large originals at a fraction of their size
            image.draft("YCbCr" if image.mode == "RGB" and not _stores_rgb(image) else image.mode, (2 * size, 2 * size))
        deep = _decode_deep(image, content)
        film = image if deep is None else Image.fromarray(to_8_bits(deep))
        gray = to_grayscale(film)
        tags = getattr(image, "tag_v2", {})
        if image.mode in DEEP_MODES and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            gray = ImageChops.invert(gray)
        if (turn := TURNS.get(_find_orientation(image))) is not None:
            gray = gray.transpose(turn)
            if turn in SIDEWAYS and image.format != "TIFF":  # whose size Pillow has turned
                full = full[::-1]
        return gray, is_colorless(film), full
    except PneumoniaError:
        raise
    except MemoryError as error:
        raise too_costly(name) from error
    except Exception as error:  # decoders of unknown bytes raise anything
        raise PneumoniaError(f"{name}: damaged image ({error}); replace the file or remove it") from error


def _stores_rgb(image: Image.Image) -> bool:
    """Whether a JPEG in colours holds them as RGB, which libjpeg does not turn into YCbCr; by its own rules."""
    if "jfif" in image.info:
        return False
    if "adobe" in image.info:
        return image.info.get("adobe_transform") == 0
    return bytes(component[0] for component in image.layer) == b"RGB"


def _find_orientation(image: Image.Image) -> int:
    """By EXIF or XMP, 1 to 8. (A TIFF that Pillow has decoded is upright, and no longer says how it lay.)"""
    try:
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # of damaged metadata, which say nothing, but spoil nothing
        return 1


def _decode_deep(image: Image.Image, content: bytes) -> np.ndarray | None:
    """The gray values or RGB, (h, w) or (h, w, 3), of a PNG or TIFF of which Pillow would keep the high bytes only, or
    read them in the wrong order; None: it reads this file as it is."""
    if image.format == "PNG" and re.fullmatch("(LA|RGB|RGBA);16B", str(image.tile[0].args)):
        import imagecodecs

        image.load()  # its EXIF may stand behind the pixels
        pixels = imagecodecs.png_decode(content)
        return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if image.format != "TIFF":
        return None
    tags = image.tag_v2
    is_plain = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (0, 1, 2)  # gray or RGB
    if is_plain and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) <= {16, 32}:
        import imagecodecs

        pixels = imagecodecs.tiff_decode(content)
        if pixels.ndim == 3 and tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2:
            pixels = np.moveaxis(pixels, 0, -1)  # a plane for each colour
        return pixels if pixels.ndim == 2 else pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    return None


def to_grayscale(image: Image.Image) -> Image.Image:
    """Any Pillow mode to 8-bit grayscale ("L").

    Deep files are scaled by the range of their bit depth (12 bits when no pixel exceeds 4,095, else 16 or 32), never
    by the image's own extremes, so that exposure is kept; floats that do not exceed 1 are shares of white. Transparency
    is dropped: it hides no anatomy. Raises: ValueError for pixels that are no numbers.
    """
    if image.mode == "L":
        return image.convert("L")  # a copy that is fully decoded: truncation shows here
    if image.mode == "YCbCr":
        return image.getchannel("Y")
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_8_bits(np.asarray(image)))
    return image.convert("RGB").convert("L")


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Integers or floats of any shape to uint8, by the rule of `to_grayscale`. Raises: ValueError."""
    low, high = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # both are NaN where any pixel is
        raise ValueError("NaN or infinite pixels")
    full_scale = next((top for top in (255, 4095, 65535) if high <= top), 2**32 - 1)
    if pixels.dtype.kind == "f" and high <= 1:
        full_scale = 1

    def scale(values: np.ndarray) -> np.ndarray:
        return np.clip(values.astype(np.float64) * (255 / full_scale), 0, 255).round().astype(np.uint8)

    return map_values(pixels, scale)


def is_colorless(image: Image.Image) -> bool:
    """Whether a decoded image looks gray: hardly any pixel whose channels are more than 24 levels apart."""
    if image.mode in ("L", "LA", "1", "F") or image.mode.startswith("I"):
        return True
    if image.mode == "YCbCr":  # of a JPEG: an average is quick, and the decode should stay so
        image = image.resize((64, 64), Image.Resampling.BOX)
    small = np.asarray(image.convert("RGB").resize((64, 64)), dtype=int)
    return bool(np.mean(np.ptp(small, axis=2) > 24) < 0.05)  # a coloured marker or note is no reason to warn


def read_header(content: bytes, name: str) -> dict[str, object]:
    """Width and height in pixels, Pillow mode, and JPEG quality (nan for other formats), without decoding pixels.

    Raises: PneumoniaError as `decode`.
    """
    if is_dicom(content):
        width, height, mode = read_dicom_size(content, name)
        return {"width": width, "height": height, "mode": mode, "jpeg_quality": float("nan")}
    with _open(content, name) as image:
        (width, height), mode = image.size, image.mode
        tables = getattr(image, "quantization", None)  # numbered by the encoder; luminance comes first
        quality = estimate_jpeg_quality(np.asarray(tables[min(tables)])) if tables else float("nan")
        # TIFF has turned its size by itself. The EXIF of a PNG may stand behind the pixels: then these are decoded.
        if image.format == "PNG" and b"eXIf" in content and "exif" not in image.info:
            width, height = _load(image, name, None, content)[2]
        elif image.format != "TIFF" and TURNS.get(_find_orientation(image)) in SIDEWAYS:
            width, height = height, width
        return {"width": width, "height": height, "mode": mode, "jpeg_quality": quality}


def estimate_jpeg_quality(luma_table: np.ndarray) -> int:
    """The libjpeg quality (1-100) whose scaled luminance table is closest to this one (order of entries ignored)."""
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)
    tables = np.clip((STANDARD_LUMA_TABLE[None] * scale[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(tables.sum(axis=1) - luma_table.sum()).argmin()])


def recognize_format(content: bytes) -> str | None:
    """The name of a format that is known and not read, by the first bytes of a file; None for any other."""
    if content[4:8] == b"ftyp":
        listed = content[8:40]  # the brand, and those that it is compatible with
        return next((form for brand, form in BRANDS.items() if brand in listed), "this kind of video or picture")
    return next((form for magic, form in MAGIC.items() if content.startswith(magic)), None)


def _open(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise too_large(name) from error
    except MemoryError as error:
        raise too_costly(name) from error
    except UnidentifiedImageError as error:
        if form := recognize_format(content):
            raise PneumoniaError(f"{name}: {form} is not read; save it as PNG or DICOM") from error
        raise PneumoniaError(f"{name}: not an image; name {READ}") from error
    except Exception as error:  # decoders of unknown bytes raise anything
        raise PneumoniaError(f"{name}: damaged image ({error}); replace the file or remove it") from error
