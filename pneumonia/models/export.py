"""The final model for use without TensorFlow: models/final.onnx and final.json.

One ONNX graph holds all members of the ensemble, and every output of it is the mean over its members, so that an
ensemble too large for one file can be split over several.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops

from .. import __version__
from ..config import ModelConfig, PneumoniaError, Run
from ..data.dataset import Radiographs, load_radiographs
from ..evaluation.operating_points import choose_band, choose_operating_points
from ..evaluation.probability import REFERENCE_PREVALENCE
from ..evaluation.scores import SplitScores
from ..inference.final_model import OUTPUTS, RECORD, SEAL, FinalModel, hash_record, read_record
from ..records import hash_file, load_record, save_atomically, write_json
from ..results import Results, hash_members
from .calibration import rescale_last_layer
from .gradcam import find_pooled_head
from .weights import load_trained

FILE_BYTES = 20_000_000  # the largest file that the repository takes
LEADING_SHARE = 6  # one in six directions of the penultimate features is kept as typical
TYPICAL = 0.99  # share of validation and its stress copies that must not be flagged as atypical
COVERAGE = 0.99  # of the referral band, in each class


def export_final(results: Results) -> Path:
    """Write the final model of a run as ONNX, with thresholds and limits from validation and its stress copies.

    Returns: the path of final.json, which names the ONNX files.
    Raises: PneumoniaError when the final model does not end in global average pooling and one dense sigmoid, or when a
    threshold or limit comes out impossible.
    """
    run, config = results.run, results.run.model(results.final_model)
    radiographs = load_radiographs(run, results.catalog, config.image_size, config.window)
    seeds, train = run.seeds_of(config), radiographs["train_fit"].pixels
    members = [add_outputs(load_calibrated(results, config, seed), train) for seed in seeds]
    record = describe(run, config, seeds) | {"files": write_parts(members, run.models_dir)}
    record |= choose_thresholds(results.scores.pooled(config.name))
    record |= choose_limits(FinalModel(run.models_dir, record=record), radiographs)
    path = run.models_dir / RECORD
    write_json(path, record | {SEAL: hash_record(record)})
    read_record(path)
    return path


def load_calibrated(results: Results, config: ModelConfig, seed: int) -> keras.Model:
    """A trained network whose last layer is rescaled as calibration.csv says."""
    model = load_trained(results.run, config, seed)
    table = results.calibration.set_index(["model", "seed"])
    if (config.name, str(seed)) not in table.index:
        path = results.run.results_dir / "calibration.csv"
        raise PneumoniaError(f"{path}: no row of {config.name}, seed {seed}; run `make report`")
    rescale_last_layer(model, *table.loc[(config.name, str(seed)), ["slope", "intercept"]])
    return model


def add_outputs(model: keras.Model, train: np.ndarray) -> keras.Model:
    """A member with two more outputs: the evidence for heatmaps, and how atypical a picture is for a child's chest.

    Args: train: uint8 (n, h, w), the radiographs that it was trained on.
    Returns: a model with the outputs of final_model.OUTPUTS, in their order.
    """
    head = find_pooled_head(model)
    if head is None:
        raise PneumoniaError(f"{model.name}: export needs a head of GlobalAveragePooling2D, (Dropout), Dense(1)")
    pooling, dense = head
    features = keras.Model(model.inputs[0], pooling.output).predict(train[..., None], batch_size=64, verbose=0)
    evidence = ops.matmul(pooling.input, ops.convert_to_numpy(dense.kernel))[..., 0]
    atypicality = build_atypicality(pooling.output, features)
    outputs = (model.outputs[0][:, 0], evidence, atypicality)
    return keras.Model(model.inputs[0], list(outputs))


def build_atypicality(pooled: keras.KerasTensor, features: np.ndarray) -> keras.KerasTensor:
    """How far penultimate features are from the plane near those of train (the residual of ViM; Wang et al., 2022).

    Args: pooled: (batch, width). features: float (n, width) of train, which span the plane.
    Returns: (batch,) squared distance, divided by its mean over `features`.
    """
    center = features.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(features - center, rowvar=False))  # smallest variance first
    plane = directions[:, -max(1, features.shape[1] // LEADING_SHARE) :].astype(np.float32)
    offset = features - center
    typical = np.mean(((offset - offset @ plane @ plane.T) ** 2).sum(axis=1))
    distance = ops.subtract(pooled, center)
    residual = ops.subtract(distance, ops.matmul(ops.matmul(distance, plane), plane.T))
    return ops.sum(ops.square(residual), axis=1) / max(float(typical), 1e-12)


def write_parts(members: list[keras.Model], folder: Path) -> list[dict]:
    """ONNX files of at most FILE_BYTES: [{"name", "sha256", "members"}, ...]; one file where all fit into it."""
    size = 4 * 1.03 * max(member.count_params() for member in members)
    per_file = max(1, int(FILE_BYTES // size))
    count = math.ceil(len(members) / per_file)
    parts = []
    for number, chosen in enumerate(np.array_split(np.arange(len(members)), count), start=1):
        path = folder / ("final.onnx" if count == 1 else f"final-{number}.onnx")
        save_atomically(path, lambda partial, chosen=chosen: _export(join([members[i] for i in chosen]), partial))
        if path.stat().st_size > FILE_BYTES:
            raise PneumoniaError(f"{path}: larger than {FILE_BYTES // 10**6} MB; choose a smaller final model")
        parts.append({"name": path.name, "sha256": hash_file(path), "members": len(chosen)})
    return parts


def join(members: list[keras.Model]) -> keras.Model:
    """One model whose outputs are the means of those of its members."""
    inputs = keras.Input(members[0].input_shape[1:], name="radiograph")
    for number, member in enumerate(members):
        member.name = f"member{number}"
    each = [member(inputs) for member in members]
    outputs = [ops.mean(ops.stack(values), axis=0) for values in zip(*each, strict=True)]
    return keras.Model(inputs, outputs, name="final")


def _export(model: keras.Model, path: Path) -> None:
    """Keras names the outputs of the graph after operations; here they get the names of OUTPUTS."""
    import onnx

    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports only what was called
    target = path.with_name(path.name + ".onnx")  # Keras insists on the suffix
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx is older than NumPy 2
        model.export(target, format="onnx", verbose=False)
    graph = onnx.load(target)
    target.unlink()
    names = dict(zip((output.name for output in graph.graph.output), OUTPUTS, strict=True))
    for node in graph.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    for output in graph.graph.output:
        output.name = names[output.name]
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def describe(run: Run, config: ModelConfig, seeds: tuple[int, ...]) -> dict:
    """Which model it is, and of which weights."""
    records = [load_record(run, config, seed) for seed in seeds]
    return {
        "model": config.name,
        "title": config.title,
        "version": __version__,
        "seeds": list(seeds),
        "weights_hash": hash_members(records),
        "image_size": config.image_size,
        "window": config.window,
        "reference_prevalence": REFERENCE_PREVALENCE,  # of the calibration, in which both classes weigh the same
    }


def choose_thresholds(pooled: SplitScores) -> dict:
    """Operating points and the referral band [low, high), from the ensemble on validation and its stress copies."""
    points = choose_operating_points(pooled.y_true, pooled.ensemble)
    return {"operating_points": points, "referral": list(choose_band(pooled.y_true, pooled.ensemble, COVERAGE))}


def choose_limits(model: FinalModel, radiographs: Radiographs) -> dict:
    """The atypicality above which a picture is flagged, and the evidence that is drawn at full strength."""
    parts = [radiographs["validation"], *radiographs.stress_copies().values()]
    scores = [model.score(part.pixels, OUTPUTS) for part in parts]
    atypicality = np.concatenate([score["atypicality"] for score in scores])
    peaks = np.concatenate([score["evidence"].max(axis=(1, 2)) for score in scores])
    strong = np.concatenate([score["probability"] for score in scores]) >= 0.5
    return {
        "atypicality_limit": round(float(np.quantile(atypicality, TYPICAL)), 6),
        "evidence_scale": round(float(np.quantile(peaks[strong], 0.95)), 6),
    }
