"""Side by side: every variant has a process of its own, and they take turns, so that noise affects all alike."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pandas as pd

try:
    import resource
except ImportError:  # Windows: peak memory is not measured there
    resource = None

COLUMNS = ["benchmark", "variant", "metric", "median", "unit", "runs", "versus", "ratio"]
UNITS = {
    "throughput": "images/s",
    "cpu": "s per 1,000 images",
    "memory": "MB above start",
    "time": "s",
    "speed": "GFLOP/s",
    "share of peak": "%",
    "work": "MFLOP per image",
    "cost": "CPU s",
    "best accuracy": "%",
}
Measured = dict[tuple[str, str], float]  # (benchmark, metric) -> value of one run


@dataclass(frozen=True)
class Variant:
    """One way to do it: `function(*arguments)` does every stage once and returns what it measured."""

    name: str
    function: Callable[..., Measured]  # importable by name, so that another process finds it
    arguments: tuple = ()
    environment: dict[str, str] = field(default_factory=dict)  # of its process, before anything is imported


def compare(variants: list[Variant], runs: int, say: Callable[[str], None]) -> pd.DataFrame:
    """Run all variants `runs` times, one after the other in every round; the others are compared with the first.

    Returns: COLUMNS, a row per benchmark, variant and metric: the median over runs, and the median of the ratios to the
    first variant that has this benchmark, each taken within one round (empty for that variant itself).
    """
    rows = []
    with ExitStack() as stack:
        workers = {each.name: stack.enter_context(open_worker(each.environment)) for each in variants}
        for run in range(runs):
            for each in variants:
                start = time.perf_counter()
                measured = workers[each.name].submit(each.function, *each.arguments).result()
                say(f"run {run + 1}/{runs}  {each.name}: {time.perf_counter() - start:.1f} s")
                rows += [(*key, run, each.name, value) for key, value in measured.items()]
    return summarise(pd.DataFrame(rows, columns=["benchmark", "metric", "run", "variant", "value"]))


def summarise(raw: pd.DataFrame) -> pd.DataFrame:
    """One row per benchmark, variant and metric from one per run (benchmark, metric, run, variant, value)."""
    rows = []
    for (benchmark, metric), of_metric in raw.groupby(["benchmark", "metric"], sort=False):
        values = of_metric.pivot(index="run", columns="variant", values="value")
        values = values[list(dict.fromkeys(of_metric["variant"]))]  # in the order of measuring
        versus = values.columns[0]
        for name in values:
            ratio = (values[name] / values[versus]).median() if name != versus else float("nan")
            median, unit = values[name].median(), UNITS[metric]
            other = versus if name != versus else ""
            rows.append((benchmark, name, metric, median, unit, values[name].count(), other, ratio))
    table = pd.DataFrame(rows, columns=COLUMNS)
    digits = table[["median", "ratio"]].map(lambda value: float(f"{value:.4g}"))
    return table.assign(**digits.replace(float("inf"), float("nan")))  # compared with nothing: no ratio


@contextmanager
def open_worker(environment: dict[str, str]) -> Iterator[ProcessPoolExecutor]:
    """A fresh process; what a variant keeps in it (a compiled network) is there in the next run."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=set_environment, initargs=(environment,)) as pool:
        yield pool


def set_environment(variables: dict[str, str]) -> None:
    """For a process of its own, before it imports anything that reads them."""
    os.environ.update(variables)


class Meter:
    """Images per wall second, CPU seconds of this process, and how far its memory grew, from one point on."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self, benchmark: str, images: int) -> Measured:
        """What `images` images cost since the start."""
        wall, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        return {(benchmark, "throughput"): images / wall, (benchmark, "cpu"): cpu * 1000 / images}


def peak_memory() -> float:
    """Most memory that this process has held so far, in MB; nan where the system does not say."""
    if resource is None:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
