"""Every line of STUDIES: a question, a table, sentences, figures and tables for people, from the committed results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from matplotlib import pyplot as plt

from pneumonia.__main__ import OPTIONS, build_parser
from pneumonia.config import PneumoniaError
from pneumonia.pipeline import make_study
from pneumonia.results import Results
from pneumonia.series import real_run
from pneumonia.studies import STUDIES, load_results
from pneumonia.studies.study import NotMeasured
from pneumonia.style import use_style

# To be measured with the network of docs/protocol.md: hours on two cores. Nothing else may be missing.
NOT_YET = (
    "robustness",
    "masking",
    "ablation",
    "noise_control",
    "learning_curve",
    "pareto",
    "three_class",
    "predict_bench",
)
every_study = pytest.mark.parametrize("question", STUDIES.values(), ids=STUDIES)
measured_study = pytest.mark.parametrize("question", [q for q in STUDIES.values() if q.name not in NOT_YET])


@pytest.fixture(scope="module")
def results() -> Results:
    return load_results(real_run(None))


def list_texts(value) -> Iterator[str]:
    """All that templates can print of what a study says."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from list_texts(inner)
    else:
        yield str(value)


@every_study
def test_a_question_is_asked(question):
    study = question.load()
    assert question.text.endswith("?") and question.option in ("", *OPTIONS)
    assert question.looks_at_test == bool(study.looks_at_test), "the help says whether it does"
    assert not study.train or study.networks


def test_what_is_not_measured_yet_is_not_there(results):
    assert set(NOT_YET) == set(STUDIES) - set(results.measured)


@measured_study
def test_a_question_is_answered(question, results):
    assert len(results.table(question.name)), "committed and up to date"
    study = question.load()
    texts = list(list_texts(question.describe(results)))
    assert all(text and "nan" not in text.split() for text in texts)
    assert texts or study.tables, "nothing would be said of it"


@every_study
def test_a_study_that_was_not_measured_says_how_to_measure_it(question, results):
    missing = replace(results, measured={})
    assert question.command in str(question.describe(missing)["anything"])
    assert all(question.command in table.rows[0][0] for table in question.tabulate(missing).values())
    assert isinstance(question.describe(missing), NotMeasured)


@every_study
def test_tables_are_rectangular_and_filled(question, results):
    for table in question.tabulate(results).values():
        assert table.rows and {len(row) for row in table.rows} == {len(table.head)}
        assert all(cell and isinstance(cell, str) for row in table.rows for cell in row)


@measured_study
def test_figures_are_drawn_from_the_table_alone(question, results):
    for figure in question.load().figures.values():
        assert figure.alt and not figure.needs_radiographs
        with use_style():
            drawing = figure.draw(results)
        assert [text for text in drawing.texts if text.get_gid() == "title"]
        plt.close(drawing)


@every_study
def test_the_command_is_a_step_or_makes_it_from_outside(question):
    if question.has_step:
        options = build_parser().parse_args([question.made_by])
        assert options.study == question.name
    if question.made_by.startswith("python "):
        with pytest.raises(PneumoniaError, match="is measured from outside; run `python"):
            make_study(real_run(None), question.name)
    else:
        assert callable(question.load().compute)
