"""The command line: `python -m pneumonia STEP`. Each step is one arrow of the data flow and can be run alone."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from .config import PneumoniaError, Run

LOOK = "scoring of newly trained weights by `evaluate`"


def main(arguments: list[str] | None = None) -> int:
    """Run one step. Returns: 0 done, 1 `predict` left some out, 2 cannot be done, 130 interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        return options.step(options) or 0
    except PneumoniaError as error:
        print(f"pneumonia: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = "" if options.step is run_predict else "[app]" if options.step is run_app else "[train]"
        print(f"pneumonia: {error.name} is not installed; run `pip install -e .{extra}`", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pneumonia: interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The options of every step."""
    parser = argparse.ArgumentParser(
        prog="python -m pneumonia",
        description="Is a child's chest X-ray NORMAL or PNEUMONIA? The steps, in the order of the data flow. "
        "Radiographs are taken from CHEST_XRAY_DIR, else data/chest_xray.",
    )
    parser.add_argument("--simulated", action="store_true", help="use simulated radiographs, in build/simulated/")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    fetch = add_step(steps, "download", run_download, "fetch the radiographs into data/chest_xray")
    fetch.add_argument("--source", choices=["mendeley", "kaggle", "medmnist"], default="mendeley")
    fetch.add_argument("--target", type=Path, default=None, help="another folder to put them in")
    add_step(steps, "catalog", run_catalog, "audit the radiographs -> results/catalog.csv")
    fit = add_step(steps, "train", run_train, "train what is missing or out of date -> models/, results/history.csv")
    fit.add_argument("--retrain", action="store_true", help="train everything; a killed --retrain is continued")
    fit.add_argument("--cluster", metavar="ADDRESS", help="on Ray: auto, ray://HOST:PORT; needs the extra [cluster]")
    judge = add_step(steps, "evaluate", run_evaluate, "score all radiographs -> results/predictions.csv, metrics.csv")
    judge.add_argument("--folder", type=Path, help="another hospital's NORMAL/ and PNEUMONIA/, or a CSV of path,label")
    judge.add_argument("--out", type=Path, help="for the report on --folder; else build/external/<name>")
    for name, function, text in (
        ("attribute", run_attribute, "measure what moves each network -> results/attribution.csv"),
        ("ablation", run_ablation, "train and measure the cures one at a time -> results/ablation.csv"),
    ):
        step = add_step(steps, name, function, text)
        step.add_argument("--encoding-swap", type=Path, default=None, help="folder with as_shipped/ and as_q75/")
    add_step(steps, "figures", run_figures, "draw every plot -> images/")
    add_step(steps, "report", run_report, "results/predictions.csv -> metrics, plots, README and presentation.pdf")
    add_measurements(steps)
    add_step(steps, "export", run_export, "final model, thresholds, limits -> models/final.onnx, models/final.json")
    add_predict_options(add_step(steps, "predict", run_predict, "new radiographs -> answers; needs no TensorFlow"))
    serve = add_step(steps, "app", run_app, "a page in the browser that reads radiographs, for this machine only")
    serve.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    serve.add_argument("--no-browser", action="store_true", help="only print the address")
    add_step(steps, "notebook", run_notebook, "execute final_notebook.ipynb from a fresh kernel: all steps, as a story")
    return parser


def add_measurements(steps) -> None:
    """What is measured besides: slower than the rest, each leaves one file in results/, and none is done twice."""
    for name, text in (
        ("robustness", "score the test split corrupted and resampled -> results/robustness.csv (a look at test)"),
        ("masking", "score validation and test with parts painted over -> results/masking.csv (a look at test)"),
    ):
        step = add_step(steps, name, run_measurement, text)
        step.set_defaults(table=name)
        step.add_argument("--seeds", type=int, default=99, help="at most so many seeds of all but the final model")
    for name, text in (
        ("learning-curve", "train on 1/20 to all patients -> results/learning_curve.csv (a look at test)"),
        ("pareto", "train several widths, sizes and epochs -> results/pareto.csv (a look at test)"),
        ("three-class", "train normal, bacterial, viral beside two -> results/three_class.csv (a look at test)"),
    ):
        add_step(steps, name, run_study, text).set_defaults(table=name.replace("-", "_"))


def add_step(steps, name: str, function, text: str) -> argparse.ArgumentParser:
    parser = steps.add_parser(name, help=text, description=text)
    parser.set_defaults(step=function)
    return parser


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="file, folder, pattern, or - for a list on standard input")
    add("--json", action="store_true", help="one JSON object a line instead of the table")
    add("--csv", type=Path, metavar="FILE", help="write the answers there, and no table")
    add("--resume", action="store_true", help="continue an interrupted --csv FILE or --out DIR")
    add("--heatmap", type=Path, metavar="DIR", help="write an overlay of the evidence for each radiograph")
    points = ["screening", "balanced", "rule-in"]
    add("--operating-point", choices=points, default="balanced", help="miss few, treat few needlessly, or balanced")
    add("--prevalence", type=float, metavar="P", help="share of ill children where you are; default as calibrated, 0.5")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="on Ray, with --out: auto, ray://HOST:PORT; needs the extra [cluster]",
    )
    add("--out", type=Path, metavar="DIR", help="where --cluster writes its Parquet parts")
    add("--batch-size", type=int, default=32, metavar="N", help="default 32")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads that decode; default: the cores")
    parser.epilog = "Exit status: 0 all read, 1 some could not be, 2 nothing usable. Not for clinical use."


def open_for(options: argparse.Namespace, otherwise: str = "real") -> Run:
    from .pipeline import open_run

    return open_run("simulated" if options.simulated else otherwise)


def run_download(options: argparse.Namespace) -> None:
    from .data.download import download
    from .pipeline import DEFAULT_DATA

    target = options.target or DEFAULT_DATA
    print(f"radiographs are in {download(options.source, target)}")


def run_catalog(options: argparse.Namespace) -> None:
    from .data.catalog import summarise
    from .pipeline import make_catalog

    print(summarise(make_catalog(open_for(options))).to_string())


def run_train(options: argparse.Namespace) -> None:
    from .pipeline import make_catalog, make_models

    run, choice = open_for(options), {}
    if options.cluster:
        from .models.cluster import train_on_cluster

        choice = {"train": partial(train_on_cluster, address=options.cluster)}
    make_models(run, make_catalog(run), options.retrain, **choice)


def run_evaluate(options: argparse.Namespace) -> None:
    if options.folder:
        return evaluate_folder(options)
    if options.out:
        raise PneumoniaError("--out is for the report on --folder; name the folder too")
    from .pipeline import make_catalog, make_metrics, make_models, make_predictions

    run = open_for(options)
    catalog = make_catalog(run)
    make_predictions(run, catalog, make_models(run, catalog), why=LOOK)
    make_metrics(run)


def evaluate_folder(options: argparse.Namespace) -> None:
    """Needs the committed weights; with the project's own radiographs at hand it also says how far the films differ."""
    from dataclasses import replace

    from .pipeline import find_radiographs
    from .studies.external import report_folder

    run = open_for(options, otherwise="results")
    run = run if run.is_simulated else replace(run, data=find_radiographs())
    report = report_folder(run, options.folder, options.out)
    print(f"{report.read_text(encoding='utf-8')}\ntables: {report.parent}")


def run_attribute(options: argparse.Namespace) -> None:
    from .pipeline import make_attribution, make_catalog

    run = open_for(options)
    make_attribution(run, make_catalog(run), options.encoding_swap)


def run_ablation(options: argparse.Namespace) -> None:
    from .pipeline import make_catalog
    from .studies.ablation import make_ablation

    run = open_for(options)
    make_ablation(run, make_catalog(run), options.encoding_swap)


def run_figures(options: argparse.Namespace) -> None:
    from .report.gallery import draw_all
    from .results import load_results

    draw_all(load_results(open_for(options)))


def run_report(options: argparse.Namespace) -> None:
    """Everything that follows from predictions.csv; figures that show radiographs are left as they are."""
    from .pipeline import make_metrics
    from .report.gallery import draw_all
    from .report.pages import write_reports
    from .results import load_results

    run = open_for(options, otherwise="results")
    make_metrics(run)
    results = load_results(run)
    draw_all(results, with_radiographs=False)
    write_reports(results)


def run_measurement(options: argparse.Namespace) -> None:
    from .studies.study import make_measurement

    table = make_measurement(open_for(options), options.table, options.seeds)
    print(f"results/{options.table}.csv: {len(table)} rows")


def run_study(options: argparse.Namespace) -> None:
    from .studies.study import make_study

    table = make_study(open_for(options), options.table)
    print(f"results/{options.table}.csv: {len(table)} rows")


def run_predict(options: argparse.Namespace) -> int:
    from .inference.command import predict

    return predict(options)


def run_app(options: argparse.Namespace) -> None:
    from .inference.app import serve

    serve(options.port, in_browser=not options.no_browser)


def run_export(options: argparse.Namespace) -> None:
    """Also measures what the limits and the heatmaps of the exported model are worth."""
    from .pipeline import measure_export
    from .results import load_results

    print(measure_export(load_results(open_for(options))))


def run_notebook(options: argparse.Namespace) -> None:
    """Trains first, where progress can be seen: a notebook shows a cell's output only at its end."""
    from .pipeline import make_catalog, make_models
    from .report.notebook import execute_notebook

    run = open_for(options, otherwise="auto")
    make_models(run, make_catalog(run))
    notebook = execute_notebook(run)
    print(f"{'SIMULATED: ' if run.is_simulated else ''}{notebook} and {run.home / 'presentation.pdf'}")


if __name__ == "__main__":
    sys.exit(main())
