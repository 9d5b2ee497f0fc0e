"""The trained final model on another hospital's radiographs, with the same metrics and intervals."""

from __future__ import annotations

import codecs
import csv
import hashlib
import html
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import CLASS_NAMES, PneumoniaError, Run
from ..data.catalog import name_some, parse_name, why_unreadable
from ..data.dataset import load_radiographs
from ..data.decoding import Decoders
from ..data.files import find_class, is_clutter, is_image, to_printable, walk
from ..data.radiograph import read_bytes, read_radiograph
from ..data.sizes import describe_unknown_proportions, look_up_original_size
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
CASE_COLUMNS = ["path", "label", "patient_id", "file"]
LEFT_OUT_COLUMNS = ["path", "reason"]
SHOWN = 20  # of those that were left out; left_out.csv has them all
DRIFT_COLUMNS = ["what", "where", "value", "ci_low", "ci_high"]
FEW = 30  # patients of a class; with fewer, bootstrap intervals are unreliable


@dataclass(frozen=True)
class External:
    """The evaluation of the final model at another site."""

    source: Path
    cases: pd.DataFrame  # path, label, patient_id, file, sha256 of every radiograph that could be read
    unreadable: list[str]  # one line each
    left_out: pd.DataFrame  # LEFT_OUT_COLUMNS: copies, and images that are in no folder of a class
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
    cases, elsewhere = find_cases(source)
    cases, images, unreadable, copies, square = read_images(cases, source, config.image_size, config.window)
    known = cases[["path", "label", "patient_id"]]
    frames = [validation[validation["model"] == final]]
    for seed in run.seeds_of(config):
        y_prob = predict_pixels(load_trained(run, config, seed), images).round(6)
        frames.append(known.assign(split="test", model=final, seed=seed, y_prob=y_prob))
    predictions = pd.concat(frames, ignore_index=True)
    scores = Scores.parse(predictions).calibrated()
    shift, missing = compare_sites(run, catalog, cases)
    drift = pd.concat([rows for rows in (compute_drift(scores[final]), shift) if len(rows)], ignore_index=True)
    site = scores.test(final)
    recalibration = measure_recalibration(site.y_true, site.ensemble, site.patient_ids)
    metrics = widen_intervals(compute_metrics(scores, run.bootstrap_draws, ("validation", "test")), cases)
    proportions = [describe_unknown_proportions(square, len(cases))] if square and config.window else []
    warnings = warn(cases, catalog) + proportions + missing
    left_out = pd.concat([copies, elsewhere], ignore_index=True)
    return External(source, cases, unreadable, left_out, predictions, metrics, drift, recalibration, warnings)


def warn(cases: pd.DataFrame, catalog: pd.DataFrame) -> list[str]:
    """Radiographs that are the project's own (byte for byte), and classes of few patients."""
    known = catalog.drop_duplicates("sha256").set_index("sha256")["split"].reindex(cases["sha256"]).dropna()
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


