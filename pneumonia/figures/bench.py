"""What speed was measured, side by side with the usual ways: the figure `bench`."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ..results import Results
from .style import GRAY, new_figure, own_axes, wrap

OURS, FLOW = "pneumonia", "flow_from_directory"
READERS = {  # variant -> label, colour, marker
    FLOW: ("flow_from_directory", GRAY, "|"),
    "image_dataset_from_directory": ("image_dataset_from_directory", "#E69F00", "s"),
    "image_dataset_from_directory, cached": ("the same, cached", "#56B4E9", "D"),
    OURS: ("this project", "#D55E00", "o"),
}
BLUE = "#0072B2"
LABEL_WIDTH = 1.9  # inches for the names of the rows


def select(table: pd.DataFrame, benchmark: str, metric: str, column: str = "median") -> pd.Series:
    """`column` of one benchmark and metric, by variant."""
    return table.query("benchmark == @benchmark and metric == @metric").set_index("variant")[column]


def list_passes(table: pd.DataFrame) -> list[str]:
    """The benchmarks of reading files, in the order of the table."""
    rows = table[(table["variant"] == FLOW) & (table["metric"] == "throughput")]
    return list(rows["benchmark"])


def times(ratio: float) -> str:
    """ "0.4x", "13x" or "1,300x"."""
    return f"{float(f'{ratio:.2g}'):,.{1 if ratio < 10 else 0}f}x"


def plot_reading(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Images per second of every reader as a multiple of flow_from_directory, a row per pass, logarithmic."""
    ax = own_axes(ax)
    passes = list_passes(table)
    for height, benchmark in enumerate(passes):
        ratios = select(table, benchmark, "throughput", "ratio").fillna(1.0)
        for reader, (_, colour, marker) in READERS.items():
            ax.plot(ratios[reader], height, marker, color=colour, markersize=11, markeredgewidth=2, linestyle="none")
        ax.text(ratios[OURS], height - 0.2, times(ratios[OURS]), ha="center", va="bottom", size=11)
    for label, colour, marker in READERS.values():
        ax.plot([], [], marker, color=colour, markersize=9, markeredgewidth=2, linestyle="none", label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(passes)), [wrap(name, LABEL_WIDTH, 11) for name in passes])
    ax.set_ylim(len(passes) - 0.4, -0.8)
    return ax


def plot_training(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Images per second of training, a bar per variant, with the share of the measured peak."""
    ax = own_axes(ax)
    speed, share = select(table, "training", "throughput"), select(table, "training", "share of peak")
    ax.barh(range(len(speed)), speed, color=BLUE, height=0.6)
    for height, name in enumerate(speed.index):
        ax.text(speed[name], height, f" {share[name]:.0f} % of peak", va="center", size=11)
    ax.set_yticks(range(len(speed)), [wrap(name, LABEL_WIDTH, 11) for name in speed.index])
    ax.set_xlim(0, 1.5 * speed.max())
    ax.set_ylim(len(speed) - 0.4, -0.6)
    return ax


def draw_bench(results: Results) -> Figure:
    table = results.table("bench")
    passes = list_passes(table)
    later = next(name for name in passes if name.endswith("later passes"))
    gain = select(table, later, "throughput", "ratio")[OURS]
    speed, share = (select(table, "training", metric) for metric in ("throughput", "share of peak"))
    fastest = speed.idxmax()
    title = (
        f"After its first pass this project reads {times(gain)[:-1]} times as many radiographs a second as "
        f"flow_from_directory; training is fastest with {fastest}, at {share[fastest]:.0f} % of what the machine can do"
    )
    note = (
        "Medians, all variants in turn on the same machine. Peak: the speed of a product of large matrices, measured "
        "through the same backend. Our first pass also audits every file and writes the cache."
    )
    figure = new_figure(title, note, height=2.6 + 0.62 * max(len(passes), len(speed)))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    plot_reading(table, left).set(xlabel="images per second, as a multiple of flow_from_directory", title="reading")
    plot_training(table, right).set(xlabel="images per second", title="training")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure
