"""Elsewhere: the trained final model on another hospital's radiographs, with the same metrics and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .catalog import NOT_RADIOGRAPHS, parse_name, select_used
from .config import CLASS_NAMES, PneumoniaError, Run
from .evaluation import compute_metrics, load_scores
from .generators import load_pixels, predict_pixels
from .radiograph import read_radiograph
from .recalibration import find_enough, measure_drift, measure_recalibration, measure_site_shift
from .records import load_trained, save_atomically
from .wording import format_interval, format_value

THUMBNAIL = 16  # pixels of the side, for the site-against-site classifier
TOLD = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "roc_auc", "brier", "ece")


@dataclass(frozen=True)
class External:
    """What was found at another site."""

    source: Path
    cases: pd.DataFrame  # path, label, patient_id of every radiograph that could be read
    unreadable: list[str]  # one line each
    predictions: pd.DataFrame  # as predictions.csv: validation of the project, and the site as split "test"
    metrics: pd.DataFrame  # as metrics.csv
    drift: pd.DataFrame  # what, where, value, ci_low, ci_high
    recalibration: pd.DataFrame


def evaluate_external(run: Run, final: str, validation: pd.DataFrame, source: Path, home: tuple | None) -> External:
    """Evaluate all seeds of the final model on a folder or CSV of radiographs with known answers.

    Args: validation: rows of predictions.csv with split "validation". home: thumbnails (n, 16, 16), labels and patients
    of the project's validation split, for the shift measure; None where its radiographs are not at hand.
    Raises: PneumoniaError when `source` holds nothing that can be evaluated, or only one class.
    """
    config = run.model(final)
    cases, images, unreadable = read_images(find_cases(source), config.image_size)
    frames = [validation[validation["model"] == final]]
    for seed in run.seeds_of(config):
        y_prob = predict_pixels(load_trained(run, config, seed), images).round(6)
        frames.append(cases.assign(split="test", model=final, seed=seed, y_prob=y_prob))
    predictions = pd.concat(frames, ignore_index=True)
    splits = load_scores(predictions, final)
    drift = compute_drift(splits)
    if home is not None:
        order = cases.set_index("path").loc[:, ["label", "patient_id"]]
        small = np.stack([read_radiograph(Path(path), THUMBNAIL) for path in cases["path"]])
        drift = pd.concat([drift, compute_site_shift(home, (small, order["label"].to_numpy(), order["patient_id"]))])
    site = splits["test"]
    recalibration = measure_recalibration(site.y_true, site.ensemble, site.patient_ids)
    metrics = compute_metrics(predictions, run.bootstrap_draws)
    return External(source, cases, unreadable, predictions, metrics, drift.reset_index(drop=True), recalibration)


def find_cases(source: Path) -> pd.DataFrame:
    """path, label, patient_id of everything in NORMAL/ and PNEUMONIA/ folders at any depth, or listed in a CSV.

    A CSV has columns path (relative to it, or absolute) and label (0, 1 or a class name), and may have patient_id.
    Where nothing names the patient, every radiograph counts as a child of its own.
    Raises: PneumoniaError when nothing is found, or a label means nothing.
    """
    if source.suffix.lower() == ".csv" and source.is_file():
        return read_case_list(source)
    rows = []
    for file in sorted(source.rglob("*")):
        class_name = file.parent.name.upper()
        is_clutter = file.name.lower() in NOT_RADIOGRAPHS or file.name.startswith("._")
        if class_name in CLASS_NAMES and file.is_file() and not is_clutter:
            rows.append((str(file), CLASS_NAMES.index(class_name), name_patient(file, class_name)))
    if not rows:
        raise PneumoniaError(
            f"{source}: no files in folders {' and '.join(CLASS_NAMES)}; name another folder, or a CSV"
        )
    return pd.DataFrame(rows, columns=["path", "label", "patient_id"])


def name_patient(file: Path, class_name: str) -> str:
    """The patient that the file name tells, else the file itself; folders are kept apart, so names may repeat."""
    return f"{file.parent.parent.name}/{parse_name(file.stem, class_name)[0] or file.stem}"


def read_case_list(source: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(source, dtype=str)
    except (OSError, ValueError) as error:
        raise PneumoniaError(f"{source}: cannot be read as CSV ({type(error).__name__}); give path,label") from error
    if missing := {"path", "label"} - set(table.columns):
        raise PneumoniaError(f"{source}: no column {', '.join(sorted(missing))}; the first line must be path,label")
    words = {"0": 0, "1": 1} | {name: label for label, name in enumerate(CLASS_NAMES)}
    labels = table["label"].str.strip().str.upper().map(words)
    if labels.isna().any():
        line = int(np.flatnonzero(labels.isna())[0])
        raise PneumoniaError(f"{source}, line {line + 2}: label must be 0, 1 or a class name; correct the line")
    paths = [str((source.parent / path).resolve()) for path in table["path"]]
    patients = table["patient_id"] if "patient_id" in table else pd.Series(paths)
    return pd.DataFrame({"path": paths, "label": labels.astype(int), "patient_id": patients.fillna(pd.Series(paths))})


def read_images(cases: pd.DataFrame, size: int) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The cases that can be read, their pixels (n, size, size), and a line for each that cannot."""
    images, good, lines = [], [], []
    for index, path in cases["path"].items():
        try:
            images.append(read_radiograph(Path(path), size))
            good.append(index)
        except PneumoniaError as error:
            lines.append(str(error))
    read = cases.loc[good].reset_index(drop=True)
    if read["label"].nunique() < 2:
        raise PneumoniaError(
            f"{len(read)} of {len(cases)} files could be read, not of both classes; add the other class"
        )
    return read, np.stack(images), lines


