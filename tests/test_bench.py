"""The benchmarks: what they compute from what they measure, and that every reader reads everything."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from matplotlib.figure import Figure
from PIL import Image
from tiny_runs import names_of, tiny_run, write_tree

from bench.__main__ import keep
from bench.cost import TestCurve, build_peer, cost_to_reach
from bench.files import enlarge_files, link_files
from bench.inputs import READERS, read_everything
from bench.measure import COLUMNS, Variant, compare, summarise
from bench.predict import compare_originals
from bench.training import count_flops, list_variants, train
from pneumonia.config import ROOT, PneumoniaError
from pneumonia.series import MODEL_SERIES
from pneumonia.studies.bench import draw_bench

# --- one table from many runs -------------------------------------------------------------------------------------


def raw(**values: list[float]) -> pd.DataFrame:
    rows = [("b", "throughput", run, name, value) for name, each in values.items() for run, value in enumerate(each)]
    return pd.DataFrame(rows, columns=["benchmark", "metric", "run", "variant", "value"])


def test_ratios_are_taken_within_a_run_and_then_the_median():
    """The machine was twice as fast in the second run: the ratio of the medians would be 1.5."""
    table = summarise(raw(usual=[10.0, 20.0, 40.0], ours=[30.0, 60.0, 30.0])).set_index("variant")
    assert list(summarise(raw(usual=[1.0])).columns) == COLUMNS
    assert table["median"].to_dict() == {"usual": 20.0, "ours": 30.0}
    assert table.loc["ours", ["versus", "ratio", "runs", "unit"]].tolist() == ["usual", 3.0, 3, "images/s"]
    assert table.loc["usual", "versus"] == "" and math.isnan(table.loc["usual", "ratio"])


def test_a_ratio_to_zero_is_undefined():
    assert math.isnan(summarise(raw(usual=[0.0], ours=[5.0])).set_index("variant").loc["ours", "ratio"])


COUNTING = """
import os

calls = 0


def count_calls(key):
    global calls
    calls += 1
    return {("call", "time"): calls, ("setting", "time"): float(os.environ[key])}
