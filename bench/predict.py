"""Reading new radiographs: `python -m pneumonia predict` and ONNX Runtime beside Keras -> results/predict_bench.csv.

Every measurement runs in a fresh process, the two sides in turn; the medians are kept.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.config import ROOT, Run
from pneumonia.data.catalog import find_root
from pneumonia.data.radiograph import read_radiograph
from pneumonia.inference.final_model import FinalModel
from pneumonia.results import read_table
from pneumonia.series import real_run

from .measure import COLUMNS, open_worker

KERAS, ONNX, PREDICT = "keras.Model.predict", "ONNX Runtime", "python -m pneumonia predict"
LISTS, ORIGINALS = (100, 10_000, 100_000), 1000  # files in one run of `predict`: radiographs at hand; untouched files
DECODED = 512  # radiographs for the throughput
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
Score = Callable[[np.ndarray], np.ndarray]  # uint8 (n, h, w) -> probability (n,)

# How one radiograph would be predicted with Keras; nothing is imported that this does not need.
ANSWER_BY_KERAS = """
import sys
from pathlib import Path
import numpy as np
from pneumonia.data.radiograph import read_radiograph
from pneumonia.evaluation.calibration import calibrate
from pneumonia.models.weights import load_trained
from pneumonia.results import read_table
from pneumonia.series import real_run
run, name = real_run(None), sys.argv[2]
config = run.model(name)
image = read_radiograph(Path(sys.argv[1]), config.image_size, config.window)[None, ..., None].astype(np.float32)
calibration = read_table(run, "calibration")
members = ((load_trained(run, config, seed), seed) for seed in run.seeds_of(config))
print(np.mean([calibrate(member.predict(image, verbose=0), calibration, name, seed) for member, seed in members]))
"""
# Not getrusage: its maximum includes what the parent process had in use when it forked.
PREDICT_AND_PEAK = """
import sys
from pneumonia.__main__ import main
status = main(sys.argv[1:])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(status)
"""


def measure_predict(run: Run, folder: Path, runs: int, quick: bool, originals: Path | None) -> pd.DataFrame:
    """Time to one answer, throughput, memory and agreement; rows as `measure.summarise` has them.

    Args: originals: untouched files of the radiographs at hand, under the same relative paths; None: no such rows.
    """
    paths = list_radiographs(run, 16 if quick else DECODED)
    rows = measure_cold_start(paths[0], runs) + measure_throughput(paths, runs, folder)
    if originals:
        rows += compare_originals(originals, find_root(run.data, run.cache))
        rows += measure_memory(sorted(originals.glob("train/*/*.jpeg")), ORIGINALS, folder, "untouched files")
    for count in (20,) if quick else LISTS:
        rows += measure_memory(paths, count, folder)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table[["median", "ratio"]] = table[["median", "ratio"]].astype(float).map(lambda value: float(f"{value:.4g}"))
    return table


def list_radiographs(run: Run, count: int) -> list[Path]:
    """Validation radiographs, or simulated ones; none of the test split."""
    if run.is_simulated:
        return sorted(run.data.glob("train/*/*.jpeg"))[:count]
    used = read_table(run, "catalog").query("split == 'validation' and excluded_reason == ''")
    root = find_root(run.data, run.cache)
    return [root / path for path in used["path"]][:count]


def run_python(*arguments: str, stdin: str | None = None) -> tuple[float, str]:
    """Seconds of wall time and standard output of a fresh interpreter."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        input=stdin,
        check=True,
    )
    return time.perf_counter() - start, done.stdout


def measure_cold_start(path: Path, runs: int) -> list[list]:
    """From the command to the answer for one radiograph; the files are in the cache of the system."""
    commands = {
        KERAS: ("-c", ANSWER_BY_KERAS, str(path), FinalModel().record["model"]),
        PREDICT: ("-m", "pneumonia", "predict", str(path)),
    }
    seconds = {side: [] for side in commands}
    for _ in range(runs + 1):
        for side, command in commands.items():
            seconds[side].append(run_python(*command)[0])
    slow, fast = (statistics.median(seconds[side][1:]) for side in commands)  # the first only fills the cache
    metric = "seconds to the answer for one radiograph"
    return [
        ["cold start", KERAS, metric, slow, "s", runs, "", np.nan],
        ["cold start", PREDICT, metric, fast, "s", runs, KERAS, slow / fast],
    ]


