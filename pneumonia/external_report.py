"""Another hospital's evaluation as a page in Markdown with its tables beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .config import Run
from .external import External, evaluate_external
from .recalibration import find_enough
from .records import save_atomically
from .results import read_run_record, read_table
from .wording import format_interval, format_value

TOLD = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "roc_auc", "brier", "ece")
TABLES = ("predictions", "metrics", "drift", "recalibration")
READING = (
    "Brier score and ece (expected calibration error): 0 is best. Calibration slope below 1: the probabilities are too "
    "extreme here; intercept below 0: too high. Site against site: 0.5 is films that cannot be told apart, 1 is films "
    "that always can. ppv and npv are those of the share of ill children in each column."
)
PERFECT = (
    "A ROC AUC of exactly 1 has an interval without width: no resampling of patients that are all ranked right can "
    "rank one wrong."
)


def report_folder(run: Run, folder: Path, out: Path | None = None) -> Path:
    """Evaluate the final model of `run` on `folder`, and write the report to `out`, else build/external/<name>."""
    final = read_run_record(run)["final_model"]
    validation = read_table(run, "predictions").query("split.str.startswith('validation')")
    found = evaluate_external(run, final, validation, folder, read_table(run, "catalog"))
    return write_external(found, run.model(final).title, out or run.home / "build" / "external" / name_report(folder))


def name_report(source: Path) -> str:
    """The name of the folder, also of `.`; of a CSV, without its ending."""
    source = source.resolve()
    return source.name if source.is_dir() else source.stem


def write_external(found: External, title: str, folder: Path) -> Path:
    """Leave report.md and a CSV of each of TABLES in `folder`; returns report.md."""
    for name in TABLES:
        table = getattr(found, name)
        save_atomically(folder / f"{name}.csv", lambda partial, table=table: table.to_csv(partial, index=False))
    report = folder / "report.md"
    save_atomically(report, lambda partial: partial.write_text(describe_external(found, title), encoding="utf-8"))
    return report


def describe_external(found: External, title: str) -> str:
    """The report in Markdown: metrics at home and at the site, calibration, shift, and what re-calibration takes."""
    ill, n = int(found.cases["label"].sum()), len(found.cases)
    lines = [
        f"# {title} on {found.source.resolve().name}\n",
        f"{n} radiographs of {found.cases['patient_id'].nunique()} patients, {ill} of them PNEUMONIA; "
        f"files that could not be read: {len(found.unreadable)}. Not for clinical use.\n",
        *(f"**Note:** {line}.\n" for line in found.warnings),
        *_tabulate_metrics(found.metrics),
        "\n| drift | where | value | 95 % interval |\n| --- | --- | ---: | ---: |",
    ]
    for row in found.drift.itertuples():
        lines.append(f"| {row.what} | {row.where} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |")
    perfect = (found.metrics.query("seed == 'mean' and metric == 'roc_auc'")["value"] == 1).any()
    lines.append(f"\n{READING}{f' {PERFECT}' if perfect else ''}\n\n{describe_recalibration(found.recalibration)}\n")
    lines += [f"- not read: {line}" for line in found.unreadable]
    return "\n".join(lines) + "\n"


def _tabulate_metrics(metrics: pd.DataFrame) -> list[str]:
    lines = ["| mean over seeds, threshold 0.5 | validation | this site |\n| --- | ---: | ---: |"]
    means = metrics.query("seed == 'mean'").set_index(["split", "metric"])
    for metric in TOLD:
        cells = [with_interval(metric, means.loc[(split, metric)]) for split in ("validation", "test")]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return lines


def with_interval(metric: str, row: pd.Series) -> str:
    return f"{format_value(metric, row['value'])} ({format_interval(metric, row['ci_low'], row['ci_high'])})"


def describe_recalibration(table: pd.DataFrame) -> str:
    """How many local radiographs with a known answer it takes, in one sentence."""
    losses, enough = table.set_index("n")["log_loss"], find_enough(table)
    if len(losses) < 2:
        return "Too few radiographs to try a re-calibration."
    if enough is None:
        return f"Re-calibration on {losses.index[-1]} local radiographs gains nothing that could be told from chance."
    most = " (the most that were tried)" if enough == losses.index[-1] else ""
    return (
        f"{enough} local radiographs with a known answer{most} are enough to re-calibrate: the balanced log loss falls "
        f"from {losses.loc[0]:.3f} to {losses.loc[enough]:.3f} (with {losses.index[-1]}: {losses.iloc[-1]:.3f})."
    )
