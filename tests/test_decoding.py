"""Films that would take hours or all memory: each ends in one line, and the next one is read."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from dicom_files import SYNTAXES, make_dicom
from PIL import Image

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data import decoding
from pneumonia.data.decoding import Decoders
from pneumonia.data.dicom import Header
from pneumonia.data.radiograph import decode
from pneumonia.data.simulate import simulate_radiograph

CHEST = simulate_radiograph("bacteria", np.random.default_rng(3), 48)


@pytest.fixture
def decoders() -> Decoders:
    return Decoders()


@pytest.fixture
def impatient(monkeypatch):
    """One second a film."""
    monkeypatch.setattr(decoding, "SECONDS", 1)


def encode(pixels: np.ndarray, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def png_of_chunks(count: int) -> bytes:
    plain, kind = encode(CHEST, "PNG"), b"abCd"
    at = plain.index(b"IDAT") - 4
    return plain[:at] + (struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))) * count + plain[at:]


def gif_of_comments(count: int) -> bytes:
    plain = encode(CHEST, "GIF")
    at = plain.index(b"\x2c", 13 + 3 * 256)  # of the picture, behind the palette
    return plain[:at] + b"\x21\xfe\x01a\0" * count + plain[at:]


def jpeg_of_fill(count: int) -> bytes:
    plain = encode(CHEST, "JPEG")
    return plain[:2] + b"\xff" * count + plain[2:]


def jpeg_of_scans(count: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000), dtype=np.uint8)
    plain = encode(noise, "JPEG", progressive=True, quality=10)
    starts = [at for at in range(len(plain)) if plain.startswith(b"\xff\xda", at)]
    return plain[: starts[2]] + plain[starts[1] : starts[2]] * count + plain[starts[2] :]


def tiff_of_pages(count: int) -> bytes:
    """Directories of one row of four pixels each, which all share it."""
    fields = ((256, 3, 4), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 1), (279, 4, 4))
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    length = 2 + len(entries) + 4
    pages = (
        struct.pack("<H", len(fields)) + entries + struct.pack("<I", (12 + (page + 1) * length) % (12 + count * length))
        for page in range(count)
    )
    return b"II*\0" + struct.pack("<I", 12) + b"\x80" * 4 + b"".join(pages)


def dicom_of_items(count: int) -> bytes:
    """A sequence of empty items before the picture. Its length is not said, so that it has to be read to its end."""
    plain = make_dicom(CHEST)
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * count + b"\xfe\xff\xdd\xe0\0\0\0\0"
    at = plain.index(struct.pack("<HH", 0x0028, 0x0002) + b"US")
    sequence = struct.pack("<HH", 0x0018, 0x9999) + b"SQ\0\0\xff\xff\xff\xff" + items
    return plain[:at] + sequence + plain[at:]


HOSTILE = {
    "png of chunks": lambda: png_of_chunks(3_000_000),
    "gif of comments": lambda: gif_of_comments(1_000_000),
    "jpeg of fill": lambda: jpeg_of_fill(100_000_000),
    "jpeg of scans": lambda: jpeg_of_scans(3_000),
    "dicom of items": lambda: dicom_of_items(1_000_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_film_is_given_up_and_the_next_is_read(kind, decoders, impatient):
    content = HOSTILE[kind]()
    decoders.decode(encode(CHEST, "PNG"), "warm-up")
    start = time.monotonic()
    with pytest.raises(PneumoniaError, match=r"^x: takes more than 1 seconds? to decode; save the picture anew$"):
        decoders.decode(content, "x", 32)
    assert time.monotonic() - start < 60
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_pages_are_not_counted(decoders):
    """Counting 100,000 of them takes half a minute."""
    with pytest.raises(PneumoniaError, match="several pictures in one file"):
        decoders.decode(tiff_of_pages(100_000), "x", 32)
    assert decode(tiff_of_pages(1), "x").pixels.tolist() == [[128] * 4]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "16 bits", *SYNTAXES])
@pytest.mark.parametrize("size", [32, None])
def test_the_picture_is_the_same_bit_for_bit(kind, size, decoders):
    if kind in SYNTAXES:
        content = make_dicom(CHEST, kind, PatientAge="018M")
    else:
        content = encode(CHEST.astype(np.uint16) * 257, "PNG") if kind == "16 bits" else encode(CHEST, kind)
    here, there = decode(content, "x", size, 1.25), decoders.decode(content, "x", size, 1.25)
    assert np.array_equal(here.pixels, there.pixels)
    assert (here.width, here.height, here.is_gray, here.shape) == (
        there.width,
        there.height,
        there.is_gray,
        there.shape,
    )
    assert here.header == there.header and isinstance(there.header, Header) == (kind in SYNTAXES)


def test_files_and_errors_are_those_of_decode_file(decoders, tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(encode(CHEST, "PNG"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    decoders.decode_file(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)  # the process has started elsewhere
    assert np.array_equal(decoders.decode_file(tmp_path.__class__("x.png")).pixels, CHEST)
    for name, reason in (("bad.png", "not an image"), ("nowhere.png", "No such file")):
        with pytest.raises(PneumoniaError, match=f"^{name}: .*{reason}"):
            decoders.decode_file(tmp_path.__class__(name))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
def test_memory_is_limited(decoders):
    decoders.run(bytearray, "x", 500_000_000 // 2**10)
    with pytest.raises(PneumoniaError, match="^x: takes too much memory to decode; shrink it"):
        decoders.run(bytearray, "x", 2**30)
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_the_largest_picture_of_16_bits_fits(decoders, monkeypatch):
    """129 KB, which took 1.8 GB."""
    monkeypatch.setattr(decoding, "SECONDS", 60)  # of a machine that has other things to do
    content = encode(np.full((8000, 8000), 40_000, np.uint16), "PNG")
    assert len(content) < 500_000
    found = decoders.decode(content, "x", 32)
    assert found.width == 8000 and np.abs(found.pixels.astype(int) - 40_000 / 257).max() < 1


def test_a_crash_is_one_line(decoders):
    with pytest.raises(PneumoniaError, match=r"^x: breaks its decoder \(status -?\d+\); save the picture anew$"):
        decoders.run(os.abort, "x")
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_a_process_that_somebody_kills_is_replaced(decoders):
    decoders.decode(encode(CHEST, "PNG"), "x")
    for decoder in decoding._idle:
        decoder.process.kill()
        decoder.process.wait()
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_what_a_library_prints_spoils_no_answer(decoders):
    assert decoders.run(print, "x", "a warning") is None
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_one_process_serves_many_films(decoders):
    pids = {decoders.run(os.getpid, "x") for _ in range(20)}
    assert len(pids) == 1 and os.getpid() not in pids


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_between_question_and_answer(decoders):
    """The next film must not get the picture of this one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in the background ignores it
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    decoders.decode(encode(CHEST, "PNG"), "warm-up")
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        decoders.run(time.sleep, "x", 60)
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert np.array_equal(decoders.decode(encode(CHEST, "PNG"), "next").pixels, CHEST)


def test_stopping_does_not_wait(decoders):
    said = []

    def wait():
        try:
            decoders.run(time.sleep, "x", 60)
        except PneumoniaError as error:
            said.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not decoders.busy:
        time.sleep(0.01)
    decoders.stop()
    thread.join(30)
    assert len(said) == 1 and not thread.is_alive()
    with pytest.raises(PneumoniaError, match="stopped"):
        decoders.decode(encode(CHEST, "PNG"), "x")
    assert np.array_equal(Decoders().decode(encode(CHEST, "PNG"), "others go on").pixels, CHEST)


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_no_process_outlives_its_program():
    code = (
        "import os, time; from pneumonia.data.decoding import Decoders; found = Decoders();"
        "print(found.run(os.getpid, 'x'), flush=True); found.run(time.sleep, 'x', 1)"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(program.stdout.readline())
    program.kill()
    program.communicate()
    deadline = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":  # in a container without an init, it stays a zombie
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    return True
