"""What a template may say: names for what the result files hold, looked up when a template asks for them.

    {{ final.test.accuracy }}         95.5 %
    {{ final.test.accuracy.interval }}   93.8 to 97.1 %
    {{ (final.test.accuracy - majority.test.accuracy).phrase }}   33.0 points above
    {{ study.robustness.worst }}      a sentence from pneumonia/studies/robustness.py

`build_names` lists them all. A name that is not there is an error with the line of the template (`pages.Filler`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import pandas as pd

from ..config import CLAIMED_ACCURACY, ModelConfig
from ..data.catalog import NO_LABEL, SPLIT_FOLDERS, describe_test_split, select_used
from ..data.sizes import find_original_sizes
from ..evaluation.estimate import UNDEFINED, Change, Estimate, join_words, percent
from ..evaluation.metrics import SCORE_METRICS, THRESHOLD_METRICS
from ..records import load_record
from ..results import Results, hash_members
from ..studies import STUDIES
from ..transforms.augmentations import spell

SIMULATED = "SIMULATED radiographs: these numbers say nothing about children"
NO_INTERVAL = "is not defined"
METRICS = (*THRESHOLD_METRICS, "threshold", *SCORE_METRICS)


class Names(Mapping):
    """Names and what they stand for; a value is made when it is asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[str], object]):
        self._names, self._make = tuple(names), make

    def __getitem__(self, name: str) -> object:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def build_names(results: Results) -> dict[str, object]:
    """Everything that a template may use, but `table` (see `pages.Filler`).

    <model> by its name in `series.py`, and `final` for the final one, `best.<metric>` for the best on test,
        `best_baseline` for the most accurate baseline: see `describe_model`.
    study.<name>.<key>: what a study says of itself (its `describe`), or that it was not measured in this run;
        `{% if "<name>" in measured %}` asks whether it was.
    claimed, calibration, networks, catalog, training, looks, run: see the functions below.
    """
    models = {config.name: describe_model(results, config) for config in results.run.models}
    return models | {
        "final": models[results.final_model],
        "best": Names(METRICS, lambda metric: models[find_best(results, metric)]),
        "best_baseline": models[find_best(results, "accuracy", among_networks=False)],
        "claimed": describe_claim(results),
        "calibration": describe_calibration(results),
        "networks": describe_networks(results),
        "catalog": count_catalog(results),
        "training": describe_training(results),
        "looks": count_looks(results),
        "run": describe_run(results),
        "measured": tuple(results.measured),
        "study": Names(STUDIES, cache(lambda name: STUDIES[name].describe(results))),
    }


# --- models ------------------------------------------------------------------------------------------------------


def describe_model(results: Results, config: ModelConfig) -> dict[str, object]:
    """A model by name, title, how it was trained, and its Estimates.

    <split>.<metric> is that of the mean probability of all seeds, with its interval; single.<split>.<metric> the mean
    over single seeds, sd.<split>.<metric> their standard deviation; hardest.<metric> is the lowest value on a stress
    copy of validation, .on which one.
    """

    def of_seed(seed: str) -> dict[str, Names]:
        def of_split(split: str) -> Names:
            if seed == "sd":
                return Names(METRICS, lambda metric: _spread(results, config, split, metric))
            return Names(METRICS, lambda metric: results.estimate(config.name, split, metric, seed))

        return {split: of_split(split) for split in splits}

    splits = list(results.metrics.loc[results.metrics["model"] == config.name, "split"].unique())
    trained = results.training[results.training["model"] == config.name]
    ensemble = of_seed("ensemble")
    return ensemble | {
        "name": config.name,
        "title": config.title,
        "seeds": len(trained),
        "parameters": f"{trained['parameters'].mean():,.0f}",
        "window": config.window,
        "image_size": config.image_size if config.is_cnn or "thumbnail" in config.builder else UNDEFINED,
        "augmentations": ", ".join(spell(config.augmentations)) or "none",
        "epochs": f"{trained['epochs'].mean():.0f}" if config.is_cnn else UNDEFINED,
        "cpu_minutes": f"{trained['cpu_seconds'].mean() / 60:.1f}",
        "images_per_second": f"{trained['images_per_second'].mean():,.0f}" if config.is_cnn else UNDEFINED,
        "weights_hash": _hash_weights(results, config),
        "single": of_seed("mean"),
        "sd": of_seed("sd"),
        "hardest": Names(METRICS, lambda metric: _find_hardest(ensemble, metric)),
    }


