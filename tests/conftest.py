"""Radiographs to test on; no test needs network or real data.

`clean_tree`: 58 simulated radiographs in the layout of the dataset (CLEAN_COUNTS), as write_simulated_tree made them
(marker file included); several children have several radiographs; all of mode L and 96x96 pixels.

`simulated_tree`: the same 58 and what goes wrong in practice, without the marker file. The folder test/NORMAL is called
test/normal (LOWER_CASE_FOLDER). 66 files are named like radiographs (ROWS):
  58 clean ones,
   4 readable ones of other modes (OTHER_MODES: path -> Pillow mode), in train, each a child of its own, 128x128 pixels,
   3 that cannot be read (UNREADABLE: path -> what is wrong), in train,
   1 exact copy (DUPLICATE of DUPLICATE_OF), same split and class, under another child's name.
So 62 are usable (USABLE). Everything in CLUTTER is to be ignored without a row.

`chests`: twelve simulated radiographs as one array, 64x64 pixels.

`chest_xray_dir`: the real radiographs, where CHEST_XRAY_DIR names them; otherwise the test is skipped.

The trees are shared by the session: read only, or copy. In a test file: `from conftest import ROWS`.
Paths are relative to the tree, with forward slashes.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import shutil  # noqa: E402  the environment comes before anything that might import Keras or Matplotlib
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from pneumonia.data.simulate import (
    MARKER,
    simulate_radiograph,
    write_simulated_tree,  # noqa: E402
)

CLEAN_COUNTS = {
    ("train", "NORMAL"): 10,
    ("train", "PNEUMONIA"): 28,
    ("val", "NORMAL"): 2,
    ("val", "PNEUMONIA"): 2,
    ("test", "NORMAL"): 6,
    ("test", "PNEUMONIA"): 10,
}
OTHER_MODES = {
    "train/PNEUMONIA/person903_bacteria_9003.jpeg": "RGB",
    "train/NORMAL/IM-0904-0001.png": "I;16",
    "train/PNEUMONIA/person905_virus_9005.png": "RGBA",
    "train/NORMAL/NORMAL2-IM-0906-0001.png": "P",
}
UNREADABLE = {
    "train/PNEUMONIA/person901_bacteria_9001.jpeg": "truncated",
    "train/NORMAL/IM-0901-0001.jpeg": "empty",
    "train/PNEUMONIA/person902_virus_9002.jpeg": "text",
}
DUPLICATE = "train/PNEUMONIA/person900_bacteria_9000.jpeg"
DUPLICATE_OF = "train/PNEUMONIA/person1_bacteria_1.jpeg"
CLUTTER = (
    "__MACOSX/._x.jpeg",
    "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
    ".DS_Store",
    "train/NORMAL/.DS_Store",
    "train/PNEUMONIA/Thumbs.db",
)
LOWER_CASE_FOLDER = "test/normal"
CHEST_LABELS = np.array([0, 1, 1] * 4)  # of the fixture `chests`
CLEAN = sum(CLEAN_COUNTS.values())  # 58
USABLE = CLEAN + len(OTHER_MODES)  # 62
ROWS = USABLE + len(UNREADABLE) + 1  # 66: the duplicate is a row as well


@pytest.fixture(scope="session")
def clean_tree(tmp_path_factory) -> Path:
    """58 radiographs, nothing wrong with them."""
    pairs = {split: tuple(CLEAN_COUNTS[split, name] for name in ("NORMAL", "PNEUMONIA")) for split in ("train", "test")}
    folder = tmp_path_factory.mktemp("clean") / "chest_xray"
    return write_simulated_tree(folder, n_train=pairs["train"], n_val=4, n_test=pairs["test"], size=96, seed=1)


@pytest.fixture(scope="session")
def simulated_tree(clean_tree, tmp_path_factory) -> Path:
    """The clean tree and everything that goes wrong in practice."""
    tree = tmp_path_factory.mktemp("simulated") / "chest_xray"
    shutil.copytree(clean_tree, tree, ignore=shutil.ignore_patterns(MARKER))
    # In two steps, because a file system that ignores case would call it no change at all.
    (tree / "test" / "NORMAL").rename(tree / "test" / "renaming").rename(tree / LOWER_CASE_FOLDER)
    _add_other_modes(tree)
    _add_unreadable(tree)
    shutil.copyfile(tree / DUPLICATE_OF, tree / DUPLICATE)
    for path in CLUTTER:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"\x00\x05\x16\x07 clutter")
    return tree


@pytest.fixture(scope="session")
def chests() -> np.ndarray:
    """Twelve simulated radiographs, uint8 (12, 64, 64), read-only; every third one NORMAL (CHEST_LABELS)."""
    kinds = ("NORMAL", "bacteria", "virus")
    pictures = [simulate_radiograph(kinds[seed % 3], np.random.default_rng(seed), 64) for seed in range(12)]
    chests = np.stack(pictures)
    chests.flags.writeable = False
    return chests


@pytest.fixture(scope="session")
def chest_xray_dir() -> Path:
    """The real radiographs (train, val, test)."""
    value = os.environ.get("CHEST_XRAY_DIR")
    if not value:
        pytest.skip("needs the real radiographs: set CHEST_XRAY_DIR")
    folder = Path(value).resolve()
    if not (folder / "train").is_dir():
        pytest.fail(f"CHEST_XRAY_DIR={value} holds no folder 'train': name the folder with train/val/test, or unset it")
    return folder


def _add_other_modes(tree: Path) -> None:
    """One picture per mode; the palette is not in order of brightness, so indices cannot pass for gray values."""
    for seed, (path, mode) in enumerate(OTHER_MODES.items()):
        kind = next((kind for kind in ("bacteria", "virus") if kind in path), "NORMAL")
        gray = simulate_radiograph(kind, np.random.default_rng([9, seed]), 128)
        if mode == "I;16":
            picture = Image.fromarray(gray.astype(np.uint16) * 257)
        elif mode == "P":
            picture = Image.fromarray(255 - gray).convert("P")
            picture.putpalette([255 - level for level in range(256) for _ in "RGB"])
        else:
            picture = Image.fromarray(gray).convert(mode)
        picture.save(tree / path)


def _add_unreadable(tree: Path) -> None:
    content = {
        "truncated": (tree / DUPLICATE_OF).read_bytes()[:1000],
        "empty": b"",
        "text": b"404 Not Found: the radiograph was moved\n",
    }
    for path, problem in UNREADABLE.items():
        (tree / path).write_bytes(content[problem])
