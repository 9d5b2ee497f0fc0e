"""Would more radiographs help? The small recipe on 5 to 100 % of the training patients, and a power law.

Every fraction gets the same number of steps, so that only the data differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import LogLocator, NullLocator
from scipy.optimize import curve_fit

from ..config import ModelConfig, Run
from ..data.catalog import draw_patients, select_used
from ..evaluation.estimate import Estimate, percent
from ..evaluation.evaluate import METRIC_COLUMNS, compute_metrics
from ..evaluation.metrics import DRAWS_SEED, percentile_interval
from ..evaluation.scores import Scores
from ..results import Results
from ..style import new_figure, own_axes
from .networks import RECIPE, networks_run, recipe_hash
from .study import Figure, Study

FRACTIONS = (0.05, 0.10, 0.25, 0.50, 1.00)  # of the training patients
SEEDS = (0, 1, 2)  # of the initialisation and of the patients drawn
LEFT_OUT = "left out of the learning curve"
COLUMNS = ["fraction", "patients", "radiographs", *METRIC_COLUMNS[1:]]  # patients: mean over seeds
FIT_DRAWS = 300
STEEPEST = 3.0  # exponent that a fitted law may have


def curve_run(base: Run, config: ModelConfig = RECIPE, fractions: tuple[float, ...] = FRACTIONS) -> Run:
    """The run of the learning curve: one model a fraction."""
    models = tuple(
        replace(
            config,
            name=f"curve_{round(1000 * fraction):04d}",
            title=f"{100 * fraction:g} % of the patients",
            epochs=round(config.epochs / fraction),
            seeds=(),
        )
        for fraction in fractions
    )
    return networks_run(base, "learning_curve", models, SEEDS)


def compute_learning_curve(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, sensitivity, specificity and roc_auc of every trained fraction, on every split but train.

    Returns: a frame with COLUMNS; seed is a number or "mean".
    """
    from ..models.prediction import predict_all

    metrics = compute_metrics(Scores.parse(predict_all(run, catalog)).calibrated(), run.bootstrap_draws)
    kept = metrics["metric"].isin(("accuracy", "balanced_accuracy", "sensitivity", "specificity", "roc_auc"))
    metrics = metrics[kept & metrics["seed"].str.fullmatch(r"\d+|mean")]
    means = count_patients(run, catalog).groupby("model")[["fraction", "patients", "radiographs"]].mean()
    return metrics.join(means.round(4), on="model")[COLUMNS].reset_index(drop=True)