def find_cases(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The radiographs below folders of the two classes, at any depth, or listed in a CSV; and what is left out.

    A CSV has columns path (relative to it, or absolute) and label (0, 1 or a class), and may have patient_id. In a CSV,
    radiographs without a patient_id count as one child each.

    Returns: a frame of path, label, patient_id, file (its Path; `path` is for people), and one with LEFT_OUT_COLUMNS.
    Raises: PneumoniaError when nothing is found, or a label is not valid.
    """
    if source.is_file():
        if source.suffix.lower() == ".csv":
            return read_case_list(source), _list_left_out([])
        raise PneumoniaError(f"{source}: neither a folder nor a .csv; name one of them")
    try:
        inside = os.listdir(source)
    except OSError as error:
        raise PneumoniaError(f"{source}: cannot be opened ({error.strerror}); name another folder, or a CSV") from error
    rows, elsewhere = [], {}
    for file, folder, class_name in find_class_folders(source):
        if class_name:
            patient = to_printable(name_patient(folder, file, class_name))
            rows.append((to_printable(str(file)), CLASS_NAMES.index(class_name), patient, file))
        elif is_image(file):
            elsewhere.setdefault(file.parent, []).append(file)
    if not rows:
        names = sorted(name for name in inside if not is_clutter(name))
        raise PneumoniaError(
            f"{source}: no files in folders {' and '.join(CLASS_NAMES)}, but {name_some(names)}; "
            "name another folder, or a CSV"
        )
    counts = {folder: "1 image" if len(files) == 1 else f"{len(files):,} images" for folder, files in elsewhere.items()}
    left_out = [
        (to_printable(str(folder)), f"{count} in a folder of neither class") for folder, count in counts.items()
    ]
    return pd.DataFrame(rows, columns=CASE_COLUMNS), _list_left_out(left_out)


def find_class_folders(source: Path) -> list[tuple[Path, Path, str | None]]:
    """(file, the nearest folder around it that a class is named after, that class) of every file below `source`.

    No class has a file that is next to folders of both, in one that is called pneumonia like its data set.
    """
    around, both = {}, set()
    files = list(walk(source))
    for file in files:
        parts = file.relative_to(source).parts
        parts = parts if file.is_dir() else parts[:-1]  # a folder: one that cannot be listed
        folders = [source.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
        named = [(folder, find_class(folder.name or folder.resolve().name)) for folder in folders]
        around[file] = [(folder, class_name) for folder, class_name in named if class_name]
        both |= {folder for folder, class_name in around[file] if class_name != around[file][0][1]}
    nearest = {file: (named or [(source, None)])[0] for file, named in around.items()}
    return [(file, folder, None if folder in both else name) for file, (folder, name) in nearest.items()]


def name_patient(folder: Path, file: Path, class_name: str) -> str:
    """The patient in the name of a file, with the folder above that of the class; else the folder between the file and
    that of its class; else the file itself."""
    if named := parse_name(file.stem, class_name)[0]:
        return f"{folder.resolve().parent.name}/{named}"
    return str(folder.joinpath(*file.relative_to(folder).parts[:1]))


def _list_left_out(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=LEFT_OUT_COLUMNS)


def read_case_list(source: Path) -> pd.DataFrame:
    """The cases of a CSV, as `find_cases` returns them. Raises: PneumoniaError that names the line to correct."""
    table = read_cells(source)
    if missing := {"path", "label"} - set(table.columns):
        found = name_some([str(name) for name in table.columns])
        raise PneumoniaError(
            f"{source}: no column {', '.join(sorted(missing))}, but {found}; the first line must be path,label"
        )
    files = [None if pd.isna(path) else (source.parent / path).resolve() for path in table["path"]]
    paths = pd.Series([file and to_printable(str(file)) for file in files], table.index, dtype=object)
    labels = table["label"].map(read_label, na_action="ignore").astype("Int64")
    for wrong, problem in (
        (paths.isna(), "the path is empty"),
        (labels.isna(), "label must be 0, 1, NORMAL or PNEUMONIA"),
        (paths.duplicated(), "this file is already listed"),
    ):
        if wrong.any():
            raise PneumoniaError(f"{source}, line {wrong.idxmax()}: {problem}; correct the line")
    patients = table["patient_id"].fillna(paths) if "patient_id" in table else paths
    rows = zip(paths, labels.astype(int), patients, files, strict=True)
    return pd.DataFrame(list(rows), columns=CASE_COLUMNS)


def read_label(text: str) -> int | None:
    """0 or 1 for the label of a list: a number or a class; None for anything else."""
    class_name = find_class(text)
    return CLASS_NAMES.index(class_name) if class_name else {"0": 0, "1": 1}.get(text)


def read_cells(source: Path) -> pd.DataFrame:
    """The cells of a CSV, stripped; empty ones are missing, empty lines left out. The index is the line in the file.

    Commas, semicolons or tabs, whichever the first line has; UTF-8 or UTF-16; column names in lower case.
    """
    try:
        text = decode_text(source.read_bytes())
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text), strict=True, delimiter=separator)
        rows = [(reader.line_num, [cell.strip().replace("\0", "") or None for cell in row]) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise PneumoniaError(f"{source}: cannot be read as CSV ({type(error).__name__}); give path,label") from error
    filled = [(line, row) for line, row in rows if any(row)]
    head = [(name or "").lower() for name in filled[0][1]] if filled else []
    cells = [dict(zip(head, row, strict=False)) for _, row in filled[1:]]
    return pd.DataFrame(cells, [line for line, _ in filled[1:]], head, dtype=object)


def decode_text(content: bytes) -> str:
    """Text in UTF-16 where it begins with its mark, else in UTF-8; bytes that are not, as of file names, are kept."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", "surrogateescape")


