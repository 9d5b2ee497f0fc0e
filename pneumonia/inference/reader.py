"""A new radiograph -> an answer: probability, prediction, whether to refer the child, warnings, heatmap. No TensorFlow.

    answer = Reader().read("film.png")
    answer.probability, answer.call, answer.refer, answer.warnings
    answer.overlay().save("overlay.png")

`Reader.read` takes one radiograph, `Reader.stream` any number of files.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config import CLASS_NAMES, PneumoniaError
from ..data.decoding import Decoders, start_early
from ..data.dicom import explain_header, is_dataset
from ..data.radiograph import Decoded, decode, find_window, read_bytes
from ..data.sizes import look_up_original_size
from ..evaluation.probability import REFERENCE_PREVALENCE, rebase
from .final_model import OUTPUTS, FinalModel
from .heatmap import Box, draw_overlay, scale_evidence

if TYPE_CHECKING:
    from PIL import Image
    from pydicom import Dataset

    Source = str | os.PathLike | bytes | np.ndarray | Dataset

BLANK = 4.0  # standard deviation in gray levels, below which there is nothing to see
ATYPICAL = "does not look like a child's chest radiograph"
SQUARE = "square: if it is a stretched copy, less reliable"  # no reason to refer: some detectors are square


@dataclass(frozen=True, repr=False)
class Answer:
    """What the model says about one radiograph; about one that cannot be read, only `error`."""

    path: str  # or how the caller named it
    probability: float | None = None  # of PNEUMONIA, at the prevalence of the reader
    call: str | None = None  # NORMAL or PNEUMONIA, at the operating point of the reader
    refer: bool | None = None  # too close to call, or not what the model is made for: leave it to a radiologist
    warnings: tuple[str, ...] = ()
    atypicality: float | None = None  # 1 is usual
    error: str | None = None
    _open: Callable[[], Decoded] | None = field(default=None, compare=False)  # decodes the film at its resolution
    _evidence: np.ndarray | None = field(default=None, compare=False)  # float32, at the resolution of the model
    _evidence_scale: float = field(default=1, compare=False)  # the evidence, a part of the logit, of heatmap 1
    _box: Box | None = field(default=None, compare=False)

    @cached_property
    def image(self) -> np.ndarray:
        """The radiograph as it was read: uint8 (h, w) at its own resolution, 0 = black. Raises: PneumoniaError."""
        return self._decode()

    @property
    def box(self) -> Box:
        """The part of `image` that the model sees, and the heatmap covers: left, top, right, bottom in pixels."""
        return self._box or (0, 0, *self.image.shape[::-1])

    @cached_property
    def heatmap(self) -> np.ndarray:
        """Grad-CAM at the resolution of the radiograph: float32 (h, w) in 0-1, where 1 is strong evidence on a scale
        that is the same for all radiographs; 0 outside of `box`. Raises: PneumoniaError as `image`."""
        return self._stretch_evidence(self.image)

    def overlay(self) -> Image.Image:
        """The heatmap over the radiograph, a line around `box`, a colour bar; RGB. Raises: PneumoniaError as `image`.

        The answer keeps `image` and `heatmap` once they are asked for, but nothing of this: many answers stay small.
        """
        pixels = self._decode()
        return draw_overlay(pixels, self._stretch_evidence(pixels), self._evidence_scale, self._box)

    def _decode(self) -> np.ndarray:
        if self._open is None:
            raise PneumoniaError(self.error or f"{self.path}: the radiograph was not kept with its answer")
        return self._open().pixels

    def _stretch_evidence(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape
        return scale_evidence(self._evidence, self._evidence_scale, width, height, self._box)

    def explain(self) -> tuple[str, ...]:
        """The warnings; before them, that it is too close to call where none of them is the reason to refer."""
        return explain(bool(self.refer), self.warnings)

    def row(self) -> dict[str, object]:
        """What can be written down: the answer without its pictures. `Answer(**row)` gives it back."""
        names = ("path", "probability", "call", "refer", "warnings", "atypicality", "error")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        if self.error:
            return f"<Answer: {self.error}>"
        why = "".join(
            f"; {'refer: ' * (self.refer and not number)}{text}" for number, text in enumerate(self.explain())
        )
        return f"<Answer {self.path}: {self.call}, probability {self.probability:.3f}{why}>"


def explain(refer: bool, warnings: Sequence[str]) -> tuple[str, ...]:
    """As `Answer.explain`, of the row of an answer."""
    is_close = refer and all(warning == SQUARE for warning in warnings)
    return ("too close to call",) * is_close + tuple(warnings)


class Reader:
    """The final model, at one operating point and prevalence."""

    def __init__(
        self,
        operating_point: str = "balanced",
        prevalence: float | None = None,
        model: FinalModel | None = None,
        original_size: tuple[int, int] | None = None,
    ):
        """Load the model in models/, unless one is given.

        Args:
            operating_point: "screening" misses few children with pneumonia, "rule-in" treats few needlessly.
            prevalence: the share of children with pneumonia among those imaged; None: that of the calibration, a half.
                It moves probabilities and thresholds alike, and so leaves every call as it is: sensitivity and
                specificity belong to the operating point.
            original_size: width and height of the original, of which square pictures are stretched copies; their own
                where they are originals. It matters to a model that sees true proportions (`FinalModel.window`), and
                not for DICOM or the files of the archive, whose proportions are known. None: square pictures are read
                as they are, with the warning SQUARE, which is no reason to refer a child.
        Raises: PneumoniaError for an unknown operating point, a prevalence not between 0 and 1, an original_size that
            is not two positive numbers, or a damaged model.
        """
        start_early()  # gets ready while the model is loaded
        self.model = model or FinalModel()
        self.operating_point, self.threshold = operating_point, self.model.threshold(operating_point)
        self.reference = self.model.record.get("reference_prevalence", REFERENCE_PREVALENCE)
        self.prevalence = self.reference if prevalence is None else prevalence
        self.rebase(0.5)  # refuses an impossible prevalence
        if original_size is not None and not (len(original_size) == 2 and min(original_size) > 0):
            raise PneumoniaError(f"original_size={original_size}: must be width and height in pixels, as (1857, 1317)")
        self.original_size = original_size

    def __repr__(self) -> str:
        return f"<Reader {self.model.name}, {self.operating_point}, prevalence {self.prevalence:g}>"

    @property
    def referral(self) -> tuple[float, float]:
        """The band of calibrated probabilities that are too close to call; the threshold is within it."""
        low, high = self.model.record["referral"]
        return min(low, self.threshold), max(high, self.threshold)

    def rebase(self, probability: float) -> float:
        """A calibrated probability, or a threshold, at the prevalence of this reader; six decimals."""
        return round(float(rebase(probability, self.prevalence, self.reference)), 6)

    def read(self, source: Source, name: str | None = None) -> Answer:
        """Answer one radiograph.

        Args:
            source: the path or the bytes of a file (JPEG, PNG, TIFF, BMP, WebP, GIF, DICOM); an array (h, w), or
                (h, w, 3 or 4) in RGB or RGBA, of uint8, uint16 or float; or a pydicom Dataset. Arrays and data sets
                follow the rules of files: 12 and 16 bits are scaled by their depth, floats up to 1 are shares of
                white, DICOM is rescaled and windowed.
            name: what `path` and errors call it, unless it is a path.
        Raises: PneumoniaError naming it when it cannot be read; TypeError for any other kind of source.
        """
        shape = self.original_size
        if isinstance(source, str | os.PathLike):
            path, name = Path(source), name or str(source)
            shape, source = look_up_original_size(path) or shape, read_bytes(path)
        elif isinstance(source, np.ndarray):
            name, source = name or "array", source.copy()  # the heatmap may be asked for after it has changed
        elif isinstance(source, bytes):
            name = name or "bytes"
        elif is_dataset(source):
            name = name or "DICOM data set"
        else:
            raise TypeError(f"cannot read {type(source).__name__}: give a path, bytes, an array or a pydicom Dataset")
        # Bytes come from anywhere; an array or a data set, the caller has taken in already.
        open_film = partial(Decoders().decode if isinstance(source, bytes) else decode, source, name)
        small = open_film(self.model.size, self.model.window, shape)
        return self._answer_batch([(name, small, open_film)])[0]

    def stream(self, paths: Iterable[Path], batch_size: int = 32, workers: int | None = None) -> Iterator[Answer]:
        """An answer for every file, in order; those that cannot be read get one with `error`.

        `workers` processes (default: as many as cores) decode ahead of the model, by two batches at most: memory does
        not grow with the list. The pictures of an answer are read from its file again when they are asked for.
        """
        pool, pending, decoders = ThreadPoolExecutor(workers or os.cpu_count()), deque(), Decoders()
        try:
            for path in paths:
                pending.append(pool.submit(self._load, path, decoders))
                if len(pending) == 2 * batch_size:
                    yield from self._answer_batch([pending.popleft().result() for _ in range(batch_size)])
            while pending:
                some = min(batch_size, len(pending))
                yield from self._answer_batch([pending.popleft().result() for _ in range(some)])
        finally:  # also when the caller stops iterating early
            pool.shutdown(wait=False, cancel_futures=True)
            decoders.stop()

    def _load(self, path: Path, decoders: Decoders) -> tuple[str, Decoded | PneumoniaError, Callable[[], Decoded]]:
        try:
            found = decoders.decode_file(path, self.model.size, self.model.window, self.original_size)
        except PneumoniaError as error:
            found = error
        return str(path), found, partial(Decoders().decode_file, path)

    def _answer_batch(self, batch: list[tuple[str, Decoded | PneumoniaError, Callable[[], Decoded]]]) -> list[Answer]:
        """Answers for (name, what was decoded or why it could not be, how to decode at full resolution)."""
        readable = [found.pixels for _, found, _ in batch if isinstance(found, Decoded)]
        scores = self.model.score(np.stack(readable), OUTPUTS) if readable else dict.fromkeys(OUTPUTS, ())
        scored = zip(*(scores[name] for name in OUTPUTS), strict=True)
        return [
            self._answer(name, found, open_film, *next(scored))
            if isinstance(found, Decoded)
            else Answer(name, error=str(found))
            for name, found, open_film in batch
        ]

    def _answer(self, name, decoded, open_film, probability, evidence, atypicality) -> Answer:
        low, high = self.referral
        probability, atypicality = float(probability), float(atypicality)
        warnings = find_warnings(decoded, atypicality, self.model)
        return Answer(
            path=name,
            probability=self.rebase(probability),
            call=CLASS_NAMES[int(probability >= self.threshold)],
            refer=low <= probability < high or any(warning != SQUARE for warning in warnings),
            warnings=tuple(warnings),
            atypicality=round(atypicality, 4),
            _open=open_film,
            _evidence=evidence,
            _evidence_scale=self.model.record["evidence_scale"],
            _box=find_box(decoded, self.model.window),
        )


def find_box(decoded: Decoded, window: float) -> Box:
    """The part of a picture that a model with this window sees, in whole pixels of the file."""
    edges = find_window((decoded.width, decoded.height), window, decoded.shape)
    left, top, right, bottom = (round(edge, 6) for edge in edges)
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def find_warnings(decoded: Decoded, atypicality: float, model: FinalModel) -> list[str]:
    """Why the model may not be made for this radiograph, one short phrase each; SQUARE alone is no reason to refer."""
    found = explain_header(decoded.header) if decoded.header else []
    if min(decoded.width, decoded.height) < model.size:
        found.append(f"smaller than {model.size} pixels")
    if not decoded.is_gray:
        found.append("not grayscale")
    if decoded.pixels.std() < BLANK:
        found.append("blank")
    elif atypicality > model.record["atypicality_limit"]:
        found.append(ATYPICAL)
    if model.window and decoded.shape is None:
        found.append(SQUARE)
    return found
