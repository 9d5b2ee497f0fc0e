"""What the notebook calls besides the steps: source code, pictures, tables, prose with numbers from result files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property

import matplotlib.figure
import seaborn as sns
from IPython.display import Code, Image, Markdown

from ..config import Run
from ..results import Results
from ..studies import load_results
from ..style import ALERT, MODEL_COLOURS, STYLE, model_colours, write_png
from .figures.gallery import FIGURES, can_be_drawn, draw_figure
from .pages import Filler


class Story:
    """Shows one run: figures are drawn (and saved) when they are shown, numbers are looked up, never typed."""

    def __init__(self, results: Results):
        self.results = results
        self.run = results.run

    @cached_property
    def filler(self) -> Filler:
        return Filler(self.results)

    @property
    def colours(self) -> dict[str, str]:
        """The colour of each model by its title."""
        return {self.results.title(name): colour for name, colour in model_colours(self.run).items()}

    def say(self, text: str) -> Markdown:
        """Prose with {{ names }} filled from the result files. PneumoniaError for a name that is not there."""
        filled = self.filler.fill(text)
        return Markdown(f"**SIMULATED**\n\n{filled}" if self.run.is_simulated else filled)

    def has(self, stem: str) -> bool:
        """Whether what the figure shows was measured in this run."""
        return can_be_drawn(self.results, stem)

    def figure(self, stem: str) -> Image:
        """Draw images/<stem>.png and show it."""
        return Image(filename=str(draw_figure(self.results, stem)), alt=FIGURES[stem].alt)

    def report_table(self, name: str) -> Markdown:
        """A table by its name in templates without "table.": "training", "subgroups.subgroups"."""
        return self.say(f"{{{{ table.{name} }}}}")


def open_story(run: Run) -> Story:
    """The story of a run whose result files exist."""
    return Story(load_results(run))


def show_source(*functions: Callable) -> Code:
    """The source code of functions, one below the other."""
    return Code("\n\n".join(inspect.getsource(function) for function in functions), language="python")


def use_notebook_style() -> None:
    """seaborn's theme for the figures that cells draw, in the colours of the project."""
    settings = {"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.spines.right": False}
    settings |= {"axes.spines.top": False, "font.family": STYLE["font.family"], "figure.dpi": 100}
    sns.set_theme(style="ticks", palette=[MODEL_COLOURS[4], MODEL_COLOURS[6], MODEL_COLOURS[5]], rc=settings)


def save_figure(figure: matplotlib.figure.Figure, run: Run, stem: str) -> None:
    """Write a figure that a cell has drawn to images/<stem>.png; that of a simulated run says so."""
    if run.is_simulated:
        figure.text(0.99, 0.99, "SIMULATED", ha="right", va="top", color=ALERT, weight="bold")
    write_png(figure, run.images_dir / f"{stem}.png")
