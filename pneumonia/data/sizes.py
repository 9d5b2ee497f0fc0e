"""How many pixels the original files have: a stretch to a square can be undone, and says nothing by itself."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config import ROOT

if TYPE_CHECKING:
    import pandas as pd  # `predict`, which looks up sizes too, does without

TABLE = ROOT / "data" / "original_sizes.csv"  # path, width, height of the 5,856 files of the archive; data/README.md


@cache
def read_original_sizes(table: Path = TABLE) -> dict[str, tuple[int, int]]:
    """path within the archive -> (width, height) of the original file in pixels; empty where there is no table."""
    if not table.exists():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row["path"]: (int(row["width"]), int(row["height"])) for row in csv.DictReader(file)}


def look_up_original_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the original of a file of the archive, known by the last three parts of its path
    (train, val or test / class / name); None for any other file."""
    *_, split, class_name, name = ("", "", "", *path.parts)
    return read_original_sizes().get(f"{split.lower()}/{class_name.upper()}/{name}")


def describe_unknown_proportions(count: int, of: int) -> str:
    """What follows for a model that sees true proportions from square files whose originals are unknown."""
    files = f"{count} of {of} files {'is' if count == 1 else 'are'} square"
    return (
        f"{files} and read as they are; if they are stretched copies, their proportions are wrong and the predictions "
        "less reliable: give the original files"
    )


def find_original_sizes(rows: pd.DataFrame) -> np.ndarray:
    """Width and height of the original of every catalog row, int (n, 2).

    A square file is a stretched copy where the table knows its name; any other file is its own original.
    """
    own = rows[["width", "height"]].to_numpy(dtype=int)
    return np.array(
        [
            (look_up_original_size(Path(path)) or size) if size[0] == size[1] else size
            for path, size in zip(rows["path"], own.tolist(), strict=True)
        ],
        dtype=int,
    ).reshape(-1, 2)


def count_pixels(rows: pd.DataFrame) -> dict[str, int]:
    """path -> pixels of the original file of every catalog row; without those of square files that are in no table.

    Such a file may be a stretched copy, whose own size says nothing.
    """
    sizes = find_original_sizes(rows)
    return {
        path: int(width * height)
        for path, (width, height) in zip(rows["path"], sizes, strict=True)
        if width != height or look_up_original_size(Path(path))
    }
