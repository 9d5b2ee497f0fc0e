"""Runs, model configurations and their hashes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from itertools import pairwise
from pathlib import Path

import pytest

from pneumonia.config import ROOT, ModelConfig, PneumoniaError, short_hash
from pneumonia.models.architectures import BUILDERS
from pneumonia.series import ABLATION, MODEL_SERIES, ablation_run, real_run, simulated_run
from pneumonia.transforms.augmentations import AUGMENTATIONS, BATCH_AUGMENTATIONS

CONFIG = MODEL_SERIES[-1]
CHANGED = {
    "name": "other",
    "builder": "build_basic_cnn",
    "image_size": 96,
    "augmentations": ("flip",),
    "balance_classes": False,
    "epochs": 7,
    "batch_size": 32,
    "learning_rate": 1e-5,
    "weight_decay": 0.5,
    "pretrained": not CONFIG.pretrained,
    "window": CONFIG.window + 1,
    "weigh_by_size": not CONFIG.weigh_by_size,
}


@pytest.mark.parametrize("field", [field.name for field in fields(ModelConfig) if field.name not in ("title", "seeds")])
def test_every_field_that_training_depends_on_changes_the_hash(field):
    assert replace(CONFIG, **{field: CHANGED[field]}).hash() != CONFIG.hash()


def test_title_and_number_of_seeds_do_not_change_the_hash():
    assert replace(CONFIG, title="Another title", seeds=(7, 8)).hash() == CONFIG.hash()


def test_order_of_augmentations_changes_the_hash_because_they_are_applied_in_order():
    assert replace(CONFIG, augmentations=CONFIG.augmentations[::-1]).hash() != CONFIG.hash()


def test_hash_is_the_same_for_equal_configurations():
    assert ModelConfig(**vars(CONFIG)).hash() == CONFIG.hash()


def test_short_hash_is_twelve_hex_digits_and_ignores_the_order_of_keys():
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1})
    assert len(short_hash("x")) == 12
    assert int(short_hash("x"), 16) >= 0


def test_configurations_and_runs_are_frozen():
    with pytest.raises(FrozenInstanceError):
        CONFIG.epochs = 1
    with pytest.raises(FrozenInstanceError):
        real_run(None).seeds = ()


def test_series_is_in_the_order_of_the_notebook():
    assert [config.name for config in MODEL_SERIES] == [
        "majority",
        "metadata_logistic",
        "thumbnail_logistic",
        "basic_cnn",
        "basic_cnn_augmented",
        "deep_cnn",
        "deep_cnn_augmented",
        "robust_cnn",
    ]


def test_names_titles_and_hashes_of_the_series_are_unique():
    everything = (*MODEL_SERIES, *ABLATION)
    for values in zip(*((config.name, config.title, config.hash()) for config in everything), strict=True):
        assert len(set(values)) == len(everything)


@pytest.mark.parametrize("config", (*MODEL_SERIES, *ABLATION), ids=lambda config: config.name)
def test_builders_and_augmentations_of_the_series_exist(config):
    assert config.builder in BUILDERS
    assert set(config.augmentations) <= {*AUGMENTATIONS, *BATCH_AUGMENTATIONS}


def test_augmented_networks_are_the_plain_ones_with_augmentation():
    run = real_run(None)
    for plain in ("basic_cnn", "deep_cnn"):
        assert run.model(plain).augmentations == ()
        assert run.model(f"{plain}_augmented").augmentations
        assert run.model(f"{plain}_augmented").builder == run.model(plain).builder


def test_networks_have_three_seeds_and_baselines_one():
    run = real_run(None)
    assert len(run.seeds_of(run.model("basic_cnn"))) >= 3
    assert len(run.seeds_of(run.model("robust_cnn"))) >= 5
    assert run.seeds_of(run.model("majority")) == (0,)


def test_unknown_model_is_an_error_that_lists_the_known_ones():
    with pytest.raises(PneumoniaError, match="unknown model 'resnet'.*deep_cnn_augmented"):
        real_run(None).model("resnet")


def test_real_run_writes_to_the_committed_places():
    run = real_run(Path("somewhere"))
    assert not run.is_simulated
    assert (run.results_dir, run.images_dir, run.models_dir) == (ROOT / "results", ROOT / "images", ROOT / "models")


def test_simulated_run_owns_nothing_outside_build_simulated():
    run = simulated_run(None)
    assert run.is_simulated
    for path in (run.home, run.cache, run.results_dir, run.images_dir, run.models_dir):
        assert path.is_relative_to(ROOT / "build" / "simulated")
    assert not real_run(None).cache.is_relative_to(run.home)


def test_simulated_run_is_the_same_series_in_miniature():
    small = simulated_run(None).models
    assert [config.name for config in small] == [config.name for config in MODEL_SERIES]
    for config, original in zip(small, MODEL_SERIES, strict=True):
        assert config.image_size <= 64
        assert config.epochs <= 8
        assert config.is_cnn == original.is_cnn


def test_simulated_run_fetches_nothing():
    assert not any(config.pretrained for config in simulated_run(None).models)


def test_the_first_rows_of_the_ablation_add_augmentations_one_at_a_time():
    first = [set(config.augmentations) for config in ABLATION[:4]]
    assert all(a < b for a, b in pairwise(first))
    assert len({(config.image_size, config.epochs) for config in ABLATION}) == 1
    assert all(len(ablation_run(None).seeds_of(config)) >= 3 for config in ABLATION)
