"""Simulated radiographs: same seed, same bytes; names, counts and patients as in the real dataset; a known opacity."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from pneumonia.config import KINDS, ROOT, PneumoniaError
from pneumonia.data.phantom import Anatomy
from pneumonia.data.simulate import MARKER, simulate_radiograph, write_simulated_tree

SMALL = {"n_train": (3, 6), "n_val": 2, "n_test": (2, 3), "size": 32}
NORMAL_NAME = re.compile(r"(IM|NORMAL2-IM)-(\d{4})-0001(-\d{4})?\.jpeg")
PNEUMONIA_NAME = re.compile(r"person(\d+)_(bacteria|virus)_\d+\.jpeg")


def contents(tree: Path) -> dict[str, bytes]:
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def patient_of(path: Path) -> tuple[str, int]:
    """(series with kind, N)."""
    if match := NORMAL_NAME.fullmatch(path.name):
        return match[1], int(match[2])
    match = PNEUMONIA_NAME.fullmatch(path.name)
    assert match, f"{path.name} is no name of the dataset"
    return match[2], int(match[1])


def patients(tree: Path, split: str) -> list[tuple[str, int]]:
    return [patient_of(path) for path in sorted(tree.glob(f"{split}/*/*.jpeg"))]


def draw(kind: str, seed: int, **options):
    return simulate_radiograph(kind, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_radiograph_is_gray_exposed_and_repeatable(kind):
    image = draw(kind, 4, size=96)
    assert image.shape == (96, 96) and image.dtype == np.uint8
    assert 50 < image.mean() < 190 and image.std() > 30
    assert np.array_equal(image, draw(kind, 4, size=96))
    assert not np.array_equal(image, draw(kind, 5, size=96))


def test_lungs_are_darker_than_the_mediastinum_between_them():
    mean = np.mean([draw("NORMAL", seed, size=96) for seed in range(12)], axis=0)
    left, middle, right = mean[35:55, 22:32].mean(), mean[35:55, 45:51].mean(), mean[35:55, 64:74].mean()
    assert left < middle - 20 and right < middle - 20


def test_same_seed_shows_the_same_child_at_any_size():
    large = cv2.resize(draw("bacteria", 3, size=192), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(large.ravel(), draw("bacteria", 3, size=64).ravel())[0, 1] > 0.98


def test_radiographs_of_one_child_are_more_alike_than_those_of_two():
    children = [Anatomy.draw(np.random.default_rng(seed)) for seed in range(5)]
    images = [draw("NORMAL", 10 * i + k, size=48, anatomy=child) for i, child in enumerate(children) for k in range(4)]
    likeness = np.corrcoef([image.ravel() for image in images])
    same_child = np.kron(np.eye(5), np.ones((4, 4))) - np.eye(20) > 0
    other_child = np.kron(np.eye(5), np.ones((4, 4))) == 0
    assert likeness[same_child].mean() > likeness[other_child].mean() + 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_mask_is_filled_exactly_for_pneumonia(kind):
    for seed in range(15):
        image, mask = draw(kind, seed, size=96, return_mask=True)
        assert mask.shape == image.shape and mask.dtype == bool
        assert mask.any() == (kind != "NORMAL")
        assert np.array_equal(image, draw(kind, seed, size=96))  # asking for the mask changes nothing


def test_opacity_is_brighter_than_the_same_place_in_normal_lungs():
    """The average normal chest is the reference; what a picture differs by outside of the mask is its exposure."""
    normal = np.mean([draw("NORMAL", seed, size=64) for seed in range(25)], axis=0)
    for kind in ("bacteria", "virus"):
        excess = []
        for seed in range(20):
            image, mask = draw(kind, seed, size=64, return_mask=True)
            difference = image - normal
            excess.append(difference[mask].mean() - difference[~mask].mean())
        assert np.mean(excess) > 8


def test_bacteria_are_focal_and_viruses_bilateral():
    def lateral_share(kind: str, seed: int) -> float:
        mask = draw(kind, seed, size=64, return_mask=True)[1]
        return max(mask[:, :32].sum(), mask[:, 32:].sum()) / mask.sum()

    assert np.mean([lateral_share("bacteria", seed) for seed in range(12)]) > 0.9
    assert np.mean([lateral_share("virus", seed) for seed in range(12)]) < 0.7


def test_shortcut_brightens_and_sharpens_normal_only():
    def sharpness(image: np.ndarray) -> float:
        """Of the middle of the chest, away from the marker and the borders, and not of the noise."""
        chest = cv2.GaussianBlur(image[32:96, 32:96].astype(float), (0, 0), 0.7)
        return cv2.Laplacian(chest, cv2.CV_64F).std() / chest.std()

    def brightness(image: np.ndarray) -> float:
        return np.median(image[image > 30])

    pairs = [(draw("NORMAL", s, size=128, shortcut=True), draw("NORMAL", s, size=128)) for s in range(15)]
    assert np.mean([brightness(with_cue) - brightness(without) for with_cue, without in pairs]) > 2
    assert np.mean([sharpness(with_cue) / sharpness(without) for with_cue, without in pairs]) > 1.05
    for kind in ("bacteria", "virus"):
        assert np.array_equal(draw(kind, 1, size=64, shortcut=True), draw(kind, 1, size=64))


def test_thumbnails_predict_the_class_but_not_perfectly():
    """Neither hopeless nor trivial: a 16x16 logistic regression is right more often than not, and leaves room above."""
    kinds = [kind for kind in ("NORMAL", "NORMAL", "bacteria", "virus") for _ in range(40)]
    images = np.array([draw(kind, seed, size=16).ravel() for seed, kind in enumerate(kinds)]) / 255
    y_true = np.array([kind != "NORMAL" for kind in kinds])
    model = LogisticRegression(C=0.1, max_iter=500)
    y_prob = cross_val_predict(model, images, y_true, cv=5, method="predict_proba")[:, 1]
    assert 0.65 < roc_auc_score(y_true, y_prob) < 0.93


def test_an_unknown_kind_is_named():
    with pytest.raises(PneumoniaError, match="'fungus'.*NORMAL, bacteria, virus"):
        draw("fungus", 0)


def test_counts_and_modes_of_the_clean_tree(clean_tree):
    for (split, name), count in conftest.CLEAN_COUNTS.items():
        files = list((clean_tree / split / name).iterdir())
        assert len(files) == count
        for file in files:
            with Image.open(file) as image:
                assert (image.mode, image.size, image.info["comment"]) == ("L", (96, 96), b"simulated radiograph")


def test_no_patient_is_in_two_splits_but_bare_numbers_are(clean_tree):
    train, val, test = (set(patients(clean_tree, split)) for split in ("train", "val", "test"))
    assert not (train & val or train & test or val & test)
    assert {number for _, number in train} & {number for _, number in test}
    assert len(train) < len(patients(clean_tree, "train"))  # some children have several radiographs
    assert {series for series, _ in train} == {"IM", "NORMAL2-IM", "bacteria", "virus"}


def test_default_proportions_are_those_of_the_dataset(tmp_path):
    tree = write_simulated_tree(tmp_path / "tree", n_train=(9, 27), n_test=(3, 5), size=16)
    kinds = [series for series, _ in patients(tree, "train")]
    assert kinds.count("bacteria") / kinds.count("virus") == pytest.approx(1.9, abs=0.3)
    assert len(patients(tree, "val")) == 16


def test_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    trees = (("first", 0), ("again", 0), ("other", 1))
    first, again, other = (write_simulated_tree(tmp_path / name, seed=seed, **SMALL) for name, seed in trees)
    assert contents(first) == contents(again)
    assert not set(contents(first).values()) & set(contents(other).values())


def test_a_complete_tree_is_reused_and_an_incomplete_or_different_one_is_rewritten(tmp_path):
    tree = write_simulated_tree(tmp_path / "tree", **SMALL)
    before, stamp = contents(tree), (tree / MARKER).stat().st_mtime_ns
    write_simulated_tree(tree, **SMALL)
    assert (tree / MARKER).stat().st_mtime_ns == stamp
    next(tree.glob("test/*/*.jpeg")).unlink()
    assert contents(write_simulated_tree(tree, **SMALL)) == before
    write_simulated_tree(tree, **SMALL | {"n_val": 4})
    assert len(patients(tree, "val")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]  # nothing is left lying about


def test_shortcut_and_fine_encoding_are_in_train_only(tmp_path):
    with_cue = write_simulated_tree(tmp_path / "with", **SMALL)
    without = write_simulated_tree(tmp_path / "without", shortcut=False, **SMALL)
    changed = {path for path, data in contents(with_cue).items() if contents(without)[path] != data} - {MARKER}
    assert {path for path in contents(with_cue) if path.startswith("train/NORMAL")} <= changed
    assert not [path for path in changed if not path.startswith("train/")]


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "radiograph.jpeg").write_bytes(b"of a real child")
    with pytest.raises(PneumoniaError, match="not made by the simulator"):
        write_simulated_tree(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["radiograph.jpeg"]


@pytest.mark.parametrize("bad", [{"size": 8}, {"n_train": (-1, 3)}])
def test_impossible_arguments_are_refused(tmp_path, bad):
    with pytest.raises(PneumoniaError, match="0 or more"):
        write_simulated_tree(tmp_path / "tree", **SMALL | bad)


def test_a_full_disk_is_one_clear_line_and_keeps_the_old_tree(tmp_path, monkeypatch):
    tree = write_simulated_tree(tmp_path / "tree", **SMALL)
    before = contents(tree)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(PneumoniaError, match="No space left on device.*free the disk"):
        write_simulated_tree(tree, seed=5, **SMALL)
    assert contents(tree) == before and [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_leaves_no_half_tree(tmp_path):
    code = f"from pneumonia.data.simulate import *; write_simulated_tree(Path({str(tmp_path / 'tree')!r}), (500, 500))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        deadline = time.time() + 60
        while not list(tmp_path.glob(".part-*-tree/train/NORMAL/*.jpeg")) and time.time() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".part-")
    write_simulated_tree(tmp_path / "tree", **SMALL)  # clears it away
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_the_faulty_tree_holds_what_conftest_says(simulated_tree):
    found = {path.relative_to(simulated_tree).as_posix() for path in simulated_tree.rglob("*") if path.is_file()}
    radiographs = found - set(conftest.CLUTTER)
    assert set(conftest.CLUTTER) <= found and len(radiographs) == conftest.ROWS == 66 and conftest.USABLE == 62
    assert sum(path.startswith(conftest.LOWER_CASE_FOLDER) for path in radiographs) == 6
    for path, mode in conftest.OTHER_MODES.items():
        with Image.open(simulated_tree / path) as image:
            assert image.mode == mode and image.size == (128, 128)
    for path in conftest.UNREADABLE:
        with pytest.raises(OSError), Image.open(simulated_tree / path) as image:
            image.load()
    duplicate, original = ((simulated_tree / p).read_bytes() for p in (conftest.DUPLICATE, conftest.DUPLICATE_OF))
    assert duplicate == original


def test_the_palette_image_reads_as_a_radiograph(simulated_tree):
    path = next(path for path, mode in conftest.OTHER_MODES.items() if mode == "P")
    with Image.open(simulated_tree / path) as image:
        indices, gray = np.asarray(image, dtype=int), np.asarray(image.convert("L"), dtype=int)
    assert np.abs(indices + gray - 255).max() <= 1