def load_keras() -> Score:
    """The members of the final model, as Keras has them, calibrated."""
    from pneumonia.evaluation.calibration import calibrate
    from pneumonia.models.weights import load_trained

    run = real_run(None)
    config = run.model(FinalModel().record["model"])
    members = {seed: load_trained(run, config, seed) for seed in run.seeds_of(config)}
    calibration = read_table(run, "calibration")

    def score(images: np.ndarray) -> np.ndarray:
        images = images[..., None].astype(np.float32)
        found = {seed: member.predict(images, verbose=0)[:, 0] for seed, member in members.items()}
        return np.mean([calibrate(y_prob, calibration, config.name, seed) for seed, y_prob in found.items()], axis=0)

    return score


def load_onnx() -> Score:
    """The final model, as `predict` has it."""
    model = FinalModel()
    return lambda images: model.score(images)["probability"]


LOADERS = {KERAS: load_keras, ONNX: load_onnx}


def time_scoring(side: str, file: Path) -> tuple[float, float, np.ndarray]:
    """Wall seconds, CPU seconds and probabilities for the images in a .npy file; in a process of its own."""
    score, images = LOADERS[side](), np.load(file)
    score(images)  # compiles
    wall, cpu = time.perf_counter(), time.process_time()
    y_prob = score(images)
    return time.perf_counter() - wall, time.process_time() - cpu, y_prob


def measure_throughput(paths: list[Path], runs: int, folder: Path) -> list[list]:
    """Decoded radiographs through the ensemble, each side with its defaults; and how far the answers differ."""
    count, file = len(paths), folder / "images.npy"
    model = FinalModel()
    np.save(file, np.stack([read_radiograph(path, model.size, model.window) for path in paths]))
    found = {side: [] for side in LOADERS}
    for _ in range(runs):
        for side in LOADERS:
            with open_worker(QUIET) as worker:
                found[side].append(worker.submit(time_scoring, side, file).result())
    slow, fast = (statistics.median(count / wall for wall, _, _ in found[side]) for side in LOADERS)
    much, less = (statistics.median(1000 * cpu / count for _, cpu, _ in found[side]) for side in LOADERS)
    gap = np.abs(found[KERAS][0][2] - found[ONNX][0][2]).max()
    metric, cost = f"radiographs a second, {count} already decoded", "CPU time a radiograph"
    return [
        ["throughput", KERAS, metric, slow, "1/s", runs, "", np.nan],
        ["throughput", ONNX, metric, fast, "1/s", runs, KERAS, fast / slow],
        ["throughput", KERAS, cost, much, "ms", runs, "", np.nan],
        ["throughput", ONNX, cost, less, "ms", runs, KERAS, much / less],
        ["agreement", ONNX, "largest difference in probability", gap, "", count, KERAS, np.nan],
    ]


def measure_memory(paths: list[Path], count: int, folder: Path, what: str = "radiographs") -> list[list]:
    """The peak memory of a whole `predict --csv` for a list of `count` files, and its rate. Linux only."""
    if not Path("/proc/self/status").exists():
        return []
    table = folder / f"{count} {what}.csv"
    table.unlink(missing_ok=True)
    listed = "".join(f"{paths[number % len(paths)]}\n" for number in range(count))
    seconds, output = run_python("-c", PREDICT_AND_PEAK, "predict", "-", "--csv", str(table), stdin=listed)
    megabytes = int(output.splitlines()[-1]) / 1024
    return [
        ["memory", f"{count} {what}", "most memory used", megabytes, "MiB", 1, "", np.nan],
        ["end to end", f"{count} {what}", "files a second", count / seconds, "1/s", 1, "", np.nan],
    ]


def compare_originals(originals: Path, copies: Path) -> list[list]:
    """Probabilities of original files and of the copies here, compared (train and test: nothing is chosen by it)."""
    model, paths = FinalModel(), sorted(path.relative_to(originals) for path in originals.glob("*/*/*.jpeg"))
    untouched, small = (
        model.score(np.stack([read_radiograph(folder / path, model.size, model.window) for path in paths]))[
            "probability"
        ]
        for folder in (originals, copies)
    )
    gaps = np.abs(untouched - small)
    values = {
        "mean difference in probability": gaps.mean(),
        "largest difference in probability": gaps.max(),
        "calls that flip at 0.5": sum((untouched >= 0.5) != (small >= 0.5)),
    }
    return [
        ["agreement", "untouched files", metric, value, "", len(paths), "224-px copies", np.nan]
        for metric, value in values.items()
    ]
