"""The tables of README, notebook and slides, made of facts: once as Markdown, once for Typst."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..config import CLASS_NAMES
from ..evaluation.wording import Facts, Table
from ..results import Results
from ..studies.study import STUDIES
from .consequences import with_interval

SPLIT_NAMES = {"train_fit": "train", "validation": "validation", "test": "test"}


def build_tables(results: Results, facts: Facts) -> Facts:
    """table.<name> -> Markdown, for every entry of TABLES; all columns but the first are set right."""
    return {f"table.{name}": render_markdown(*table) for name, table in _all_tables(results, facts)}


def build_typst_tables(results: Results, facts: Facts) -> Facts:
    """table.<name> -> the arguments of Typst's `table`, for every entry of TABLES."""
    return {f"table.{name}": render_typst(*table) for name, table in _all_tables(results, facts)}


def _all_tables(results: Results, facts: Facts) -> Iterator[tuple[str, Table]]:
    for name, tabulate in TABLES.items():
        yield name, tabulate(results, facts)
    for question in STUDIES.values():
        yield from question.tabulate(results).items()


def render_markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_typst(head: list[str], rows: list[list[str]]) -> str:
    lines = [", ".join(typeset_cell(cell) for cell in line) for line in (head, *rows)]
    return f"columns: {len(head)}, table.header({lines[0]}), " + ", ".join(lines[1:])


def typeset_cell(text: str) -> str:
    bold = "*" if text.startswith("**") else ""
    return f"[{bold}{escape_typst(text.strip('*'))}{bold}]"


def escape_typst(text: str) -> str:
    """Plain text as Typst markup that shows just that text."""
    return re.sub(r"([\\#*_@$<>`\[\]~/+=\"'-])", r"\\\1", text)


def titles(results: Results) -> list[tuple[str, str]]:
    """(name, title) of every model; the final one in bold."""
    final = results.final_model
    return [(c.name, f"**{c.title}**" if c.name == final else c.title) for c in results.run.models]


def tabulate_counts(results: Results, facts: Facts) -> Table:
    keys = ("normal", "bacteria", "virus", "pneumonia", "n", "patients", "prevalence")
    head = ["", CLASS_NAMES[0], "bacterial", "viral", CLASS_NAMES[1], "radiographs", "patients", "share ill"]
    return head, [[n, *(facts[f"catalog.{s}.{k}"] for k in keys)] for s, n in SPLIT_NAMES.items()]


def tabulate_training(results: Results, facts: Facts) -> Table:
    keys = ("image_size", "augmentations", "parameters", "epochs", "cpu_minutes", "images_per_second")
    head = ["model", "image", "augmentations", "parameters", "epochs", "CPU minutes", "images/s"]
    return head, [[t, *(facts[f"training.{n}.{k}"] for k in keys)] for n, t in titles(results)]


def tabulate_results(results: Results, facts: Facts) -> Table:
    metrics = ("accuracy", "sensitivity", "specificity", "roc_auc")
    rows = [[t, *(with_interval(facts, f"{n}.test.{m}") for m in metrics)] for n, t in titles(results)]
    ensemble = [with_interval(facts, f"final.test.{m}.ensemble") for m in metrics]
    rows.append([f"{facts['final.title']}, ensemble of {facts['training.final.seeds']}", *ensemble])
    return ["model", "accuracy", "recall (sensitivity)", "specificity", "ROC AUC"], rows


def tabulate_comparisons(results: Results, facts: Facts) -> Table:
    rows = []
    for name, title in titles(results)[1:]:
        for metric, label in (("accuracy", "accuracy"), ("roc_auc", "ROC AUC")):
            key = f"step.{name}.{metric}"
            difference = f"{facts[f'{key}.signed']} ({facts[f'{key}.interval'].removesuffix(' points')})"
            verdict = f"{facts[f'{key}.verdict']} {facts[f'step.{name}.against']}"
            rows.append([title, label, difference, facts[f"{key}.p_holm"], verdict])
    return ["model", "in", "difference", "after Holm", "is"], rows


def tabulate_gap(results: Results, facts: Facts) -> Table:
    rows = []
    for name, title in titles(results):
        row = [title]
        for metric in ("accuracy", "sensitivity", "specificity", "roc_auc"):
            row.append(f"{facts[f'{name}.validation.{metric}']} → {facts[f'{name}.test.{metric}']}")
        rows.append([*row, facts[f"gap.{name}.accuracy.signed"]])
    return ["validation → test", "accuracy", "recall", "specificity", "ROC AUC", "accuracy, difference"], rows


TABLES = {
    "counts": tabulate_counts,
    "training": tabulate_training,
    "results": tabulate_results,
    "comparisons": tabulate_comparisons,
    "gap": tabulate_gap,
}
