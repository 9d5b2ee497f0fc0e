"""Studies of what may choose a model, and of what a recipe leaves of the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from invented_results import make_noise_control

from pneumonia.data.catalog import build_catalog
from pneumonia.data.dataset import Radiographs, load_radiographs
from pneumonia.data.noise import replace_by_noise
from pneumonia.evaluation.metrics import roc_auc
from pneumonia.evaluation.scores import Scores
from pneumonia.series import ABLATION, simulated_run
from pneumonia.studies.criteria import CRITERIA, compute_criteria, judge
from pneumonia.studies.noise_control import LIMIT, SPECTRUM, list_recipes, read_noise, tabulate


def invent_scores() -> Scores:
    """Three networks of two seeds that see pixels and one model that does not: validation, two copies, test."""
    frames, labels = [], np.repeat([0, 1], [60, 90])
    for number, model in enumerate(("worse", "fair", "good", "file")):
        for seed in (0, 1):
            rng = np.random.default_rng([number, seed])
            for split in ("validation", "validation_noise", "validation_tones", "test"):
                if model == "file" and split.startswith("validation_"):
                    continue
                logits = rng.normal(size=150) + (0.4 + 0.6 * number) * (2 * labels - 1)
                paths = [f"{split.split('_')[0]}/{index:03d}" for index in range(150)]
                rows = {"path": paths, "patient_id": paths, "label": labels, "y_prob": 1 / (1 + np.exp(-logits))}
                frames.append(pd.DataFrame(rows).assign(split=split, model=model, seed=seed))
    pixels = {path: float(index % 7) for frame in frames for index, path in enumerate(frame["path"])}
    return Scores.parse(pd.concat(frames, ignore_index=True), pixels)


def test_criteria_of_a_network_are_what_the_metrics_say():
    scores = invent_scores()
    found = judge(scores, "fair", "0")
    parts = [scores["fair"][name] for name in ("validation", "validation_noise", "validation_tones")]
    ranked = [roc_auc(part.y_true, part.y_prob["0"]) for part in parts]
    assert (found["validation"], found["worst"], found["mean"]) == (ranked[0], min(ranked), np.mean(ranked))
    assert 0 < found["agreement"] < 1
    assert found["roc_auc"] == roc_auc(scores.test("fair").y_true, scores.test("fair").y_prob["0"])


def test_criteria_are_correlated_over_networks_that_see_pixels():
    scores = invent_scores()
    assert judge(scores, "file", "0") == {}
    table = compute_criteria(scores, "good", 0)
    assert list(table["criterion"].unique()) == list(CRITERIA)
    assert set(table["networks"]) == {6}
    assert table.query("criterion == 'worst'")["rank_correlation"].min() > 0.5


def test_a_criterion_that_is_the_test_score_correlates_perfectly():
    scores = invent_scores()
    same = {
        model: {name: part if name == "test" else splits["test"] for name, part in splits.items()}
        for model, splits in scores.items()
    }
    table = compute_criteria(Scores(same), "good", 0).set_index(["criterion", "with"])
    assert table.loc[("validation", "roc_auc"), "rank_correlation"] == pytest.approx(1)
    assert table.loc[("worst", "roc_auc"), "rank_correlation"] == pytest.approx(1)


def test_recipes_above_the_limit_are_not_eligible():
    table = make_noise_control()
    results = type("Results", (), {"table": lambda self, name: table})()
    eligible = [row[-1] for row in tabulate(results).rows]
    of_model = table.groupby("model", sort=False)["roc_auc"]
    fair = (of_model.max() <= LIMIT) & (of_model.min() >= 1 - LIMIT)
    assert eligible == ["yes" if one else "no" for one in fair]
    assert {"yes", "no"} == set(eligible)


def test_both_readers_find_the_label_in_noise_that_carries_it(radiographs_of_noise):
    train, validation = radiographs_of_noise
    config = replace(ABLATION[0], image_size=16, batch_size=8)
    for scored in read_noise(config, train, validation).values():
        assert all(roc_auc(validation.labels, y_prob) > 0.9 for y_prob in scored)


def test_an_exchange_within_mixed_batches_takes_it_away(radiographs_of_noise):
    """In order of path a batch would hold one class, and the exchange would hand its amplitude back to it."""
    train, validation = radiographs_of_noise
    config = replace(ABLATION[0], image_size=16, batch_size=8, augmentations=("all_tones",))
    scored = read_noise(config, train, validation)[SPECTRUM]
    assert np.mean([roc_auc(validation.labels, y_prob) for y_prob in scored]) < 0.8


def test_recipes_that_show_the_same_are_measured_once():
    names = [config.name for config in list_recipes()]
    assert names[0] == "robust_cnn"
    assert {"ablation_window", "ablation_sharpness"} <= set(names)
    assert not {"ablation_weights", "ablation_pretrained"} & set(names)


@pytest.fixture
def radiographs_of_noise(clean_tree, tmp_path) -> tuple[Radiographs, Radiographs]:
    """Noise whose amplitude is that of its class."""
    run = replace(simulated_run(clean_tree), home=tmp_path, cache=tmp_path / "cache")
    radiographs = load_radiographs(run, build_catalog(run), 16)
    parts = []
    for split in ("train_fit", "validation"):
        part = replace_by_noise(radiographs[split])
        scale = np.where(part.labels, 0.3, 1.0)[:, None, None]
        parts.append(replace(part, pixels=(128 + (part.pixels - 128.0) * scale).round().astype(np.uint8)))
    return tuple(parts)
