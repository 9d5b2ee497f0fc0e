"""The command line: `python -m pneumonia STEP`. Each step is one arrow of the data flow and can be run alone."""

from __future__ import annotations

import sys
from pathlib import Path

from . import interrupts

if __name__ == "__main__" or Path(sys.argv[0]).stem == "pneumonia":  # the program, not a test or a notebook
    interrupts.leave_at_once()

import argparse  # noqa: E402  Ctrl-C is heard from here on
import os  # noqa: E402
from contextlib import nullcontext  # noqa: E402
from functools import partial  # noqa: E402

from .config import PneumoniaError, Run  # noqa: E402
from .studies import STUDIES, load_results  # noqa: E402

LOOK = "scoring of newly trained weights"
OPTIONS = {  # of the studies that have a step of their own
    "--seeds": {"type": int, "help": "use at most this many seeds of every model but the final one"},
    "--encoding-swap": {"type": Path, "dest": "swap", "help": "folder with as_shipped/ and as_q75/ to measure too"},
}


def main(arguments: list[str] | None = None) -> int:
    """Run one step. Returns: 0 done, 1 `predict` left some out, 2 cannot be done, 130 interrupted."""
    options = build_parser().parse_args(arguments)
    interrupts.forget()
    try:
        with nullcontext() if options.step is run_predict else interrupts.raised():  # `predict` knows when
            return options.step(options) or 0
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or interrupts.happened():  # a library may have made another of it
            print("pneumonia: interrupted; run the same command again to continue", file=sys.stderr)
            return interrupts.INTERRUPTED
        if isinstance(error, PneumoniaError):
            print(f"pneumonia: {error}", file=sys.stderr)
            return 2
        if isinstance(error, ModuleNotFoundError):
            if error.name == (backend := os.environ.get("KERAS_BACKEND")):
                remedy = "install it or unset KERAS_BACKEND"
                print(f"pneumonia: KERAS_BACKEND={backend} is not installed; {remedy}", file=sys.stderr)
                return 2
            extra = "" if options.step is run_predict else "[app]" if options.step is run_app else "[train]"
            print(f"pneumonia: {error.name} is not installed; run `pip install -e .{extra}`", file=sys.stderr)
            return 2
        raise


def build_parser() -> argparse.ArgumentParser:
    """The steps and their options. Nothing heavy is imported, so that `predict` starts fast."""
    parser = argparse.ArgumentParser(
        prog="python -m pneumonia",
        description="Does a child's chest X-ray show pneumonia? The steps, in the order of the data flow. "
        "Radiographs are taken from CHEST_XRAY_DIR, else from data/chest_xray.",
    )
    parser.add_argument("--simulated", action="store_true", help="use simulated radiographs, in build/simulated/")
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    fetch = add_step(steps, "download", run_download, "download the radiographs into data/chest_xray")
    fetch.add_argument("--source", choices=["mendeley", "kaggle", "medmnist"], default="mendeley")
    fetch.add_argument("--target", type=Path, help="put them in another folder")
    add_step(steps, "catalog", run_catalog, "audit the radiographs -> results/catalog.csv")
    fit = add_step(steps, "train", run_train, "train what is missing or out of date -> models/, results/history.csv")
    fit.add_argument("--retrain", action="store_true", help="train everything; an interrupted --retrain resumes")
    fit.add_argument("--cluster", metavar="ADDRESS", help="on Ray: auto, or ray://HOST:PORT")
    judge = add_step(steps, "evaluate", run_evaluate, "score all radiographs -> results/predictions.csv, metrics.csv")
    judge.add_argument("--folder", type=Path, help="another hospital's NORMAL/ and PNEUMONIA/, or a CSV of path,label")
    judge.add_argument("--out", type=Path, help="where the report on --folder goes; else build/external/<name>")
    add_step(steps, "figures", run_figures, "draw every figure -> images/")
    add_step(steps, "report", run_report, "results/predictions.csv -> metrics, figures, texts and presentation.pdf")
    for question in STUDIES.values():
        if question.has_step:
            look = " (a look at test)" if question.looks_at_test else ""
            text = f"{question.text} -> results/{question.name}.csv{look}"
            step = add_step(steps, question.made_by, run_study, text)
            step.set_defaults(study=question.name)
            if question.option:
                step.add_argument(question.option, **OPTIONS[question.option])
    add_step(steps, "export", run_export, "export and check the final model -> models/final.onnx, models/final.json")
    add_predict_options(add_step(steps, "predict", run_predict, "answer for new radiographs; needs no TensorFlow"))
    serve = add_step(steps, "app", run_app, "a page in the browser that reads radiographs, for this machine only")
    serve.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    serve.add_argument("--no-browser", action="store_true", help="only print the address")
    add_step(steps, "notebook", run_notebook, "take all steps, and run final_notebook.ipynb in a fresh kernel")
    return parser


