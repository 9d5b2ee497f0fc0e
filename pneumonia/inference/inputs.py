"""Files, folders, globs and lists on standard input -> one path after the other, always in the same order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ..data.dicom import is_dicom

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom")
STANDARD_INPUT = "-"


def expand(arguments: Iterable[str], listed: TextIO) -> Iterator[Path]:
    """Every radiograph that the arguments of a command name, one at a time, so that memory does not grow with them.

    A folder gives the images below it by name, without hidden files (macOS leaves `._x.jpeg`) and without following
    links to folders (they may loop). A pattern without a match, or a file that does not exist, is given as it is:
    reading it says so. Args: listed: where "-" reads one path a line from.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            names = (line.rstrip("\r\n") for line in listed)
            yield from expand((name for name in names if name and name != STANDARD_INPUT), listed)
        elif os.path.isdir(argument):
            yield from walk(argument)
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield Path(argument)
        else:
            found = sorted(glob.iglob(argument, recursive=True))
            yield from expand(found, listed) if found else [Path(argument)]


def walk(folder: str) -> Iterator[Path]:
    """Images below a folder, its own first; a folder that cannot be listed is given itself, so that it is reported."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError:
        yield Path(folder)
        return
    visible = [(os.path.join(folder, name), is_folder) for name, is_folder in listed if not name.startswith(".")]
    yield from (Path(path) for path, is_folder in visible if not is_folder and is_image(path))
    for path, is_folder in visible:
        if is_folder:
            yield from walk(path)


def is_image(path: str) -> bool:
    """By its suffix; without a known one (DICOM files often have none) by its first bytes."""
    if path.lower().endswith(SUFFIXES):
        return not os.path.isdir(path)
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def count(arguments: list[str]) -> int | None:
    """How many radiographs these are, for a progress bar; None where a list on standard input can be read only once."""
    return None if STANDARD_INPUT in arguments else sum(1 for _ in expand(arguments, listed=None))
