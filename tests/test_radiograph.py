"""One file in, one grayscale array out, or one clear error."""

from __future__ import annotations

import gc
import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_files import MIN_IS_BLACK, MIN_IS_WHITE, RGB, make_png, make_tiff
from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.data.radiograph import (
    STANDARD_LUMA_TABLE,
    decode,
    decode_file,
    estimate_jpeg_quality,
    find_window,
    read_bytes,
    read_header,
    read_radiograph,
)
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.data.sizes import look_up_original_size

WINDOWS = (0.0, 1.0, 1.25)
SHAPES = ((900, 600), (700, 560), (640, 640), (560, 700), (1200, 500))
# A ramp that rises to the right and a little downwards, so that a transposed or mirrored result shows.
RAMP = (np.linspace(10, 200, 80)[None, :] + np.linspace(0, 40, 60)[:, None]).round().astype(np.uint8)


def header_of(path: Path) -> dict[str, object]:
    return read_header(read_bytes(path), str(path))


def save_as(path: Path, mode: str, gray: np.ndarray = RAMP) -> Path:
    """The same picture in another Pillow mode."""
    image = Image.fromarray(gray)
    if mode == "RGBA":
        image = Image.merge("RGBA", [image, image, image, Image.fromarray(255 - gray)])  # differing transparency
    elif mode == "P":
        image = Image.fromarray(255 - gray).convert("P")
        image.putpalette([255 - level for level in range(256) for _ in "RGB"])  # indices are not gray values
    elif mode.startswith("I;16"):
        full_scale = {"I;16": 65535, "I;16 with 12 bits": 4095, "I;16 with 8 bits": 255}[mode]
        image = Image.fromarray((gray * (full_scale / 255)).round().astype(np.uint16))
    else:
        image = image.convert(mode)
    image.save(path)
    return path


def expected(size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(RAMP).resize((size, size), Image.Resampling.BILINEAR), dtype=int)


