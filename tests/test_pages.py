"""Names, pages and slides: every template is filled from the result files; what is committed is what they give."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from invented_results import make_results, with_row
from PIL import Image

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.evaluation.estimate import Estimate
from pneumonia.report import pages
from pneumonia.report.figures.gallery import FIGURES
from pneumonia.report.figures.strips import STRIPS
from pneumonia.report.numbers import METRICS, Names, build_names
from pneumonia.report.pages import PICTURE, SLIDES, TEMPLATES, Filler, build_pages, typeset_slides, write_reports
from pneumonia.report.tables import TABLES, escape_typst, render_markdown, render_typst
from pneumonia.results import Results
from pneumonia.series import real_run
from pneumonia.studies import STUDIES, load_results
from pneumonia.studies.study import Table
from pneumonia.style import STYLE

ALERT = (166, 25, 46)  # the colour of the SIMULATED mark in presentation.typ
PPI = 36  # enough to see that mark
SECTIONS = ["Overview", "Business Problem", "Data Understanding", "Data Preparation & Analysis", "Modeling"]
SECTIONS += ["Visualizations", "Conclusions", "Next Steps", "Repository structure"]
DEFINITIONS = re.compile(  # what no run could change
    r"95 % interval|98 % of|coverage of 99 %|\"99 %\": of either class at most 1 %|threshold (?:of )?0\.5\b|is 0\.5\b"
    r"|\bL[13]\.[1-4]\b|Python 3\.11, 3\.12 or 3\.13|CC BY 4\.0|doi\S+|`[^`]*`|\]\([^)]*\)"
)


@pytest.fixture(scope="module")
def committed() -> Results:
    return load_results(real_run(None))


@pytest.fixture(scope="module")
def filler(committed) -> Filler:
    return Filler(committed)


def with_images(results: Results) -> Results:
    """A gray picture for every figure and strip."""
    results.run.images_dir.mkdir()
    for stem in (*FIGURES, *STRIPS):
        Image.new("L", (300, 160), 190).save(results.run.images_dir / f"{stem}.png")
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return with_images(make_results(tmp_path_factory.mktemp("real")))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Results:
    return with_images(make_results(tmp_path_factory.mktemp("simulated"), simulated=True))


# --- names -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(results) -> dict[str, object]:
    return build_names(results)


def test_a_value_is_made_when_it_is_asked_for():
    asked = []
    names = Names(("a", "b"), lambda name: asked.append(name) or name.upper())
    assert list(names) == ["a", "b"] and asked == []
    assert names["b"] == "B" and asked == ["b"]
    with pytest.raises(KeyError):
        names["c"]


def test_every_row_of_metrics_has_its_name(results, names):
    different = 0
    for row in results.metrics[results.metrics["metric"].isin(METRICS)].itertuples():
        model = names[row.model]
        seed = {"mean": model["single"], "ensemble": model, "sd": model["sd"]}
        if row.seed in seed:
            found = seed[row.seed][row.split][row.metric]
            expected = Estimate.of(row.metric, row.value, row.ci_low, row.ci_high)
            assert float(found) == pytest.approx(row.value, nan_ok=True)
            assert row.seed == "sd" or found.full == expected.full
        different += row.seed == "mean" and str(model[row.split][row.metric]) != str(
            model["single"][row.split][row.metric]
        )
    assert different > 100, "were they alike, either could stand in place of the other"
    assert set(results.metrics["metric"].str.removesuffix("@chosen")) == set(METRICS)


def test_final_is_the_final_model_and_a_baseline_is_its_own_ensemble(results, names):
    assert names["final"] is names[results.final_model]
    majority = names["majority"]
    assert majority["single"]["test"]["accuracy"] == majority["test"]["accuracy"]
    assert str(majority["sd"]["test"]["accuracy"]) == "–"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.92, 0.95, "lies above"), (0.9, 0.92, "includes"), (0.91, 0.95, "includes"), (0.8, 0.9, "lies below")],
)
def test_claim_is_held_against_the_interval(results, low, high, words):
    changed = with_row(results, results.final_model, "test", "accuracy", ci_low=low, ci_high=high)
    assert build_names(changed)["claimed"] == {"accuracy": "91 %", "interval": words}


@pytest.mark.parametrize(
    ("metric", "low", "high", "words"),
    [
        ("intercept", -0.2, -0.1, "lies below 0 (**the probabilities are too high**)"),
        ("intercept", 0.1, 0.2, "lies above 0 (**the probabilities are too low**)"),
        ("intercept", -0.1, 0.2, "includes 0"),
        ("slope", 0.8, 0.9, "lies below 1 (they are too extreme)"),
        ("slope", 1.1, 1.2, "lies above 1 (they are not extreme enough)"),
        ("slope", 0.9, 1.2, "includes 1"),
        ("slope", np.nan, np.nan, "is not defined"),
    ],
)
def test_calibration_is_held_against_the_interval(results, metric, low, high, words):
    changed = with_row(results, results.final_model, "test", f"calibration_{metric}", ci_low=low, ci_high=high)
    assert build_names(changed)["calibration"][metric] == words


def test_the_best_and_those_behind_the_baselines_are_named(results):
    other = "basic_cnn" if results.final_model != "basic_cnn" else "deep_cnn"
    changed = with_row(results, other, "test", "roc_auc", value=1.0001)
    changed = with_row(changed, "majority", "test", "accuracy", value=0.9999)
    changed = with_row(changed, other, "test", "accuracy", value=1.0)
    names = build_names(changed)
    assert (names["best"]["roc_auc"]["name"], names["best_baseline"]["name"]) == (other, "majority")
    behind, own, best = names["networks"]["behind_baseline"], *(f"*{names[n]['title']}*" for n in ("final", other))
    assert own in behind and best not in behind


def test_hardest_stress_copy_is_named(results):
    changed = with_row(results, results.final_model, "validation_framing", "roc_auc", value=0.123)
    hardest = build_names(changed)["final"]["hardest"]["roc_auc"]
    assert (hardest["on"], str(hardest["value"])) == ("framing", "0.123")


def test_catalog_is_counted(names):
    catalog = names["catalog"]
    expected = {"n": "183", "duplicates": 2, "unreadable": 1, "delivered_validation": 6}
    assert {key: catalog[key] for key in expected} == expected
    assert catalog["form"] == "224-px copies of the official files"
    assert catalog["test"] | {"share": 0} == {
        **{"n": "36", "patients": "36", "normal": "12", "pneumonia": "24", "bacteria": "12", "virus": "12"},
        **{"prevalence": "66.7 %", "share": 0, "duplicates": 0, "normal_patients": "12", "pneumonia_patients": "24"},
    }
    assert catalog["patients"] == "174"
    assert catalog["delivered"] == {
        "development": {"n": "147", "copies": "2", "unreadable": "1"},
        "test": {"n": "36", "copies": "0", "unreadable": "0"},
    }
    assert catalog["patients_apart"] == "No child is in two splits."


def test_catalog_of_original_files_without_val(results):
    catalog = results.catalog[~results.catalog["path"].str.startswith("val/")].reset_index(drop=True)
    catalog.loc[0, ["width", "mode"]] = 1200, "RGB"
    catalog["patient_id"] = catalog["path"]  # as of an archive that names no patients
    found = build_names(replace(results, catalog=catalog))["catalog"]
    assert found["form"] == "the official files as published (sides of 224 to 1,200 pixels)"
    assert found["delivered_validation"] == 0
    assert "a child may be in two splits" in found["patients_apart"]


def test_training_and_looks_are_added_up(names, results):
    training = {name: names["training"][name] for name in ("cpu_minutes", "wall_minutes", "networks")}
    assert training == {"cpu_minutes": "367", "wall_minutes": "200", "networks": 17}  # 20 of 1100 and 600 s
    assert (names["basic_cnn"]["parameters"], names["basic_cnn"]["seeds"]) == ("257,153", 3)
    assert names["looks"] == {"n": 2, "times": "2 times", "before": 1, "since": 1}
    once = build_names(replace(results, test_looks=results.test_looks.tail(1)))
    assert once["looks"]["times"] == "once"


def test_a_study_that_was_not_measured_says_how(results):
    filler = Filler(replace(results, measured={}))
    missing = "Not measured in this run (`python -m pneumonia robustness`)."
    assert filler.fill("{{ study.robustness.worst }}") == missing
    assert filler.fill('{% if "robustness" in measured %}yes{% else %}no{% endif %}') == "no"
    assert filler.fill("{{ study.ablation.none.test.accuracy }}").startswith("Not measured")
    found = Filler(results).fill("{{ study.operating_points.screening.test.sensitivity.interval }}")
    assert found.endswith(" %") and " to " in found


# --- what is committed -------------------------------------------------------------------------------------------


def test_committed_pages_are_what_the_templates_give(committed):
    unmeasured = {question.command for question in STUDIES.values() if question.name not in committed.measured}
    for path, text in build_pages(committed).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run `make report`"
        missing = re.findall(r"Not measured .*`(python -m .+)`\)", text)
        assert len(missing) == text.count("Not measured") and set(missing) <= unmeasured, path
        assert "nan" not in re.findall(r"\w+", text), path
    by_hand = {"protocol.md", "licences.md"}  # one was there before any result, the other knows of none
    pages = {path.name for path in TEMPLATES.glob("*.md")} - {"README.md"}
    assert {path.name for path in (ROOT / "docs").iterdir()} == pages | by_hand


def test_committed_slides_are_what_the_template_gives(committed):
    assert (ROOT / "presentation.pdf").read_bytes() == typeset_slides(committed), "run `make report`"


@pytest.mark.parametrize("template", [*sorted(TEMPLATES.glob("*.md")), SLIDES], ids=lambda path: path.name)
def test_no_result_is_typed(template):
    text = template.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|\{\{.*?\}\}|\{%.*?%\}|^#(?:set|let|show|lined|number).*?$", "", text, flags=re.S | re.M)
    if template == SLIDES:
        prose = prose.split("\n= ", 1)[1]
        prose = re.sub(r"\d+(?:\.\d+)?(?:pt|fr|em)|100%", "", prose).replace("~", " ")
    prose = re.sub(r"Python 3\.\d+ to 3\.\d+|\(1\.2 GB\)", "", prose)  # what is needed, and the size of the download
    assert re.findall(r"\d+(?:\.\d+)? ?%|\d\.\d+", DEFINITIONS.sub("", prose)) == []


def read_items(text: str, heading: str) -> dict[str, str]:
    """Number -> answer of the checklist below a heading; an item given twice is an error."""
    table = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+[a-g]?) \| [^|]+ \| ([^|]+) \|$", table, re.M)
    assert len(rows) == len(dict(rows))
    return dict(rows)


CLAIM = [str(item) for item in range(1, 45)]
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}
TRIPOD_AI = [f"{item}{part}" for item in range(1, 28) for part in PARTS.get(item, [""])]  # 1, 2, 3a, 3b, ...


@pytest.mark.parametrize(("heading", "expected"), [("CLAIM 2024", CLAIM), ("TRIPOD+AI", TRIPOD_AI)])
def test_every_item_of_the_checklists_is_answered(heading, expected):
    items = read_items((TEMPLATES / "reporting-checklist.md").read_text(encoding="utf-8"), heading)
    assert list(items) == expected
    for item, answer in items.items():
        assert re.search(r"\]\([^)]+\)|\bnot (?:published|done)\b|does not apply", answer), (
            f"{heading} {item}: {answer}"
        )


def test_the_flow_of_participants_is_filled_and_adds_up(filler):
    text = (TEMPLATES / "reporting-checklist.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"```mermaid\n(.*?)```", text, re.S)
    assert not re.findall(r"\d", re.sub(r"\{\{.*?\}\}", "", drawn)), "a number in it is typed"
    nodes = dict(re.findall(r'^ +(\w+)\["(.+)"\]$', filler.fill(drawn), re.M))
    used = set(re.findall(r"^ +(\w+) -\.?->", drawn, re.M)) | set(re.findall(r"(\w+)$", drawn, re.M))
    assert set(nodes) == used - {"TD"}
    count = {name: [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", label)] for name, label in nodes.items()}
    assert count["archive"][0] == count["development"][0] + count["testing"][0]
    assert count["development"][0] == sum(count["out"]) + count["train"][0] + count["validation"][0]
    assert count["testing"][0] == sum(count["outtest"]) + count["test"][0]
    for split in ("train", "validation", "test"):
        films, children, normal, of_normal, ill, of_ill = count[split]
        assert (films, children) == (normal + ill, of_normal + of_ill)


def test_readme_has_the_sections_and_few_pictures():
    text = (TEMPLATES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    shown = re.findall(r"!\[[^\]]{10,}\]\(images/(\w+)\.png\)", text)
    assert shown[0] == "Comparison" and len(shown) == len(set(shown)) <= 5
    assert set(shown) <= {*FIGURES, "Comparison"}


def test_notebook_says_what_can_be_filled(filler, simulated):
    without_studies = Filler(replace(simulated, measured={}))
    cells = [cell.source for cell in nbformat.read(ROOT / "final_notebook.ipynb", 4).cells if cell.cell_type == "code"]
    texts = [text for source in cells for text in re.findall(r'story\.say\("""(.*?)"""', source, re.S)]
    tables = [name for source in cells for name in re.findall(r'story\.report_table\("([\w.]+)"', source)]
    assert texts and len(tables) >= 3
    for text in texts:
        assert filler.fill(text) and "ot measured" in without_studies.fill(text)
    for name in tables:
        assert filler.fill(f"{{{{ table.{name} }}}}").startswith("| ")


def test_every_figure_is_shown_somewhere(filler):
    """In README, a document or the notebook, or else it can go."""
    shown = set(re.findall(r'story\.figure\("(\w+)"', (ROOT / "final_notebook.ipynb").read_text().replace('\\"', '"')))
    for template in TEMPLATES.glob("*.md"):
        shown |= set(re.findall(r"images/(\w+)\.png", template.read_text(encoding="utf-8")))
    assert set(FIGURES) <= shown


# --- templates ---------------------------------------------------------------------------------------------------


def test_values_are_filled_in_and_other_braces_left_alone(filler, committed):
    accuracy = committed.estimate(committed.final_model, "test", "accuracy")
    text = filler.fill("{{ final.test.accuracy }} ({{ final.test.accuracy.interval }}) {x} {} \\frac{1}{2}")
    assert text == f"{accuracy} ({accuracy.interval}) {{x}} {{}} \\frac{{1}}{{2}}"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("final.test.acuracy", "accuracy"),
        ("finel.test.accuracy", "final"),
        ("final.tests.accuracy", "test"),
        ("final.test.accuracy.intervall", "interval"),
        ("study.robustnes.worst", "robustness"),
        ("study.near_duplicates.pears", "pairs"),
        ("table.result", "results"),
    ],
)
def test_unknown_name_is_an_error_with_line_and_neighbours(name, near, filler):
    wrong = name.split(".")
    with pytest.raises(PneumoniaError, match=rf"line 2: .*nearest: .*{near}") as caught:
        filler.fill(f"{{{{ final.title }}}}\n{{{{ {name} }}}}\n")
    assert any(f"'{part}'" in str(caught.value) for part in wrong) and "\n" not in str(caught.value)


def test_unknown_name_in_a_file_is_an_error_with_the_file(filler, monkeypatch, tmp_path):
    (tmp_path / "page.md").write_text("one\n\n{% if True %}\n{{ final.test.acuracy }}\n{% endif %}\n")
    (tmp_path / "broken.md").write_text("one\n{{ final. }}\n")
    monkeypatch.setattr(filler.environment.loader, "searchpath", [str(tmp_path)])
    with pytest.raises(PneumoniaError, match="^page.md, line 4: .*'acuracy'"):
        filler.fill_file("page.md")
    with pytest.raises(PneumoniaError, match="^broken.md, line 2: "):
        filler.fill_file("broken.md")


def test_words_turn_with_the_numbers(results):
    text = "{{ (final.test.accuracy - final.validation.accuracy).phrase }}"
    value = float(results.estimate(results.final_model, "validation", "accuracy"))
    for test, phrase in ((value - 0.05, "5.0 points below"), (value + 0.05, "5.0 points above"), (value, "level with")):
        assert Filler(with_row(results, results.final_model, "test", "accuracy", value=test)).fill(text) == phrase


def test_tables_are_rectangular_and_name_every_model(results):
    for name in TABLES:
        table = TABLES[name](results)
        assert {len(row) for row in table.rows} == {len(table.head)}, name
        assert all(isinstance(cell, str) for row in table.rows for cell in row), name
    for name in ("results", "uncalibrated", "training", "gap"):
        assert all(c.title in render_markdown(TABLES[name](results)) for c in results.run.models)


def test_the_tables_show_the_ensemble(results):
    """Before and after calibration, and on validation and test."""
    final, titles = results.final_model, [config.name for config in results.run.models]
    row = titles.index(final)
    for name, seed in (("ensemble", "ensemble"), ("single seeds", "mean")):
        shown = results.estimate(final, "test", "accuracy", seed).full
        assert (TABLES["results"](results).rows[row][1] == shown) == (name == "ensemble"), name
    before, after = (results.estimate(final, "test", "ece", calibrated=calibrated) for calibrated in (False, True))
    assert str(before) != str(after)
    assert TABLES["uncalibrated"](results).rows[row][-1] == f"{before} → {after}"
    on = {split: results.estimate(final, split, "accuracy") for split in ("validation", "test")}
    assert TABLES["gap"](results).rows[row][1] == f"{on['validation']} → {on['test']}"


def test_columns_of_numbers_are_set_right_in_markdown():
    table = Table(["2020", "n", "why", "change"], [["1", "**12**", "3D", "–"], ["2", "4 (1 to 9)", "by hand", "−0.5"]])
    assert render_markdown(table).splitlines()[1] == "| --- | ---: | --- | ---: |"


def test_typst_cells_show_just_their_text():
    table = Table(["a", "b"], [["**x + y**", "93.1 % (91.0 to 95.0 %)"]])
    assert render_typst(table) == r"columns: 2, table.header([a], [b]), [*x \+ y*], [93.1~% (91.0 to 95.0)]"
    assert escape_typst("a_b #c @d 'e'") == r"a\_b \#c \@d \'e\'"


# --- slides ------------------------------------------------------------------------------------------------------


def count_pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_slides_are_nine_and_the_same_twice(results):
    first = typeset_slides(results)
    filled = Filler(results, typeset=True).fill_file(SLIDES.name)
    assert count_pages(first) == len(re.findall(r"^= ", filled, re.MULTILINE)) == 9
    assert typeset_slides(results) == first
    assert typeset_slides(with_row(results, results.final_model, "test", "accuracy", value=0.5)) != first


def test_slides_have_the_typeface_of_the_figures(results):
    fonts = set(re.findall(rb"/BaseFont ?/[A-Z]{6}\+([A-Za-z]+)", typeset_slides(results)))
    assert fonts == {STYLE["font.family"].replace(" ", "").encode()}


def test_slides_can_be_read_from_the_last_row():
    sizes = re.findall(r"\btext\([^)]*?(\d+(?:\.\d+)?)pt", SLIDES.read_text(encoding="utf-8"))
    assert len(sizes) > 20 and min(map(float, sizes)) >= 16


def test_slides_name_no_files_and_no_p_values(committed, simulated):
    for results in (committed, simulated):
        filled = Filler(results, typeset=True).fill_file(SLIDES.name)
        slides = re.sub(r'picture\("\w+"|^ *//.*$', "", filled, flags=re.M).split("<title>", 1)[1]
        assert (
            re.findall(
                r"\w+\\?\.(?:csv|png|jpe?g|md|py|keras|json|typ)\b|\b(?:results|docs|images|models)/|\bp ?[<=]", slides
            )
            == []
        )
        assert "Not measured" not in slides and "nan" not in re.findall(r"\w+", slides)


def test_slides_say_what_is_asked(committed):
    filled = Filler(committed, typeset=True).fill_file(SLIDES.name)
    pilot, children = (build_names(committed)["study"][name] for name in ("power", "per_1000"))
    first, *_, last = filled.split("\n= ")[1:]
    assert pilot["pilot"]["default"]["films"] in first and pilot["pilot"]["default"]["films"] in last
    marks = re.findall(r"marks\((\d+), (\d+),", filled)
    shown = children["default"]["balanced"]
    assert marks == [
        (children["default"]["pneumonia"], shown["missed"]),
        (children["default"]["normal"], shown["needlessly_treated"]),
    ]


@pytest.mark.parametrize(("better", "words"), [(0.9, "points above"), (0.5, "points below"), (0.7, "level with")])
def test_the_slide_of_mistakes_turns_with_the_numbers(better, words, committed):
    table = committed.table("subgroups").copy()
    test = (table["model"] == committed.final_model) & (table["split"] == "test")
    table.loc[test & (table["subgroup"] == "NORMAL2-IM"), "value"] = better
    table.loc[test & (table["subgroup"] == "IM"), "value"] = 0.7
    changed = replace(committed, measured=committed.measured | {"subgroups": table})
    sentence = re.search(r"NORMAL2 is .*?\]", Filler(changed, typeset=True).fill_file(SLIDES.name)).group()
    assert words in sentence and ("why is not known" in sentence) == (words != "level with")


def test_slide_that_overflows_is_an_error(results, monkeypatch, tmp_path):
    template = tmp_path / "presentation.typ"
    text = SLIDES.read_text(encoding="utf-8")
    template.write_text(text.replace("= What could", "#lorem(400)\n\n= What could"), encoding="utf-8")
    monkeypatch.setattr(pages, "SLIDES", template)
    with pytest.raises(PneumoniaError, match="longer than its page"):
        typeset_slides(results)


def test_missing_image_is_one_clear_line(results, tmp_path):
    assert set(PICTURE.findall(SLIDES.read_text(encoding="utf-8"))) == set(STRIPS)
    elsewhere = replace(results, run=replace(results.run, home=tmp_path))
    with pytest.raises(
        PneumoniaError, match=r"slide_missed\.png.* missing; run `python -m pneumonia figures`"
    ) as caught:
        typeset_slides(elsewhere)
    assert "\n" not in str(caught.value)


def has_mark(page: bytes) -> bool:
    """Whether the band at the lower edge of a page is there."""
    pixels = np.asarray(Image.open(io.BytesIO(page)).convert("RGB")).astype(int)
    footer = pixels[-pixels.shape[0] // 10 :, : pixels.shape[1] // 3]
    return bool((np.abs(footer - ALERT).sum(axis=2) < 12).sum() > 50)


# --- simulated runs ----------------------------------------------------------------------------------------------


def test_simulated_run_marks_everything_and_writes_to_its_own_home(results, simulated):
    real = [ROOT / name for name in ("README.md", "presentation.pdf", "docs/results.md")]
    before = [path.stat().st_mtime_ns for path in real]
    write_reports(simulated)
    assert [path.stat().st_mtime_ns for path in real] == before
    written = [simulated.run.home / path for path in build_pages(simulated)]
    assert len(written) == len(list(TEMPLATES.glob("*.md")))
    assert all(path.read_text(encoding="utf-8").splitlines()[2].startswith("# SIMULATED") for path in written)
    assert (simulated.run.home / "presentation.pdf").exists()
    marked = [has_mark(page) for page in typeset_slides(simulated, "png", PPI)]
    assert len(marked) == 9 and all(marked)
    assert not any(has_mark(page) for page in typeset_slides(results, "png", PPI))
