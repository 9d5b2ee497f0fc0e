"""Which children does each model miss? Sensitivity by kind of pneumonia, specificity by series and size of film."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..evaluation.estimate import UNDEFINED, Estimate, join_words, percent
from ..evaluation.metrics import (
    HALF,
    apply_threshold,
    bootstrap_weights,
    draw_ensembles,
    group_by_size,
    percentile_interval,
    round_columns,
)
from ..evaluation.scores import Scores, SplitScores
from ..results import Results
from ..style import KIND_COLOURS, name_models, new_figure, own_axes
from .study import Figure, Study, Table

COLUMNS = ["model", "split", "subgroup", "metric", "value", "ci_low", "ci_high", "n", "patients"]
SPLITS = ("validation", "test")
# By metric, what the patient's name shows (catalog.parse_name); archives such as MedMNIST name no patients: "unknown".
SIZES = ("small", "middle", "large")  # thirds of the NORMAL radiographs of a split by original pixel count
SUBGROUPS = {
    "sensitivity": {"bacteria": r"^person-\d+-bacteria$", "virus": r"^person-\d+-virus$"},
    "specificity": {"IM": r"^IM-\d+$", "NORMAL2-IM": r"^NORMAL2-IM-\d+$"},
}


def compute_subgroups(scores: Scores, draws: int) -> pd.DataFrame:
    """Share predicted right in every subgroup, by every model on validation and test: a frame with COLUMNS.

    Values are those of the mean probability of all seeds at threshold 0.5, intervals 95 % over patients and seeds, all
    subgroups seeing the same draws. "virus - bacteria", "NORMAL2-IM - IM" and "large - small" are differences, in the
    same units (shares of 1).
    """
    rows = [
        (model, split, *row)
        for model, splits in scores.items()
        for split, of_split in splits.items()
        if split in SPLITS
        for row in split_subgroups(of_split, draws)
    ]
    return round_columns(pd.DataFrame(rows, columns=COLUMNS), ["value", "ci_low", "ci_high"])


def split_subgroups(scores: SplitScores, draws: int) -> list[tuple]:
    """(subgroup, metric, value, ci_low, ci_high, n, patients) of one model on one split; empty subgroups have none."""
    weights, right = bootstrap_weights(scores.patient_ids, draws), find_right(scores, scores.ensemble)
    ensembles, way_of = draw_ensembles(np.stack(scores.seeds), draws)
    right_of_way = np.stack([find_right(scores, y_prob) for y_prob in ensembles])
    rows = []
    for metric, members in (
        ("sensitivity", name_members(scores, 1, SUBGROUPS["sensitivity"])),
        ("specificity", name_members(scores, 0, SUBGROUPS["specificity"])),
        ("specificity", size_members(scores)),
    ):
        measured = {
            name: (right[chosen].mean(), _resample(right_of_way[:, chosen], way_of, weights[:, chosen]))
            for name, chosen in members.items()
        }
        for name, (value, samples) in measured.items():
            rows.append((name, metric, value, *percentile_interval(samples), *_sizes(scores, members[name])))
        named = [name for name in measured if name != "unknown"]
        if len(named) > 1:
            a, b = named[0], named[-1]
            value, samples = measured[b][0] - measured[a][0], measured[b][1] - measured[a][1]
            both = members[a] | members[b]
            rows.append((f"{b} - {a}", metric, value, *percentile_interval(samples), *_sizes(scores, both)))
    return rows


def name_members(scores: SplitScores, label: int, patterns: dict[str, str]) -> dict[str, np.ndarray]:
    """subgroup -> which radiographs (n,) bool; only subgroups that have any. The rest of the class is "unknown"."""
    patients, of_class = pd.Series(scores.patient_ids).astype(str), scores.y_true == label
    members = {name: patients.str.contains(pattern).to_numpy() & of_class for name, pattern in patterns.items()}
    members["unknown"] = of_class & ~np.any(list(members.values()), axis=0)
    return {name: chosen for name, chosen in members.items() if chosen.any()}


def size_members(scores: SplitScores) -> dict[str, np.ndarray]:
    """The thirds of the NORMAL radiographs by pixels of the original file, as in `name_members`; none if unknown."""
    groups = group_by_size(np.where(scores.y_true == 0, scores.pixels, np.nan), len(SIZES))
    members = {name: groups == number for number, name in enumerate(SIZES)}
    return {name: chosen for name, chosen in members.items() if chosen.any()}


def find_right(scores: SplitScores, y_prob: np.ndarray) -> np.ndarray:
    """Whether each radiograph is predicted right at 0.5, bool (n,)."""
    return apply_threshold(y_prob, HALF) == (scores.y_true == 1)


def _resample(right: np.ndarray, way_of: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share predicted right in each bootstrap sample, (draws,); nan where it has no patient of the subgroup.

    Args: right: (ways, n), see draw_ensembles. way_of: (draws,). weights: (draws, n).
    """
    with np.errstate(invalid="ignore"):
        return (weights @ right.T)[np.arange(len(weights)), way_of] / weights.sum(axis=1)