MODES = ["L", "LA", "RGB", "RGBA", "P", "I;16", "I;16 with 12 bits", "I;16 with 8 bits"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_gray_picture(tmp_path, mode):
    pixels = read_radiograph(save_as(tmp_path / "x.png", mode), 32)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (32, 32)
    assert np.abs(pixels - expected(32)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes_give_the_same_gray_picture(tmp_path, mode):
    assert np.abs(read_radiograph(save_as(tmp_path / "x.jpeg", mode), 32) - expected(32)).max() <= 4


@pytest.mark.parametrize(("bits", "level"), [(16, 30000), (12, 2000)])
def test_sixteen_bit_exposure_is_kept_and_not_stretched_to_the_extremes_of_the_image(tmp_path, bits, level):
    flat = np.full((20, 20), level, np.uint16)
    flat[0, 0] = 2**bits - 1
    Image.fromarray(flat).save(tmp_path / "x.png")
    assert abs(int(read_radiograph(tmp_path / "x.png", 20)[10, 10]) - 255 * level / (2**bits - 1)) <= 1


LAID = {  # how a picture lies in a file with this EXIF orientation
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: upright[::-1, ::-1],
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda upright: upright[::-1, ::-1].T,
    8: lambda upright: np.rot90(upright, -1),
}


def encode(pixels: np.ndarray, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, form, **options)
    return file.getvalue()


def encode_turned(upright: np.ndarray, orientation: int, kind: str) -> bytes:
    pixels = LAID[orientation](upright)
    if kind in ("16-bit PNG in RGB", "late PNG"):
        pixels = np.dstack([pixels.astype(np.uint16) * 16] * 3) if "RGB" in kind else np.ascontiguousarray(pixels)
        return make_png(pixels, orientation)
    exif = Image.Exif()
    exif[274] = orientation
    if kind == "JPEG in RGB":
        pixels = np.dstack([pixels] * 3)
    elif kind.startswith("16-bit"):
        pixels = pixels.astype(np.uint16) * 257
    form = next(form for form in ("JPEG", "PNG", "TIFF", "WebP") if form in kind)
    options = {"quality": 100} if form in ("JPEG", "WebP") else {}
    if "LZW" in kind:
        options["compression"] = "tiff_lzw"
    return encode(pixels, form, exif=exif, **options)


@pytest.mark.parametrize("orientation", LAID)
@pytest.mark.parametrize(
    "kind",
    [
        *("JPEG", "JPEG in RGB", "PNG", "late PNG", "16-bit PNG", "16-bit PNG in RGB", "TIFF", "TIFF by LZW"),
        *("16-bit TIFF", "16-bit TIFF by LZW", "WebP"),
    ],
)
def test_exif_orientation_is_applied(kind, orientation):
    content = encode_turned(RAMP, orientation, kind)
    for size in (None, 32):
        found = decode(content, "x", size)
        reference = decode(RAMP, "x", size).pixels.astype(int)
        assert np.abs(found.pixels - reference).max() <= (4 if kind[:4] in ("JPEG", "WebP") else 1)
        assert (found.width, found.height) == found.shape == (80, 60)
    header = read_header(content, "x")
    assert (header["width"], header["height"]) == (80, 60)


def test_a_large_turned_jpeg_is_still_decoded_at_a_fraction_of_its_size():
    large = np.asarray(Image.fromarray(RAMP).resize((1600, 1200), Image.Resampling.BILINEAR))
    found = decode(encode_turned(large, 6, "JPEG"), "x", 64, 1.0)
    reference = decode(large, "x", 64, 1.0)
    assert np.abs(found.pixels.astype(int) - reference.pixels).max() <= 2
    assert found.shape == reference.shape == (1600, 1200)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff", b"no"])
@pytest.mark.filterwarnings("ignore")  # Pillow remarks on it
def test_damaged_exif_spoils_nothing(exif):
    content = encode(RAMP, "JPEG", exif=exif)
    assert np.array_equal(decode(content, "x").pixels, decode(encode(RAMP, "JPEG"), "x").pixels)
    assert read_header(content, "x")["width"] == 80


def test_an_orientation_that_there_is_not_turns_nothing():
    for orientation in (0, 9, 77):
        exif = Image.Exif()
        exif[274] = orientation
        assert np.array_equal(decode(encode(RAMP, "PNG", exif=exif), "x").pixels, RAMP)


DEEP = {"16 bits": 257, "12 bits in 16": 16, "8 bits in 16": 1}  # what 255 levels are multiplied with


@pytest.mark.parametrize("depth", DEEP)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_png_is_scaled_by_its_depth(depth, channels):
    """Pillow would keep the high bytes of colours: black, where there are 12 bits."""
    deep = RAMP.astype(np.uint16) * DEEP[depth]
    bands = [deep] * (channels if channels % 2 else channels - 1) + [np.full_like(deep, 65535)] * (1 - channels % 2)
    pixels = deep if channels == 1 else np.dstack(bands)
    for size in (None, 32):
        found = decode(make_png(pixels), "x", size)
        assert np.abs(found.pixels.astype(int) - decode(RAMP, "x", size).pixels).max() <= 1 and found.is_gray


@pytest.mark.parametrize("depth", DEEP)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("planes", [False, True])
def test_deep_tiff_in_colour_is_scaled_by_its_depth(depth, order, compressed, planes):
    pixels = np.dstack([RAMP.astype(np.uint16) * DEEP[depth]] * 3)
    found = decode(make_tiff(pixels, RGB, order, compressed, planes), "x")
    assert np.abs(found.pixels.astype(int) - RAMP).max() <= 1 and found.is_gray


@pytest.mark.parametrize("photometric", [MIN_IS_WHITE, MIN_IS_BLACK])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        ("u1", 1),
        ("u2", 257),
        ("u2", 16),
        ("u2", 1),
        ("i2", 16),
        ("u4", 16843009),
        ("u4", 16),
        ("f4", 1 / 255),
    ],
)
def test_gray_tiff_of_any_depth_black_or_white_first(photometric, order, compressed, dtype, scale):
    stored = ((255 - RAMP if photometric == MIN_IS_WHITE else RAMP) * float(scale)).astype(dtype)
    content = make_tiff(stored, photometric, order, compressed)
    for size in (None, 32):
        found = decode(content, "x.tif", size).pixels.astype(int)
        assert np.abs(found - decode(RAMP, "x", size).pixels).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_white_is_zero_tiff_of_few_bits(bits):
    levels = RAMP >> (8 - bits)
    packed = np.packbits(np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(60, -1), axis=1)
    content = bytearray(make_tiff(np.zeros((60, packed.shape[1]), np.uint8), MIN_IS_WHITE))
    content[-packed.size :] = (255 - packed).tobytes()
    for tag, old, new in ((256, packed.shape[1], 80), (258, 8, bits)):
        entry = struct.pack("<HHIH", tag, 3, 1, old)
        at = content.index(entry)
        content[at : at + len(entry)] = struct.pack("<HHIH", tag, 3, 1, new)
    assert np.abs(decode(bytes(content), "x").pixels - levels * (255 / (2**bits - 1))).max() <= 0.5


