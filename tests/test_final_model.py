"""The committed ONNX model: the same numbers as the Keras members, and an error when it is not what it should be."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.calibration import apply_platt
from pneumonia.inference.final_model import OUTPUTS, RECORD, SEAL, FinalModel, hash_record
from pneumonia.models.weights import load_trained
from pneumonia.records import load_record
from pneumonia.results import hash_members, read_table
from pneumonia.series import real_run

MODELS = ROOT / "models"
CONFIG = real_run(None).model(json.loads((MODELS / RECORD).read_text())["model"])


@pytest.fixture(scope="module")
def model() -> FinalModel:
    return FinalModel()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    kinds = ("NORMAL", "bacteria", "virus")
    drawn = [simulate_radiograph(kinds[i % 3], np.random.default_rng(i), CONFIG.image_size) for i in range(9)]
    return np.stack([*drawn, np.zeros_like(drawn[0]), np.full_like(drawn[0], 255)])


@pytest.fixture(scope="module")
def members():
    run = real_run(None)
    return [load_trained(run, CONFIG, seed) for seed in run.seeds_of(CONFIG)]


def test_exported_from_the_final_model_at_hand(model):
    run = real_run(None)
    assert model.record["model"] == json.loads((ROOT / "results" / "run.json").read_text())["final_model"]
    records = [load_record(run, CONFIG, seed) for seed in run.seeds_of(CONFIG)]
    assert model.record["weights_hash"] == hash_members(records), "run `python -m pneumonia export`"
    assert all((MODELS / part["name"]).stat().st_size < 20_000_000 for part in model.record["files"])


def calibration() -> np.ndarray:
    """slope and intercept of each member: (seeds, 2)."""
    table = read_table(real_run(None), "calibration")
    return table.loc[table["model"] == CONFIG.name, ["slope", "intercept"]].to_numpy()


def test_agrees_with_keras(model, members, images):
    given = images[..., None].astype(np.float32)
    raw = [member.predict(given, verbose=0)[:, 0] for member in members]
    expected = np.mean([apply_platt(one, *row) for one, row in zip(raw, calibration(), strict=True)], axis=0)
    assert np.abs(model.score(images)["probability"] - expected).max() < 1e-4


def test_heatmap_is_gradcam_by_gradients(model, members, images):
    """The gradient of the mean calibrated logit, by TensorFlow, weights the feature maps as the closed form says."""
    import keras
    import tensorflow as tf

    from pneumonia.models.gradcam import find_pooled_head

    given, total = tf.constant(images[:3, ..., None], tf.float32), 0
    for member, (slope, _) in zip(members, calibration(), strict=True):
        pooling, dense = find_pooled_head(member)
        features = tf.Variable(keras.Model(member.inputs[0], pooling.input)(given, training=False))
        with tf.GradientTape() as tape:
            logit = tf.reduce_mean(features, axis=(1, 2)) @ dense.kernel + dense.bias
        weights = tf.reduce_sum(tape.gradient(logit, features), axis=(1, 2))
        total = total + slope * tf.einsum("nhwc,nc->nhw", features, weights).numpy()
    evidence = model.score(images[:3], OUTPUTS)["evidence"]
    assert np.abs(evidence - total / len(members)).max() < 1e-3 * np.abs(evidence).max()


def test_order_and_batch_do_not_matter(model, images):
    together, one = model.score(np.concatenate([images] * 7), OUTPUTS), model.score(images[4:5], OUTPUTS)
    for name in OUTPUTS:
        assert np.allclose(together[name][4 + 3 * len(images)], one[name][0], atol=1e-4, rtol=1e-4)


def test_noise_is_less_typical_than_a_simulated_chest(model, images):
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    chest, other = (model.score(pictures, OUTPUTS)["atypicality"] for pictures in (images[:9], noise))
    assert other.min() > max(chest.max(), model.record["atypicality_limit"])


@pytest.fixture
def copy(tmp_path):
    record = json.loads((MODELS / RECORD).read_text())
    for name in (RECORD, *(part["name"] for part in record["files"])):
        shutil.copyfile(MODELS / name, tmp_path / name)
    return tmp_path


def first_part(folder):
    return folder / json.loads((folder / RECORD).read_text())["files"][0]["name"]


def damage(folder, problem):
    part, record = first_part(folder), folder / RECORD
    if problem == "missing":
        part.unlink()
    elif problem == "truncated":
        part.write_bytes(part.read_bytes()[:-1000])
    elif problem == "another hash":
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif problem == "no record":
        record.unlink()
    elif problem == "damaged record":
        record.write_text(record.read_text()[:99])
    elif problem == "no thresholds":
        record.write_text(json.dumps({"model": "x", "files": []}))
    else:
        part.write_bytes(b"no model")
        changed = json.loads(record.read_text())
        changed["files"][0]["sha256"] = hashlib.sha256(b"no model").hexdigest()
        record.write_text(json.dumps(changed))


PROBLEMS = (
    "missing",
    "truncated",
    "another hash",
    "no record",
    "damaged record",
    "no thresholds",
    "no ONNX",
)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_damaged_model_is_one_line_with_a_remedy(copy, problem):
    FinalModel(copy)
    damage(copy, problem)
    with pytest.raises(PneumoniaError, match="pneumonia export") as caught:
        FinalModel(copy)
    assert "\n" not in str(caught.value)


def reseal(folder, **changes) -> None:
    """Change values of the record, and its hash with them."""
    record = json.loads((folder / RECORD).read_text()) | changes
    (folder / RECORD).write_text(json.dumps(record | {SEAL: hash_record(record)}))


def test_a_record_that_was_changed_is_refused_and_another_threshold_is_another_model(copy):
    before = FinalModel(copy).hash
    record = json.loads((copy / RECORD).read_text())
    record["operating_points"]["balanced"] += 1e-6
    (copy / RECORD).write_text(json.dumps(record))
    with pytest.raises(PneumoniaError, match="changed since it was exported.*pneumonia export"):
        FinalModel(copy)
    reseal(copy)
    assert FinalModel(copy).hash != before


POINTS = {"screening": 0.2, "balanced": 0.5, "rule-in": 0.8}
FILE = {"name": "final.onnx", "sha256": "0" * 64, "members": 5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operating_points", POINTS | {"balanced": math.nan}),
        ("operating_points", POINTS | {"balanced": "0.5"}),
        ("operating_points", POINTS | {"balanced": None}),
        ("operating_points", POINTS | {"balanced": 0.1}),
        ("operating_points", POINTS | {"another": 0.5}),
        ("operating_points", [0.2, 0.5, 0.8]),
        ("operating_points", {}),
        ("referral", [0.9, 0.1]),
        ("referral", [0.1, 0.5, 0.9]),
        ("referral", [0.1, math.inf]),
        ("referral", 0.5),
        ("atypicality_limit", None),
        ("atypicality_limit", -1),
        ("evidence_scale", 0),
        ("evidence_scale", True),
        ("image_size", "128"),
        ("image_size", 128.0),
        ("image_size", 10**9),
        ("window", -1.25),
        ("window", math.nan),
        ("reference_prevalence", 1),
        ("model", ["robust_cnn"]),
        ("files", []),
        ("files", {}),
        ("files", [FILE | {"name": "../final.onnx"}]),
        ("files", [FILE | {"members": 0}]),
        ("files", [FILE | {"sha256": None}]),
    ],
)
def test_impossible_values_are_named_whatever_the_hash_says(copy, name, value):
    reseal(copy, **{name: value})
    with pytest.raises(PneumoniaError, match="pneumonia export") as caught:
        FinalModel(copy)
    assert name in str(caught.value) or "unreadable" in str(caught.value)  # NaN and Infinity are no JSON
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", '"final"', "[" * 100_000, "\xff"])
def test_records_of_another_kind_are_refused(copy, text):
    (copy / RECORD).write_text(text, encoding="latin-1")
    with pytest.raises(PneumoniaError, match="pneumonia export"):
        FinalModel(copy)


def test_a_network_of_another_size_is_refused(copy):
    reseal(copy, image_size=64)
    with pytest.raises(PneumoniaError, match="another input or output"):
        FinalModel(copy)


def test_unknown_operating_point(model):
    with pytest.raises(PneumoniaError, match="screening, balanced, rule-in"):
        model.threshold("best")
    assert model.threshold("screening") < model.threshold("balanced") < model.threshold("rule-in")


def test_onnx_runtime_sends_no_telemetry(tmp_path):
    """Its telemetry, on by default, would leave the mark of its session in the folder for temporary files."""
    code = "from pneumonia.inference.final_model import FinalModel; FinalModel(threads=1)"
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
