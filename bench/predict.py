"""Reading radiographs with ONNX Runtime beside doing it with Keras -> results/predict_bench.csv.

    .venv/bin/python bench/predict.py [start] [throughput] [memory] [--originals DIR] [--memory 100 10000 100000]

Needs requirements.lock, and a quiet machine. The radiographs are those of CHEST_XRAY_DIR or data/chest_xray (validation
only), or simulated ones; `--originals` names untouched files of the same radiographs, under the same relative paths.
Each measurement runs in a fresh process, the two sides in turn, and the median of the runs is written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pneumonia.data.find import find_radiographs, open_simulated  # noqa: E402
from pneumonia.data.radiograph import read_radiograph  # noqa: E402
from pneumonia.inference.final_model import FinalModel  # noqa: E402
from pneumonia.results import is_current, read_run_record, read_table, write_measured  # noqa: E402
from pneumonia.series import real_run  # noqa: E402

COLUMNS = ["benchmark", "variant", "metric", "median", "unit", "runs", "versus", "ratio"]
KERAS, ONNX, PREDICT = "keras.Model.predict", "ONNX Runtime", "python -m pneumonia predict"
KERAS_MODELS = f"""
import json, sys, time
import numpy as np
sys.path.insert(0, {str(ROOT)!r})
from pneumonia.series import real_run
from pneumonia.data.radiograph import read_radiograph
from pneumonia.models.weights import load_trained
from pathlib import Path
run = real_run(None)
name = json.loads((run.models_dir / "final.json").read_text())["model"]
members = [load_trained(run, run.model(name), seed) for seed in run.seeds_of(run.model(name))]
size = run.model(name).image_size
def predict(images):
    images = images[..., None].astype(np.float32)
    return np.mean([member.predict(images, verbose=0)[:, 0] for member in members], axis=0)