def compute_drift(splits: dict) -> pd.DataFrame:
    """Calibration slope and intercept of the ensemble at home (validation) and at the site."""
    rows = []
    for where, split in (("validation", "validation"), ("site", "test")):
        scores = splits[split]
        drift = measure_drift(scores.y_true, scores.ensemble, scores.patient_ids)
        rows += [(f"calibration {name}", where, *values) for name, values in drift.items()]
    return pd.DataFrame(rows, columns=["what", "where", "value", "ci_low", "ci_high"])


def load_home(run: Run, catalog: pd.DataFrame) -> tuple | None:
    """Thumbnails, labels and patients of the project's own validation split, if its radiographs are at hand."""
    if run.data is None:
        return None
    rows = catalog[catalog["split"] == "validation"]
    used = select_used(rows)
    return np.asarray(load_pixels(run, rows, THUMBNAIL)), used["label"].to_numpy(), used["patient_id"]


def compute_site_shift(home: tuple, away: tuple) -> pd.DataFrame:
    """How well 16x16 thumbnails tell the sites apart, within each class: another mix of classes is no other machine."""
    rows = []
    for label, name in enumerate(CLASS_NAMES):
        (a, a_ids), (b, b_ids) = (
            (images[labels == label], np.asarray(ids, dtype=str)[labels == label])
            for images, labels, ids in (home, away)
        )
        if min(len(set(a_ids)), len(set(b_ids))) >= 5:
            rows.append(("site against site, ROC AUC", name, *measure_site_shift(a, b, a_ids, b_ids)))
    return pd.DataFrame(rows, columns=["what", "where", "value", "ci_low", "ci_high"])


def write_external(found: External, title: str, folder: Path) -> Path:
    """Leave report.md, predictions.csv, metrics.csv, drift.csv and recalibration.csv in `folder`; returns report.md."""
    tables = {name: getattr(found, name) for name in ("predictions", "metrics", "drift", "recalibration")}
    for name, table in tables.items():
        save_atomically(folder / f"{name}.csv", lambda partial, table=table: table.to_csv(partial, index=False))
    report = folder / "report.md"
    save_atomically(report, lambda partial: partial.write_text(describe_external(found, title), encoding="utf-8"))
    return report


def describe_external(found: External, title: str) -> str:
    """The report in Markdown: metrics at home and at the site, calibration, shift, and what re-calibration takes."""
    ill, n = int(found.cases["label"].sum()), len(found.cases)
    lines = [
        f"# {title} on {found.source.name}\n",
        f"{n} radiographs of {found.cases['patient_id'].nunique()} patients, {ill} of them PNEUMONIA; "
        f"{len(found.unreadable)} files could not be read. Not for clinical use.\n",
        "| mean over seeds, threshold 0.5 | validation | this site |\n| --- | ---: | ---: |",
    ]
    means = found.metrics.query("seed == 'mean'").set_index(["split", "metric"])
    for metric in TOLD:
        cells = [means.loc[(split, metric)] for split in ("validation", "test")]
        told = [
            f"{format_value(metric, c['value'])} ({format_interval(metric, c['ci_low'], c['ci_high'])})" for c in cells
        ]
        lines.append(f"| {metric} | {' | '.join(told)} |")
    lines.append("\n| drift | where | value | 95 % interval |\n| --- | --- | ---: | ---: |")
    for row in found.drift.itertuples():
        lines.append(f"| {row.what} | {row.where} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |")
    lines.append(f"\n{describe_recalibration(found.recalibration)}\n")
    lines += [f"- not read: {line}" for line in found.unreadable]
    return "\n".join(lines) + "\n"


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
