"""File names of any kind, folders, patterns, links and lists -> paths."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dicom_files import make_dicom
from PIL import Image
from tiny_runs import write_tree

from pneumonia.config import PneumoniaError
from pneumonia.data.radiograph import read_bytes
from pneumonia.inference.inputs import count, expand, read_list

ODD_NAMES = (
    "with space.jpeg",
    "line\nbreak.png",
    "émoji 🫁.jpeg",
    "-dash.jpeg",
    "[1].jpeg",
    'quo"te.png',
    "UPPER.JPEG",
)


def names(arguments, listed=""):
    lines = io.StringIO(listed) if isinstance(listed, str) else listed
    return [str(path) for path in expand(map(str, arguments), lines)]


def test_files_folders_and_patterns(tmp_path):
    write_tree(tmp_path, ["b/2.jpeg", "b/1.png", "b/c/3.jpeg", "a.jpeg"])
    assert names([tmp_path]) == [str(tmp_path / name) for name in ("a.jpeg", "b/1.png", "b/2.jpeg", "b/c/3.jpeg")]
    assert names([tmp_path / "b" / "*.jpeg"]) == [str(tmp_path / "b/2.jpeg")]
    assert len(names([tmp_path / "**" / "*.jpeg"])) == 3
    assert names([tmp_path / "a.jpeg", tmp_path / "b"])[0] == str(tmp_path / "a.jpeg")
    assert count([str(tmp_path)]) == 4 and count(["-", str(tmp_path)]) is None


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(tmp_path, name):
    write_tree(tmp_path, [name])
    assert names([tmp_path]) == names([tmp_path / name]) == [str(tmp_path / name)]


def test_name_that_is_not_unicode(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.jpeg")
    try:
        open(path, "wb").close()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert [os.fsencode(name) for name in names([tmp_path])] == [path]


def test_folder_gives_images_only(tmp_path):
    write_tree(tmp_path, ["x.jpeg", "._x.jpeg", ".hidden/y.jpeg"])
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "1.2.840.99").write_bytes(make_dicom(np.zeros((4, 4), np.uint8)))
    (tmp_path / "folder.jpeg").mkdir()
    for name in ("y.jfif", "z"):
        shutil.copyfile(tmp_path / "x.jpeg", tmp_path / name)
    assert names([tmp_path]) == [str(tmp_path / name) for name in ("1.2.840.99", "x.jpeg", "y.jfif", "z")]


def test_links(tmp_path):
    write_tree(tmp_path, ["real/x.jpeg"])
    (tmp_path / "link.jpeg").symlink_to(tmp_path / "real" / "x.jpeg")
    (tmp_path / "dangling.jpeg").symlink_to("nowhere.jpeg")
    (tmp_path / "loop.jpeg").symlink_to("loop.jpeg")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    write_tree(tmp_path.parent / f"{tmp_path.name}-elsewhere", ["y.jpeg"])
    (tmp_path / "NORMAL").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    found = ("dangling.jpeg", "link.jpeg", "loop.jpeg", "real/x.jpeg", "NORMAL/y.jpeg")
    assert names([tmp_path]) == [str(tmp_path / name) for name in found]


def test_missing_paths_are_passed_on_unchanged(tmp_path):
    assert names(["nowhere.jpeg", "no*where", "nul\0byte"]) == ["nowhere.jpeg", "no*where", "nul\0byte"]
    assert names([tmp_path]) == []


def test_list_on_standard_input(tmp_path):
    write_tree(tmp_path, ["a b.jpeg", "c/d.jpeg"])
    listed = f"{tmp_path}/a b.jpeg\n\n{tmp_path}/c\r\n-\n"
    assert names(["-"], listed) == [str(tmp_path / "a b.jpeg"), str(tmp_path / "c/d.jpeg")]


@pytest.mark.parametrize(
    "content",
    [
        "a.jpeg\né 🫁.jpeg\n".encode(),
        codecs.BOM_UTF8 + "a.jpeg\r\né 🫁.jpeg".encode(),
        "a.jpeg\r\né 🫁.jpeg\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "a.jpeg\né 🫁.jpeg\n".encode("utf-16-be"),
    ],
    ids=["utf-8", "with a mark", "utf-16", "utf-16, big end first"],
)
def test_lists_in_the_encodings_that_systems_write(content):
    assert names(["-"], read_list(io.BytesIO(content))) == ["a.jpeg", "é 🫁.jpeg"]


def test_list_of_names_that_are_not_unicode():
    (name,) = names(["-"], read_list(io.BytesIO(b"caf\xe9.jpeg\n")))
    assert os.fsencode(name) == b"caf\xe9.jpeg"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "DICOM"])
def test_a_film_is_no_list(form):
    file = io.BytesIO(make_dicom(np.zeros((40, 40), np.uint8)) if form == "DICOM" else b"")
    if form != "DICOM":
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(file, form)
        file.seek(0)
    with pytest.raises(PneumoniaError, match="standard input: not a list of paths; name the film itself"):
        list(read_list(file))


def test_no_standard_input():
    with pytest.raises(PneumoniaError, match="standard input: closed"):
        list(read_list(None))


def test_two_stars_do_not_follow_links_round_in_circles(tmp_path):
    """`glob` follows them until the path is too long: with two loops, for years."""
    write_tree(tmp_path, ["a/b/1.jpeg", "a/2.jpeg", ".hidden/3.jpeg", "[x]/4.jpeg"])
    for name in ("round", "and_round"):
        (tmp_path / "a" / name).symlink_to(tmp_path)
    found = [str(tmp_path / name) for name in ("[x]/4.jpeg", "a/2.jpeg", "a/b/1.jpeg")]
    assert names([tmp_path / "**" / "*.jpeg"]) == names([tmp_path / "**" / "**" / "*.jpeg"]) == found
    assert sorted(names([tmp_path / "**"])) == sorted(names([tmp_path / "**" / "*"])) == found, "each of them once"
    assert names([tmp_path / "**" / "b" / "*.jpeg"]) == names([tmp_path / "*" / "**" / "b" / "*"]) == found[2:]


def test_two_stars_below_the_working_folder(tmp_path, monkeypatch):
    write_tree(tmp_path, ["a/b/1.jpeg", "2.jpeg"])
    monkeypatch.chdir(tmp_path)
    assert sorted(names(["**/*.jpeg"])) == ["2.jpeg", "a/b/1.jpeg"]


@pytest.fixture
def deep(tmp_path):
    """3,000 folders in one another: deeper than Python's stack, and longer than a path may be."""
    top = here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("dd", dir_fd=here)
        below = os.open("dd", os.O_RDONLY, dir_fd=here)
        if here != top:
            os.close(here)
        here = below
    os.close(here)
    os.close(top)
    yield tmp_path
    subprocess.run(["rm", "-rf", str(tmp_path / "dd")], check=True)


@pytest.mark.skipif(os.name != "posix", reason="needs folders relative to open ones")
def test_folders_that_are_too_deep_are_one_line(deep):
    write_tree(deep, ["x.jpeg"])
    first, *others = names([deep])
    assert first == str(deep / "x.jpeg") and len(others) == 1
    with pytest.raises(PneumoniaError, match="File name too long"):
        read_bytes(Path(others[0]))
    assert names([deep / "**" / "*.jpeg"]) == [first]


def test_lines_that_no_system_takes_for_a_path(tmp_path):
    odd = ["a\0b/*.jpg", "*" * 100_000, "x" * 200_000]
    assert names(["-"], "\n".join(odd)) == odd
