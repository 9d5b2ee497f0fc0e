"""The trained final model on another hospital's radiographs, with the same metrics and intervals."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import CLASS_NAMES, PneumoniaError, Run
from ..data.catalog import is_radiograph_name, parse_name
from ..data.dataset import load_radiographs
from ..data.radiograph import decode_file, read_radiograph
from ..data.sizes import describe_unknown_proportions
from ..evaluation.estimate import Estimate
from ..evaluation.evaluate import compute_metrics
from ..evaluation.metrics import DECIMALS
from ..evaluation.scores import Scores
from ..evaluation.significance import binomial_interval
from ..models.prediction import predict_pixels
from ..models.weights import load_trained
from ..records import save_atomically
from ..results import read_final_model, read_table
from .recalibration import find_enough, measure_drift, measure_recalibration, measure_site_shift

THUMBNAIL = 16  # pixels per side, for the classifier that predicts the site
DRIFT_COLUMNS = ["what", "where", "value", "ci_low", "ci_high"]
FEW = 30  # patients of a class; with fewer, bootstrap intervals are unreliable


@dataclass(frozen=True)
class External:
    """The evaluation of the final model at another site."""

    source: Path
    cases: pd.DataFrame  # path, label, patient_id of every radiograph that could be read
    unreadable: list[str]  # one line each
    predictions: pd.DataFrame  # as predictions.csv, uncalibrated; the site is split "test"
    metrics: pd.DataFrame  # as metrics.csv
    drift: pd.DataFrame  # what, where, value, ci_low, ci_high
    recalibration: pd.DataFrame
    warnings: list[str]  # one line each: why these results are weaker evidence than they seem


def evaluate_external(run: Run, final: str, validation: pd.DataFrame, source: Path, catalog: pd.DataFrame) -> External:
    """Evaluate all seeds of the final model on a folder or CSV of radiographs whose diagnosis is known.

    Args: validation: rows of predictions.csv of validation and its stress copies, on which every seed is calibrated.
    catalog: of the project's own radiographs, to recognise them among those in `source`, and to measure the shift
    between the sites if their files are available.
    Raises: PneumoniaError when `source` holds nothing that can be evaluated, or only one class.
    """
    config = run.model(final)
    cases, images, unreadable, square = read_images(find_cases(source), source, config.image_size, config.window)
    frames = [validation[validation["model"] == final]]
    for seed in run.seeds_of(config):
        y_prob = predict_pixels(load_trained(run, config, seed), images).round(6)
        frames.append(cases.assign(split="test", model=final, seed=seed, y_prob=y_prob))
    predictions = pd.concat(frames, ignore_index=True)
    scores = Scores.parse(predictions).calibrated()
    shift, missing = compare_sites(run, catalog, cases)
    drift = pd.concat([rows for rows in (compute_drift(scores[final]), shift) if len(rows)], ignore_index=True)
    site = scores.test(final)
    recalibration = measure_recalibration(site.y_true, site.ensemble, site.patient_ids)
    metrics = widen_intervals(compute_metrics(scores, run.bootstrap_draws, ("validation", "test")), cases)
    proportions = [describe_unknown_proportions(square, len(cases))] if square and config.window else []
    warnings = warn(cases, catalog) + proportions + missing
    return External(source, cases, unreadable, predictions, metrics, drift, recalibration, warnings)


def warn(cases: pd.DataFrame, catalog: pd.DataFrame) -> list[str]:
    """Radiographs that are the project's own (byte for byte), and classes of few patients."""
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in cases["path"]]
    known = catalog.drop_duplicates("sha256").set_index("sha256")["split"].reindex(digests).dropna()
    lines = []
    if len(known):
        counts = ", ".join(f"{count} of {split}" for split, count in known.value_counts().items())
        lines.append(
            f"{len(known)} of {len(cases)} radiographs are this project's own ({counts}), not another hospital's"
        )
    for label, name in enumerate(CLASS_NAMES):
        patients = cases.loc[cases["label"] == label, "patient_id"].nunique()
        if patients < FEW:
            lines.append(f"only {patients} patients are {name}: the intervals are rough; add radiographs")
    return lines