"""


def test_variants_have_processes_of_their_own_that_stay_and_take_turns(tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    count_calls, lines = importlib.import_module("counting").count_calls, []
    variants = [Variant(name, count_calls, ("X",), {"X": name}) for name in ("1", "2")]
    table = compare(variants, 2, lines.append).set_index(["benchmark", "variant"])["median"]
    assert [line.split("  ")[1][0] for line in lines] == ["1", "2", "1", "2"]
    assert table["call", "1"] == table["call", "2"] == 1.5  # the second call in the same process
    assert (table["setting", "1"], table["setting", "2"]) == (1, 2)


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("archive"), names_of("train", 4) + names_of("test", 1), size=40)


def test_few_files_are_repeated_until_there_are_enough(archive, tmp_path):
    folder = link_files(archive, tmp_path / "linked", 30)
    counts = {name: len(list((folder / "train" / name).iterdir())) for name in ("NORMAL", "PNEUMONIA")}
    assert sum(counts.values()) == 30 and min(counts.values()) >= 8
    assert len({file.read_bytes() for file in folder.glob("train/*/*")}) == 12


def test_of_many_files_some_of_both_classes_are_taken(archive, tmp_path):
    folder = link_files(archive, tmp_path / "linked", 5)
    assert len(list(folder.glob("train/*/*"))) == 5
    assert {file.parent.name for file in folder.glob("train/*/*")} == {"NORMAL", "PNEUMONIA"}


def test_enlarged_files_have_the_size_of_originals(archive, tmp_path):
    enlarged = list(enlarge_files(archive, tmp_path / "enlarged", 2).glob("train/*/*"))
    assert len(enlarged) == 2
    assert all(Image.open(file).size == (1328, 968) for file in enlarged)


def test_folder_without_radiographs_is_a_clear_error(tmp_path):
    (tmp_path / "train" / "NORMAL").mkdir(parents=True)
    with pytest.raises(PneumoniaError, match=r"no radiographs in train/; name a folder"):
        link_files(tmp_path, tmp_path / "linked", 5)


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_measures_every_pass(reader, archive, tmp_path):
    folder = link_files(archive, tmp_path / "linked", 12)
    measured = read_everything(reader, "files", folder, 16, True)
    passes = ("files, first pass", "files, later passes", "files, later passes, augmented")
    assert {key for key in measured if key[1] != "memory"} == {(p, m) for p in passes for m in ("throughput", "cpu")}
    assert all(measured[name, "throughput"] > 0 for name in passes)


# --- training -----------------------------------------------------------------------------------------------------


def test_operations_are_counted_by_hand():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 4 places, 3 x 3 x 2 products, 4 filters
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4 x 4 places, 3 x 3 products, 4 channels
    model = keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))  # 64 x 5
    assert count_flops(model) == 2 * (16 * 9 * 2 * 4 + 16 * 9 * 4 + 64 * 5)


def test_share_of_peak_is_work_times_speed_over_peak():
    config = next(config for config in MODEL_SERIES if config.is_cnn)
    measured = train(config, 64)
    done = measured["training", "work"] * 1e6 * measured["training", "throughput"]
    peak = measured["matrix product", "speed"] * 1e9
    assert measured["training", "share of peak"] == pytest.approx(100 * done / peak)
    assert {"input alone", "network alone"} <= {benchmark for benchmark, _ in measured}


# --- cost to reach an accuracy ------------------------------------------------------------------------------------


def test_peer_is_the_network_of_its_description():
    assert build_peer().count_params() == 1_246_401


@pytest.mark.parametrize(
    ("goal", "expected"), [(0.8, ([20.0, 40.0], 0.8)), (0.85, ([30.0, 60.0], 0.85)), (0.95, ([40.0, 80.0], 0.85))]
)
def test_cost_is_that_of_the_first_epoch_whose_mean_passes_or_else_of_all(goal, expected):
    one = [(10.0, 0.5), (20.0, 0.7), (30.0, 0.9), (40.0, 0.7)]
    other = [(20.0, 0.5), (40.0, 0.9), (60.0, 0.8), (80.0, 0.7)]
    costs, best = cost_to_reach([one, other], goal)
    assert (costs, pytest.approx(best)) == expected


def test_scoring_is_not_counted_as_training(monkeypatch):
    clock = iter([5.0, 9.0, 12.0, 20.0])
    monkeypatch.setattr("bench.cost.time.process_time", lambda: next(clock))
    curve = TestCurve(0.0, lambda model: 0.5)
    for epoch in (0, 1):
        curve.on_epoch_end(epoch)
    assert [seconds for seconds, _ in curve.curve] == [5.0, 8.0]


# --- reading new radiographs --------------------------------------------------------------------------------------


def test_untouched_files_are_compared_with_their_copies(archive, tmp_path):
    gaps = {row[2]: row[3] for row in compare_originals(archive, archive)}
    assert set(gaps.values()) == {0} and len(gaps) == 3
    changed = tmp_path / "copies"
    for path in archive.rglob("*.jpeg"):
        target = changed / path.relative_to(archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).point(lambda level: level // 2).save(target)
    assert all(row[3] > 0 for row in compare_originals(archive, changed)[:2])


def test_rows_replace_those_of_the_same_measurement(tmp_path):
    run = tiny_run(None, tmp_path)
    run.results_dir.mkdir()
    record = {"weights_hash": "w", "catalog_hash": "c", "measured": {}}
    (run.results_dir / "run.json").write_text(json.dumps(record))
    for median in (1.0, 2.0):
        rows = [("memory", f"{median:g} files", "most memory used", median), ("agreement", "ONNX", "gap", median)]
        keep(run, "predict_bench", pd.DataFrame(rows, columns=COLUMNS[:4]).reindex(columns=COLUMNS))
    table = pd.read_csv(run.results_dir / "predict_bench.csv")
    assert sorted(zip(table["variant"], table["median"], strict=True)) == [("1 files", 1), ("2 files", 2), ("ONNX", 2)]
    assert json.loads((run.results_dir / "run.json").read_text())["measured"] == {"predict_bench": "w"}


# --- the whole of it ----------------------------------------------------------------------------------------------


@pytest.mark.skipif("SLOW_TESTS" not in os.environ, reason="takes a minute or two: set SLOW_TESTS=1")
def test_quick_bench_runs_and_gives_what_the_figure_needs():
    command = [sys.executable, "-m", "bench", "--quick", "--simulated"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    table = pd.read_csv(ROOT / "build" / "simulated" / "bench" / "bench.csv").fillna({"versus": ""})
    assert list(table.columns) == COLUMNS
    assert np.isfinite(table["median"]).all()
    assert isinstance(draw_bench(SimpleNamespace(table=lambda name: table)), Figure)


def test_every_variant_names_the_backend_that_its_row_says():
    for variant in list_variants(MODEL_SERIES[0], 8):
        assert variant.environment["KERAS_BACKEND"] == variant.name.split(",")[0]
