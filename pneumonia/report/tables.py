"""The tables about the series as a whole, for pages, notebook and slides; a study brings its own (`Study.tables`)."""

from __future__ import annotations

import re

from ..config import CLASS_NAMES
from ..evaluation.estimate import Change, format_p
from ..evaluation.significance import SIGNIFICANCE
from ..results import Results
from ..studies.study import Table
from .numbers import count_catalog, describe_model

SPLIT_NAMES = {"train_fit": "train", "validation": "validation", "test": "test"}
RATES = {"accuracy": "accuracy", "sensitivity": "recall (sensitivity)", "specificity": "specificity"}
CORE = RATES | {"roc_auc": "ROC AUC"}
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    **CORE,
    "size_adjusted_auc": "size-adjusted ROC AUC",
}


def tabulate_counts(results: Results) -> Table:
    """Radiographs and patients per split."""
    head = ["", CLASS_NAMES[0], "bacterial", "viral", CLASS_NAMES[1], "radiographs", "patients", "PNEUMONIA, %"]
    keys = ("normal", "bacteria", "virus", "pneumonia", "n", "patients", "prevalence")
    counts = count_catalog(results)
    rows = [[title, *(counts[split][key].removesuffix(" %") for key in keys)] for split, title in SPLIT_NAMES.items()]
    return Table(head, rows)


def tabulate_training(results: Results) -> Table:
    """How each model was trained, and what one training took."""
    head = ["model", "image", "augmentations", "parameters", "epochs", "CPU minutes", "images/s"]
    keys = ("image_size", "augmentations", "parameters", "epochs", "cpu_minutes", "images_per_second")
    rows = []
    for config in results.run.models:
        model = describe_model(results, config)
        rows.append([title(results, config.name), *(str(model[key]) for key in keys)])
    return Table(head, rows)


def tabulate_results(results: Results) -> Table:
    """METRICS of every model on test, with intervals."""
    rows = [
        [title(results, config.name), *(results.estimate(config.name, "test", metric).full for metric in METRICS)]
        for config in results.run.models
    ]
    return Table(["model", *METRICS.values()], rows)


def tabulate_uncalibrated(results: Results) -> Table:
    """Rates at 0.5 and calibration error of every model on test, before and after calibration."""
    metrics = RATES | {"ece": "calibration error"}
    rows = []
    for config in results.run.models:
        pairs = [
            [results.estimate(config.name, "test", metric, calibrated=calibrated) for calibrated in (False, True)]
            for metric in metrics
        ]
        rows.append([title(results, config.name), *(f"{before} → {after}" for before, after in pairs)])
    return Table(["uncalibrated → calibrated", *metrics.values()], rows)


def tabulate_comparisons(results: Results) -> Table:
    """Each model against the one before it, as comparisons.csv has it."""
    rows = []
    for row in results.comparisons.itertuples():
        metric = "accuracy" if row.test == "mcnemar" else "roc_auc"
        change = Change.of(metric, row.difference, row.ci_low, row.ci_high)
        verdict = "not distinguishable from"
        if row.p_holm < SIGNIFICANCE:
            verdict = "better than" if row.difference > 0 else "worse than"
        difference = f"{change.signed} ({change.interval.removesuffix(' points')})"
        against = results.run.model(row.model_a).title
        rows.append(
            [title(results, row.model_b), METRICS[metric], difference, format_p(row.p_holm), f"{verdict} {against}"]
        )
    return Table(["model", "in", "difference", "after Holm", "is"], rows)


def tabulate_gap(results: Results) -> Table:
    """The core metrics of every model, on validation and on test."""
    rows = []
    for config in results.run.models:
        pairs = [[results.estimate(config.name, split, metric) for split in ("validation", "test")] for metric in CORE]
        change = pairs[0][1] - pairs[0][0]
        arrows = [f"{validation} → {test}" for validation, test in pairs]
        rows.append([title(results, config.name), *arrows, change.signed])
    return Table(["validation → test", *CORE.values(), "accuracy, difference"], rows)


def tabulate_looks(results: Results) -> Table:
    """Every time that anything was scored on the official test split."""
    looks = results.test_looks.fillna("")
    return Table(["when", "why", "models"], [[row.when, row.why, row.models] for row in looks.itertuples()])


TABLES = {
    "counts": tabulate_counts,
    "training": tabulate_training,
    "results": tabulate_results,
    "uncalibrated": tabulate_uncalibrated,
    "comparisons": tabulate_comparisons,
    "gap": tabulate_gap,
    "looks": tabulate_looks,
}


def title(results: Results, name: str) -> str:
    """What readers call a model; the final one in bold."""
    text = results.run.model(name).title
    return f"**{text}**" if name == results.final_model else text


# --- how a table is written --------------------------------------------------------------------------------------


def render_markdown(table: Table) -> str:
    """Columns of numbers are set right, but for the first, which names the rows."""
    columns = list(zip(*table.rows, strict=True))[1:]
    rules = ["---", *("---:" if all(map(is_number, cells)) else "---" for cells in columns)]
    lines = [table.head, rules, *table.rows]
    return "\n".join(f"| {' | '.join(map(shorten, line))} |" for line in lines)


def is_number(cell: str) -> bool:
    """Whether a cell begins like a number, or stands in place of one."""
    return re.match(r"(\*\*)?[+\-−–]?\d|[–-]$", cell) is not None


def render_typst(table: Table) -> str:
    """The arguments of Typst's `table`."""
    head, *rows = [", ".join(typeset_cell(shorten(cell)) for cell in line) for line in (table.head, *table.rows)]
    return f"columns: {len(table.head)}, table.header({head}), " + ", ".join(rows)


def shorten(cell: str) -> str:
    """ "93.1 % (91.0 to 95.0)": no second percent sign, as a cell is narrow."""
    return cell.replace(" %)", ")") if "% (" in cell else cell


def typeset_cell(text: str) -> str:
    bold = "*" if text.startswith("**") else ""
    return f"[{bold}{escape_typst(text.strip('*'))}{bold}]"


def escape_typst(text: str) -> str:
    """Plain text as Typst markup that shows just that text, without a line break before a percent sign."""
    return re.sub(r"([\\#*_@$<>`\[\]~/+=\"'-])", r"\\\1", text).replace(" %", "~%")