def reduce_catalog(catalog: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """The catalog with `fraction` of the train_fit radiographs of every kind, whole patients, drawn with `seed`."""
    if fraction >= 1:
        return catalog
    train = catalog[catalog["split"] == "train_fit"]
    kept = draw_patients(train, fraction, seed)
    dropped = (catalog["split"] == "train_fit") & ~catalog["patient_id"].isin(kept) & (catalog["excluded_reason"] == "")
    return catalog.assign(excluded_reason=catalog["excluded_reason"].mask(dropped, LEFT_OUT))


def fraction_of(config: ModelConfig) -> float:
    return int(config.name.removeprefix("curve_")) / 1000


def train_curve(run: Run, catalog: pd.DataFrame, say: Callable[[str], None]) -> None:
    """Train every fraction and seed that is missing."""
    from ..models.training import Progress, train_unless_there

    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    progress = Progress(members, say)
    for config, seed in members:
        train_unless_there(run, reduce_catalog(catalog, fraction_of(config), seed), config, seed, progress)


def count_patients(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """What every member was trained on: model, seed, fraction, patients, radiographs."""
    rows = []
    for config in run.models:
        for seed in run.seeds_of(config):
            train = select_used(reduce_catalog(catalog, fraction_of(config), seed)).query("split == 'train_fit'")
            rows.append((config.name, seed, fraction_of(config), train["patient_id"].nunique(), len(train)))
    return pd.DataFrame(rows, columns=["model", "seed", "fraction", "patients", "radiographs"])


def power_law(patients: np.ndarray, floor: float, scale: float, exponent: float) -> np.ndarray:
    """Irreducible error plus one that shrinks with the number of patients (Hestness et al. 2017)."""
    return floor + scale * np.power(patients / 100.0, -exponent)


def fit_power_law(patients: np.ndarray, error: np.ndarray) -> np.ndarray | None:
    """floor, scale, exponent of least squares in log error; None when no law fits (the errors do not fall)."""
    start = (0.5 * error.min(), max(error.max() - 0.5 * error.min(), 1e-3), 0.5)
    try:
        return curve_fit(
            lambda n, *law: np.log(power_law(n, *law)),
            patients,
            np.log(error),
            p0=start,
            bounds=([0, 1e-6, 0.01], [1, 10, STEEPEST]),
            maxfev=5000,
        )[0]
    except (RuntimeError, ValueError):
        return None


def extrapolate(table: pd.DataFrame, split: str = "test", metric: str = "accuracy") -> dict[str, tuple]:
    """What the fitted law predicts, each (value, ci_low, ci_high): exponent, floor, patients for one more point.

    The interval resamples the seeds of every fraction; it knows nothing of other hospitals, or of another law. "next
    point": patients for an error one point below the fitted one at the largest size; infinite where the floor is above.
    """
    return _extrapolate(*_errors_by_size(table, split, metric))


def _errors_by_size(table: pd.DataFrame, split: str, metric: str) -> tuple[tuple, tuple]:
    """Numbers of patients, and the errors of the seeds at each."""
    rows = table.query("split == @split and metric == @metric and seed != 'mean'")
    by_size = rows.groupby("patients")["value"]
    return tuple(by_size.groups), tuple(tuple(1 - values) for _, values in by_size)


@lru_cache  # hundreds of fits, which figure and sentence share
def _extrapolate(sizes: tuple, errors: tuple) -> dict[str, tuple]:
    rng, patients = np.random.default_rng(DRAWS_SEED), np.array(sizes)
    means = [np.mean(of_size) for of_size in errors]
    drawn = [[rng.choice(of_size, len(of_size)).mean() for of_size in errors] for _ in range(FIT_DRAWS)]
    laws = [fit_power_law(patients, np.clip(error, 1e-4, 1)) for error in (means, *drawn)]
    found = [_consequences(law, patients[-1]) for law in laws if law is not None]
    names = ("floor", "scale", "exponent", "next_point")
    if laws[0] is None:
        return dict.fromkeys(names, (np.nan, np.nan, np.nan))
    return {name: (found[0][i], *_interval([row[i] for row in found[1:]])) for i, name in enumerate(names)}


def is_undetermined(law: dict[str, tuple]) -> bool:
    """Whether the interval of the exponent reaches STEEPEST: then the fit cannot be extrapolated."""
    return law["exponent"][2] >= 0.99 * STEEPEST


def _consequences(law: np.ndarray, largest: float) -> tuple[float, float, float, float]:
    floor, scale, exponent = law
    goal = power_law(largest, *law) - 0.01
    needed = 100 * ((goal - floor) / scale) ** (-1 / exponent) if goal > floor else np.inf
    return float(floor), float(scale), float(exponent), float(needed)


def _interval(values: list[float]) -> tuple[float, float]:
    """95 % interval, of which infinity may be an end."""
    finite = np.minimum(values, 1e12)
    low, high = percentile_interval(finite)
    return tuple(np.inf if end > 1e11 else end for end in (low, high))


def describe(results: Results) -> dict[str, str]:
    """next: the accuracies at the smallest and largest fraction, and the power law's prediction for more patients."""
    table = results.table("learning_curve")
    means = average_seeds(table)
    least, most = means.iloc[0], means.iloc[-1]
    measured = (
        f"A small network (96 px) trained on {least['patients']:,.0f} to {most['patients']:,.0f} patients has a "
        f"test accuracy of {Estimate.of_row('accuracy', least).full} to {Estimate.of_row('accuracy', most).full}."
    )
    law = extrapolate(table)
    value, low, high = law["next_point"]
    if np.isnan(value):
        return {"next": f"{measured} No power law fits the errors, so nothing is extrapolated."}
    flattest, steepest = law["exponent"][1:]
    if is_undetermined(law):
        far = (means["value"] - most["value"]).abs() > 0.01
        near = means[~far[::-1].cummax()[::-1]].iloc[0]  # the first size after which none is far
        return {
            "next": f"{measured} From {near['patients']:,.0f} patients on it stays within a point of the last, "
            f"too flat for a power law: the errors fit any exponent from −{flattest:.2f} to −{steepest:.2f} (the "
            "steepest allowed), so what the next point of accuracy would take cannot be said."
        }
    needed = "no number of patients" if np.isinf(value) else f"about {value:,.0f} patients"
    return {
        "next": f"{measured} A power law through the errors has an exponent of −{law['exponent'][0]:.2f} "
        f"(−{flattest:.2f} to −{steepest:.2f}); by it the next point of accuracy would take {needed} "
        f"(95 %: {_spell_patients(low, high)})."
    }


def _spell_patients(low: float, high: float) -> str:
    if np.isinf(low):
        return "no number of patients"
    return f"{low:,.0f} patients at least, if any number" if np.isinf(high) else f"{low:,.0f} to {high:,.0f} patients"


def average_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy, mean over seeds, from the fewest patients to all."""
    return table.query("split == 'test' and metric == 'accuracy' and seed == 'mean'").sort_values("patients")


CURVES = {"test": ("official test", "#D55E00", "s"), "validation": ("validation", "#0072B2", "o")}


def draw_learning_curve(results: Results) -> Drawing:
    table = results.table("learning_curve")
    means = average_seeds(table)
    least, most = means.iloc[0], means.iloc[-1]
    title = (
        f"From {least['patients']:,.0f} to {most['patients']:,.0f} patients, test accuracy goes from "
        f"{percent(least['value'])} to {percent(most['value'])}; "
        f"{describe_next_point(extrapolate(table), most['patients'])}"
    )
    note = (
        "A small network (96 px) with the recipe of Robust CNN, as many steps for every share of the patients. "
        "Large marks: mean over seeds. Lines: error = floor + scale * patients ^ -exponent, and its extrapolation."
    )
    figure = new_figure(title, note, height=6.0)
    ax = figure.subplots()
    for split in CURVES:
        plot_error(table, split, ax)
    ax.set(xscale="log", yscale="log", xlabel="patients trained on", ylabel="radiographs predicted wrong (%)")
    for axis, marks in ((ax.xaxis, (1, 2, 5)), (ax.yaxis, (1, 1.5, 2, 3, 4, 5, 6, 7, 8))):
        axis.set(major_locator=LogLocator(subs=marks), minor_locator=NullLocator())
        axis.set_major_formatter("{x:,g}")
    ax.legend(loc="upper right")
    return figure


def plot_error(table: pd.DataFrame, split: str, ax: Axes | None = None) -> Axes:
    """Error in percent against patients, both in logarithms: mean over seeds, single seeds, the fitted power law."""
    ax = own_axes(ax)
    label, colour, marker = CURVES[split]
    rows = table.query("split == @split and metric == 'accuracy'")
    single, mean = rows[rows["seed"] != "mean"], rows[rows["seed"] == "mean"].sort_values("patients")
    ax.plot(single["patients"], 100 * (1 - single["value"]), marker, color=colour, markersize=5, alpha=0.45)
    ax.plot(mean["patients"], 100 * (1 - mean["value"]), marker, color=colour, markersize=9, label=label)
    sizes, errors = _errors_by_size(table, split, "accuracy")
    law = fit_power_law(np.array(sizes), np.clip([np.mean(of_size) for of_size in errors], 1e-4, 1))
    if law is not None:
        x = np.geomspace(mean["patients"].min(), 4 * mean["patients"].max())
        ax.plot(x, 100 * power_law(x, *law), color=colour)
    return ax


def describe_next_point(law: dict[str, tuple], largest: float) -> str:
    """What one more point of accuracy would cost, in words that depend on the fitted law."""
    value, low, high = law["next_point"]
    if np.isnan(value):
        return "no power law fits"
    if is_undetermined(law):
        return "too flat for a power law that says what more would bring"
    if np.isinf(value):
        return "by the fitted law no number of patients gains another point"
    ends = [("no number" if np.isinf(end) else f"{end:,.0f}") for end in (low, high)]
    return (
        f"the next point would take about {value:,.0f} patients instead of {largest:,.0f} (95 %: {' to '.join(ends)})"
    )


STUDY = Study(
    compute_learning_curve,
    describe,
    figures={"more_data": Figure(draw_learning_curve, "Curves: error against patients, with a power law")},
    looks_at_test="learning curve: small networks, 5 to 100 % of the patients",
    networks=curve_run,
    train=train_curve,
    depends_on=recipe_hash,
)
