"""The final model without TensorFlow: models/final.json and the ONNX files that it names, run by ONNX Runtime.

Nothing slow is imported: a radiograph is answered in about a second.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import ROOT, PneumoniaError

OUTPUTS = ("probability", "evidence", "atypicality")
RECORD = "final.json"
NEEDED = (
    "model",
    "version",
    "files",
    "image_size",
    "operating_points",
    "referral",
    "atypicality_limit",
    "evidence_scale",
)
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

    def __init__(self, folder: Path | None = None, threads: int = 0):
        """Load the model in `folder` (default: models/ of the repository); `threads` 0 takes one for each core.

        Raises: PneumoniaError when a file is missing, damaged, or not the one that final.json names.
        """
        folder = Path(folder or ROOT / "models")
        self.record = _read_record(folder / RECORD)
        contents = [_read_part(folder / part["name"], part["sha256"]) for part in self.record["files"]]
        self.sessions = [_open_session(content, threads) for content in contents]
        self.weights = [part["members"] for part in self.record["files"]]
        self.size: int = self.record["image_size"]
        self.window: float = self.record.get("window", 0.0)  # width / height of what it sees; 0: all, stretched
        self.name = f"{self.record['model']} {self.record['version']}"
        self.hash = hashlib.sha256("".join(part["sha256"] for part in self.record["files"]).encode()).hexdigest()[:12]

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


def _read_record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in NEEDED if key not in record]
    except (OSError, ValueError, TypeError) as error:
        raise PneumoniaError(f"{path}: missing or unreadable; {REMEDY}") from error
    if missing:
        raise PneumoniaError(f"{path}: lacks {', '.join(missing)}; {REMEDY}")
    return record


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
