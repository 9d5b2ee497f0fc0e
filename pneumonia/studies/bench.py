"""How fast are reading and training, beside the usual ways? Measured from outside, by the package bench/."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ..config import CLAIMED_ACCURACY
from ..evaluation.estimate import join_words, percent
from ..results import Results
from ..style import GRAY, new_figure, own_axes, wrap
from .study import Figure, Study, Table, catalog_hash

OURS, FLOW = "pneumonia", "flow_from_directory"
READERS = {  # variant -> label, colour, marker
    FLOW: ("flow_from_directory", GRAY, "|"),
    "image_dataset_from_directory": ("image_dataset_from_directory", "#E69F00", "s"),
    "image_dataset_from_directory, cached": ("the same, cached", "#56B4E9", "D"),
    OURS: ("this project", "#D55E00", "o"),
}
BLUE = "#0072B2"
LABEL_WIDTH = 1.9  # inches for the names of the rows
SMALL = {"this project, in small": " (96 px, 6 epochs)"}  # what bench/cost.py trains


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


def draw_bench(results: Results) -> Drawing:
    table = results.table("bench")
    passes = list_passes(table)
    later = next(name for name in passes if name.endswith("later passes"))
    gains = select(table, later, "throughput", "ratio")
    others = gains.drop(OURS)
    speed, share = (select(table, "training", metric) for metric in ("throughput", "share of peak"))
    fastest = speed.idxmax()
    title = (
        f"After the first pass this project reads {times(gains[OURS])[:-1]} times as fast as flow_from_directory, the "
        f"fastest other reader ({READERS[others.idxmax()][0].replace('the same', 'image_dataset_from_directory')}) "
        f"{times(others.max())[:-1]} times; training reaches {share[fastest]:.0f} % of the peak"
    )
    note = (
        "Medians, all variants in turn on the same machine. Peak: the speed of a product of large matrices, measured "
        "through the same backend. Our first pass also audits every file and writes the cache."
    )
    figure = new_figure(title, note, height=3.0 + 0.62 * max(len(passes), len(speed)))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    plot_reading(table, left).set(xlabel="images per second, as a multiple of flow_from_directory", title="reading")
    plot_training(table, right).set(xlabel="images per second", title="training")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def tabulate_pipeline(results: Results) -> Table:
    """Radiographs per second in each pass, compared with flow_from_directory and the fastest other reader."""
    head = ["radiographs a second", "this project", f"`{FLOW}`", "fastest other way", f"times `{FLOW}`"]
    speeds, rows = results.table("bench").query("metric == 'throughput'"), []
    for benchmark, of_pass in speeds.groupby("benchmark", sort=False):
        medians = of_pass.set_index("variant")["median"]
        if {OURS, FLOW} <= set(medians.index):
            other = medians.drop(OURS).idxmax()
            shown = [f"{medians[name]:,.0f}" for name in (OURS, FLOW, other)]
            ratio = of_pass.set_index("variant").loc[OURS, "ratio"]  # within a round, as in the figure
            rows.append([benchmark, *shown[:2], f"{shown[2]} (`{other}`)", spell_times(ratio)])
    return Table(head, rows)


def spell_times(ratio: float) -> str:
    """Two digits, at least: "0.35", "13", "1,940"."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def describe(results: Results) -> dict[str, str]:
    """goal (CPU seconds to the claimed accuracy), backends (speed of training)."""
    table = results.table("bench")
    return {"goal": describe_goal(table), "backends": describe_backends(table)}


def describe_goal(table: pd.DataFrame) -> str:
    """CPU seconds to the claimed accuracy, ours and the popular recipe's."""
    rows = table[table["benchmark"].str.endswith(" on test")]
    if rows.empty:
        return "What it costs to reach the claimed accuracy was not measured (`python -m bench --only cost`)."
    cost, best = (rows[rows["metric"] == metric].set_index("variant") for metric in ("cost", "best accuracy"))
    costs, reached = [], best["median"] >= 100 * CLAIMED_ACCURACY
    for name, row in cost.iterrows():
        verb = f"has {best.loc[name, 'median']:.1f} % after" if reached[name] else "is not there after all of its"
        costs.append(f"{'the ' * name.startswith('popular')}{name}{SMALL.get(name, '')} {verb} {row['median']:,.0f}")
    theirs, ours = cost["median"]
    ratio = f" ({spell_times(theirs / ours)} times as much for the former)" if reached.all() else ""
    return (
        f"CPU seconds of a training, from reading the files on, until the mean test accuracy of "
        f"{cost['runs'].iloc[0]} seeds is {percent(CLAIMED_ACCURACY, 0)}: {'; '.join(costs)}{ratio}."
    )


def describe_backends(table: pd.DataFrame) -> str:
    """Radiographs a second of training under every backend that was measured, the default first."""
    rows = table[table["benchmark"] == "training"].set_index(["metric", "variant"])
    if rows.empty:
        return "How fast training is was not measured (`python -m bench --only training`)."
    speed, share = rows.loc["throughput"], rows.loc["share of peak", "median"]
    default = speed.index[0]
    others = [
        f"{spell_times(row['ratio'])} times with {name.removeprefix('tensorflow, ')}"
        for name, row in speed.iloc[1:].iterrows()
    ]
    return (
        f"The default, {default} in float32, trains on {speed.loc[default, 'median']:.0f} radiographs "
        f"a second ({share[default]:.0f} % of the speed of a large matrix product); {join_words(others)}. bfloat16 "
        "keeps 8 bits of every number, so the committed weights do without it."
    )


STUDY = Study(
    describe=describe,
    figures={
        "bench": Figure(
            draw_bench, "Dots and bars: speed of reading radiographs and of training, beside the usual ways"
        )
    },
    tables={"pipeline": tabulate_pipeline},
    depends_on=catalog_hash,
)
