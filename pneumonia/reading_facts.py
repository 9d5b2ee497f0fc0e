"""What reading a new radiograph costs, and how far its warnings and heatmaps can be trusted: tables and sentences."""

from __future__ import annotations

import pandas as pd

from .results import Results, command_for
from .wording import NOTHING, Facts, Table, percent

KERAS = "keras.Model.predict"


def tabulate_reading(results: Results, facts: Facts) -> Table:
    """results/predict_bench.csv: what Keras takes, what `predict` takes, and how many times better that is."""
    head = ["measured", "Keras", "`predict`", "times better"]
    if "predict_bench" not in results.measured:
        return head, [_missing("predict_bench", len(head))]
    table, rows = results.table("predict_bench"), []
    beside = table[table["benchmark"].isin(("cold start", "throughput"))]
    for metric, pair in beside.groupby("metric", sort=False):
        keras, ours = (pair[(pair["variant"] == KERAS) == side].iloc[0] for side in (True, False))
        rows.append([metric, _amount(keras), _amount(ours), f"{ours['ratio']:.1f}"])
    alone = table[table["benchmark"].isin(("memory", "end to end"))]
    for variant, pair in alone.groupby("variant", sort=False):
        count, what = variant.split(maxsplit=1)
        told = ", ".join(f"{_amount(row)} {row['metric']}" for _, row in pair.iterrows())
        rows.append([f"{int(count):,} {what}, file by file", NOTHING, told, NOTHING])
    return head, rows


def tabulate_outliers(results: Results, facts: Facts) -> Table:
    """results/outliers.csv: how well what is no child's chest is told from validation, and how often it is flagged."""
    head = ["picture", "ROC AUC against validation", "flagged", "pictures"]
    if "outliers" not in results.measured:
        return head, [_missing("outliers", len(head))]
    rows = [
        [row.kind, NOTHING if pd.isna(row.roc_auc) else f"{row.roc_auc:.3f}", percent(row.flagged), f"{row.n:,}"]
        for row in results.table("outliers").itertuples()
    ]
    return head, rows


def tell_heatmaps(results: Results, table: pd.DataFrame) -> Facts:
    """heatmaps.believed -> prose from heatmap_checks.csv."""
    rows = table.set_index(["check", "method", "metric"])
    share = rows.loc[("pointing", "Grad-CAM", "share of the picture"), "value"]
    random = table[table["method"].str.startswith("all layers randomised")]["value"].max()

    def spell(*key: str, as_share: bool = False) -> str:
        row = rows.loc[key]
        shown = percent if as_share else "{:.2f}".format
        return f"{shown(row['value'])} ({shown(row['ci_low'])} to {shown(row['ci_high'])})"

    hits, middle, occlusion = (
        spell("pointing", method, "hit rate", as_share=True)
        for method in ("Grad-CAM", "the middle of the picture", "occlusion")
    )
    agreement = spell("agreement", "Grad-CAM and occlusion", "rank correlation")
    another = spell("randomised weights", "another radiograph", "rank correlation")
    return {
        "heatmaps.believed": f"They hang on what was learned: the maps of a network with random weights have a rank "
        f"correlation of {random:.2f} at most with the real ones (maps of two different children: {another}). They "
        f"point only roughly: in {hits} of simulated radiographs the strongest place lies in the planted opacity, "
        f"which with its margin is {percent(share)} of the picture; the middle of the picture would hit {middle}, "
        f"occlusion {occlusion}. Grad-CAM and occlusion agree with a rank correlation of {agreement}."
    }


def tell_agreement(results: Results, table: pd.DataFrame) -> Facts:
    """reading.agreement -> prose from the rows "agreement" of predict_bench.csv."""
    rows = table[table["benchmark"] == "agreement"].set_index(["variant", "metric"])
    told = []
    if "ONNX Runtime" in rows.index:
        worst = rows.loc[("ONNX Runtime", "largest difference in probability")]
        told.append(f"ONNX Runtime and Keras differ by at most {worst['median']:.0e} in probability.")
    if "untouched files" in rows.index:
        files = rows.loc["untouched files"]
        mean, most = (files.loc[f"{what} difference in probability", "median"] for what in ("mean", "largest"))
        flips = files.loc["calls that flip at 0.5"]
        told.append(
            f"Between {flips['runs']:.0f} untouched original files and their {flips['versus']}, probabilities differ "
            f"by {mean:.4f} on average and {most:.3f} at most, and {flips['median']:.0f} calls flip."
        )
    return {"reading.agreement": " ".join(told) or "How far the answers agree with others was not measured."}


def _amount(row: pd.Series) -> str:
    digits = f"{row['median']:.0f}" if row["median"] >= 100 else f"{row['median']:#.3g}"
    return digits if row["unit"] == "1/s" else f"{digits} {row['unit']}"


def _missing(table: str, columns: int) -> list[str]:
    return [f"not measured in this run (`{command_for(table)}`)", *[NOTHING] * (columns - 1)]
