"""Is the final model more accurate than published ones, as far as rates show without their predictions?"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from ..evaluation.estimate import UNDEFINED, join_words, percent
from ..evaluation.metrics import (
    DECIMALS,
    HALF,
    apply_threshold,
    bootstrap_weights,
    percentile_interval,
    roc_auc,
    round_columns,
    threshold_metrics,
)
from ..evaluation.scores import Scores, SplitScores
from ..evaluation.significance import (
    SIGNIFICANCE,
    binomial_interval,
    binomial_test,
    bound_mcnemar,
    design_effect,
    holm,
)
from ..results import Results
from ..style import GRAY, model_colours, new_figure, wrap
from .study import Figure, Study, Table

RATES = ("accuracy", "sensitivity", "specificity")
COLUMNS = [
    *("work", "metric", "n", "published", "ours", "ci_low", "ci_high", "difference", "design_effect"),
    *("p_one_sample", "p_holm", "p_pairing_low", "p_pairing_high", "p_pairing_holm", "verdict"),
]


class Published(NamedTuple):
    """One published result."""

    work: str
    pretrained: str
    accuracy: str
    sensitivity: str
    specificity: str
    roc_auc: str
    protocol: str


PUBLISHED = (
    Published(
        "Kermany et al. 2018, frozen InceptionV3", "ImageNet", "92.8", "93.2", "90.1", "0.968", "best step on test"
    ),
    Published("MedMNIST v2, ResNet-18, 28 px", "no", "86.4", "", "", "0.956", "validation AUC"),
    Published("MedMNIST v2, ResNet-50, 28 px", "no", "88.4", "", "", "0.962", "validation AUC"),
    Published("MedMNIST v2, Google AutoML Vision", "unknown", "94.6", "", "", "0.991", "not stated"),
    Published("MedMNIST+, ResNet-18, 224 px", "ImageNet", "91.1 ± 1.0", "", "", "0.980", "validation, 3 seeds"),
    Published(
        "MedMNIST+, DINO ViT-B/16, linear probe",
        "self-supervised",
        "91.6 ± 0.3",
        "",
        "",
        "0.989",
        "validation, 3 seeds",
    ),
    Published("a popular public CNN notebook, 150 px", "no", "91.5", "94.4", "86.8", "", "one run"),
)


def compare_published(scores: Scores, model: str, draws: int) -> pd.DataFrame:
    """The ensemble of `model` on test against every published figure: a frame with COLUMNS.

    Others publish rates, not predictions, so no paired test is possible. What is: an exact binomial test that takes
    their figure for the truth (p_one_sample, p_holm over all of them), and the bounds of McNemar's p-value over every
    pairing that their rate allows (p_pairing_low: the errors nest; p_pairing_high: they do not overlap; p_pairing_holm:
    the latter, corrected over all of them). Both divide their counts by design_effect, since several radiographs of one
    child say less than as many children (Rao & Scott 1992, Biometrics 48: 577). This takes it that a child's films
    cluster in the errors of others as they do in ours, and a rate of an ensemble for that of one network.
    ROC AUC: the interval.
    """
    test = scores.test(model)
    rows = [row for published in PUBLISHED for row in _compare_work(published, test, draws)]
    table = pd.DataFrame(
        rows, columns=[name for name in COLUMNS if name not in ("p_holm", "p_pairing_holm", "verdict")]
    )
    tested = table["p_one_sample"].notna()
    for corrected, p in (("p_holm", "p_one_sample"), ("p_pairing_holm", "p_pairing_high")):
        table[corrected] = np.nan
        table.loc[tested, corrected] = holm(table.loc[tested, p])
    table["verdict"] = [judge(row) for _, row in table.iterrows()]
    for name in (name for name in COLUMNS if name.startswith("p_")):  # digits: 1e-9 is small, not 0
        table[name] = [float(f"{p:.{DECIMALS}g}") for p in table[name]]
    return round_columns(table, ["published", "ours", "ci_low", "ci_high", "difference", "design_effect"])[COLUMNS]


def judge(row: pd.Series) -> str:
    """The verdict on one row, in words that depend on sign and bounds."""
    better = "above" if row["difference"] > 0 else "below"
    if np.isnan(row["p_pairing_low"]):
        inside = row["ci_low"] <= row["published"] <= row["ci_high"]
        return "inside our interval" if inside else f"outside our interval, which lies {better}"
    if row["p_pairing_holm"] < SIGNIFICANCE:
        return f"{better}, however the errors pair"
    if row["p_pairing_low"] >= SIGNIFICANCE:
        return "not distinguishable, however the errors pair"
    return f"{better}, but undecided without their calls"


def _compare_work(published: tuple, scores: SplitScores, draws: int) -> list[tuple]:
    """A row for every metric that one work states."""
    weights, y_true, y_prob = bootstrap_weights(scores.patient_ids, draws), scores.y_true, scores.ensemble
    samples, right, rows = threshold_metrics(y_true, y_prob, HALF, weights), find_right(scores), []
    for metric, counted in (("accuracy", y_true >= 0), ("sensitivity", y_true == 1), ("specificity", y_true == 0)):
        stated = read_share(getattr(published, metric))
        if not np.isnan(stated):
            k, n, interval = int(right[counted].sum()), int(counted.sum()), percentile_interval(samples[metric])
            effect = design_effect(right[counted], scores.patient_ids[counted])
            tests = binomial_test(k / effect, n / effect, stated), *bound_mcnemar(k, round(stated * n), n, effect)
            rows.append((published.work, metric, n, stated, k / n, *interval, k / n - stated, effect, *tests))
    if published.roc_auc:
        stated, area = float(published.roc_auc), roc_auc(y_true, y_prob)
        interval = percentile_interval(roc_auc(y_true, y_prob, weights))
        row = (published.work, "roc_auc", len(y_true), stated, area, *interval, area - stated)
        rows.append((*row, *[np.nan] * 4))
    return rows


def read_share(percent: str) -> float:
    """ "91.1 ± 1.0" -> 0.911; nan where nothing is stated."""
    found = re.match(r"[\d.]+", percent)
    return float(found[0]) / 100 if found else np.nan


def find_right(scores: SplitScores) -> np.ndarray:
    """bool (n,): which predictions of the ensemble at threshold 0.5 are right."""
    return apply_threshold(scores.ensemble, HALF) == (scores.y_true == 1)


def describe(results: Results) -> dict[str, str]:
    """real: which published accuracies are certainly below or above, and how many cannot be decided."""
    rows = results.table("published_comparisons").query("metric == 'accuracy'")
    groups = {
        "more accurate than": rows[rows["verdict"].str.startswith("above, however")],
        "less accurate than": rows[rows["verdict"].str.startswith("below, however")],
    }
    sure = [f"{words} {'; '.join(group['work'])}" for words, group in groups.items() if len(group)]
    alike = int(rows["verdict"].str.startswith("not distinguishable").sum())
    rest = len(rows) - alike - sum(map(len, groups.values()))
    surely = f" is {join_words(sure)}, however the errors pair (p < 0.05 after Holm's correction);" if sure else ":"
    tail = f" {rest} of {len(rows)} accuracies cannot be compared without the predictions of the others"
    none = f", {alike} by no predictions at all" if alike else ""
    return {
        "real": f"At threshold 0.5 the ensemble{surely}{tail}{none}. This assumes the same test radiographs, that the "
        "films of a child cluster in their errors as in ours, and that an ensemble stands for one network."
    }


def tabulate_published(results: Results) -> Table:
    """Other works, then the final model."""
    config = results.run.model(results.final_model)
    shares = [f"{100 * float(results.estimate(config.name, 'test', metric)):.1f}" for metric in RATES]
    area, pretrained = str(results.estimate(config.name, "test", "roc_auc")), "ImageNet" if config.pretrained else "no"
    ours = f"**{config.title}, ensemble of {len(results.run.seeds_of(config))}**"
    rows = [[cell or UNDEFINED for cell in published] for published in PUBLISHED]
    rows.append([ours, pretrained, *shares, area, "validation and its stress copies; see the rule"])
    head = ["work", "pretrained", "accuracy, %", "sensitivity, %", "specificity, %", "ROC AUC", "model chosen by"]
    return Table(head, rows)


def draw_published(results: Results) -> Drawing:
    table, final = results.table("published_comparisons"), results.final_model
    rows = table[table["metric"] == "accuracy"].reset_index(drop=True)
    sure = rows["verdict"].str.contains("however the errors pair") & rows["verdict"].str.startswith("above")
    title = (
        f"{results.title(final)} ({percent(rows['ours'][0])}, ensemble) is more accurate than {sure.sum()} of "
        f"{len(rows)} published results, however their errors pair with its own"
    )
    note = (
        "Official test split; that of MedMNIST has partly other NORMAL radiographs. Others publish rates, not "
        "predictions: their bars are exact binomial intervals, and the verdict bounds McNemar's test over every "
        "pairing of errors, if a child's films cluster as in ours. Shaded: our 95 % interval."
    )
    figure = new_figure(title, note, height=5.8)
    ax, colour = figure.subplots(), model_colours(results.run)[final]
    ax.axvspan(100 * rows["ci_low"][0], 100 * rows["ci_high"][0], color=colour, alpha=0.2, linewidth=0)
    ax.axvline(100 * rows["ours"][0], color=colour)
    for height, row in rows.iterrows():
        n = row["n"] / row["design_effect"]
        low, high = binomial_interval(row["published"] * n, n)
        ax.plot([100 * low, 100 * high], [height] * 2, color=GRAY, linewidth=4, alpha=0.4)
        ax.plot(100 * row["published"], height, "o", color="black", markersize=8, zorder=3)
        verdict = wrap(f"ours {row['verdict']}", 2.3, 11)
        ax.annotate(verdict, (1.01, height), xycoords=("axes fraction", "data"), va="center", size=11)
    ax.set_yticks(range(len(rows)), [wrap(work, 2.6, 12) for work in rows["work"]], size=12)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy (% of the test radiographs)")
    return figure


STUDY = Study(
    compare_published,
    describe,
    figures={"published": Figure(draw_published, "Dots: published accuracies beside the final model's interval")},
    tables={"published": tabulate_published},
)