def add_step(steps, name: str, function, text: str) -> argparse.ArgumentParser:
    parser = steps.add_parser(name, help=text, description=text)
    parser.set_defaults(step=function)
    return parser


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="file, folder, pattern, or - for a list on standard input")
    add("--json", action="store_true", help="print one JSON object a line instead of the table")
    add("--csv", type=Path, metavar="FILE", help="write the answers there instead of printing a table")
    add("--resume", action="store_true", help="continue an interrupted --csv FILE or --out DIR")
    add("--heatmap", type=Path, metavar="DIR", help="write a heatmap over each radiograph")
    points = ["screening", "balanced", "rule-in"]
    add("--operating-point", choices=points, default="balanced", help="high sensitivity, balanced, or high specificity")
    add("--prevalence", type=float, metavar="P", help="share of pneumonia where you are; default: 0.5, as calibrated")
    add("--original-size", metavar="WxH", help="width x height in pixels of the originals of square files")
    add("--cluster", metavar="ADDRESS", help="on Ray: auto, or ray://HOST:PORT; needs --out")
    add("--out", type=Path, metavar="DIR", help="where --cluster writes its Parquet parts")
    add("--batch-size", type=int, default=32, metavar="N", help="default 32")
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that decode; default: all cores",
    )
    parser.epilog = "Exit status: 0 all read, 1 some could not be, 2 nothing usable. Not for clinical use."


def open_for(options: argparse.Namespace, otherwise: str = "real") -> Run:
    from .data.find import open_run

    return open_run("simulated" if options.simulated else otherwise)


def run_download(options: argparse.Namespace) -> None:
    from .data.download import download
    from .data.find import DEFAULT_DATA

    print(f"radiographs are in {download(options.source, options.target or DEFAULT_DATA)}")


def run_catalog(options: argparse.Namespace) -> None:
    from .data.catalog import describe_test_split, summarise
    from .pipeline import make_catalog

    catalog = make_catalog(open_for(options))
    print(f"{summarise(catalog).to_string()}\n{describe_test_split(catalog)}")


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
    make_results(open_for(options))


def make_results(run: Run) -> None:
    """From radiographs to metrics.csv: every step that can take minutes, with its progress."""
    from .pipeline import make_catalog, make_metrics, make_models, make_predictions

    catalog = make_catalog(run)
    make_predictions(run, catalog, make_models(run, catalog), why=LOOK)
    make_metrics(run)


def evaluate_folder(options: argparse.Namespace) -> None:
    """Needs the committed weights; with the project's own radiographs at hand it also says how far the films differ."""
    from dataclasses import replace

    from .data.find import find_radiographs
    from .studies.external import report_folder

    run = open_for(options, otherwise="results")
    run = run if run.is_simulated else replace(run, data=find_radiographs())
    report = report_folder(run, options.folder, options.out)
    print(f"{report.read_text(encoding='utf-8')}\ntables: {report.parent}")


def run_study(options: argparse.Namespace) -> None:
    from .pipeline import make_study

    chosen = {name: value for name in ("seeds", "swap") if (value := getattr(options, name, None)) is not None}
    table = make_study(open_for(options), options.study, **chosen)
    print(f"results/{options.study}.csv: {len(table)} rows")


def run_figures(options: argparse.Namespace) -> None:
    from .report.figures.gallery import draw_all
    from .report.figures.strips import draw_strips

    results = load_results(open_for(options))
    draw_all(results)
    draw_strips(results)


def run_report(options: argparse.Namespace) -> None:
    """Everything that follows from predictions.csv; figures that show radiographs are left as they are."""
    from .pipeline import make_metrics
    from .report.figures.gallery import draw_all
    from .report.pages import write_reports

    run = open_for(options, otherwise="results")
    make_metrics(run)
    results = load_results(run)
    draw_all(results, with_radiographs=False)
    write_reports(results)
    print(f"{run.home}: results/, images/, README.md, docs/ and presentation.pdf are up to date")


def run_export(options: argparse.Namespace) -> None:
    from .pipeline import make_export

    print(make_export(load_results(open_for(options))))


def run_predict(options: argparse.Namespace) -> int:
    from .inference.command import predict

    return predict(options)


def run_app(options: argparse.Namespace) -> None:
    from .inference.app import serve

    serve(options.port, in_browser=not options.no_browser)


def run_notebook(options: argparse.Namespace) -> None:
    """Trains and measures first, where progress can be seen: a notebook shows a cell's output only at its end."""
    from .pipeline import make_study
    from .report.figures.gallery import draw_all
    from .report.figures.strips import draw_strips
    from .report.notebook import execute_notebook
    from .report.pages import write_reports

    run = open_for(options, otherwise="auto")
    make_results(run)
    make_study(run, "attribution")  # the notebook shows it
    notebook = execute_notebook(run)
    results = load_results(run)
    draw_all(results)
    draw_strips(results)
    write_reports(results)
    print(f"{'SIMULATED: ' if run.is_simulated else ''}{notebook} and {run.home / 'presentation.pdf'}")


if __name__ == "__main__":
    sys.exit(main())