def _sizes(scores: SplitScores, chosen: np.ndarray) -> tuple[int, int]:
    return int(chosen.sum()), len(set(scores.patient_ids[chosen]))


def describe(results: Results) -> dict:
    """<model>.<split>.<subgroup>, and `final`: estimates."""
    found: dict = {}
    for _, row in results.table("subgroups").iterrows():
        found.setdefault(row["model"], {}).setdefault(row["split"], {})[row["subgroup"]] = Estimate.of_row(
            "accuracy", row
        )
    return found | {"final": found[results.final_model]}


TITLES = {
    "bacteria": ("bacterial pneumonia", "sensitivity"),
    "virus": ("viral pneumonia", "sensitivity"),
    "IM": ("normal, series IM", "specificity"),
    "NORMAL2-IM": ("normal, series NORMAL2", "specificity"),
    "small": ("normal, smallest third by pixels of the file", "specificity"),
    "middle": ("normal, middle third", "specificity"),
    "large": ("normal, largest third", "specificity"),
}


def tabulate_subgroups(results: Results) -> Table:
    """The final model on every kind of child: share predicted right on validation and test."""
    measured, rows = describe(results)["final"], []
    for name, (title, metric) in TITLES.items():
        shares = [measured.get(split, {}).get(name) for split in SPLITS]
        n = f"{shares[-1].n:,}" if shares[-1] else UNDEFINED
        rows.append([title, metric, *(share.full if share else UNDEFINED for share in shares), n])
    return Table(["children", "measured by", *SPLITS, "radiographs in test"], rows)


# (subgroup, what readers see, colour) per metric
SHOWN = {
    "sensitivity": (
        ("bacteria", "bacterial pneumonias", KIND_COLOURS["bacteria"]),
        ("virus", "viral ones", KIND_COLOURS["virus"]),
    ),
    "specificity": (("IM", "normal series IM", "#0072B2"), ("NORMAL2-IM", "NORMAL2-IM", "#E69F00")),
}
MARKERS = ("o", "s")


def draw_subgroups(results: Results) -> Drawing:
    table, models = results.table("subgroups"), [config.name for config in results.run.models]
    table, final = table[table["split"] == "test"], results.final_model
    right = table[table["model"] == final].set_index("subgroup")["value"].map(percent)
    found, cleared = (
        join_words([f"{right[name]} of {label}" for name, label, _ in shown if name in right])
        for shown in SHOWN.values()
    )
    title = f"{results.title(final)} finds {found}, and clears {cleared}"
    if not (found and cleared):
        title = "The file names show neither the kind of pneumonia nor the series of the normal children"
    note = (
        f"Mean probability of all seeds, threshold {HALF}; bars: 95 % intervals over patients and seeds. "
        "The series is in the file names."
    )
    figure = new_figure(title, note, height=6.0)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (metric, of) in zip(axes, (("sensitivity", "PNEUMONIA"), ("specificity", "NORMAL")), strict=True):
        plot_subgroups(table[table["metric"] == metric], metric, models, ax)
        ax.set_xlabel(f"{metric} (% of {of})")
    name_models(axes[0], results.run, results.final_model)
    return figure


def plot_subgroups(table: pd.DataFrame, metric: str, models: list[str], ax: Axes | None = None) -> Axes:
    """A row a model, a mark a subgroup: share predicted right in percent, interval as a bar."""
    ax = own_axes(ax)
    for number, (subgroup, label, colour) in enumerate(SHOWN[metric]):
        rows = table[table["subgroup"] == subgroup].set_index("model")
        for height, model in enumerate(models):
            if model in rows.index:
                value, low, high = 100 * rows.loc[model, ["value", "ci_low", "ci_high"]].to_numpy(dtype=float)
                place = height - 0.15 + 0.3 * number
                ax.plot([low, high], [place] * 2, color=colour, linewidth=3, alpha=0.4)
                ax.plot(value, place, MARKERS[number], color=colour, markersize=8, markeredgecolor="white", zorder=3)
        ax.plot([], [], MARKERS[number], color=colour, markersize=8, label=label)
    ax.set_yticks(range(len(models)), [""] * len(models))
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2, handletextpad=0.2)
    return ax


STUDY = Study(
    lambda scores, final, draws: compute_subgroups(scores, draws),
    describe,
    figures={
        "subgroups": Figure(draw_subgroups, "Dots: sensitivity per kind of pneumonia, specificity per normal series")
    },
    tables={"subgroups": tabulate_subgroups},
)
