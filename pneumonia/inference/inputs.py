"""Files, folders, globs and lists on standard input -> one path after the other, always in the same order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from ..data.files import is_image, walk

STANDARD_INPUT = "-"


def expand(arguments: Iterable[str], listed: TextIO) -> Iterator[Path]:
    """Every radiograph that the arguments of a command name, one at a time, so that memory does not grow with them.

    A folder gives the images below it (`files.is_image`), linked folders among them, without hidden files. A pattern
    without a match, or a file that does not exist, is given as it is: reading it says so.
    Args: listed: where "-" reads one path a line from.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            names = (line.rstrip("\r\n") for line in listed)
            yield from expand((name for name in names if name and name != STANDARD_INPUT), listed)
        elif os.path.isdir(argument):
            yield from filter(is_image, walk(argument))
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield Path(argument)
        else:
            found = sorted(glob.iglob(argument, recursive=True))
            yield from expand(found, listed) if found else [Path(argument)]


def count(arguments: list[str]) -> int | None:
    """How many radiographs these are, for a progress bar; None where a list on standard input can be read only once."""
    return None if STANDARD_INPUT in arguments else sum(1 for _ in expand(arguments, listed=None))
