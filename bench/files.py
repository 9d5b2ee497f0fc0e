"""The files to read: as many as asked for, as they are and of the size of the originals."""

from __future__ import annotations

import shutil
from itertools import cycle, islice
from pathlib import Path

from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.data.catalog import iterate_files

ORIGINAL_SIZE = (1328, 968)  # pixels: the middle of the 1,566 original train files that were measured, about


def link_files(source: Path, target: Path, count: int) -> Path:
    """Lay out `count` radiographs of `source` below target/train/{NORMAL,PNEUMONIA}; few are repeated until enough.

    Returns: target. Raises: PneumoniaError when there are none.
    """
    found = [each for each in iterate_files(source) if each[0] == "train"]
    if not found:
        raise PneumoniaError(f"{source}: no radiographs in train/; name a folder with train/NORMAL, train/PNEUMONIA")
    shutil.rmtree(target, ignore_errors=True)
    (target / "test").mkdir(parents=True)  # an archive has one, and is known by it
    for number, (_, class_name, file) in enumerate(islice(cycle(_spread(found, count)), count)):
        name = target / "train" / class_name / f"{number:05d}{file.suffix}"
        name.parent.mkdir(parents=True, exist_ok=True)
        try:
            name.symlink_to(file.resolve())
        except OSError:  # not every system lets every user make links
            shutil.copyfile(file, name)
    return target


def _spread(found: list[tuple], count: int) -> list[tuple]:
    """At most `count` of them, at equal distances, so that both classes are there."""
    return [found[index * len(found) // count] for index in range(count)] if len(found) > count else found


def enlarge_files(source: Path, target: Path, count: int) -> Path:
    """Where originals are missing: `count` radiographs of `source`, enlarged to the usual size of an original."""
    found = [each for each in iterate_files(source) if each[0] == "train"]
    shutil.rmtree(target, ignore_errors=True)
    for _, class_name, file in _spread(found, count):
        name = target / "train" / class_name / f"{file.stem}.jpeg"
        name.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            image.convert("L").resize(ORIGINAL_SIZE, Image.Resampling.BICUBIC).save(name, quality=90)
    return target
