"""A file -> an answer: the calibrated probability, the call, whether to refer the child instead, and warnings.

`Reader.read` is the door for one radiograph with its pictures (a page, a notebook), `Reader.stream` for many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import CLASS_NAMES, PneumoniaError
from ..data.dicom import explain_header
from ..data.radiograph import Decoded, decode, read_bytes
from ..evaluation.probability import rebase
from .final_model import OUTPUTS, FinalModel
from .heatmap import compute_occlusion, draw_overlay, scale_evidence

BLANK = 4.0  # standard deviation in gray levels, below which there is nothing to be seen
ATYPICAL = "does not look like a child's chest radiograph"


@dataclass(frozen=True)
class Answer:
    """What is said about one file; of one that cannot be read, only `error`."""

    path: str
    probability: float | None = None  # of PNEUMONIA, at the prevalence asked for
    call: str | None = None  # NORMAL or PNEUMONIA, at the operating point
    refer: bool | None = None  # too close to call, or not what the model is made for: leave it to a radiologist
    warnings: tuple[str, ...] = ()
    atypicality: float | None = None  # 1 is usual
    heatmap: str | None = None  # where it was written to
    error: str | None = None


@dataclass(frozen=True)
class Reading:
    """An answer and its pictures, both (h, w) at the resolution of the file."""

    answer: Answer
    image: np.ndarray  # uint8, 0 = black
    heatmap: np.ndarray  # float32 in 0-1: Grad-CAM
    evidence_scale: float  # the evidence, as a part of the logit, that heatmap 1 stands for

    def overlay(self):
        """A Pillow image: the heatmap over the radiograph, and a colour bar."""
        return draw_overlay(self.image, self.heatmap, self.evidence_scale)


class Loaded(NamedTuple):
    """A file on its way to the model; `decoded` is None where it cannot be read."""

    path: str
    decoded: Decoded | None
    error: str | None = None


class Reader:
    """The final model, at one operating point and prevalence."""

    def __init__(self, model: FinalModel, point: str = "balanced", prevalence: float | None = None):
        """Args: prevalence: the share of ill children among those imaged; None leaves that of the calibration, a half.

        It moves probabilities and thresholds alike, and so leaves every call as it is: sensitivity and specificity
        belong to the operating point.
        Raises: PneumoniaError for an unknown operating point, or a prevalence not between 0 and 1.
        """
        self.model, self.point, self.threshold = model, point, model.threshold(point)
        self.reference = model.record.get("reference_prevalence", 0.5)
        self.prevalence = self.reference if prevalence is None else prevalence
        rebase(0.5, self.prevalence)

    @property
    def referral(self) -> tuple[float, float]:
        """Calibrated probabilities from ... to are too close to call; the threshold is one of them."""
        low, high = self.model.record["referral"]
        return min(low, self.threshold), max(high, self.threshold)

    def rebase(self, probability: float) -> float:
        """A calibrated probability, or a threshold, at the prevalence of this reader; six decimals."""
        return round(rebase(probability, self.prevalence, self.reference), 6)

    def read(self, source: Path | bytes, name: str | None = None) -> Reading:
        """Answer one file, given by its path or its bytes, with its pictures. Raises: PneumoniaError naming it."""
        content = source if isinstance(source, bytes) else read_bytes(source)
        name = name or ("upload" if isinstance(source, bytes) else str(source))
        whole, small = decode(content, name), decode(content, name, self.model.size)
        scores = self.model.score(small.pixels[None], OUTPUTS)
        answer = self._answer(Loaded(name, small), *(scores[key][0] for key in ("probability", "atypicality")))
        full = self.model.record["evidence_scale"]
        heat = scale_evidence(scores["evidence"][0], full, *whole.pixels.shape[::-1])
        return Reading(answer, whole.pixels, heat, full)

    def occlude(self, content: bytes, name: str = "upload") -> np.ndarray:
        """A second opinion on the heatmap, which no gradient has a part in: float32 (size, size), mean fall in
        probability where a square of a quarter of the side hides the place."""
        pixels = decode(content, name, self.model.size).pixels
        predict = lambda images: self.model.score(images)["probability"]  # noqa: E731
        return compute_occlusion(predict, pixels, self.model.size // 4, self.model.size // 8)

    def stream(self, paths: Iterable[Path], batch_size: int, workers: int) -> Iterator[Answer]:
        """An answer for every path, in order; files that cannot be read get one with `error`.

        `workers` threads decode ahead of the model, by two batches at most: memory does not grow with the list.
        """
        pool, pending = ThreadPoolExecutor(workers), deque()
        try:
            for path in paths:
                pending.append(pool.submit(self._load, path))
                if len(pending) == 2 * batch_size:
                    yield from self._answer_batch([pending.popleft().result() for _ in range(batch_size)])
            while pending:
                some = min(batch_size, len(pending))
                yield from self._answer_batch([pending.popleft().result() for _ in range(some)])
        finally:  # also when the reader of the answers stops early
            pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, path: Path) -> Loaded:
        try:
            return Loaded(str(path), decode(read_bytes(path), str(path), self.model.size))
        except PneumoniaError as error:
            return Loaded(str(path), None, str(error))

    def _answer_batch(self, batch: list[Loaded]) -> Iterator[Answer]:
        readable = [one for one in batch if one.decoded is not None]
        scores = iter(())
        if readable:
            given = self.model.score(np.stack([one.decoded.pixels for one in readable]), ("probability", "atypicality"))
            scores = zip(given["probability"], given["atypicality"], strict=True)
        for one in batch:
            yield Answer(one.path, error=one.error) if one.decoded is None else self._answer(one, *next(scores))

    def _answer(self, one: Loaded, probability: float, atypicality: float) -> Answer:
        low, high = self.referral
        found = warn(one.decoded, float(atypicality), self.model)
        probability = float(probability)
        return Answer(
            path=one.path,
            probability=self.rebase(probability),
            call=CLASS_NAMES[int(probability >= self.threshold)],
            refer=low <= probability < high or bool(found),
            warnings=tuple(found),
            atypicality=round(float(atypicality), 4),
        )


def warn(decoded: Decoded, atypicality: float, model: FinalModel) -> list[str]:
    """Why the model may not be allowed to answer, one short phrase each; empty when nothing speaks against it."""
    found = explain_header(decoded.header) if decoded.header else []
    if min(decoded.width, decoded.height) < model.size:
        found.append(f"smaller than {model.size} pixels")
    if not decoded.is_gray:
        found.append("not grayscale")
    if decoded.pixels.std() < BLANK:
        found.append("blank")
    elif atypicality > model.record["atypicality_limit"]:
        found.append(ATYPICAL)
    return found