def _spread(results: Results, config: ModelConfig, split: str, metric: str) -> Change:
    """Standard deviation over seeds, written as a difference is; "–" for a single seed."""
    several = len(results.run.seeds_of(config)) > 1
    return Change.of(metric, float(results.estimate(config.name, split, metric, "sd")) if several else math.nan)


def _find_hardest(splits: dict[str, Names], metric: str) -> dict[str, object]:
    copies = [split for split in splits if split.startswith("validation_")]
    split = min(copies, key=lambda name: float(splits[name][metric]))
    return {"on": split.removeprefix("validation_"), "value": splits[split][metric]}


def _hash_weights(results: Results, config: ModelConfig) -> str:
    """As models/final.json has it; "–" where the weights are not at hand."""
    records = [load_record(results.run, config, seed) for seed in results.run.seeds_of(config)]
    return hash_members(records) if all(records) else UNDEFINED


def find_best(results: Results, metric: str, among_networks: bool = True) -> str:
    """The model that is highest on test, of all models or of the baselines."""
    names = [config.name for config in results.run.models if among_networks or not config.is_cnn]
    return max(names, key=lambda name: float(results.estimate(name, "test", metric)))


def describe_claim(results: Results) -> dict[str, str]:
    """The accuracy that the work before this one claimed, and where our interval is: "lies above" it."""
    ours = results.estimate(results.final_model, "test", "accuracy")
    return {"accuracy": percent(CLAIMED_ACCURACY, 0), "interval": _place(ours, CLAIMED_ACCURACY)}


def describe_calibration(results: Results) -> dict[str, str]:
    """Where the intervals of intercept and slope of the final model on test are, and what follows."""
    meaning = {
        "intercept": (
            0,
            {"lies below": "**the probabilities are too high**", "lies above": "**the probabilities are too low**"},
        ),
        "slope": (1, {"lies below": "they are too extreme", "lies above": "they are not extreme enough"}),
    }
    said = {}
    for name, (ideal, follows) in meaning.items():
        where = _place(results.estimate(results.final_model, "test", f"calibration_{name}"), ideal)
        said[name] = where if where == NO_INTERVAL else f"{where} {ideal}"
        if where in follows:
            said[name] += f" ({follows[where]})"
    return said


