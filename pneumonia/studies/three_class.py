"""Can a network distinguish bacterial from viral pneumonia? The small recipe for three classes, and for two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..config import KINDS, ModelConfig, PneumoniaError, Run
from ..data.catalog import hash_catalog
from ..data.dataset import load_radiographs
from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import DECIMALS, HALF, bootstrap_weights, percentile_interval, roc_auc, threshold_metrics
from ..records import hash_file, load_matching_record, save_record, weights_path
from ..results import Results
from ..style import new_figure, own_axes
from .networks import RECIPE, networks_run, recipe_hash
from .study import Figure, Study

if TYPE_CHECKING:
    import keras

SEEDS = (0, 1, 2)
THREE, TWO = "three_class", "two_class"
SPLITS = ("validation", "test")
COLUMNS = ["model", "split", "metric", "value", "ci_low", "ci_high", "n", "seeds"]


def three_class_run(base: Run, config: ModelConfig = RECIPE) -> Run:
    """Two networks that differ only in their head. Neither is calibrated, since calibration is for two classes."""
    config = replace(config, seeds=SEEDS)
    models = tuple(replace(config, name=name, title=name.replace("_", " ")) for name in (TWO, THREE))
    return networks_run(base, "three_class", models, SEEDS)


def compute_three_class(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Score both heads: a frame with COLUMNS, mean over seeds, intervals over patients.

    For both: accuracy, sensitivity and specificity of PNEUMONIA (of three classes: 1 - P(NORMAL) at 0.5), and roc_auc,
    which needs no threshold: neither is calibrated, so that 0.5 means something else to each. For three: accuracy over
    KINDS, recall of each, recall of "bacteria" among bacteria and virus alone, and the shares of the confusion matrix
    "<true> as <predicted>".
    """
    from ..models.weights import load_trained

    rows = []
    for split in SPLITS:
        for config in run.models:
            cases = load_radiographs(run, catalog, config.image_size, config.window)[split]
            weights = bootstrap_weights(cases.patients, run.bootstrap_draws).astype(float)
            outputs = [_predict(load_trained(run, config, seed), cases.pixels) for seed in run.seeds_of(config)]
            per_seed = [measure_outputs(kind_labels(cases.rows), output, weights) for output in outputs]
            for metric in per_seed[0]:
                value = np.mean([found[metric][0] for found in per_seed])
                interval = percentile_interval(np.mean([found[metric][1] for found in per_seed], axis=0))
                rows.append((config.name, split, metric, float(value), *interval, len(cases), len(outputs)))
    return pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)


def build_three_class(config: ModelConfig) -> keras.Model:
    """The network of the configuration with a softmax over KINDS in place of its sigmoid."""
    import keras

    from ..models.architectures import build_model

    model = build_model(config)
    output = keras.layers.Dense(len(KINDS), activation="softmax", name="kind")(model.layers[-2].output)
    return keras.Model(model.inputs[0], output, name=config.name)


def kind_labels(rows: pd.DataFrame) -> np.ndarray:
    """0, 1, 2 = index in KINDS. PneumoniaError for archives whose files do not name the kind (MedMNIST)."""
    if unknown := set(rows["kind"]) - set(KINDS):
        raise PneumoniaError(f"catalog.csv: kind {', '.join(sorted(unknown))} is unknown; use files that name the kind")
    return rows["kind"].map({kind: index for index, kind in enumerate(KINDS)}).to_numpy()


def fit_three_class(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int) -> keras.Model:
    """Train for three classes as training.fit_cnn trains for two: same order, draws, optimiser and schedule."""
    import keras

    from ..data.generators import RadiographGenerator
    from ..models.training import compile_model

    part = load_radiographs(run, catalog, config.image_size, config.window)["train_fit"]
    labels, shapes = kind_labels(part.rows), {"aspects": part.films.aspects, "window": part.window}
    options = {"shuffle": True, "augmentations": config.augmentations} | shapes
    train = RadiographGenerator(part.pixels, labels, config.batch_size, seed=seed, **options)
    keras.utils.set_random_seed(seed)
    steps = len(train) * config.epochs
    model = compile_model(build_three_class(config), config, steps, loss="sparse_categorical_crossentropy", metrics=[])
    weights = {kind: len(labels) / (len(KINDS) * max(n, 1)) for kind, n in enumerate(np.bincount(labels, minlength=3))}
    next_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: train.set_epoch(epoch))
    model.fit(train, epochs=config.epochs, class_weight=weights, callbacks=[next_epoch], shuffle=False, verbose=0)
    return model


def train_members(run: Run, catalog: pd.DataFrame, say: Callable[[str], None]) -> None:
    """Train what is missing: a member of the same configuration and radiographs is not trained again."""
    from ..models.training import Progress, train_one
    from ..models.weights import hash_weights, save_trained

    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    progress, identity = Progress(members, say), hash_catalog(catalog)
    for config, seed in members:
        if load_matching_record(run, config, seed, identity):
            continue
        if config.name == TWO:
            train_one(run, catalog, config, seed, progress)
            continue
        say(f"{config.name} seed {seed}: {config.epochs} epochs")
        path = weights_path(run, config, seed)
        model = fit_three_class(run, catalog, config, seed)
        save_trained(path, model)
        record = {"model": config.name, "seed": seed, "config_hash": config.hash(), "catalog_hash": identity}
        record |= {"weights_sha256": hash_file(path), "weights_hash": hash_weights(model)}
        save_record(run, config, seed, record)


