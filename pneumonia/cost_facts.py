"""What it costs to reproduce everything, how that grows, and what a cluster would cost on paper: sentences."""

from __future__ import annotations

import pandas as pd

from .config import CLAIMED_ACCURACY
from .results import Results, command_for
from .wording import NOTHING, Facts, Table, join_words, percent

CORE_HOUR = 0.05  # price of a core for an hour, in any unit: an EXAMPLE, not a fact
ARCHIVE, SWEEP = 1_000_000, 100  # radiographs to read, networks to train
OURS, FLOW = "pneumonia", "flow_from_directory"
SMALL = {"this project, in small": " (96 px, 6 epochs)"}  # what bench/cost.py trains


def tell_archive(results: Results, table: pd.DataFrame) -> Facts:
    """cost.archive -> reading a million radiographs, from the largest list of copies and the one of untouched files."""
    rates = table[table["benchmark"] == "end to end"].set_index("variant")["median"]
    if rates.empty:
        return {"cost.archive": "How long an archive takes was not measured."}
    largest: dict[str, tuple[int, float]] = {}  # kind of file -> length of the list, files a second
    for variant, rate in rates.items():
        count, kind = variant.split(maxsplit=1)
        largest[kind] = max(largest.get(kind, (0, 0.0)), (int(count), rate))
    told = [
        f"{rate:.0f} {kind} a second ({ARCHIVE / rate / 3600:.1f} hours for {ARCHIVE:,}; a list of {count:,})"
        for kind, (count, rate) in largest.items()
    ]
    cpu = table.query("benchmark == 'throughput' and unit == 'ms' and variant == 'ONNX Runtime'")["median"]
    priced = "" if cpu.empty else f" The network alone takes {cpu.iloc[0] * ARCHIVE / 3.6e6:.1f} core hours for them."
    return {"cost.archive": f"Read in one run on one machine: {' and '.join(told)}.{priced}"}


def tell_growth(results: Results, table: pd.DataFrame) -> Facts:
    """cost.growth -> how the CPU time of a training grows with epochs, pixels and width; and a sweep on paper."""
    one = table.drop_duplicates("model").set_index(["width", "image_size", "epochs"])["cpu_seconds"]
    steps = (
        ("twice the epochs", (1.0, 96, 12), (1.0, 96, 24)),
        ("twice the side of the picture", (1.0, 64, 12), (1.0, 128, 12)),
        ("1.5 times the width", (1.0, 96, 12), (1.5, 96, 12)),
    )
    told = [
        f"{one[more] / one[less]:.1f} times with {name}" for name, less, more in steps if {less, more} <= set(one.index)
    ]
    final = results.training.query("model == @results.final_model")["cpu_seconds"].mean()
    hours = SWEEP * final / 3600
    return {
        "cost.growth": f"The CPU time of a training grows {', '.join(told)}, and linearly with seeds and "
        f"radiographs. {SWEEP} trainings of the final network take {hours:.0f} core hours, shared by however many "
        f"cores `train --cluster` finds ({hours * CORE_HOUR:,.2f} at an example price of {CORE_HOUR:g} a core hour)."
    }


def tabulate_pipeline(results: Results, facts: Facts) -> Table:
    """results/bench.csv: radiographs a second, pass by pass, beside flow_from_directory and the fastest other way."""
    head = ["radiographs a second", "this project", f"`{FLOW}`", "fastest other way", f"times `{FLOW}`"]
    if "bench" not in results.measured:
        return head, [[f"not measured in this run (`{command_for('bench')}`)", *[NOTHING] * 4]]
    speeds, rows = results.table("bench").query("metric == 'throughput'"), []
    for benchmark, of_pass in speeds.groupby("benchmark", sort=False):
        medians = of_pass.set_index("variant")["median"]
        if {OURS, FLOW} <= set(medians.index):
            other = medians.drop(OURS).idxmax()
            told = [f"{medians[name]:,.0f}" for name in (OURS, FLOW, other)]
            ratio = of_pass.set_index("variant").loc[OURS, "ratio"]  # within a round, as in the figure
            rows.append([benchmark, *told[:2], f"{told[2]} (`{other}`)", times(ratio)])
    return head, rows


def times(ratio: float) -> str:
    """Two digits, at least: "0.35", "13", "1,940"."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def tell_goal(results: Results, table: pd.DataFrame) -> Facts:
    """cost.goal -> CPU seconds to the claimed accuracy, ours beside the popular recipe's."""
    rows = table[table["benchmark"].str.endswith(" on test")]
    if rows.empty:
        return {
            "cost.goal": "What it costs to reach the claimed accuracy was not measured (`python -m bench --only cost`)."
        }
    cost, best = (rows[rows["metric"] == metric].set_index("variant") for metric in ("cost", "best accuracy"))
    told, reached = [], best["median"] >= 100 * CLAIMED_ACCURACY
    for name, row in cost.iterrows():
        verb = f"has {best.loc[name, 'median']:.1f} % after" if reached[name] else "is not there after all of its"
        told.append(f"{'the ' * name.startswith('popular')}{name}{SMALL.get(name, '')} {verb} {row['median']:,.0f}")
    theirs, ours = cost["median"]
    ratio = f" ({times(theirs / ours)} times as much for the former)" if reached.all() else ""
    return {
        "cost.goal": f"CPU seconds of a training until the mean of {cost['runs'].iloc[0]} seeds has "
        f"{percent(CLAIMED_ACCURACY, 0)} of test right, from the files on: {'; '.join(told)}{ratio}."
    }


def tell_backends(results: Results, table: pd.DataFrame) -> Facts:
    """cost.backends -> radiographs a second of training under every backend that was measured, the default first."""
    rows = table[table["benchmark"] == "training"].set_index(["metric", "variant"])
    if rows.empty:
        return {"cost.backends": "How fast training is was not measured (`python -m bench --only training`)."}
    speed, share = rows.loc["throughput"], rows.loc["share of peak", "median"]
    default = speed.index[0]
    others = [
        f"{times(row['ratio'])} times with {name.removeprefix('tensorflow, ')}"
        for name, row in speed.iloc[1:].iterrows()
    ]
    return {
        "cost.backends": f"The default, {default} in float32, trains on {speed.loc[default, 'median']:.0f} radiographs "
        f"a second ({share[default]:.0f} % of the speed of a large matrix product); {join_words(others)}. bfloat16 "
        "keeps 8 bits of every number, so the committed weights do without it."
    }
