"""The final model without TensorFlow: models/final.json and the ONNX files that it names, run by ONNX Runtime.

Nothing slow is imported: a radiograph is answered in about a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import ROOT, PneumoniaError

OUTPUTS = ("probability", "evidence", "atypicality")
RECORD = "final.json"
POINTS = ("screening", "balanced", "rule-in")  # by rising threshold
SEAL = "record_sha256"  # of all other values of the record, so that none of them changes unnoticed
REMEDY = "fetch the repository's models/ again, or run `python -m pneumonia export`"
BATCH = 16  # larger ones are no faster, and take more memory


class FinalModel:
    """The ensemble of all seeds.

    `score` gives, for each radiograph, means over the members of
    - probability (n,): of PNEUMONIA, calibrated for children half of whom have pneumonia;
    - evidence (n, h, w): what each place of the last feature maps adds to the logit, at their resolution. The head is
      global average pooling and one dense layer, so the gradient of the logit with respect to a feature map is its
      dense weight, everywhere, over the number of places: the positive part of this map *is* Grad-CAM (up to scale;
      Selvaraju et al., 2017, section 3.1), and no gradient is needed for it;
    - atypicality (n,): squared distance of the penultimate features from those of children's chests, 1 on average.
    """

    def __init__(self, folder: Path | None = None, threads: int = 0, record: dict | None = None):
        """Load the model in `folder` (default: models/ of the repository).

        Args:
            threads: of ONNX Runtime; 0: one for each core.
            record: in place of final.json, unchecked, while that is being made.
        Raises: PneumoniaError when a file is missing, damaged, or not the one that final.json names.
        """
        folder = Path(folder or ROOT / "models")
        self.record = read_record(folder / RECORD) if record is None else record
        contents = [_read_part(folder / part["name"], part["sha256"]) for part in self.record["files"]]
        self.sessions = [_open_session(content, threads) for content in contents]
        self.weights = [part["members"] for part in self.record["files"]]
        self.size: int = self.record["image_size"]
        self.window: float = self.record.get("window", 0.0)  # width / height of what it sees; 0: all, stretched
        self.name = f"{self.record['model']} {self.record['version']}"
        self.hash = hash_record(self.record)[:12]  # of thresholds and limits as well
        for session in self.sessions:
            _check_session(session, self.size)

    def score(self, images: np.ndarray, outputs: Sequence[str] = ("probability",)) -> dict[str, np.ndarray]:
        """The named outputs, float32, for images (n, size, size) in 0-255."""
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        scored = [self._score_batch(np.asarray(batch), list(outputs)) for batch in batches]
        return {name: np.concatenate([batch[name] for batch in scored]) for name in outputs}

    def _score_batch(self, images: np.ndarray, outputs: list[str]) -> dict[str, np.ndarray]:
        given = {"radiograph": images[..., None].astype(np.float32)}
        parts = [session.run(outputs, given) for session in self.sessions]
        if len(parts) == 1:
            return dict(zip(outputs, parts[0], strict=True))
        means = [np.average(values, axis=0, weights=self.weights) for values in zip(*parts, strict=True)]
        return dict(zip(outputs, means, strict=True))

    def threshold(self, point: str) -> float:
        """The threshold of an operating point: screening, balanced or rule-in."""
        points = self.record["operating_points"]
        if point not in points:
            raise PneumoniaError(f"unknown operating point '{point}'; the model has {', '.join(points)}")
        return points[point]


def hash_record(record: dict) -> str:
    """SHA-256 of all values of a record but its own hash."""
    rest = {key: value for key, value in record.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> dict:
    """The record of a final model. Raises: PneumoniaError when it is missing, damaged, or has impossible values."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise PneumoniaError(f"{path}: missing or unreadable; {REMEDY}") from error
    if wrong := find_wrong(record):
        raise PneumoniaError(f"{path}: {', '.join(wrong)} missing or impossible; {REMEDY}")
    if record.get(SEAL) != hash_record(record):
        raise PneumoniaError(f"{path}: changed since it was exported; {REMEDY}")
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def find_wrong(record: object) -> list[str]:
    """The names of values of a record that are missing or impossible; none where all is well."""
    if not isinstance(record, dict):
        return ["all values"]
    points = record.get("operating_points")
    thresholds = [points.get(name) for name in POINTS] if isinstance(points, dict) else [None]
    referral = record.get("referral")
    is_good = {
        "model": isinstance(record.get("model"), str),
        "version": isinstance(record.get("version"), str),
        "files": _are_files(record.get("files")),
        "image_size": type(record.get("image_size")) is int and 16 <= record["image_size"] <= 4096,
        "window": _is_number(record.get("window", 0), 0, 100),
        "operating_points": all(_is_number(value, 0, 1) for value in thresholds)
        and set(points) == set(POINTS)
        and thresholds == sorted(thresholds),
        "referral": isinstance(referral, list)
        and len(referral) == 2
        and all(_is_number(value, 0, 1) for value in referral)
        and referral[0] <= referral[1],
        "atypicality_limit": _is_number(record.get("atypicality_limit"), 1e-9),
        "evidence_scale": _is_number(record.get("evidence_scale"), 1e-9),
        "reference_prevalence": _is_number(record.get("reference_prevalence", 0.5), 1e-9, 1 - 1e-9),
    }
    return [name for name, good in is_good.items() if not good]


def _is_number(value: object, low: float, high: float = 1e9) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _are_files(parts: object) -> bool:
    """Whether these are names of files beside the record, with their hashes and how many members each has."""
    return (
        isinstance(parts, list)
        and len(parts) > 0
        and all(
            isinstance(part, dict)
            and re.fullmatch(r"[\w-]+\.onnx", str(part.get("name")))
            and re.fullmatch(r"[0-9a-f]{64}", str(part.get("sha256")))
            and type(part.get("members")) is int
            and part["members"] > 0
            for part in parts
        )
    )


def _check_session(session, size: int) -> None:
    """Raise PneumoniaError where a network is of another input or has other outputs than the record says."""
    shapes = [given.shape[1:] for given in session.get_inputs()]
    if shapes != [[size, size, 1]] or {output.name for output in session.get_outputs()} != set(OUTPUTS):
        raise PneumoniaError(f"the ONNX model is not the one of {RECORD} (another input or output); {REMEDY}")


def _read_part(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PneumoniaError(f"{path}: cannot be read ({error.strerror or error}); {REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PneumoniaError(f"{path}: not the file that {RECORD} names (truncated or another version); {REMEDY}")
    return content


def _open_session(content: bytes, threads: int):
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # since 1.29 it reports to Microsoft unless this is set first
    try:
        import onnxruntime
    except ImportError as error:
        raise PneumoniaError("onnxruntime is missing: pip install -e .") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Waiting threads must not spin: decoding needs the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class for every kind of failure, and no common one
        raise PneumoniaError(f"the ONNX model cannot be run ({type(error).__name__}); {REMEDY}") from error
