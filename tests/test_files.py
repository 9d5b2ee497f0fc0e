"""Which files are images, which folders are classes, and what lies below a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_files import make_dicom
from PIL import Image
from tiny_runs import write_tree

from pneumonia.data import files
from pneumonia.data.files import find_cause, find_class, is_image, to_printable, walk

JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 "
DICOM = make_dicom(np.zeros((4, 4), np.uint8))
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", "", ".old"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_images_are_known_by_suffix_or_content(tmp_path, kind, suffix):
    path = tmp_path / f"film{suffix}"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path, kind)
    assert is_image(path) and is_image(str(path))


@pytest.mark.parametrize(
    "content", [JPEG_2000, HEIC, make_dicom(np.zeros((4, 4), np.uint8))], ids=["JPEG 2000", "HEIC", "DICOM"]
)
def test_images_that_are_not_read_are_images_too(tmp_path, content):
    (tmp_path / "film").write_bytes(content)
    assert is_image(tmp_path / "film")


@pytest.mark.parametrize("content", [b"", b"name,age\n", b"BMI,age\n1,2\n", b"{}", b"PK\3\4", b"%PDF-1.7", b"\0" * 200])
def test_other_files_are_none(tmp_path, content):
    (tmp_path / "film").write_bytes(content)
    assert not is_image(tmp_path / "film")


def test_what_cannot_be_opened_is_to_be_reported(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert is_image(tmp_path / "link") and is_image(tmp_path / "gone")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert not is_image(tmp_path / "pipe"), "and it does not wait for somebody to write into it"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, "NORMAL") for name in ("NORMAL", "normal", "1_Normal", "No_findings", "NoFinding", "no pneumonia")),
        *((name, "PNEUMONIA") for name in ("Pneumonia", "Bacterial Pneumonia", "viral-pneumonia", "PNEUMONIA_VIRUS")),
        *((name, None) for name in ("COVID19", "COVID-19 pneumonia", "normal or pneumonia", "abnormal", "IM", "0", "")),
    ],
)
def test_folders_are_classes_where_their_name_leaves_no_doubt(name, expected):
    assert find_class(name) == expected


def test_folders_may_name_the_cause():
    names = ("Bacterial Pneumonia", "viral_pneumonia", "PNEUMONIA")
    assert [find_cause(name) for name in names] == ["bacteria", "virus", None]


def below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk(folder)]


def test_walk_is_in_order_and_leaves_clutter_out(tmp_path):
    write_tree(tmp_path, ["b/2.png", "b/1.png", "b/c/3.png", "a.png", ".hidden/x.png", "._a.png", "__MACOSX/y.png"])
    assert below(tmp_path) == ["a.png", "b/1.png", "b/2.png", "b/c/3.png"]


def test_linked_folders_are_followed_once_and_loops_end(tmp_path):
    write_tree(tmp_path, ["data/a/1.png", "data/a/2.png", "elsewhere/3.png"])
    data = tmp_path / "data"
    (data / "0_loop").symlink_to(data)
    (data / "0_same").symlink_to(data / "a")
    (data / "0_up").symlink_to(tmp_path)
    (data / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(data / "linked")
    (data / "nowhere").symlink_to("gone")
    (data / "self").symlink_to("self")
    assert below(data) == ["nowhere", "self", "a/1.png", "a/2.png", "linked/3.png"]


@pytest.fixture
def forbid(monkeypatch):
    """Let folders be forbidden to list (whoever is root may list any)."""
    forbidden, scandir = set(), os.scandir

    def refuse(path="."):
        if os.fspath(path) in forbidden:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(files.os, "scandir", refuse)
    return lambda path: forbidden.add(os.fspath(path))


def test_a_folder_that_cannot_be_listed_is_given_itself(tmp_path, forbid):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    forbid(tmp_path / "a")
    assert below(tmp_path) == ["a", "b/2.png"] and is_image(tmp_path / "a")


def test_names_are_printable():
    assert to_printable("scan ü.png") == "scan ü.png"
    assert to_printable(os.fsdecode(b"scan \xfc.png")) == "scan \\xfc.png"
    assert to_printable("a\rb.png") == "a\\rb.png"
