"""`python -m bench`: measure speed -> results/bench.csv, images/bench.png and results/predict_bench.csv."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pandas as pd

from pneumonia.config import ModelConfig, PneumoniaError, Run

from .measure import Variant, compare

SECTIONS = ("inputs", "training", "members", "cost", "cluster", "predict")
RUNS, FILES, IMAGES = 5, 1000, 640  # IMAGES: of one measured epoch of training
ARCHIVE = 4000  # radiographs on the cluster
QUICK_RUNS, QUICK_FILES, QUICK_IMAGES = 1, 64, 64


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 cannot be done as asked."""
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        bench(options)
    except PneumoniaError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="once and on little: does it run? Into build/bench/ only")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS[:3], help="default: the first three")
    parser.add_argument(
        "--originals",
        type=Path,
        help="archive of original files (else `inputs` enlarges radiographs)",
    )
    parser.add_argument("--simulated", action="store_true", help="on simulated radiographs")
    return parser


def bench(options: argparse.Namespace) -> None:
    """Measure the sections asked for; those measured before stay in the table."""
    from pneumonia.data.find import open_run

    run = open_run("simulated" if options.simulated else "auto")
    folder = run.home / "build" / "bench" if not run.is_simulated else run.home / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    measured: dict[str, list[pd.DataFrame]] = {}  # table -> its sections
    for name in options.only:
        target = "predict_bench" if name == "predict" else "bench"
        measured.setdefault(target, []).append(measure_section(name, run, folder, options))
    for target, sections in measured.items():
        table = pd.concat(sections, ignore_index=True)
        if options.quick:
            table.to_csv(folder / f"{target}.csv", index=False)
        else:
            keep(run, target, table)
        print(table.to_string())


def keep(run: Run, name: str, table: pd.DataFrame) -> None:
    """Put rows into results/<name>.csv, in place of older ones of the same measurement; results/bench.csv is drawn."""
    from pneumonia.report.figures.gallery import draw_figure
    from pneumonia.results import is_current, read_run_record, read_table, write_measured
    from pneumonia.studies import STUDIES, load_results

    record = read_run_record(run)
    digest = STUDIES[name].digest(record)
    if is_current(run, record, name, digest):
        before = read_table(run, name)
        key = ["benchmark"] if name == "bench" else ["benchmark", "variant", "metric"]
        is_replaced = before.set_index(key).index.isin(table.set_index(key).index)
        table = pd.concat([table, before[~is_replaced]], ignore_index=True)
    write_measured(run, name, table, digest)
    if name == "bench":
        draw_figure(load_results(run), "bench")


def measure_section(name: str, run: Run, folder: Path, options: argparse.Namespace) -> pd.DataFrame:
    """One part of the table."""
    runs = QUICK_RUNS if options.quick else RUNS
    config = choose_config(run, options.quick)
    images = QUICK_IMAGES if options.quick else IMAGES
    if name == "inputs":
        return measure_inputs(run, config.image_size, folder, options)
    if name == "cost":
        from .cost import measure_cost

        return measure_cost(run, folder, print, epochs=1 if options.quick else None)
    if name == "cluster":
        from pneumonia.data.catalog import find_root

        from .cluster import list_variants

        count = QUICK_FILES if options.quick else ARCHIVE
        return compare(list_variants(find_root(run.data, run.cache), count), 1 if options.quick else 3, print)
    if name == "predict":
        from .predict import measure_predict

        return measure_predict(run, folder, runs, options.quick, options.originals)
    from . import training

    variants = training.list_variants(config, images) if name == "training" else training.list_members(config, images)
    return compare(variants, runs, print)


def measure_inputs(run: Run, size: int, folder: Path, options: argparse.Namespace) -> pd.DataFrame:
    """Readers on the radiographs at hand and on original-sized ones; opening the cache of the whole archive."""
    from pneumonia.data.catalog import build_catalog, find_root
    from pneumonia.results import read_table

    from . import inputs
    from .files import enlarge_files, link_files

    runs, count = (QUICK_RUNS, QUICK_FILES) if options.quick else (RUNS, FILES)
    root = find_root(run.data, run.cache)
    originals = options.originals or enlarge_files(root, folder / "enlarged", min(count, 96))
    sources = {
        "files at hand": (link_files(root, folder / "at_hand", count), True),
        "originals" if options.originals else "enlarged files": (
            link_files(originals, folder / "originals", count),
            False,
        ),
    }
    tables = [
        compare(inputs.list_variants(source, files, size, augmented), runs, print)
        for source, (files, augmented) in sources.items()
    ]
    catalog = read_table(run, "catalog") if (run.results_dir / "catalog.csv").exists() else build_catalog(run)
    opening = [Variant(inputs.OURS, inputs.open_cache, (run, catalog, size))]
    return pd.concat([*tables, compare(opening, runs, print)], ignore_index=True)


def choose_config(run: Run, quick: bool) -> ModelConfig:
    """The final model; the first network, which is small, when only seeing that everything runs."""
    from pneumonia.results import read_final_model

    return next(each for each in run.models if each.is_cnn) if quick else run.model(read_final_model(run))


if __name__ == "__main__":
    sys.exit(main())
