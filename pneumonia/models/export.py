"""The final model for those who only read radiographs: models/final.onnx and final.json, which need no TensorFlow.

One ONNX graph holds all members of the ensemble. Whatever the graph gives is the mean over its members, so that an
ensemble too large for one file can lie in several.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops

from .. import __version__
from ..config import ModelConfig, PneumoniaError, Run
from ..data.catalog import select_used
from ..data.pixels import load_pixels
from ..evaluation.operating_points import choose_band, choose_operating_points
from ..evaluation.probability import REFERENCE_PREVALENCE
from ..evaluation.scores import SplitScores
from ..inference.final_model import OUTPUTS, RECORD, FinalModel
from ..records import hash_file, load_record, save_atomically
from ..results import Results, hash_members
from ..transforms.stress_copies import build_twins
from .gradcam import find_pooled_head
from .weights import load_trained

FILE_BYTES = 20_000_000  # the largest file that the repository takes
LEADING_SHARE = 6  # one in six directions of the penultimate features is kept as typical
TYPICAL = 0.99  # share of validation and its twins that must not be called atypical
COVERAGE = 0.99  # of the referral band, in each class


def export_final(results: Results) -> Path:
    """Write the final model of a run as ONNX, with thresholds and limits from validation and its twins.

    Returns: the path of final.json, which names the ONNX files.
    Raises: PneumoniaError when the final model does not end in global average pooling and one dense sigmoid.
    """
    run, config = results.run, results.run.model(results.final_model)
    used, pixels = select_used(results.catalog), load_pixels(run, results.catalog, config.image_size)
    train = pixels[(used["split"] == "train_fit").to_numpy()]
    seeds = run.seeds_of(config)
    members = [load_trained(run, config, seed) for seed in seeds]
    members = [add_outputs(member, train) for member in members]
    record = describe(run, config, seeds) | {"files": write_parts(members, run.models_dir)}
    record |= choose_thresholds(results.scores.pooled(config.name))
    _write_record(run, record | dict.fromkeys(("atypicality_limit", "evidence_scale")))
    record |= choose_limits(FinalModel(run.models_dir), pixels, used)
    return _write_record(run, record)


def add_outputs(model: keras.Model, train: np.ndarray) -> keras.Model:
    """A member that also gives what heatmaps and the question "is this a child's chest?" need.

    Args: train: uint8 (n, h, w), the radiographs that it learned from.
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
    """How far penultimate features lie from the plane that those of train lie near (ViM's residual; Wang et al., 2022).

    Args: pooled: (batch, width). features: float (n, width) of train, which span the plane.
    Returns: (batch,) squared distance, divided by its mean over `features`.
    """
    center = features.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(features - center, rowvar=False))  # smallest variance first
    plane = directions[:, -max(1, features.shape[1] // LEADING_SHARE) :].astype(np.float32)
    offset = features - center
    typical = np.mean(((offset - offset @ plane @ plane.T) ** 2).sum(axis=1))
    distance = ops.subtract(pooled, center)
    beside = ops.subtract(distance, ops.matmul(ops.matmul(distance, plane), plane.T))
    return ops.sum(ops.square(beside), axis=1) / max(float(typical), 1e-12)


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
    given = [member(inputs) for member in members]
    outputs = [ops.mean(ops.stack(values), axis=0) for values in zip(*given, strict=True)]
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
    """Where the model comes from."""
    records = [load_record(run, config, seed) for seed in seeds]
    return {
        "model": config.name,
        "title": config.title,
        "version": __version__,
        "seeds": list(seeds),
        "weights_hash": hash_members(records),
        "image_size": config.image_size,
        "reference_prevalence": REFERENCE_PREVALENCE,  # of the calibration, in which both classes weigh the same
    }


def choose_thresholds(pooled: SplitScores) -> dict:
    """Operating points and the referral band [low, high), from the ensemble on validation and its stress copies."""
    points = choose_operating_points(pooled.y_true, pooled.ensemble)
    return {"operating_points": points, "referral": list(choose_band(pooled.y_true, pooled.ensemble, COVERAGE))}


def choose_limits(model: FinalModel, pixels: np.ndarray, used: pd.DataFrame) -> dict:
    """From which atypicality on a picture is not like a child's chest, and which evidence is drawn at full strength."""
    validation = pixels[(used["split"] == "validation").to_numpy()]
    copies = [validation, *(images for _, images in build_twins(pixels, used).values())]
    scores = [model.score(images, OUTPUTS) for images in copies]
    atypicality = np.concatenate([score["atypicality"] for score in scores])
    peaks = np.concatenate([score["evidence"].max(axis=(1, 2)) for score in scores])
    strong = np.concatenate([score["probability"] for score in scores]) >= 0.5
    return {
        "atypicality_limit": round(float(np.quantile(atypicality, TYPICAL)), 6),
        "evidence_scale": round(float(np.quantile(peaks[strong], 0.95)), 6),
    }


def _write_record(run: Run, record: dict) -> Path:
    text = json.dumps(record, indent=1) + "\n"
    path = run.models_dir / RECORD
    save_atomically(path, lambda partial: partial.write_text(text))
    return path
