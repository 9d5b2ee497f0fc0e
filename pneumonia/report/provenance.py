"""Facts about where the results come from: the radiographs, the trainings, and how the run was set up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.catalog import select_used
from ..records import load_record
from ..results import Results, hash_members
from .wording import NOTHING, Facts, join_words, percent

SIMULATED = "SIMULATED radiographs: these numbers say nothing about children"


def catalog_facts(results: Results) -> Facts:
    """What the radiographs are, how many of them, and what was left out."""
    catalog, used = results.catalog, select_used(results.catalog)
    duplicate = catalog["duplicate_of"] != ""
    excluded = catalog["excluded_reason"] != ""
    official = catalog["path"].str.split("/").str[0].str.lower()
    facts = {"n": len(catalog), "used": len(used), "excluded": excluded.sum()}
    facts |= {"duplicates": (duplicate & excluded).sum(), "unreadable": (excluded & ~duplicate).sum()}
    facts |= {"test.duplicates": (duplicate & ~excluded).sum()}
    facts |= {f"official.{name}.n": (official == name).sum() for name in ("train", "val", "test")}
    for split, rows in (("all", used), *used.groupby("split")):
        facts |= {f"{split}.n": len(rows), f"{split}.patients": rows["patient_id"].nunique()}
        facts |= {f"{split}.{name.lower()}": n for name, n in rows["class_name"].value_counts().items()}
        facts |= {f"{split}.{kind}": (rows["kind"] == kind).sum() for kind in ("bacteria", "virus")}
    texts = {key: f"{n:,}" for key, n in facts.items()}
    for split, rows in (("all", used), *used.groupby("split")):
        texts[f"{split}.prevalence"] = percent(rows["label"].mean())
    texts |= _official_validation(facts["official.val.n"])
    texts["patients.sentence"] = _patients_sentence(used)
    texts["origin"] = "that were simulated" if results.run.is_simulated else "of small children, from one hospital"
    texts |= {"form": _form(results), "metadata": _varying_metadata(used)}
    return {f"catalog.{key}": text for key, text in texts.items()}


def _patients_sentence(used: pd.DataFrame) -> str:
    """Whether the splits are known to be apart by child: archives such as MedMNIST name no patients."""
    if used["patient_id"].nunique() == len(used):
        return "The files do not say which radiographs are of one child, so a child may be in two splits."
    return "No child is in two splits: whole patients are moved, never single radiographs."


def _official_validation(n: int) -> Facts:
    """What n images can tell; the archive at Mendeley has no such folder, the copy at Kaggle has."""
    step = f"{100 / n:.1f} points" if n else NOTHING
    sentence = f"The official validation folder has {n} images: one image moves its score by {step}"
    if not n:
        sentence = "There is no official validation folder among these files"
    return {"official.val.step": step, "official.val.sentence": sentence}


def _form(results: Results) -> str:
    """What kind of files the results were computed on."""
    used = select_used(results.catalog)
    if results.run.is_simulated:
        return "simulated radiographs"
    sides = used[["width", "height"]].stack()
    if sides.nunique() == 1:
        return f"{sides.iloc[0]}-px copies of the official files"
    return f"the official files as published (sides of {sides.min():,} to {sides.max():,} pixels)"


def _varying_metadata(used: pd.DataFrame) -> str:
    """Which properties of the files could tell anything: those that are not the same for all."""
    columns = ("width", "height", "mode", "jpeg_quality", "bytes")
    return join_words([name.replace("_", " ") for name in columns if used[name].nunique() > 1]) or "nothing"


def training_facts(results: Results) -> Facts:
    """What the trainings cost; per model the mean of one training."""
    record, rows = results.record, results.training
    facts = {f"training.{kind}_minutes": f"{record[f'training_{kind}_seconds'] / 60:.0f}" for kind in ("cpu", "wall")}
    facts["training.networks.n"] = str(sum(results.run.model(name).is_cnn for name in rows["model"]))
    facts["training.device"] = record["training_device"]
    for model, mean in rows.groupby("model", sort=False).mean(numeric_only=True).iterrows():
        config, speed = results.run.model(model), mean["images_per_second"]
        sees_pixels = config.is_cnn or "thumbnail" in config.builder
        facts |= {
            f"training.{model}.seeds": f"{(rows['model'] == model).sum()}",
            f"training.{model}.parameters": f"{mean['parameters']:,.0f}",
            f"training.{model}.epochs": f"{mean['epochs']:.0f}" if config.is_cnn else NOTHING,
            f"training.{model}.cpu_minutes": f"{mean['cpu_seconds'] / 60:.1f}",
            f"training.{model}.images_per_second": NOTHING if np.isnan(speed) else f"{speed:,.0f}",
            f"training.{model}.image_size": f"{config.image_size}" if sees_pixels else NOTHING,
            f"training.{model}.augmentations": ", ".join(config.augmentations) or "none",
        }
    return facts


def _probes_sentence(before: int) -> str:
    if not before:
        return "All of them belong to this project."
    return (
        f"{before} are of probes from before this project: they showed that accuracy falls from validation to test, "
        "and so had a part in the design (input size, augmentation); no threshold or weight comes from them."
    )


def _hash_final(results: Results) -> str:
    """Of the weights of the final model, as models/final.json has it."""
    final = results.run.model(results.final_model)
    records = [load_record(results.run, final, seed) for seed in results.run.seeds_of(final)]
    return hash_members(records) if all(records) else NOTHING


def run_facts(results: Results) -> Facts:
    """How the run was set up, how the final model was chosen, and how often the test split was looked at."""
    run, record, looks = results.run, results.record, results.test_looks
    before = int(looks["why"].str.contains("before the project").sum())
    return {
        "run.name": record["run"],
        "run.marker": SIMULATED if run.is_simulated else "",
        "run.rule": record["final_model_rule"],
        "run.draws": f"{record['bootstrap_draws']:,}",
        "run.validation_fraction": percent(record["validation_fraction"], 0),
        "run.final.hash": _hash_final(results),
        "run.models.n": f"{len(run.models)}",
        "run.baselines.n": f"{sum(not config.is_cnn for config in run.models)}",
        "run.cnns.n": f"{sum(config.is_cnn for config in run.models)}",
        "looks.before.sentence": _probes_sentence(before),
        "looks.n": f"{len(looks)}",
        "looks.times": "once" if len(looks) == 1 else f"{len(looks)} times",
        "looks.before.n": f"{before}",
        "looks.since.n": f"{len(looks) - before}",
    }