def widen_intervals(metrics: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Replace bootstrap intervals of zero width, at rates of 0 or 1, by exact ones (Clopper & Pearson 1934).

    The trials are patients; for ppv and npv, those predicted positive or negative.
    """
    normal, pneumonia = (cases.loc[cases["label"] == label, "patient_id"].nunique() for label in (0, 1))
    metrics, rates = metrics.copy(), metrics.query("split == 'test'").set_index(["seed", "metric"])["value"]
    degenerate = (
        metrics["value"].isin((0, 1)) & (metrics["ci_low"] == metrics["ci_high"]) & (metrics["split"] == "test")
    )
    for index, row in metrics[degenerate].iterrows():
        sensitivity, specificity = (rates[row["seed"], name] for name in ("sensitivity", "specificity"))
        positive = sensitivity * pneumonia + (1 - specificity) * normal
        trials = {"accuracy": normal + pneumonia, "sensitivity": pneumonia, "specificity": normal}
        n = (trials | {"ppv": positive, "npv": normal + pneumonia - positive}).get(row["metric"], 0)
        if n >= 1:
            ends = binomial_interval(round(row["value"] * n), round(n))
            metrics.loc[index, ["ci_low", "ci_high"]] = np.round(ends, DECIMALS)
    return metrics


def find_cases(source: Path) -> pd.DataFrame:
    """path, label, patient_id of everything in NORMAL/ and PNEUMONIA/ folders at any depth, or listed in a CSV.

    A CSV has columns path (relative to it, or absolute) and label (0, 1 or a class name), and may have patient_id.
    Radiographs without a patient_id count as one child each.
    Raises: PneumoniaError when nothing is found, or a label is not valid.
    """
    if source.suffix.lower() == ".csv" and source.is_file():
        return read_case_list(source)
    rows = []
    for file in sorted(source.rglob("*")):
        class_name = file.parent.name.upper()
        is_clutter = not is_radiograph_name(file.name)
        if class_name in CLASS_NAMES and file.is_file() and not is_clutter:
            rows.append((str(file), CLASS_NAMES.index(class_name), name_patient(file, class_name)))
    if not rows:
        raise PneumoniaError(
            f"{source}: no files in folders {' and '.join(CLASS_NAMES)}; name another folder, or a CSV"
        )
    return pd.DataFrame(rows, columns=["path", "label", "patient_id"])


def name_patient(file: Path, class_name: str) -> str:
    """The patient in the file name, with the folder above the class folder; without one, the file itself."""
    named = parse_name(file.stem, class_name)[0]
    return f"{file.parent.parent.name}/{named}" if named else str(file)


def read_case_list(source: Path) -> pd.DataFrame:
    """The cases of a CSV, as `find_cases` returns them. Raises: PneumoniaError that names the line to correct."""
    table = read_cells(source)
    if missing := {"path", "label"} - set(table.columns):
        raise PneumoniaError(f"{source}: no column {', '.join(sorted(missing))}; the first line must be path,label")
    words = {"0": 0, "1": 1} | {name: label for label, name in enumerate(CLASS_NAMES)}
    labels = table["label"].str.upper().map(words)
    paths = table["path"].map(lambda path: str((source.parent / path).resolve()), na_action="ignore")
    for wrong, problem in (
        (paths.isna(), "the path is empty"),
        (labels.isna(), "label must be 0, 1, NORMAL or PNEUMONIA"),
        (paths.duplicated(), "this file is already listed"),
    ):
        if wrong.any():
            raise PneumoniaError(f"{source}, line {wrong.idxmax()}: {problem}; correct the line")
    patients = table["patient_id"].fillna(paths) if "patient_id" in table else paths
    cases = pd.DataFrame({"path": paths, "label": labels.astype(int), "patient_id": patients})
    return cases.reset_index(drop=True)


def read_cells(source: Path) -> pd.DataFrame:
    """The cells of a CSV, stripped; empty ones are missing, empty lines left out. The index is the line in the file."""
    try:
        reader = csv.reader(io.StringIO(source.read_text(encoding="utf-8-sig")), strict=True)
        rows = [(reader.line_num, [cell.strip().replace("\0", "") or None for cell in row]) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise PneumoniaError(f"{source}: cannot be read as CSV ({type(error).__name__}); give path,label") from error
    filled = [(line, row) for line, row in rows if any(row)]
    head = filled[0][1] if filled else []
    cells = [dict(zip(head, row, strict=False)) for _, row in filled[1:]]
    return pd.DataFrame(cells, [line for line, _ in filled[1:]], head, dtype="string")


def read_images(
    cases: pd.DataFrame, source: Path, size: int, window: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray, list[str], int]:
    """The cases that can be read, their pixels (n, size, size), a line for each that cannot, and how many are square
    files of unknown proportions.

    Raises: PneumoniaError, with the first reason, when a class has none.
    """
    found, good, lines = [], [], []
    for index, path in cases["path"].items():
        try:
            found.append(decode_file(Path(path), size, window))
            good.append(index)
        except PneumoniaError as error:
            lines.append(str(error))
    read = cases.loc[good].reset_index(drop=True)
    missing = [name for label, name in enumerate(CLASS_NAMES) if not (read["label"] == label).any()]
    if missing:
        remedy = f"the first that cannot: {lines[0]}" if lines else "add some"
        lacking = f"no {' and no '.join(missing)} radiographs"
        raise PneumoniaError(f"{source}: {lacking} among the {len(read)} of {len(cases)} readable files; {remedy}")
    return read, np.stack([film.pixels for film in found]), lines, sum(film.shape is None for film in found)


def compute_drift(splits: dict) -> pd.DataFrame:
    """Calibration slope and intercept of the ensemble on validation and at the site."""
    rows = []
    for where, split in (("validation", "validation"), ("site", "test")):
        scores = splits[split]
        drift = measure_drift(scores.y_true, scores.ensemble, scores.patient_ids)
        rows += [(f"calibration {name}", where, *values) for name, values in drift.items()]
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)


def load_validation(run: Run, catalog: pd.DataFrame) -> tuple:
    """Thumbnails, labels and patients of the project's own validation split."""
    home = load_radiographs(run, catalog[catalog["split"] == "validation"], THUMBNAIL)
    return np.asarray(home.pixels), home.labels, home.patients


def compare_sites(run: Run, catalog: pd.DataFrame, cases: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """As `measure_shift`; without the project's own radiographs no row, and a line that says why."""
    if run.data is None:
        why = "needs this project's radiographs; set CHEST_XRAY_DIR, or `make download`"
        return pd.DataFrame(columns=DRIFT_COLUMNS), [f"site against site: {why}"]
    try:
        return measure_shift(load_validation(run, catalog), cases)
    except PneumoniaError as error:  # the files are not those of the catalog; the rest of the report does not need them
        return pd.DataFrame(columns=DRIFT_COLUMNS), [f"site against site: {error}"]


def measure_shift(home: tuple, cases: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """How well 16x16 thumbnails distinguish the sites, within each class, so that prevalence has no influence.

    Args: home: as `load_validation` returns it. Returns: rows of drift, a line for each class with too few patients.
    """
    away = np.stack([read_radiograph(Path(path), THUMBNAIL) for path in cases["path"]])
    sites = (home, (away, cases["label"].to_numpy(), cases["patient_id"].to_numpy()))
    rows, missing = [], []
    for label, name in enumerate(CLASS_NAMES):
        (a, a_ids), (b, b_ids) = ((images[labels == label], ids[labels == label]) for images, labels, ids in sites)
        try:
            rows.append(("site against site, ROC AUC", name, *measure_site_shift(a, b, a_ids, b_ids)))
        except PneumoniaError as error:
            missing.append(f"{name}: {error}")
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS), missing


METRICS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "roc_auc", "brier", "ece")
TABLES = ("predictions", "metrics", "drift", "recalibration")
READING = (
    "Brier score and ece (expected calibration error): 0 is best. Calibration slope below 1: the probabilities are too "
    "extreme here; intercept below 0: too high. Site against site: 0.5: the films cannot be distinguished; 1: "
    "they always can. ppv and npv are those at the prevalence of each column. The metrics are those of calibrated "
    "probabilities; predictions.csv has them before the calibration."
)
PERFECT = (
    "A ROC AUC of exactly 1 has an interval of zero width: where all patients are ranked correctly, so are all their "
    "bootstrap samples."
)


def report_folder(run: Run, folder: Path, out: Path | None = None) -> Path:
    """Evaluate the final model of `run` on `folder`, and write the report to `out`, else build/external/<name>."""
    final = read_final_model(run)
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
    """The report in Markdown: metrics on validation and at the site, calibration, shift and re-calibration."""
    positives, n = int(found.cases["label"].sum()), len(found.cases)
    lines = [
        f"# {title} on {found.source.resolve().name}\n",
        f"{n} radiographs of {found.cases['patient_id'].nunique()} patients, {positives} of them PNEUMONIA; "
        f"files that could not be read: {len(found.unreadable)}. Not for clinical use.\n",
        *(f"**Note:** {line}.\n" for line in found.warnings),
        *_tabulate_metrics(found.metrics),
        "\n| drift | where | value | 95 % interval |\n| --- | --- | ---: | ---: |",
    ]
    for row in found.drift.itertuples():
        lines.append(f"| {row.what} | {row.where} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |")
    perfect = (found.metrics.query("seed in ['ensemble', 'mean'] and metric == 'roc_auc'")["value"] == 1).any()
    lines.append(f"\n{READING}{f' {PERFECT}' if perfect else ''}\n\n{describe_recalibration(found.recalibration)}\n")
    lines += [f"- not read: {line}" for line in found.unreadable]
    return "\n".join(lines) + "\n"


def _tabulate_metrics(metrics: pd.DataFrame) -> list[str]:
    lines = ["| threshold 0.5 | validation | this site |\n| --- | ---: | ---: |"]
    seed = "ensemble" if (metrics["seed"] == "ensemble").any() else "mean"  # of a single seed
    found = metrics[metrics["seed"] == seed].set_index(["split", "metric"])
    for metric in METRICS:
        cells = [Estimate.of_row(metric, found.loc[(split, metric)]).full for split in ("validation", "test")]
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return lines


def describe_recalibration(table: pd.DataFrame) -> str:
    """How many local radiographs with a known diagnosis it takes, in one sentence."""
    losses, enough = table.set_index("n")["log_loss"], find_enough(table)
    if len(losses) < 2:
        return "Too few radiographs to try a re-calibration."
    if enough is None:
        return f"Re-calibration on {losses.index[-1]} local radiographs gains nothing distinguishable from chance."
    most = " (the most that were tried)" if enough == losses.index[-1] else ""
    return (
        f"{enough} local radiographs with a known diagnosis{most} are enough to re-calibrate: the balanced log loss "
        f"falls from {losses.loc[0]:.3f} to {losses.loc[enough]:.3f} (with {losses.index[-1]}: {losses.iloc[-1]:.3f})."
    )
