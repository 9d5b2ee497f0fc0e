"""Near-duplicates: planted copies are found, other children are not, and results without them are counted by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from invented_results import make_results
from PIL import Image
from tiny_runs import tiny_run

from pneumonia.data.catalog import build_catalog
from pneumonia.data.dataset import load_radiographs
from pneumonia.results import Results
from pneumonia.studies.near_duplicates import (
    COLUMNS,
    SIZE,
    WINDOW,
    correlate,
    describe,
    find_near_duplicates,
    leave_out,
    sharpen,
    tabulate,
)


def copy_altered(source: Path, target: Path) -> None:
    """The film as another export might have it: moved by three hundredths, darker, compressed more."""
    film = Image.open(source).convert("L")
    moved = film.crop((round(0.03 * film.width), 0, film.width, film.height))
    moved.point(lambda gray: round(255 * (gray / 255) ** 1.3)).save(target, quality=50)


@pytest.fixture(scope="module")
def planted(clean_tree, tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame, str, str]:
    """(catalog, near-duplicates, a train film, a test film): both come again in test, altered, as other children."""
    home = tmp_path_factory.mktemp("planted")
    shutil.copytree(clean_tree, home / "chest_xray")
    run = tiny_run(home / "chest_xray", home, ("majority",))
    rows = build_catalog(run)
    train = rows.loc[(rows["split"] == "train_fit") & (rows["label"] == 1), "path"].iloc[0]
    test = rows.loc[(rows["split"] == "test") & (rows["label"] == 0), "path"].iloc[0]
    copy_altered(run.data / train, run.data / "test/NORMAL/IM-9001-0001.jpeg")
    copy_altered(run.data / test, run.data / "test/NORMAL/IM-9002-0001.jpeg")
    catalog = build_catalog(run)
    return catalog, find_near_duplicates(run, catalog), train, test


def test_planted_copies_are_found_and_nothing_else(planted):
    _, table, train, test = planted
    pairs = table.set_index("path_b")
    assert list(table) == COLUMNS and len(table) == 2
    across, within = pairs.loc["test/NORMAL/IM-9001-0001.jpeg"], pairs.loc["test/NORMAL/IM-9002-0001.jpeg"]
    assert (across["path_a"], across["split_a"], across["label_a"], across["label_b"]) == (train, "train_fit", 1, 0)
    assert (within["path_a"], within["split_a"], within["split_b"]) == (test, "test", "test")
    assert not table["same_patient"].any() and table["correlation"].is_monotonic_decreasing
    assert leave_out(table) == set(pairs.index)


def test_files_that_are_the_same_within_test_are_found(clean_tree, tmp_path):
    shutil.copytree(clean_tree, tmp_path / "chest_xray")
    run = tiny_run(tmp_path / "chest_xray", tmp_path, ("majority",))
    first = sorted((run.data / "test/PNEUMONIA").iterdir())[0]
    shutil.copyfile(first, first.with_stem(first.stem + "9"))
    table = find_near_duplicates(run, build_catalog(run))
    assert table[["distance", "correlation", "same_patient"]].values.tolist() == [[0, 1.0, True]]


def test_no_pairs_are_an_empty_table(clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path, ("majority",))
    table = find_near_duplicates(run, build_catalog(run))
    assert table.empty and list(table) == COLUMNS and leave_out(table) == set()


def test_a_shift_is_followed_and_exposure_does_not_count(clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path, ("majority",))
    films = np.asarray(load_radiographs(run, build_catalog(run), SIZE, WINDOW).pixels[:2])
    shifted = np.roll(films[0], (4, -5), axis=(0, 1))
    shaded = cv2.addWeighted(films[0], 0.5, np.linspace(0, 120, SIZE, dtype=np.uint8) * np.ones_like(films[0]), 1, 0)
    sharp = sharpen(np.stack([films[0], shifted, shaded, np.roll(films[0], 20, axis=1), films[1]]))
    found = [correlate(sharp[0], other) for other in sharp]
    assert found[0] == pytest.approx(1) and found[1] > 0.97 and found[2] > 0.95
    assert max(found[3:]) < 0.9  # too far, another child


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return make_results(tmp_path_factory.mktemp("results"), penalty=4.0)


def with_pairs(results: Results, pairs: list[tuple]) -> Results:
    return replace(results, measured=results.measured | {"near_duplicates": pd.DataFrame(pairs, columns=COLUMNS)})


def test_results_without_them_are_those_of_the_rest(results):
    test = results.scores.test(results.final_model)
    right = (test.ensemble >= 0.5) == (test.y_true == 1)
    assert 0 < right.sum() < len(right)
    path, n = test.paths[~right][0], len(right)
    first, second = [name for name in test.paths if name != path][:2]
    pairs = [
        ("train/a", "train_fit", 1, path, "test", 0, 4, 0.95, False),
        (first, "test", 0, second, "test", 0, 0, 1.0, True),
        ("train/b", "train_fit", 1, "val/b", "validation", 1, 4, 0.93, False),
    ]
    said = describe(with_pairs(results, pairs))
    kept = ~np.isin(test.paths, [path, second])
    assert said["left_out"] == "2" and said["without"]["accuracy"].n == n - 2
    assert float(said["official"]["accuracy"]) == pytest.approx(right.mean())
    assert float(said["without"]["accuracy"]) == pytest.approx(right[kept].mean()) != right.mean()
    official = results.estimate(results.final_model, "test", "roc_auc", "ensemble")
    assert said["official"]["roc_auc"].full == official.full
    assert said["pairs"] == (
        "Pairs found: 3, of which 2 are across splits (1 with a test radiograph) and 1 within test "
        "(1 of one child by their names); the labels differ in 1."
    )
    rows = tabulate(with_pairs(results, pairs)).rows
    assert [row[1] for row in rows] == [str(n), str(n - 2)] and rows[1][2] == said["without"]["accuracy"].full


def test_without_any_nothing_is_left_out(results):
    said = describe(with_pairs(results, []))
    assert said["left_out"] == "0" and said["without"] == said["official"]
    assert said["pairs"].startswith("Pairs found: 0, of which 0 are across splits")
