"""Fixtures; no test needs network or real data. All but `finished` belong to the session: read only, or copy.

clean_tree      58 simulated radiographs in the layout of the dataset (CLEAN_COUNTS), several of some children; 96 px
simulated_tree  the same, and what goes wrong in practice: 66 files named like radiographs (ROWS), 62 usable (USABLE)
chests          twelve simulated radiographs as one array, 64 px
chest_xray_dir  the real radiographs, where CHEST_XRAY_DIR names them; otherwise the test is skipped
trained         (run, catalog, records): the baselines and one network of two seeds, trained on clean_tree
finished        (run, catalog): the trained run after all steps, in a home of the module's own
processes       a multiprocessing context whose processes start with TensorFlow imported

`simulated_tree` has no marker file, and its folder test/NORMAL is called test/normal (LOWER_CASE_FOLDER). It adds
   4 readable files of other modes (OTHER_MODES: path -> Pillow mode), in train, each a child of its own, 128 px,
   3 that cannot be read (UNREADABLE: path -> what is wrong), in train,
   1 exact copy (DUPLICATE of DUPLICATE_OF), same split and class, under another child's name,
   and CLUTTER, which is to be ignored without a row.
In a test file: `from conftest import ROWS`. Paths are relative to the tree, with forward slashes.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: a thread each
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

import multiprocessing  # noqa: E402  the environment comes before anything that might import Keras or Matplotlib
import shutil  # noqa: E402
import time  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from pneumonia.data.simulate import MARKER, simulate_radiograph, write_simulated_tree  # noqa: E402

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


@pytest.fixture(scope="session")
def trained(clean_tree, tmp_path_factory):
    """(run, catalog, records) of a training that nothing interrupted."""
    from tiny_runs import train_tiny

    return train_tiny(clean_tree, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def finished_once(trained, tmp_path_factory):
    from tiny_runs import finish

    return finish(trained, tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def finished(finished_once, tmp_path_factory):
    """(run, catalog) after all steps: the trained models are linked, the results a copy that the module may add to."""
    run, catalog = finished_once
    home = tmp_path_factory.mktemp("home") / "finished"
    shutil.copytree(run.home, home, symlinks=True)
    return replace(run, home=home), catalog


@pytest.fixture(scope="session")
def processes():
    """Forked from a server that has imported all it takes to train, so that a kill meets the training."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pneumonia.models.training"])
    first = context.Process(target=time.sleep, args=(0,))  # waits for the imports
    first.start()
    first.join()
    return context


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
