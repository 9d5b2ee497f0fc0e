"""Files, folders, globs and lists on standard input -> one path after the other, always in the same order."""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ..config import PneumoniaError
from ..data.files import is_image, walk

STANDARD_INPUT = "-"
LONGEST = 32_767  # characters of a path, on Windows; Linux and macOS allow fewer
BELOW = "**"  # in a pattern: this folder and all below it


def expand(arguments: Iterable[str], listed: Iterable[str] | None) -> Iterator[Path]:
    """Every radiograph that the arguments of a command name, one at a time, so that memory does not grow with them.

    A folder gives the images below it (`files.is_image`), linked folders among them, without hidden files; ** in a
    pattern follows no links to folders. A pattern without a match, or a file that does not exist, is given as it is:
    reading it says so. Args: listed: lines, a path each, which "-" stands for.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            names = (line.rstrip("\r\n") for line in listed)
            yield from expand((name for name in names if name and name != STANDARD_INPUT), listed)
        elif os.path.isdir(argument):
            yield from filter(is_image, walk(argument))
        elif not glob.has_magic(argument) or "\0" in argument or len(argument) > LONGEST or os.path.lexists(argument):
            yield Path(argument)
        elif found := find(argument):
            yield from dict.fromkeys(expand(found, listed))  # a/** is a, and what is in a
        else:
            yield Path(argument)


def read_list(file: BinaryIO | None) -> Iterator[str]:
    """The lines of a list of paths: UTF-8, with or without a mark at its beginning, UTF-16 (PowerShell writes it), or
    whatever bytes names have on this system. Raises: PneumoniaError for what is not text: a film, say."""
    if file is None:
        raise PneumoniaError("standard input: closed; name files, or a folder that holds some")
    first = file.readline(1 << 20)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from (first + file.read()).decode("utf-16", "replace").split("\n")
        return
    if first.startswith(b"BM"):  # a BMP may have a line break before its first zero
        first += file.readline(1 << 20)
    if b"\0" in first or first.startswith(b"\x89PNG"):
        raise PneumoniaError("standard input: not a list of paths; name the film itself, or list paths, one a line")
    for line in chain(first.removeprefix(codecs.BOM_UTF8).split(b"\n"), file):
        yield os.fsdecode(line)


def find(pattern: str) -> list[str]:
    """What matches a pattern, sorted. Unlike `glob`, ** follows no links to folders, which may loop."""
    head, below, tail = _split(pattern)
    if not below:
        return sorted(glob.iglob(pattern))
    tops = [head] if not glob.has_magic(head) else sorted(filter(os.path.isdir, glob.iglob(head)))
    if not tail:
        return tops
    folders = (folder for top in tops for folder, files in _visit(top) if files is not None)
    found = {path for folder in folders for path in find(os.path.join(glob.escape(folder), tail))}
    return sorted(path for path in found if not (os.path.islink(path) and os.path.isdir(path)))


def _split(pattern: str) -> tuple[str, bool, str]:
    """What is before the first ** of a pattern, whether there is one, and what is behind it."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    if BELOW not in parts:
        return pattern, False, ""
    at = parts.index(BELOW)
    head = os.sep.join(parts[:at])
    return head or (os.sep if at else os.curdir), True, os.sep.join(parts[at + 1 :])


def _visit(top: str) -> Iterator[tuple[str, list[str] | None]]:
    """A folder and all below it, with the files of each (None: it cannot be listed), without what is hidden, and
    without following links. Not recursive: folders may be 3,000 deep."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        except OSError:
            yield folder, None
            continue
        visible = [(os.path.join(folder, name), is_folder) for name, is_folder in listed if not name.startswith(".")]
        yield folder, [path for path, is_folder in visible if not is_folder]
        waiting += [path for path, is_folder in reversed(visible) if is_folder]


def count(arguments: list[str]) -> int | None:
    """How many radiographs these are, for a progress bar; None where a list on standard input can be read only once."""
    return None if STANDARD_INPUT in arguments else sum(1 for _ in expand(arguments, listed=None))