def read_images(
    cases: pd.DataFrame, source: Path, size: int, window: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray, list[str], pd.DataFrame, int]:
    """Read every film once, whatever the number of its copies.

    Returns: the cases that can be read, with their sha256; their pixels (n, size, size); a line for each that cannot
    be; a frame with LEFT_OUT_COLUMNS of copies, and of films that are in both classes; how many are square files of
    unknown proportions.
    Raises: PneumoniaError, with the first reason, when a class has none.
    """
    found, lines, left_out, first = {}, [], [], {}
    for index, (path, label, file) in cases[["path", "label", "file"]].iterrows():
        try:
            if file.is_dir() and (why := why_unreadable(file)):
                raise PneumoniaError(f"{file}: {why}; check its permissions")
            content = read_bytes(file)
            digest = hashlib.sha256(content).hexdigest()
            if digest in first:
                original = first[digest]
                before, is_copy = cases.loc[original, "path"], cases.loc[original, "label"] == label
                left_out.append((path, f"{'a copy of' if is_copy else 'in both classes:'} {before}"))
                if not is_copy and found.pop(original, None):  # nobody knows which it is
                    left_out.append((before, f"in both classes: {path}"))
                continue
            first[digest] = index
            found[index] = Decoders().decode(content, str(file), size, window, look_up_original_size(file)), digest
        except PneumoniaError as error:
            lines.append(to_printable(str(error)))
    read = cases.loc[list(found)].assign(sha256=[digest for _, digest in found.values()]).reset_index(drop=True)
    missing = [name for label, name in enumerate(CLASS_NAMES) if not (read["label"] == label).any()]
    if missing:
        remedy = f"the first that cannot: {lines[0]}" if lines else "add some"
        lacking = f"no {' and no '.join(missing)} radiographs"
        raise PneumoniaError(f"{source}: {lacking} among the {len(read)} of {len(cases)} readable files; {remedy}")
    films = [film for film, _ in found.values()]
    square = sum(film.shape is None for film in films)
    return read, np.stack([film.pixels for film in films]), lines, _list_left_out(left_out), square


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
    away = np.stack([read_radiograph(file, THUMBNAIL) for file in cases["file"]])
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
TABLES = ("predictions", "metrics", "drift", "recalibration", "left_out")
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
    """Leave report.md and a CSV of each of TABLES in `folder`; returns report.md.

    In place of the patients of the site there are numbers: a patient_id may be one of a hospital.
    """
    for name in TABLES:
        table = getattr(found, name)
        if name == "predictions":
            table = number_patients(table)
        save_atomically(folder / f"{name}.csv", lambda partial, table=table: table.to_csv(partial, index=False))
    report = folder / "report.md"
    save_atomically(report, lambda partial: partial.write_text(describe_external(found, title), encoding="utf-8"))
    return report


def number_patients(predictions: pd.DataFrame) -> pd.DataFrame:
    """`predictions` with patient-1, patient-2, ... for the patients of the site, in order of appearance."""
    theirs = predictions["split"] == "test"
    numbers = pd.factorize(predictions.loc[theirs, "patient_id"])[0] + 1
    patients = predictions["patient_id"].astype(object)
    patients[theirs] = [f"patient-{number}" for number in numbers]
    return predictions.assign(patient_id=patients)


def escape(text: str) -> str:
    """A name or a line of text for a report: neither HTML nor Markdown."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def describe_external(found: External, title: str) -> str:
    """The report in Markdown: metrics on validation and at the site, calibration, shift and re-calibration."""
    positives, n = int(found.cases["label"].sum()), len(found.cases)
    lines = [
        f"# {title} on {escape(to_printable(found.source.resolve().name))}\n",
        f"{n} radiographs of {found.cases['patient_id'].nunique()} patients, {positives} of them PNEUMONIA; "
        f"files that could not be read: {len(found.unreadable)}. Not for clinical use.\n",
        *(f"**Note:** {escape(line)}.\n" for line in found.warnings),
        *_tabulate_metrics(found.metrics),
        "\n| drift | where | value | 95 % interval |\n| --- | --- | ---: | ---: |",
    ]
    for row in found.drift.itertuples():
        lines.append(f"| {row.what} | {row.where} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |")
    perfect = (found.metrics.query("seed in ['ensemble', 'mean'] and metric == 'roc_auc'")["value"] == 1).any()
    lines.append(f"\n{READING}{f' {PERFECT}' if perfect else ''}\n\n{describe_recalibration(found.recalibration)}\n")
    lines += [f"- not read: {escape(line)}" for line in found.unreadable]
    lines += [f"- left out: {escape(row.path)}, {escape(row.reason)}" for row in found.left_out[:SHOWN].itertuples()]
    if len(found.left_out) > SHOWN:
        lines.append(f"- left out: {len(found.left_out) - SHOWN:,} more (left_out.csv)")
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