def _place(estimate: Estimate, value: float) -> str:
    """Where the interval of an estimate is, seen from a value."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return NO_INTERVAL
    if estimate.low > value:
        return "lies above"
    return "lies below" if estimate.high < value else "includes"


def describe_networks(results: Results) -> dict[str, object]:
    """How many networks there are, and which are no more accurate on test than the most accurate baseline."""
    bar = float(results.estimate(find_best(results, "accuracy", among_networks=False), "test", "accuracy"))
    networks = [config for config in results.run.models if config.is_cnn]
    behind = [f"*{c.title}*" for c in networks if float(results.estimate(c.name, "test", "accuracy")) <= bar]
    return {"n": len(networks), "behind_baseline": join_words(behind)}


# --- where the results come from ---------------------------------------------------------------------------------


def count_catalog(results: Results) -> dict[str, object]:
    """What the radiographs are, how many there are, and what was left out; per split by class and kind.

    `delivered.development` (the folders train and val) and `delivered.test` count the files as delivered, and those of
    them that were left out: copies, and what cannot be read.
    """
    catalog, used = results.catalog[results.catalog["label"] != NO_LABEL], select_used(results.catalog)
    copy, excluded = catalog["duplicate_of"] != "", catalog["excluded_reason"] != ""
    folder = catalog["path"].str.split("/").str[0].str.lower().map(SPLIT_FOLDERS)
    delivered = {
        name: {
            "n": f"{rows.sum():,}",
            "copies": f"{(rows & copy & excluded).sum():,}",
            "unreadable": f"{(rows & ~copy & excluded).sum():,}",
        }
        for name, rows in {"development": folder != "test", "test": folder == "test"}.items()
    }
    counts = {
        split: {
            "n": f"{len(rows):,}",
            "patients": f"{rows['patient_id'].nunique():,}",
            "prevalence": percent(rows["label"].mean()),
            "share": rows["label"].mean(),
            "normal": f"{(rows['label'] == 0).sum():,}",
            "pneumonia": f"{(rows['label'] == 1).sum():,}",
            "bacteria": f"{(rows['kind'] == 'bacteria').sum():,}",
            "virus": f"{(rows['kind'] == 'virus').sum():,}",
            "normal_patients": f"{rows.loc[rows['label'] == 0, 'patient_id'].nunique():,}",
            "pneumonia_patients": f"{rows.loc[rows['label'] == 1, 'patient_id'].nunique():,}",
        }
        for split, rows in used.groupby("split")
    }
    counts["test"]["duplicates"] = int((copy & ~excluded).sum())
    sizes = find_original_sizes(used)
    proportions = pd.Series(sizes[:, 0] / sizes[:, 1]).groupby(used["class_name"].to_numpy()).median()
    names_patients = used["patient_id"].nunique() < len(used)  # archives such as MedMNIST name none
    return counts | {
        "n": f"{len(catalog):,}",
        "patients": f"{used['patient_id'].nunique():,}",
        "delivered": delivered,
        "duplicates": int((copy & excluded).sum()),
        "unreadable": int((excluded & ~copy).sum()),
        "delivered_validation": int((folder == "val").sum()),
        "proportions": {name: f"{share:.2f}" for name, share in proportions.items()},  # width / height, the middle one
        "form": _describe_form(results),
        "test_split": describe_test_split(results.catalog),
        "patients_apart": "No child is in two splits."
        if names_patients
        else "The files do not say which radiographs are of one child, so a child may be in two splits.",
    }


def _describe_form(results: Results) -> str:
    """What kind of files the results were computed on."""
    sides = select_used(results.catalog)[["width", "height"]].stack()
    if results.run.is_simulated:
        return "simulated radiographs"
    if sides.nunique() == 1:
        return f"{sides.iloc[0]}-px copies of the official files"
    return f"the official files as published (sides of {sides.min():,} to {sides.max():,} pixels)"


def describe_training(results: Results) -> dict[str, object]:
    """What all trainings of the series took together."""
    minutes = {f"{kind}_minutes": f"{results.record[f'training_{kind}_seconds'] / 60:.0f}" for kind in ("cpu", "wall")}
    networks = sum(results.run.model(name).is_cnn for name in results.training["model"])
    return minutes | {"networks": networks, "device": results.record["training_device"]}


def count_looks(results: Results) -> dict[str, object]:
    """How often the test split was scored: n, times ("31 times"), before and since the project began."""
    n, before = len(results.test_looks), int(results.test_looks["why"].str.contains("before the project").sum())
    return {"n": n, "times": "once" if n == 1 else f"{n} times", "before": before, "since": n - before}


def describe_run(results: Results) -> dict[str, object]:
    """How the run was set up, and by which rule the final model was chosen."""
    run, record = results.run, results.record
    return {
        "is_simulated": run.is_simulated,
        "marker": SIMULATED if run.is_simulated else "",
        "rule": record["final_model_rule"],
        "draws": f"{record['bootstrap_draws']:,}",
        "validation_fraction": percent(record["validation_fraction"], 0),
    }