"""
ONE_BY_KERAS = KERAS_MODELS + "print(predict(read_radiograph(Path(sys.argv[1]), size)[None])[0])"
MEASURE = """
images = np.load(sys.argv[1])
predict(images)
start, cpu = time.perf_counter(), time.process_time()
y_prob = predict(images)
found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
print(json.dumps(found | {"y_prob": y_prob.tolist()}))
"""
MANY_BY_KERAS = KERAS_MODELS + MEASURE
MANY_BY_ONNX = f"""
import json, sys, time
import numpy as np
sys.path.insert(0, {str(ROOT)!r})
from pneumonia.inference.final_model import FinalModel
model = FinalModel()
predict = lambda images: model.score(images)["probability"]
{MEASURE}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="of start, throughput, memory; default: all")
    parser.add_argument("--originals", type=Path)
    parser.add_argument("--memory", type=int, nargs="*", default=[100, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    parts, paths = options.parts or ["start", "throughput", "memory"], list_radiographs()
    with tempfile.TemporaryDirectory() as folder:
        if "start" in parts:
            keep(bench_cold_start(paths[0], options.runs))
        if "throughput" in parts:
            keep(bench_throughput(paths, options.runs, Path(folder)))
        if options.originals:
            keep(compare_originals(options.originals))
            keep(bench_memory(sorted(options.originals.glob("train/*/*.jpeg")), 1000, Path(folder), "untouched files"))
        if "memory" in parts:
            for count in options.memory:
                keep(bench_memory(paths, count, Path(folder)))


def keep(rows: list[list]) -> None:
    """Put rows into results/predict_bench.csv at once, in place of older ones of the same measurement."""
    new, run = pd.DataFrame(rows, columns=COLUMNS), real_run(None)
    record = read_run_record(run)
    new[["median", "ratio"]] = new[["median", "ratio"]].astype(float).map(lambda value: float(f"{value:.4g}"))
    print(new.to_string(index=False, header=False))
    key = ["benchmark", "variant", "metric"]
    if is_current(run, record, "predict_bench"):  # of the same weights
        old = read_table(run, "predict_bench").fillna({"unit": "", "versus": ""})
        new = pd.concat([old[~old.set_index(key).index.isin(new.set_index(key).index)], new])
    write_measured(run, "predict_bench", new, record["weights_hash"])


def list_radiographs(count: int = 512) -> list[Path]:
    """Validation radiographs, else simulated ones. The test split is left in peace."""
    data = find_radiographs()
    if data is None:
        return sorted(open_simulated().data.glob("train/*/*.jpeg"))[:count]
    catalog = pd.read_csv(ROOT / "results" / "catalog.csv", keep_default_na=False)
    return [data / path for path in catalog.query("split == 'validation' and excluded_reason == ''")["path"]][:count]


def run_python(*arguments: str, stdin: str | None = None) -> tuple[float, str]:
    """Seconds of wall time and standard output of a fresh interpreter."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=stdin, check=True, env=environment)
    return time.perf_counter() - start, done.stdout


def bench_cold_start(path: Path, runs: int) -> list[list]:
    """From the command to the answer for one radiograph, the file system warm."""
    seconds: dict[str, list[float]] = {PREDICT: [], KERAS: []}
    for _ in range(runs + 1):  # the first is not counted
        seconds[KERAS].append(run_python("-c", ONE_BY_KERAS, str(path))[0])
        seconds[PREDICT].append(run_python("-m", "pneumonia", "predict", str(path))[0])
    slow, fast = (statistics.median(seconds[side][1:]) for side in (KERAS, PREDICT))
    told = ["cold start", "seconds to the answer for one radiograph"]
    return [
        [told[0], KERAS, told[1], slow, "s", runs, "", np.nan],
        [told[0], PREDICT, told[1], fast, "s", runs, KERAS, slow / fast],
    ]


def bench_throughput(paths: list[Path], runs: int, folder: Path) -> list[list]:
    """Decoded radiographs through the ensemble, each side with its defaults; and how far the answers differ."""
    np.save(folder / "images.npy", np.stack([read_radiograph(path, FinalModel().size) for path in paths]))
    found: dict[str, list[dict]] = {KERAS: [], ONNX: []}
    for _ in range(runs):
        for side, code in ((KERAS, MANY_BY_KERAS), (ONNX, MANY_BY_ONNX)):
            output = run_python("-c", code, str(folder / "images.npy"))[1]
            found[side].append(json.loads(output.splitlines()[-1]))
    slow, fast = (statistics.median(len(paths) / one["seconds"] for one in found[side]) for side in (KERAS, ONNX))
    much, less = (statistics.median(1000 * one["cpu"] / len(paths) for one in found[side]) for side in (KERAS, ONNX))
    gap = np.abs(np.subtract(found[KERAS][0]["y_prob"], found[ONNX][0]["y_prob"])).max()
    metric, cpu = f"radiographs a second, {len(paths)} already decoded", "CPU time a radiograph"
    return [
        ["throughput", KERAS, metric, slow, "1/s", runs, "", np.nan],
        ["throughput", ONNX, metric, fast, "1/s", runs, KERAS, fast / slow],
        ["throughput", KERAS, cpu, much, "ms", runs, "", np.nan],
        ["throughput", ONNX, cpu, less, "ms", runs, KERAS, much / less],
        ["agreement", ONNX, "largest difference in probability", gap, "", len(paths), KERAS, np.nan],
    ]


def bench_memory(paths: list[Path], count: int, folder: Path, what: str = "radiographs") -> list[list]:
    """The most memory that a whole `predict --csv` takes, and its rate from files, for a list of `count`.

    Linux only: elsewhere there are no such rows.
    """
    if not Path("/proc/self/status").exists():
        return []
    code = (
        "import sys; from pneumonia.__main__ import main; status = main(sys.argv[1:]);"
        # Not getrusage: its maximum includes what the parent process had in use when it forked.
        "peak = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')];"
        "print(peak[0]); sys.exit(status)"
    )
    listed = "".join(f"{paths[number % len(paths)]}\n" for number in range(count))
    arguments = ("predict", "-", "--csv", str(folder / f"{count} {what}.csv"))
    seconds, output = run_python("-c", code, *arguments, stdin=listed)
    megabytes = int(output.splitlines()[-1]) / 1024
    return [
        ["memory", f"{count} {what}", "most memory used", megabytes, "MiB", 1, "", np.nan],
        ["end to end", f"{count} {what}", "files a second", count / seconds, "1/s", 1, "", np.nan],
    ]


def compare_originals(originals: Path) -> list[list]:
    """Probabilities of untouched files beside those of the copies at hand (of train and test: nothing is chosen)."""
    data, model = find_radiographs(), FinalModel()
    paths = sorted(path.relative_to(originals) for path in originals.glob("*/*/*.jpeg"))
    folders = (originals, data)
    scored = [
        model.score(np.stack([read_radiograph(folder / path, model.size) for path in paths]))["probability"]
        for folder in folders
    ]
    gaps = np.abs(scored[0] - scored[1])
    flips = sum((scored[0] >= 0.5) != (scored[1] >= 0.5))
    told = ["agreement", "untouched files"]
    values = {
        "mean difference in probability": gaps.mean(),
        "largest difference in probability": gaps.max(),
        "calls that flip at 0.5": flips,
    }
    return [[*told, name, value, "", len(paths), "224-px copies", np.nan] for name, value in values.items()]


if __name__ == "__main__":
    main()