TINTS = {
    "gray": (1, 1, 1),
    "a slight tint": (1, 0.96, 0.92),
    "sepia": (1, 0.8, 0.6),
    "blue film": (0.6, 0.75, 1),
    "one channel": (1, 0, 0),
}


@pytest.mark.parametrize("tint", TINTS)
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("side", [90, 700])
def test_colour_is_seen_in_a_jpeg_as_in_a_png(tint, subsampling, side):
    """Although large JPEGs are decoded small, and to gray."""
    film = simulate_radiograph("bacteria", np.random.default_rng(5), side)
    pixels = np.dstack([film * share for share in TINTS[tint]]).astype(np.uint8)
    jpeg = encode(pixels, "JPEG", quality=90, subsampling=subsampling)
    expected = decode(encode(pixels, "PNG"), "x", 64)
    assert expected.is_gray == (tint in ("gray", "a slight tint"))
    for size in (64, None):
        assert decode(jpeg, "x", size).is_gray == expected.is_gray
    difference = decode(jpeg, "x", 64).pixels.astype(int) - expected.pixels
    assert np.abs(difference).mean() < 1.5


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_colour_jpeg_gives_the_gray_that_libjpeg_gives(mode, subsampling):
    """Bit for bit, at every fraction of its size: colour is looked for in the same decode."""
    film = simulate_radiograph("bacteria", np.random.default_rng(5), 700)
    pixels = film if mode == "L" else np.dstack([film, film * 0.9, film * 0.8]).astype(np.uint8)
    content = encode(pixels, "JPEG", quality=90, **({"subsampling": subsampling} if mode == "RGB" else {}))
    for size in (40, 90, 170, 400):
        image = Image.open(io.BytesIO(content))
        image.draft("L", (2 * size, 2 * size))
        expected = image.convert("L").resize((size, size), Image.Resampling.BILINEAR)
        assert np.array_equal(decode(content, "x", size).pixels, np.asarray(expected))


@pytest.mark.parametrize("named", ["by Adobe", "by its components"])
@pytest.mark.parametrize("tint", ["gray", "sepia"])
def test_jpeg_that_holds_rgb(named, tint):
    film = simulate_radiograph("bacteria", np.random.default_rng(5), 300)
    pixels = np.dstack([film * share for share in TINTS[tint]]).astype(np.uint8)
    content = encode(pixels, "JPEG", quality=95, keep_rgb=True, subsampling=0)
    adobe = content.index(b"\xff\xee")
    if named == "by its components":
        length = 2 + int.from_bytes(content[adobe + 2 : adobe + 4], "big")
        content = content[:adobe] + content[adobe + length :]
    expected = decode(encode(pixels, "PNG"), "x", 64)
    found = decode(content, "x", 64)
    assert found.is_gray == expected.is_gray == (tint == "gray")
    assert np.abs(found.pixels.astype(int) - expected.pixels).mean() < 1.5


@pytest.mark.parametrize("size", [1, 16, 64, 128, 300])
def test_any_size_can_be_asked_for(tmp_path, size):
    assert read_radiograph(save_as(tmp_path / "x.jpeg", "L"), size).shape == (size, size)


@pytest.mark.parametrize("name", ["x.png", "x.jpeg"])
def test_shrinking_is_antialiased(tmp_path, name):
    """Pixel-wide black and white squares have no business in a picture an eighth of the size: they become gray."""
    rows, columns = np.indices((512, 512))
    Image.fromarray((255 * ((rows + columns) % 2)).astype(np.uint8)).save(tmp_path / name, quality=100)
    pixels = read_radiograph(tmp_path / name, 64).astype(int)
    assert np.abs(pixels - 127).max() <= 4


