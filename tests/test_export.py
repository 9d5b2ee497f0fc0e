"""A tiny ensemble through the export: the same numbers from ONNX as from Keras, in one file or in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN

from pneumonia.config import PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.metrics import apply_threshold
from pneumonia.evaluation.scores import Scores
from pneumonia.inference.final_model import OUTPUTS, FinalModel
from pneumonia.models import export
from pneumonia.models.architectures import build_model
from pneumonia.series import simulated_run

SIZE = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([simulate_radiograph("virus", np.random.default_rng(seed), SIZE) for seed in range(80)])


def build(builder: str, seeds: int):
    import keras

    config = replace(simulated_run(None).model("deep_cnn"), builder=builder, image_size=SIZE)
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        yield build_model(config)


def write(folder, members) -> FinalModel:
    record = {"model": "tiny", "version": "0", "image_size": SIZE, "operating_points": {"balanced": 0.5}}
    record |= {"referral": [0.4, 0.6], "atypicality_limit": 3.0, "evidence_scale": 1.0}
    record |= {"window": 1.25}
    record["files"] = export.write_parts(members, folder)
    return FinalModel(folder, record=record)


@pytest.mark.parametrize(
    ("builder", "limit"), [("build_deep_cnn", 20e6), ("build_deep_cnn", 5e6), ("build_efficientnet_lite0", 20e6)]
)
def test_onnx_is_the_mean_of_the_members(tmp_path, monkeypatch, images, builder, limit):
    monkeypatch.setattr(export, "FILE_BYTES", limit)
    members = list(build(builder, 2))
    model = write(tmp_path, [export.add_outputs(member, images) for member in members])
    assert len(model.sessions) == (1 if (builder, limit) == ("build_deep_cnn", 20e6) else 2)
    assert model.window == 1.25
    given = images[..., None].astype(np.float32)
    expected = np.mean([member.predict(given, verbose=0)[:, 0] for member in members], axis=0)
    scores = model.score(images, OUTPUTS)
    assert np.abs(scores["probability"] - expected).max() < 1e-5
    # Global average pooling and one dense layer: the evidence, on average over places, is the logit without its bias.
    logits = [np.log(p / (1 - p)) for p in (member.predict(given, verbose=0)[:, 0] for member in members)]
    biases = [float(member.layers[-1].get_weights()[1][0]) for member in members]
    assert np.allclose(scores["evidence"].mean(axis=(1, 2)), np.mean(logits, axis=0) - np.mean(biases), atol=1e-3)
    if builder == "build_deep_cnn":  # the features of an untrained EfficientNet are all but 0
        assert np.abs(scores["atypicality"].mean() - 1) < 0.05, "1 is usual among the radiographs it was fitted to"


def test_network_without_a_pooled_head_is_refused(images):
    (member,) = build("build_basic_cnn", 1)
    with pytest.raises(PneumoniaError, match="GlobalAveragePooling2D"):
        export.add_outputs(member, images)


def test_the_record_names_the_window(trained):
    run, *_ = trained
    for window in (0.0, 1.25):
        assert export.describe(run, replace(run.model(CNN), window=window), (0, 1))["window"] == window


def test_thresholds_reach_what_they_promise():
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 800)
    y_prob = np.clip(0.5 + 0.25 * (2 * y_true - 1) + rng.normal(0, 0.2, 800), 0, 1).round(6)
    names = [f"{number}.png" for number in range(400)]
    frames = [
        pd.DataFrame(
            {"path": names, "patient_id": names, "split": split, "label": y_true[part], "model": "m", "seed": 0}
        ).assign(y_prob=y_prob[part])
        for split, part in (("validation", slice(400)), ("validation_noise", slice(400, 800)))
    ]
    test = frames[0].assign(split="test", y_prob=1 - frames[0]["y_prob"])  # would turn everything around
    chosen = export.choose_thresholds(Scores.parse(pd.concat([*frames, test])).pooled("m"))
    points = chosen["operating_points"]
    pneumonia, normal = y_prob[y_true == 1], y_prob[y_true == 0]
    assert apply_threshold(pneumonia, points["screening"]).mean() >= 0.98
    assert apply_threshold(pneumonia, points["screening"] + 0.01).mean() < 0.98
    assert 1 - apply_threshold(normal, points["rule-in"]).mean() >= 0.98
    assert 1 - apply_threshold(normal, points["rule-in"] - 0.01).mean() < 0.98
    low, high = chosen["referral"]
    assert (pneumonia < low).mean() <= 0.05 and (normal >= high).mean() <= 0.05 and low < high