def measure_outputs(kinds: np.ndarray, output: np.ndarray, weights: np.ndarray) -> dict[str, tuple]:
    """metric -> (value, samples) of one network; output is (n, 3), or (n, 1) of the binary head."""
    y_prob = np.clip(1 - output[:, 0] if output.shape[1] == 3 else output[:, 0], 0, 1)
    plain, drawn = (threshold_metrics(kinds > 0, y_prob, HALF, w) for w in (None, weights))
    found = {name: (plain[name], drawn[name]) for name in ("accuracy", "sensitivity", "specificity")}
    found["roc_auc"] = roc_auc(kinds > 0, y_prob), roc_auc(kinds > 0, y_prob, weights)
    if output.shape[1] == 1:
        return found
    predicted = output.argmax(axis=1)
    found["accuracy of three"] = _share(predicted == kinds, np.ones(len(kinds), bool), weights)
    for true, name in enumerate(KINDS):
        for index, other in enumerate(KINDS):
            found[f"{name} as {other}"] = _share(predicted == index, kinds == true, weights)
    guess = 1 + (output[:, 2] > output[:, 1])
    found["bacteria or virus"] = _share(guess == kinds, kinds > 0, weights)
    return found


def _share(right: np.ndarray, among: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    if not among.any():
        return np.nan, np.full(len(weights), np.nan)
    with np.errstate(invalid="ignore"):
        return float(right[among].mean()), weights[:, among] @ right[among] / weights[:, among].sum(axis=1)


def _predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    from ..data.generators import RadiographGenerator

    return model.predict(RadiographGenerator(images, np.zeros(len(images)), 128), verbose=0)


def describe(results: Results) -> dict[str, str]:
    """kinds: how often bacterial and viral pneumonia are distinguished, and what three classes do to the ROC AUC."""
    rows = results.table("three_class").set_index(["split", "model", "metric"])
    test, validation = (
        Estimate.of_row("accuracy", rows.loc[(split, THREE, "bacteria or virus")]) for split in ("test", "validation")
    )
    three, two = (Estimate.of_row("roc_auc", rows.loc[("test", model, "roc_auc")]) for model in (THREE, TWO))
    return {
        "kinds": "A small network (96 px) distinguishes bacterial from viral pneumonia correctly in "
        f"{test.full} of the children with pneumonia on test and in {validation.full} on validation, whose labels no "
        "third physician checked. For PNEUMONIA against NORMAL, the network with three classes has a ROC AUC of "
        f"{three.full}, the one with two classes {two.full}."
    }


KIND_TITLES = {"NORMAL": "normal", "bacteria": "bacterial", "virus": "viral"}
HEADS = {TWO: ("two classes", "#0072B2", "o"), THREE: ("three classes", "#D55E00", "s")}


def draw_three_class(results: Results) -> Drawing:
    everything = results.table("three_class").set_index(["split", "model", "metric"])["value"]
    before = everything["validation", "three_class", "bacteria or virus"]
    table = results.table("three_class").query("split == 'test'")
    three = table[table["model"] == "three_class"].set_index("metric")["value"]
    two = table[table["model"] == "two_class"].set_index("metric")["value"]
    title = (
        f"Bacterial and viral are distinguished in {percent(three['bacteria or virus'])} of the pneumonias "
        f"({percent(before)} on validation); for PNEUMONIA, ROC AUC is {three['roc_auc']:.3f} with three classes, "
        f"{two['roc_auc']:.3f} with two"
    )
    note = (
        "The small recipe (96 px) on test, mean over seeds; left in percent of the true kind. Bars: 95 % intervals. "
        "Neither is calibrated, so that the threshold of 0.5 balances the two errors differently."
    )
    figure = new_figure(title, note, height=5.4)
    left, right = figure.subplots(1, 2)
    plot_kinds(three, left)
    metrics = ("accuracy", "sensitivity", "specificity")
    for number, (model, (label, colour, marker)) in enumerate(HEADS.items()):
        rows = table[table["model"] == model].set_index("metric").loc[list(metrics)]
        for height, row in enumerate(rows.itertuples()):
            place = height - 0.12 + 0.24 * number
            right.plot([100 * row.ci_low, 100 * row.ci_high], [place] * 2, color=colour, linewidth=4, alpha=0.4)
            right.plot(100 * row.value, place, marker, color=colour, markersize=8, label=label if height == 0 else None)
    right.set_yticks(range(len(metrics)), metrics)
    right.set(ylim=(len(metrics) - 0.5, -0.7), xlabel="for PNEUMONIA against NORMAL (%)")
    right.legend(loc="upper left", ncols=2)
    return figure


def plot_kinds(values: pd.Series, ax: Axes | None = None) -> Axes:
    """Confusion of the three classes in percent of the row, the true kind. values: "<true> as <predicted>" -> share."""
    ax = own_axes(ax)
    shares = np.array([[values[f"{true} as {other}"] for other in KINDS] for true in KINDS])
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.62 else "black"
        ax.text(column, row, percent(share), ha="center", va="center", size=15, weight="bold", color=colour)
    titles = [KIND_TITLES[kind] for kind in KINDS]
    ax.set_xticks(range(3), titles)
    ax.set_yticks(range(3), titles)
    ax.set(xlabel="predicted kind", ylabel="true kind")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


STUDY = Study(
    compute_three_class,
    describe,
    figures={
        "three_class": Figure(
            draw_three_class, "Confusion of normal, bacterial and viral; accuracy with three classes beside two"
        )
    },
    looks_at_test="three outputs (normal, bacterial, viral) beside one",
    networks=three_class_run,
    train=train_members,
    depends_on=recipe_hash,
)
