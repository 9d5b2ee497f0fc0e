"""File names of any kind, folders, patterns, links and lists -> paths."""

from __future__ import annotations

import io
import os
import shutil

import numpy as np
import pytest
from dicom_files import make_dicom
from tiny_runs import write_tree

from pneumonia.inference.inputs import count, expand

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
    return [str(path) for path in expand(map(str, arguments), io.StringIO(listed))]


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