def test_jpeg_decoded_at_a_fraction_of_its_size_is_the_same_picture(tmp_path):
    """Large JPEGs are decoded by libjpeg at 1/2 to 1/8; the result must not differ from a full decode."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 50), dtype=np.uint8))
    large = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpeg", quality=95)
    large.save(tmp_path / "x.png")
    difference = read_radiograph(tmp_path / "x.jpeg", 64).astype(int) - read_radiograph(tmp_path / "x.png", 64)
    assert np.abs(difference).mean() < 1.5


def jpeg_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [16, 128])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404 Not Found</html>", "not an image"),
        (jpeg_bytes()[:4000], "truncated"),
        (jpeg_bytes()[:200], "damaged image|cannot be read"),
    ],
    ids=["empty", "text", "truncated", "header only"],
)
def test_bad_file_is_one_line_that_names_it_and_a_remedy(tmp_path, content, reason, size):
    path = tmp_path / "bad.jpeg"
    path.write_bytes(content)
    with pytest.raises(PneumoniaError, match=reason) as caught:
        read_radiograph(path, size)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert "; " in line  # what follows is the remedy


def test_truncated_png_is_an_error(tmp_path):
    whole = save_as(tmp_path / "x.png", "L").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PneumoniaError, match="damaged image"):
        read_radiograph(tmp_path / "x.png", 16)


def test_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(PneumoniaError, match=r"gone\.jpeg: cannot be read"):
        read_radiograph(tmp_path / "gone.jpeg", 16)


@pytest.mark.parametrize("noise", range(60))
def test_no_damage_escapes_as_another_kind_of_error(tmp_path, noise):
    """Five random bytes changed near the start of a JPEG, where its tables are: an array or a PneumoniaError."""
    rng = np.random.default_rng(noise)
    damaged = bytearray(jpeg_bytes())
    for position in rng.integers(0, 300, 5):
        damaged[position] = rng.integers(0, 256)
    path = tmp_path / "x.jpeg"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        for read in (header_of, lambda file: read_radiograph(file, 16)):
            try:
                read(path)
            except PneumoniaError:
                continue


def test_header_gives_size_mode_and_quality(tmp_path):
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "x.jpeg", quality=83)
    assert header_of(tmp_path / "x.jpeg") == {"width": 80, "height": 60, "mode": "RGB", "jpeg_quality": 83}


def test_png_has_no_jpeg_quality(tmp_path):
    assert np.isnan(header_of(save_as(tmp_path / "x.png", "L"))["jpeg_quality"])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_quality_is_exact_for_files_that_pillow_wrote(tmp_path, mode):
    image = Image.fromarray(RAMP).convert(mode)
    qualities = range(20, 101)
    for quality in qualities:
        image.save(tmp_path / f"{quality}.jpeg", quality=quality)
    assert [header_of(tmp_path / f"{quality}.jpeg")["jpeg_quality"] for quality in qualities] == list(qualities)


def test_jpeg_quality_of_a_foreign_table_is_the_nearest():
    foreign = STANDARD_LUMA_TABLE.copy()  # the standard table is quality 50
    foreign[0] += 3
    assert estimate_jpeg_quality(foreign) == 50
    assert estimate_jpeg_quality(np.ones(64)) == 100


def test_jpeg_with_its_only_table_under_another_number_is_read(tmp_path):
    """The standard lets an encoder number its tables freely; Pillow numbers them from 0."""
    data = jpeg_bytes()
    assert data.count(b"\xff\xdb\x00\x43\x00") == 1
    start = data.index(b"\xff\xc0")  # SOF0; the number of the table is its thirteenth byte
    renumbered = bytearray(data.replace(b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x01"))
    renumbered[start + 12] = 1
    (tmp_path / "x.jpeg").write_bytes(renumbered)
    assert read_radiograph(tmp_path / "x.jpeg", 16).shape == (16, 16)
    assert header_of(tmp_path / "x.jpeg")["jpeg_quality"] == 75


def test_no_file_stays_open(tmp_path):
    """1.2 GB in 5,856 files: a handle that waits for the garbage collector is one that can run out."""
    save_as(tmp_path / "whole.jpeg", "L")
    (tmp_path / "cut.jpeg").write_bytes(jpeg_bytes()[:4000])
    gc.collect()  # what other tests left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        header_of(tmp_path / "whole.jpeg")
        read_radiograph(tmp_path / "whole.jpeg", 16)
        with pytest.raises(PneumoniaError):
            read_radiograph(tmp_path / "cut.jpeg", 16)
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def test_original_and_its_small_copy_are_nearly_the_same_input(chest_xray_dir):
    originals = chest_xray_dir.with_name("chest_xray_originals")
    if not originals.is_dir():
        pytest.skip(f"needs the original files: no folder {originals.name} beside the one CHEST_XRAY_DIR names")
    pairs = [(file, chest_xray_dir / file.relative_to(originals)) for file in sorted(originals.glob("*/*/*.jpeg"))]
    assert pairs
    for window in WINDOWS:
        arrays = [[read_radiograph(file, 128, window).astype(int) for file in pair] for pair in pairs]
        differences = [np.abs(original - copy).mean() for original, copy in arrays]
        middle, most = np.median(differences), np.max(differences)
        print(f"{len(pairs)} pairs, window {window}: median {middle:.2f}, largest {most:.2f} gray levels")
        assert middle < 2 and most < 3


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "{}x{}".format(*shape))
def test_simulated_original_and_its_stretched_copy_are_nearly_the_same_input(shape, window):
    original = Image.fromarray(simulate_radiograph("bacteria", np.random.default_rng(5), 512)).resize(shape)
    copy = original.resize((224, 224), Image.Resampling.BILINEAR)
    expected = decode(np.asarray(original), "original", 128, window).pixels.astype(int)
    found = decode(np.asarray(copy), "copy", 128, window, shape)
    assert found.shape == shape and np.abs(expected - found.pixels).mean() < 2
    if window and shape[0] != shape[1]:
        taken_for_an_original = decode(np.asarray(copy), "copy", 128, window)
        assert taken_for_an_original.shape is None
        assert np.abs(expected - taken_for_an_original.pixels).mean() > 4


@pytest.mark.parametrize("window", [1.0, 1.25, 0.8])
@pytest.mark.parametrize("shape", [(600, 600), (900, 600), (620, 600), (1400, 600), (600, 900)])
def test_a_circle_in_a_stretched_copy_is_as_wide_as_the_window_makes_every_circle(shape, window):
    """Its diameter is half the height of the window, whose width becomes as long as its height."""
    width, height = shape
    diameter = min(height, width / window) / 2
    y, x = np.indices((height, width))
    inside = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2 < (diameter / 2) ** 2
    original = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8))
    copy = np.asarray(original.resize((224, 224), Image.Resampling.BILINEAR))
    rows, columns = np.nonzero(decode(copy, "copy", 128, window, shape).pixels > 127)
    assert np.ptp(rows) + 1 == pytest.approx(64, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(64 / window, abs=2)


@pytest.mark.parametrize(
    ("size", "window", "shape", "box"),
    [
        ((200, 100), 0, None, (0, 0, 200, 100)),
        ((200, 100), 1.0, None, (50, 0, 150, 100)),  # too wide: the sides go
        ((100, 200), 1.0, None, (0, 50, 100, 150)),  # too high: above and below
        ((224, 224), 1.0, (200, 100), (56, 0, 168, 224)),  # a copy of the first
        ((224, 224), 1.25, (125, 100), (0, 0, 224, 224)),
        ((224, 224), 1.25, None, (0, 22.4, 224, 201.6)),  # taken for a square original
    ],
)
def test_window_is_the_largest_in_the_middle(size, window, shape, box):
    assert find_window(size, window, shape) == pytest.approx(box)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/anywhere/test/NORMAL/IM-0001-0001.jpeg", (1857, 1317)),
        ("Test/normal/IM-0001-0001.jpeg", (1857, 1317)),
        ("films/NORMAL/IM-0001-0001.jpeg", None),
        ("IM-0001-0001.jpeg", None),
        (".", None),
    ],
)
def test_files_of_the_archive_are_known_by_the_end_of_their_path(path, size):
    assert look_up_original_size(Path(path)) == size


def test_only_square_files_are_taken_for_copies(tmp_path):
    path = tmp_path / "test" / "NORMAL" / "IM-0001-0001.jpeg"
    path.parent.mkdir(parents=True)
    for size, shape in (((300, 200), (300, 200)), ((200, 200), (1857, 1317))):
        Image.new("L", size).save(path)
        assert decode_file(path, 32, 1.0).shape == shape
