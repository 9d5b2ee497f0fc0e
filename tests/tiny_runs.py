"""Runs small enough to train in a test: three epochs at 32 px on a few simulated radiographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pneumonia.config import ModelConfig, Run
from pneumonia.data.catalog import build_catalog
from pneumonia.models.training import train_all
from pneumonia.pipeline import make_catalog, make_metrics, make_models, make_predictions, make_study
from pneumonia.results import read_table
from pneumonia.series import WINDOW, simulated_run
from pneumonia.studies import STUDIES, load_results

CNN = "basic_cnn_augmented"  # the one network of the fixtures `trained` and `finished`
TRAINED = {"balance_classes": True, "window": WINDOW}  # how it is trained; without a window it could not be final


def tiny_run(data: Path | None, home: Path, names: tuple = (), seeds: tuple[int, ...] = (0,), **changes) -> Run:
    """A run below `home` with the named models; `changes` are made to the configuration of every network."""
    run = simulated_run(data)
    models = tuple(shrink(run.model(name), **changes) for name in names)
    return replace(run, home=home, cache=home / "cache", models=models, seeds=seeds, bootstrap_draws=20)


def shrink(config: ModelConfig, **changes) -> ModelConfig:
    """Three epochs at 32 px for networks; baselines stay as they are."""
    return replace(config, **{"image_size": 32, "epochs": 3, "batch_size": 16} | changes) if config.is_cnn else config


def train_tiny(data: Path, home: Path) -> tuple[Run, pd.DataFrame, list[dict]]:
    """(run, catalog, records) of the fixture `trained`: all baselines, and one network of two seeds."""
    names = ("majority", "metadata_logistic", "thumbnail_logistic", CNN)
    run = tiny_run(data, home, names, seeds=(0, 1), **TRAINED)
    catalog = build_catalog(run)
    return run, catalog, train_all(run, catalog, say=lambda line: None)


def finish(trained: tuple[Run, pd.DataFrame, list[dict]], home: Path) -> tuple[Run, pd.DataFrame]:
    """(run, catalog) of the fixture `finished`: all steps that follow training, in another home."""
    run = replace(trained[0], home=home)
    run.models_dir.symlink_to(trained[0].models_dir, target_is_directory=True)
    catalog = make_catalog(run)
    records = make_models(run, catalog, say=lambda line: None)
    make_predictions(run, catalog, records, why="the test of the steps")
    make_metrics(run)
    return run, catalog


def tiny_recipe(run: Run) -> ModelConfig:
    """The network that the studies vary, trained for one epoch."""
    return replace(run.model(CNN), augmentations=("shape", "flip"), epochs=1, seeds=())


def make_study_twice(run, name, study, monkeypatch) -> pd.DataFrame:
    """The table of a study, made and then asked for again, which neither trains nor looks at test."""
    place, small = f"pneumonia.studies.{name}.STUDY", replace(STUDIES[name].load(), networks=lambda base: study)
    monkeypatch.setattr(place, small)
    looks = len(read_table(run, "test_looks"))
    table = make_study(run, name, say=lambda line: None)
    monkeypatch.setattr(place, replace(small, compute=lambda *_, **__: pytest.fail("made again")))
    pd.testing.assert_frame_equal(make_study(run, name, say=lambda line: None), table)
    assert len(read_table(run, "test_looks")) == looks + 1
    assert read_table(run, "test_looks")["why"].iloc[-1] == small.looks_at_test
    pd.testing.assert_frame_equal(load_results(run).table(name), table)
    return table


def write_tree(root: Path, paths: list[str], size: int = 24) -> Path:
    """Gray noise under the given names, another picture under each."""
    for seed, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
        Image.fromarray(noise).save(root / path)
    return root


def names_of(split: str, count: int, start: int = 1) -> list[str]:
    """`count` children per kind in the official folder `split`, one radiograph each."""
    numbers = range(start, start + count)
    normal = [f"{split}/NORMAL/IM-{number:04d}-0001.jpeg" for number in numbers]
    pneumonia = [
        f"{split}/PNEUMONIA/person{number}_{kind}_1.jpeg" for number in numbers for kind in ("bacteria", "virus")
    ]
    return normal + pneumonia
