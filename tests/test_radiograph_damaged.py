"""Damaged and hostile files: reading them gives a picture or a PneumoniaError.

PNEUMONIA_FUZZ_CASES sets how many mutated files are tried (500 if it does not).
"""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from dicom_files import SYNTAXES, make_bare_dicom, make_dicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import RGB, make_png, make_tiff
from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.data.radiograph import Decoded, decode, read_bytes
from pneumonia.data.simulate import simulate_radiograph

pytestmark = pytest.mark.filterwarnings("ignore")  # decoders remark on what was done to the files
CHEST = simulate_radiograph("bacteria", np.random.default_rng(3), 48)
CASES = int(os.environ.get("PNEUMONIA_FUZZ_CASES", "500"))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def encode_frames(form: str) -> bytes:
    second = Image.fromarray(255 - CHEST)
    return encode(Image.fromarray(CHEST), form, save_all=True, append_images=[second])


def encode_bomb(side: int) -> bytes:
    """A PNG whose header claims side x side pixels, in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def with_pixel(value: float) -> Image.Image:
    pixels = CHEST.astype(np.float32)
    pixels[5, 7] = value
    return Image.fromarray(pixels)


GRAY = Image.fromarray(CHEST)
UPRIGHT = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0"  # an orientation that may mutate
READABLE = {
    "jpeg": encode(GRAY, "JPEG", quality=95),
    "cmyk jpeg": encode(GRAY.convert("CMYK"), "JPEG", quality=95),
    "rgba png": encode(GRAY.convert("RGBA"), "PNG"),
    "palette png": encode(GRAY.convert("P"), "PNG"),
    "two-colour png": encode(GRAY.convert("1"), "PNG"),
    "16-bit png": encode(Image.fromarray(CHEST.astype(np.uint16) * 257), "PNG"),
    "float tiff": encode(with_pixel(9), "TIFF"),
    "float tiff in 0-1": encode(Image.fromarray(CHEST.astype(np.float32) / 255), "TIFF"),
    "compressed tiff": encode(GRAY, "TIFF", compression="tiff_lzw"),
    "bmp": encode(GRAY, "BMP"),
    "webp": encode(GRAY.convert("RGB"), "WEBP", quality=95),
    "still gif": encode(GRAY, "GIF"),
    "1x1": encode(Image.new("L", (1, 1), 77), "PNG"),
} | {f"{syntax} dicom": make_dicom(CHEST, syntax) for syntax in SYNTAXES}
READABLE |= {
    "dicom without meta": make_bare_dicom(CHEST),
    "colour dicom": make_dicom(np.dstack([CHEST] * 3)),
    "deep png": make_png(np.dstack([CHEST.astype(np.uint16) * 16] * 3)),
    "deep tiff": make_tiff(np.dstack([CHEST.astype(np.uint16) * 16] * 3), RGB, ">", planes=True),
    "white-is-zero tiff": make_tiff((255 - CHEST).astype(np.uint16) * 257, 0),
    "turned jpeg": encode(GRAY, "JPEG", quality=95, exif=UPRIGHT),
}
REFUSED = {
    "text named .jpeg": (b"404 Not Found\n", "not an image"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n", "PDF is not read; save it as PNG"),
    "postscript, which would be run": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "PostScript is not read",
    ),
    "jpeg 2000": (encode(GRAY, "JPEG2000"), "JPEG 2000 is not read; save it as PNG"),
    "its codestream": (encode(GRAY, "JPEG2000", no_jp2=True), "JPEG 2000 is not read"),
    "avif": (encode(GRAY.convert("RGB"), "AVIF"), "AVIF is not read"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read"),
    "avif that calls itself mif1": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF is not read"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "JPEG XL is not read"),
    "a video": (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
    "photoshop": (b"8BPS\0\1" + bytes(40), "Photoshop is not read"),
    "an archive": (b"PK\3\4" + bytes(40), "ZIP archive"),
    "a rare tiff": (make_tiff(np.zeros((8, 8, 3), np.float32), RGB), "this TIFF"),
    "a truncated tiff": (make_tiff(CHEST, 1)[:40], "this TIFF"),
    "a deep tiff that is cut off": (make_tiff(CHEST.astype(np.uint16), 1)[:-900], "damaged"),
    "a deep png that is cut off": (make_png(np.dstack([CHEST.astype(np.uint16)] * 3))[:-300], "damaged"),
    "truncated jpeg": (READABLE["jpeg"][:600], "damaged"),
    "truncated png": (READABLE["rgba png"][:-400], "damaged"),
    "animated gif": (encode_frames("GIF"), "several pictures"),
    "animated webp": (encode_frames("WEBP"), "several pictures"),
    "pages of a tiff": (encode_frames("TIFF"), "several pictures"),
    "bomb": (encode_bomb(30_000), "pixels|decompression bomb"),
    "a smaller bomb": (encode_bomb(9_000), "pixels"),
    "nan": (encode(with_pixel(np.nan), "TIFF"), "NaN or infinite"),
    "infinity": (encode(with_pixel(np.inf), "TIFF"), "NaN or infinite"),
    "no bytes": (b"", "not an image"),
}


@pytest.mark.parametrize("kind", READABLE)
@pytest.mark.parametrize("size", [32, None])
def test_readable(kind, size):
    found = decode(READABLE[kind], "x", size)
    side = size or (1 if kind == "1x1" else 48)
    assert found.pixels.shape == (side, side) and found.pixels.dtype == np.uint8
    assert found.is_gray
    if kind not in ("1x1", "two-colour png"):
        reference = decode(READABLE["bmp"], "x", size).pixels
        assert np.abs(found.pixels.astype(int) - reference).mean() < 3


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line(kind):
    content, reason = REFUSED[kind]
    with pytest.raises(PneumoniaError, match=reason) as caught:
        decode(content, "x.jpeg", 32)
    assert str(caught.value).startswith("x.jpeg: ") and "\n" not in str(caught.value) and "; " in str(caught.value)


def test_colour_is_noticed():
    hot = np.dstack([CHEST, CHEST // 2, 255 - CHEST])
    assert not decode(encode(Image.fromarray(hot), "PNG"), "x").is_gray
    assert not decode(encode(Image.fromarray(hot), "JPEG"), "x", 16).is_gray
    marked = np.dstack([CHEST] * 3)
    marked[:4, :8] = (255, 0, 0)
    assert decode(encode(Image.fromarray(marked), "PNG"), "x").is_gray, "a coloured marker is no photograph"


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.jpeg").touch()
    (tmp_path / "dangling.jpeg").symlink_to(tmp_path / "nowhere.jpeg")
    (tmp_path / "loop.jpeg").symlink_to(tmp_path / "loop.jpeg")
    os.mkfifo(tmp_path / "pipe.jpeg")
    reasons = {"empty": "empty file", "dangling": "No such file", "loop": "symbolic links", "pipe": "not a file"}
    for name, reason in reasons.items():
        with pytest.raises(PneumoniaError, match=reason):
            read_bytes(tmp_path / f"{name}.jpeg")
    with pytest.raises(PneumoniaError, match="not a file"):
        read_bytes(tmp_path)
    with pytest.raises(PneumoniaError, match="too long"):
        read_bytes(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(READABLE["bmp"])
    path.chmod(0)
    with pytest.raises(PneumoniaError, match="Permission denied"):
        read_bytes(path)


positions = st.integers(0, 1 << 16)
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), positions, st.integers(0, 255)),
        st.tuples(st.just("header"), st.integers(0, 600), st.integers(0, 255)),
        st.tuples(st.just("cut"), positions, positions),
        st.tuples(st.just("double"), positions, st.integers(1, 64)),
        st.tuples(st.just("end"), positions, st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


def mutate(content: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(content)
    for kind, at, value in changes:
        at %= max(1, len(changed))
        if kind in ("set", "header") and changed:
            changed[at] = value
        elif kind == "cut":
            del changed[at : at + value % 64]
        elif kind == "double":
            changed[at:at] = changed[at : at + value]
        elif kind == "end":
            del changed[at:]
    return bytes(changed)


@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(sorted(READABLE)), changes=mutations, size=st.sampled_from([32, None]))
def test_mutated_files_give_a_picture_or_our_error(kind, changes, size):
    try:
        found = decode(mutate(READABLE[kind], changes), "x", size)
    except PneumoniaError as error:
        assert str(error).startswith("x: ") and "\n" not in str(error)
    else:
        assert isinstance(found, Decoded) and found.pixels.dtype == np.uint8 and found.pixels.ndim == 2
