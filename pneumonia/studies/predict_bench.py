"""How fast are new radiographs read? Measured from outside, by `python -m bench --only predict`."""

from __future__ import annotations

import pandas as pd

from ..evaluation.estimate import UNDEFINED
from ..results import Results
from .study import Study, Table

KERAS = "keras.Model.predict"
ARCHIVE = 1_000_000  # radiographs to read


def describe(results: Results) -> dict[str, str]:
    """agreement (with Keras, and with untouched files), archive (how long a million radiographs take)."""
    table = results.table("predict_bench")
    return {"agreement": describe_agreement(table), "archive": describe_archive(table)}


def describe_agreement(table: pd.DataFrame) -> str:
    """How far the answers are from those of Keras, and from those on the untouched files."""
    rows = table[table["benchmark"] == "agreement"].set_index(["variant", "metric"])
    sentences = []
    if "ONNX Runtime" in rows.index:
        worst = rows.loc[("ONNX Runtime", "largest difference in probability")]
        sentences.append(f"ONNX Runtime and Keras differ by at most {worst['median']:.0e} in probability.")
    if "untouched files" in rows.index:
        files = rows.loc["untouched files"]
        mean, most = (files.loc[f"{what} difference in probability", "median"] for what in ("mean", "largest"))
        flips = files.loc["calls that flip at 0.5"]
        sentences.append(
            f"Between {flips['runs']:.0f} untouched original files and their {flips['versus']}, probabilities differ "
            f"by {mean:.4f} on average and {most:.3f} at most, and {flips['median']:.0f} predictions at 0.5 change."
        )
    return " ".join(sentences) or "How far the answers agree with others was not measured."


def describe_archive(table: pd.DataFrame) -> str:
    """Reading a million radiographs, judged by the longest list of copies and that of untouched files."""
    rates = table[table["benchmark"] == "end to end"].set_index("variant")["median"]
    if rates.empty:
        return "How long an archive takes was not measured."
    largest: dict[str, tuple[int, float]] = {}  # kind of file -> length of the list, files a second
    for variant, rate in rates.items():
        count, kind = variant.split(maxsplit=1)
        largest[kind] = max(largest.get(kind, (0, 0.0)), (int(count), rate))
    speeds = [
        f"{rate:.0f} {kind} a second ({ARCHIVE / rate / 3600:.1f} hours for {ARCHIVE:,}; a list of {count:,})"
        for kind, (count, rate) in largest.items()
    ]
    cpu = table.query("benchmark == 'throughput' and unit == 'ms' and variant == 'ONNX Runtime'")["median"]
    hours = "" if cpu.empty else f"{cpu.iloc[0] * ARCHIVE / 3.6e6:.1f} core hours"
    priced = f" The network alone takes {hours} for a million radiographs." if hours else ""
    return f"Read in one run on one machine: {' and '.join(speeds)}.{priced}"


def tabulate_reading(results: Results) -> Table:
    """What Keras takes, what `predict` takes, and how many times better that is."""
    head = ["measured", "Keras", "`predict`", "times better"]
    table, rows = results.table("predict_bench"), []
    compared = table[table["benchmark"].isin(("cold start", "throughput"))]
    for metric, pair in compared.groupby("metric", sort=False):
        keras, ours = (pair[(pair["variant"] == KERAS) == side].iloc[0] for side in (True, False))
        rows.append([metric, _amount(keras), _amount(ours), f"{ours['ratio']:.1f}"])
    alone = table[table["benchmark"].isin(("memory", "end to end"))]
    for variant, pair in alone.groupby("variant", sort=False):
        count, what = variant.split(maxsplit=1)
        amounts = ", ".join(f"{_amount(row)} {row['metric']}" for _, row in pair.iterrows())
        rows.append([f"{int(count):,} {what}, file by file", UNDEFINED, amounts, UNDEFINED])
    return Table(head, rows)


def _amount(row: pd.Series) -> str:
    digits = f"{row['median']:.0f}" if row["median"] >= 100 else f"{row['median']:#.3g}"
    return digits if row["unit"] == "1/s" else f"{digits} {row['unit']}"


STUDY = Study(describe=describe, tables={"reading": tabulate_reading})
