"""What all figures share: type, colours, frame, the SIMULATED mark, and PNG files that never differ by chance."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image

from .config import Run
from .evaluation.scores import STRESS_COPIES
from .records import save_atomically

DPI = 120
WIDTH = 11.5  # inches
LABEL_WIDTH = 2.1  # inches for the names of models
TITLE_SIZE, NOTE_SIZE = 15, 11  # points
GRAY = "#555555"  # notes, references
ALERT = "#A6192E"  # the SIMULATED mark

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine has it
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "legend.fontsize": 11,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "lines.linewidth": 2,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}

# Okabe & Ito (2008), distinguishable for colour-blind readers; in the order of the series.
MODEL_COLOURS = ("#8C8C8C", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#009E73", "#D55E00", "#000000", "#882255")
KIND_COLOURS = {"NORMAL": "#44AA99", "bacteria": "#882255", "virus": "#CC6677", "unknown": "#882255"}  # Tol (2021)

SPLIT_TITLES = {
    "train_fit": "train",
    "validation": "validation",
    STRESS_COPIES: "its stress copies",
    "test": "official test",
}
SPLIT_LINES = {"validation": ":", STRESS_COPIES: "--", "test": "-"}
SPLIT_MARKS = {  # a ring, so that it stays visible around other marks
    "validation": {"marker": "o", "markersize": 14, "markerfacecolor": "none", "markeredgewidth": 1.8},
    STRESS_COPIES: {"marker": "D", "markersize": 8, "markerfacecolor": "white", "markeredgewidth": 1.8},
    "test": {"marker": "s", "markersize": 8},
}


def model_colours(run: Run) -> dict[str, str]:
    """The colour of each model of a run, the same in every figure."""
    return dict(zip((config.name for config in run.models), cycle(MODEL_COLOURS), strict=False))


@contextmanager
def use_style() -> Iterator[None]:
    """STYLE over matplotlib's own defaults: a reader's matplotlibrc or notebook cannot change a figure."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(title: str, note: str = "", height: float = 6.0, width: float = WIDTH) -> Figure:
    """An empty figure (inches) whose title and footnote take the place that they need; the axes get the rest."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    lines = {"title": wrap(title, width - 0.3, TITLE_SIZE, bold=True), "note": wrap(note, width - 0.3, NOTE_SIZE)}
    above = _text_height(lines["title"], TITLE_SIZE) + 0.2
    below = (_text_height(lines["note"], NOTE_SIZE) + 0.14) if note else 0.04
    left = 0.14 / width
    figure.text(left, 1 - 0.1 / height, lines["title"], va="top", size=TITLE_SIZE, weight="bold", gid="title")
    if note:
        figure.text(left, 0.1 / height, lines["note"], va="bottom", size=NOTE_SIZE, color=GRAY, gid="note")
    figure.get_layout_engine().set(rect=(left / 2, below / height, 1 - left, 1 - (above + below) / height))
    return figure


def mark_simulated(figure: Figure) -> None:
    """Say in a band below the figure, which grows by it, that nothing in it is about children."""
    band = 0.34
    width, height = figure.get_size_inches()
    shrink = height / (height + band)
    for text in figure.texts:
        text.set_y(1 - (1 - text.get_position()[1]) * shrink)
    left, bottom, right, top = figure.get_layout_engine().get()["rect"]
    figure.set_size_inches(width, height + band)
    figure.get_layout_engine().set(rect=(left, 1 - (1 - bottom) * shrink, right, top * shrink))
    share = band / (height + band)
    figure.add_artist(Rectangle((0, 0), 1, share, transform=figure.transFigure, color=ALERT, zorder=5))
    text = "SIMULATED radiographs: nothing shown here is about children"
    figure.text(0.5, share / 2, text, ha="center", va="center", color="white", weight="bold", gid="simulated", zorder=6)


def write_png(figure: Figure, path: Path, true_gray: bool = False) -> Path:
    """Save without anything that differs between two runs.

    A file that shows the same pixels already is left as it is: another build of zlib packs them into other bytes.

    Args: true_gray: keep every level, which radiographs need; a chart is well served by a palette of 256 colours.
    """
    figure.set_dpi(DPI)
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    if not true_gray:
        image = image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    elif all(np.array_equal(np.asarray(image)[..., 0], np.asarray(image)[..., channel]) for channel in (1, 2)):
        image = image.convert("L")
    if not _shows(path, image):
        save_atomically(path, lambda partial: image.save(partial, format="PNG", optimize=True))
    return path


def _shows(path: Path, image: Image.Image) -> bool:
    """Whether the file has these very pixels."""
    try:
        before = Image.open(path).convert("RGB")
    except OSError:  # not there, or not a picture
        return False
    return before.size == image.size and before.tobytes() == image.convert("RGB").tobytes()


def own_axes(ax: Axes | None) -> Axes:
    """The axes given, or new ones of their own."""
    return plt.subplots(layout="constrained")[1] if ax is None else ax


def wrap(text: str, width: float, size: float, bold: bool = False) -> str:
    """Break text of `size` points into lines of about equal length, as few as fit into `width` inches."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    narrowest = max(1, *(len(word) for word in text.split(" ")))
    columns = max(len(text), narrowest)

    def fits(lines: list[str]) -> bool:
        return all(_measure(line, size, bold) <= width for line in lines)

    lines = textwrap.wrap(text, columns)
    while columns > narrowest and not fits(lines):
        columns = max(narrowest, max(map(len, lines)) - 1)  # down to the longest line nothing would change
        lines = textwrap.wrap(text, columns)
    while columns > narrowest and len(even := textwrap.wrap(text, columns - 1)) == len(lines) and fits(even):
        columns -= 1  # fewer letters in a line can be wider ones
    return textwrap.fill(text, columns)


@lru_cache(maxsize=4096)
def _measure(line: str, size: float, bold: bool) -> float:
    """Width of a line in inches."""
    font = FontProperties(family=STYLE["font.family"], size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] / 72


def describe_change(before: float, after: float) -> str:
    """The change from `before` to `after` (both in 0-1), in words that hold for either sign."""
    points = round(100 * (after - before), 1)
    return f"{abs(points):.1f} points {'below' if points < 0 else 'above'} it" if points else "level with it"


def signed(points: float) -> str:
    """ "+1.3", "−0.4" or "0.0"."""
    text = f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "0.0" if text[1:] == "0.0" else text


def _text_height(text: str, size: float) -> float:
    """Inches that the lines take."""
    return (text.count("\n") + 1) * size * 1.2 / 72


def name_models(ax: Axes, run: Run, final_model: str) -> None:
    """The titles of all models at the left of the axes, the final one in bold."""
    ax.set_yticklabels([wrap(config.title, LABEL_WIDTH, 12) for config in run.models], size=12)
    for label, config in zip(ax.get_yticklabels(), run.models, strict=True):
        label.set_weight("bold" if config.name == final_model else "normal")
