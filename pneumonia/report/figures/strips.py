"""Radiographs side by side, without words, for the slides, which say in their own type what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ...config import CLASS_NAMES
from ...data.catalog import select_used
from ...data.sizes import find_original_sizes
from ...records import save_atomically
from ...results import Results
from .mistakes import compute_outcomes, compute_worst_mistakes
from .radiographs import SHOWN_SIZE, pick_patients, read_pictures

FILMS = 3  # in a strip
PROPORTIONS = 4 / 3  # width / height of a place; a wider film loses its sides, a narrower one its top and bottom
SPACE = 8  # white pixels between two films


def arrange_films(results: Results, rows: pd.DataFrame) -> Image.Image:
    """The first FILMS radiographs of these rows at true proportions, in a row, 8-bit gray; missing ones are white."""
    height, width = SHOWN_SIZE, round(SHOWN_SIZE * PROPORTIONS)
    strip = Image.new("L", (FILMS * width + (FILMS - 1) * SPACE, height), 255)
    rows = rows.head(FILMS)
    pictures = read_pictures(results.run, rows) if len(rows) else ()
    for place, (picture, (wide, high)) in enumerate(zip(pictures, find_original_sizes(rows), strict=True)):
        scale = max(width / wide, height / high)
        film = Image.fromarray(picture).resize((round(scale * wide), round(scale * high)), Image.Resampling.BICUBIC)
        left, top = (film.width - width) // 2, (film.height - height) // 2
        strip.paste(film.crop((left, top, left + width, top + height)), (place * (width + SPACE), 0))
    return strip


def pick_films(results: Results, class_name: str) -> pd.DataFrame:
    """Training radiographs of a class, not chosen by eye."""
    used = select_used(results.catalog)
    return pick_patients(used[(used["split"] == "train_fit") & (used["class_name"] == class_name)], FILMS)


def pick_mistakes(results: Results, outcome: str) -> pd.DataFrame:
    """The most confident mistakes of a kind on test, worst first, one film a child."""
    outcomes = compute_outcomes(results)
    worst = compute_worst_mistakes(outcomes[outcomes["outcome"] == outcome], len(outcomes)).drop_duplicates(
        "patient_id"
    )
    return select_used(results.catalog).set_index("path", drop=False).loc[worst["path"]]


STRIPS: dict[str, Callable[[Results], pd.DataFrame]] = {  # file name without .png -> the films on it
    "slide_normal": lambda results: pick_films(results, CLASS_NAMES[0]),
    "slide_pneumonia": lambda results: pick_films(results, CLASS_NAMES[1]),
    "slide_false_alarms": lambda results: pick_mistakes(results, "false positive"),
    "slide_missed": lambda results: pick_mistakes(results, "false negative"),
}


def draw_strips(results: Results) -> list[Path]:
    """Write images/<stem>.png of every strip; a file that shows the same pixels is left as it is.

    Raises: PneumoniaError when there are no radiographs.
    """
    paths = []
    for stem, pick in STRIPS.items():
        path, strip = results.run.images_dir / f"{stem}.png", arrange_films(results, pick(results))
        if not (path.exists() and np.array_equal(np.asarray(Image.open(path)), np.asarray(strip))):
            save_atomically(path, lambda partial, strip=strip: strip.save(partial, format="PNG", optimize=True))
        paths.append(path)
    return paths
