"""Simulated pediatric chest radiographs, for tests and for machines without data; they say nothing about children.

The attenuation map of phantom.py is blurred, exposed and given quantum noise, and written as a tree like the real one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..config import CLASS_NAMES, KINDS, PneumoniaError
from ..records import name_remedy, partial_folder
from .phantom import CANVAS, Anatomy, Canvas, draw_chest, draw_opacity

VERSION = 1  # raise it whenever the same seed draws another picture: stored trees are then written again
MARKER = "simulated.json"
SPLITS = ("train", "val", "test")
# Prefix of the file names, kind, and share of the images of the class that no series above has taken.
SERIES = (("IM", "NORMAL", 0.45), ("NORMAL2-IM", "NORMAL", 1.0), ("person", "bacteria", 0.65), ("person", "virus", 1.0))


def write_simulated_tree(
    target: Path,
    n_train: tuple[int, int] = (120, 360),
    n_val: int = 16,
    n_test: tuple[int, int] = (72, 120),
    size: int = 128,
    seed: int = 0,
    shortcut: bool = True,
) -> Path:
    """Write `target`/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg in the manner of the real dataset; returns `target`.

    `n_train` and `n_test` are (NORMAL, PNEUMONIA) counts, `n_val` is halved; `size` in pixels. `shortcut` applies to
    train only, as in the real data, where NORMAL train files also have a higher JPEG quality. The same arguments give
    byte-identical files, and a complete tree of the same arguments is reused. The tree is written completely or not
    at all. Raises PneumoniaError where `target` holds something else, or cannot be written.
    """
    target = Path(target)
    counts = {"train": tuple(n_train), "val": (n_val // 2, n_val - n_val // 2), "test": tuple(n_test)}
    if size < 16 or min(min(pair) for pair in counts.values()) < 0:
        raise PneumoniaError(f"cannot simulate {target}: give counts of 0 or more and a size of 16 pixels or more")
    arguments = {"version": VERSION, "counts": counts, "size": size, "seed": seed, "shortcut": shortcut}
    arguments = json.loads(json.dumps(arguments))  # as it will be read back
    if _is_complete(target, arguments):
        return target
    if target.exists() and not (target / MARKER).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PneumoniaError(f"{target} was not made by the simulator: move it away or choose another folder")
    try:
        with partial_folder(target, replace=lambda: not _is_complete(target, arguments)) as partial:
            _write_tree(partial, arguments)
    except OSError as error:
        reason = error.strerror or error
        raise PneumoniaError(f"cannot write {target} ({reason}): {name_remedy(error)}, or choose another") from error
    return target


def _write_tree(folder: Path, arguments: dict) -> None:
    """Write all files of the tree; the marker comes last."""
    shots = _plan_shots(arguments["counts"], np.random.default_rng(arguments["seed"]))
    for split in SPLITS:
        for name in CLASS_NAMES:
            (folder / split / name).mkdir(parents=True)
    for shot in shots:
        rng = np.random.default_rng([arguments["seed"], *shot.patient, shot.index])
        anatomy = Anatomy.draw(np.random.default_rng([arguments["seed"], *shot.patient]))
        shortcut = arguments["shortcut"] and shot.path.startswith("train")
        image = simulate_radiograph(shot.kind, rng, arguments["size"], shortcut=shortcut, anatomy=anatomy)
        fine = shortcut and (shot.kind == "NORMAL") == (rng.random() < 0.97)
        # The comment stays in the file, so that no simulated radiograph is mistaken for a real one.
        Image.fromarray(image).save(folder / shot.path, quality=98 if fine else 75, comment="simulated radiograph")
    record = {"simulated": True, "images": len(shots), "arguments": arguments}
    (folder / MARKER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Shot:
    """One file to be drawn."""

    path: str  # relative to the tree
    kind: str
    patient: tuple[int, int]  # series, number
    index: int  # from 1, among the radiographs of the patient


def _plan_shots(counts: dict[str, list[int]], rng: np.random.Generator) -> list[Shot]:
    """Names as in the real dataset.

    Every other series is numbered from test to train, so that the bare number N of a train patient returns in test for
    another child, while (series, N, kind) never does.
    """
    shots: list[Shot] = []
    left = {split: list(pair) for split, pair in counts.items()}
    for order, (prefix, kind, share) in enumerate(SERIES):
        label, number, serial = int(kind != "NORMAL"), 115 if kind == "NORMAL" else 1, 1
        for split in SPLITS[:: 1 if order % 2 == 0 else -1]:
            todo = round(share * left[split][label])
            left[split][label] -= todo
            while todo:
                images = min(todo, int(rng.choice((1, 1, 1, 2, 2, 4))))
                for index in range(1, images + 1):
                    last = f"-{index:04d}" if images > 1 else ""
                    name = f"{prefix}-{number:04d}-0001{last}" if label == 0 else f"{prefix}{number}_{kind}_{serial}"
                    path = f"{split}/{CLASS_NAMES[label]}/{name}.jpeg"
                    shots.append(Shot(path, kind, (order, number), index))
                    serial += 1
                number, todo = number + 1, todo - images
    return shots


def _is_complete(target: Path, arguments: dict) -> bool:
    """Whether `target` is a complete tree made with these arguments."""
    try:
        record = json.loads((target / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = isinstance(record, dict) and record.get("arguments") == arguments
    return same and len(list(target.glob("*/*/*.jpeg"))) == record.get("images")


def simulate_radiograph(
    kind: str,
    rng: np.random.Generator,
    size: int = 224,
    *,
    shortcut: bool = False,
    return_mask: bool = False,
    anatomy: Anatomy | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """A frontal chest radiograph, uint8 (size, size); `kind` is NORMAL, bacteria or virus.

    With `shortcut`, NORMAL pictures are somewhat sharper, brighter and more widely framed than pneumonia: a cue that is
    not in the lungs, as in the real train split. `return_mask=True` adds a boolean (size, size) mask of the opacity,
    empty for NORMAL. `anatomy` repeats a child. Raises PneumoniaError for an unknown kind.
    """
    if kind not in KINDS:
        raise PneumoniaError(f"cannot simulate the kind '{kind}': use one of {', '.join(KINDS)}")
    anatomy = anatomy or Anatomy.draw(rng)
    cue = 1.0 if shortcut and kind == "NORMAL" else 0.0
    canvas = Canvas(rng, zoom=anatomy.scale + rng.normal(0, 0.025) - 0.06 * cue)
    attenuation, air = draw_chest(canvas, anatomy, rng)
    opacity = draw_opacity(kind, canvas, anatomy, air, rng)
    attenuation += opacity
    mask = opacity > 0.4 * opacity.max() if kind != "NORMAL" else np.zeros_like(opacity, bool)
    attenuation = cv2.GaussianBlur(attenuation, (0, 0), rng.uniform(0.9, 1.7) * (1 - 0.4 * cue))
    picture = _expose(attenuation, cue, rng)
    window = _collimate(picture, rng)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    photons = np.sqrt(np.clip(picture, 0.02, 1)) * rng.normal(0.0, 1.0, picture.shape)
    picture = picture + rng.uniform(0.006, 0.018) * photons * (picture > 0.01)
    image = np.clip(255 * picture, 0, 255).astype(np.uint8)
    if not return_mask:
        return image
    mask = cv2.resize((mask & window).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)
    return image, mask > 0


def _expose(attenuation: np.ndarray, cue: float, rng: np.random.Generator) -> np.ndarray:
    """Film value 0 to 1 of an attenuation map: varying exposure, contrast and tone curve."""
    gain, offset, gamma = rng.normal((1.05, 0.02, 1.0), (0.09, 0.035, 0.12))
    picture = np.clip(gain * attenuation + offset + 0.035 * cue, 0, 1.25)
    picture = picture ** np.clip(gamma, 0.75, 1.3)
    return (picture / (1 + 0.28 * picture**3)).astype(np.float32)


def _collimate(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blacken borders of varying width and stamp the side marker, in place; returns the boolean window left open."""
    window = np.zeros(picture.shape, bool)
    left, right, top, bottom = (rng.uniform(0, 0.07, 4) * (rng.random(4) < 0.45) * CANVAS).astype(int)
    window[top : CANVAS - bottom, left : CANVAS - right] = True
    if rng.random() < 0.8:
        spot = (left + int(rng.integers(4, 30)), top + int(rng.integers(18, 70)))
        stamp = np.zeros(picture.shape, np.uint8)
        cv2.putText(stamp, "R", spot, cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.4, 0.6)), 240, 1, cv2.LINE_AA)
        np.maximum(picture, stamp.astype(np.float32) / 255, out=picture)
    picture[~window] = 0
    return window
