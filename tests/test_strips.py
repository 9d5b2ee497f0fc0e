"""The strips of radiographs on the slides: true gray, true proportions, and the films that they claim to show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from invented_results import make_catalog
from PIL import Image

from pneumonia.config import PneumoniaError
from pneumonia.report.figures.mistakes import compute_outcomes
from pneumonia.report.figures.radiographs import SHOWN_SIZE
from pneumonia.report.figures.strips import FILMS, PROPORTIONS, SPACE, STRIPS, arrange_films, draw_strips, pick_mistakes
from pneumonia.results import Results
from pneumonia.series import real_run

WIDTH = round(SHOWN_SIZE * PROPORTIONS)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    """Random predictions of films that are there: every one a ramp of gray levels with a ring, 600 x 400 pixels."""
    home = tmp_path_factory.mktemp("strips")
    run, catalog = replace(real_run(home / "radiographs"), home=home), make_catalog().assign(width=600, height=400)
    rows, columns = np.mgrid[:400, :600]
    film = (columns * 255 / 599).astype(np.uint8)
    film[np.abs(np.hypot(rows - 200, columns - 300) - 100) < 4] = 255
    for path in catalog["path"]:
        target = home / "radiographs" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film).save(target, quality=95)
    test = catalog.loc[catalog["split"] == "test", ["path", "patient_id", "split", "label"]]
    y_prob = np.random.default_rng(3).uniform(size=len(test)).round(6)
    predictions, none = test.assign(model="deep_cnn", seed=0, y_prob=y_prob), pd.DataFrame()
    record = {"final_model": "deep_cnn"}
    return Results(run, record, catalog, none, none, predictions, none, none, none, {})


def test_strips_are_drawn_once_in_true_gray(results):
    paths = draw_strips(results)
    assert [path.stem for path in paths] == list(STRIPS)
    before = [path.stat().st_mtime_ns for path in paths]
    for path in paths:
        with Image.open(path) as strip:
            assert (strip.mode, strip.size) == ("L", (FILMS * WIDTH + (FILMS - 1) * SPACE, SHOWN_SIZE))
            assert len(np.unique(np.asarray(strip))) > 200
    draw_strips(results)
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_a_circle_stays_a_circle(results):
    strip = np.asarray(arrange_films(results, results.catalog.head(1)))[:, :WIDTH]
    rows, columns = np.nonzero(strip > 250)
    near = np.abs(columns - WIDTH / 2) < WIDTH / 3  # the ramp ends in white as well
    high, wide = np.ptp(rows[near]), np.ptp(columns[near])
    assert abs(high - wide) <= 3 and high > SHOWN_SIZE / 3


def test_mistakes_are_the_most_confident_of_their_kind(results):
    outcomes = compute_outcomes(results).set_index("path")
    for outcome, label in (("false positive", 0), ("false negative", 1)):
        shown = outcomes.loc[pick_mistakes(results, outcome)["path"]]
        assert len(shown) > FILMS and (shown["outcome"] == outcome).all() and (shown["label"] == label).all()
        assert (shown["y_prob"] - label).abs().is_monotonic_decreasing
        assert len(shown) == (outcomes["outcome"] == outcome).sum()  # one film a child in these results


def test_fewer_mistakes_than_places_leave_white(results):
    nothing = np.asarray(arrange_films(results, results.catalog.head(0)))
    one = np.asarray(arrange_films(results, results.catalog.head(1)))
    assert (nothing == 255).all() and (one[:, WIDTH:] == 255).all() and (one[:, :WIDTH] < 255).any()


def test_without_radiographs_there_is_one_clear_line(results, tmp_path):
    run = replace(results.run, data=None, home=tmp_path)
    with pytest.raises(PneumoniaError, match="no radiographs available"):
        draw_strips(replace(results, run=run))
    assert not run.images_dir.exists()
