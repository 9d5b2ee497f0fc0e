"""README blocks and slides: generated text stands where its markers are, and nothing else is ever written."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_facts import make_results, with_row

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.report.facts import build_facts
from pneumonia.report.gallery import FIGURES
from pneumonia.report.pages import (
    BLOCK,
    PICTURE,
    SLIDES,
    build_blocks,
    build_slides,
    check_readme,
    copy_images,
    typeset_slides,
    update_readme,
    write_reports,
)
from pneumonia.report.tables import TABLES, build_tables, escape_typst, render_typst
from pneumonia.results import Results, load_results
from pneumonia.series import real_run

README = (ROOT / "README.md").read_text(encoding="utf-8")
ALERT = (166, 25, 46)  # the colour of the SIMULATED mark in presentation.typ
PPI = 36  # enough to see that mark


def prepare_home(results: Results) -> None:
    """A README as in the repository, and a gray picture for every figure."""
    (results.run.home / "README.md").write_text(README, encoding="utf-8")
    results.run.images_dir.mkdir()
    for stem in FIGURES:
        Image.new("L", (300, 160), 190).save(results.run.images_dir / f"{stem}.png")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Results:
    results = make_results(tmp_path_factory.mktemp("real"))
    prepare_home(results)
    return results


@pytest.fixture
def results(shared, tmp_path) -> Results:
    """Real results in a home of their own."""
    shutil.copytree(shared.run.home, tmp_path / "home")
    return load_results(replace(shared.run, home=tmp_path / "home"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Results:
    results = make_results(tmp_path_factory.mktemp("simulated"), simulated=True)
    prepare_home(results)
    (results.run.home / "README.md").unlink()
    return results


# --- README ------------------------------------------------------------------------------------------------------


def outside(text: str) -> list[str]:
    """What stands between the blocks."""
    return BLOCK.sub("\0", text).split("\0")


def test_update_fills_every_block_and_nothing_else(results):
    path = update_readme(results)
    first = path.read_bytes()
    text = first.decode("utf-8")
    assert {match[1]: match[2].strip() for match in BLOCK.finditer(text)} == build_blocks(results)
    assert outside(text) == outside(README)
    assert check_readme(results) == []
    assert update_readme(results).read_bytes() == first


def test_check_names_the_blocks_that_differ(results):
    update_readme(results)
    final = results.final_model
    found = check_readme(with_row(results, final, "test", "accuracy", value=0.5))
    assert {"answer", "results_table", "gap", "conclusions"} <= set(found)
    assert not {"counts", "models", "looks", "final_model"} & set(found)


def test_typed_number_in_a_block_is_found(results):
    path = update_readme(results)
    path.write_text(path.read_text().replace("% accuracy with a ", "% accuracy with almost a ", 1))
    assert check_readme(results) == ["answer"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<!-- generated:gap -->\n<!-- /generated:gap -->\n", "", "generated:gap --> is missing"),
        ("<!-- /generated:gap -->", "", "generated:gap --> is missing or not closed"),
        (
            "<!-- /generated:gap -->",
            "<!-- /generated:gap -->\n<!-- generated:x -->\n<!-- /generated:x -->",
            "'x' has no",
        ),
        (
            "## Overview",
            "<!-- generated:gap -->\n<!-- /generated:gap -->\n## Overview",
            "generated:gap --> is there twice",
        ),
        ("## Overview", "<!-- generated:lost -->\n## Overview", "stands alone"),
    ],
)
def test_broken_markers_are_named_and_nothing_is_written(results, old, new, message):
    path = results.run.home / "README.md"
    broken = re.sub(r"(<!-- generated:\w+ -->\n).*?(<!-- /)", r"\1\2", README, flags=re.DOTALL).replace(old, new, 1)
    path.write_text(broken)
    with pytest.raises(PneumoniaError, match=re.escape(message)) as caught:
        update_readme(results)
    assert str(path) in str(caught.value)
    assert path.read_text() == broken


def test_missing_readme_is_an_error(results):
    (results.run.home / "README.md").unlink()
    with pytest.raises(PneumoniaError, match="README.md: missing"):
        update_readme(results)


def test_readme_has_no_results_outside_the_blocks():
    prose = re.sub(r"```.*?```", "", " ".join(outside(README)), flags=re.DOTALL)
    prose = re.sub(r"\(https?://[^)]*\)|doi:\S+|CC BY 4\.0|1\.2 GB|3\.1\d", "", prose)
    assert re.findall(r"\d+(?:\.\d+)? ?%|\d+\.\d+|\d,\d{3}(?! children)", prose) == []


def test_readme_shows_figures_with_words_for_who_cannot_see_them():
    shown = re.findall(r"!\[[^\]]{10,}\]\(images/(\w+)\.png\)", README)
    assert len(shown) == README.count("![") == len(set(shown))
    assert {"Comparison", "examples"} <= set(shown) <= {*FIGURES, "app"}  # the page in the browser is no plot


def test_readme_begins_with_answer_commands_and_picture():
    top = README.split("## Overview")[0]
    positions = [top.index(text) for text in ("generated:answer", "make run", "make test", "images/Comparison.png")]
    assert positions == sorted(positions)


def test_readme_agrees_with_the_committed_results():
    run = real_run(None)
    if not (run.results_dir / "metrics.csv").exists():
        pytest.skip("needs the committed results: run `make run` on the radiographs first")
    assert check_readme(load_results(run)) == [], "run `make report`"


# --- tables ------------------------------------------------------------------------------------------------------


def test_tables_are_rectangular_and_name_every_model(results):
    tables = build_tables(results, build_facts(results))
    assert set(tables) == {f"table.{name}" for name in TABLES}
    for text in tables.values():
        assert len({line.count("|") for line in text.splitlines()}) == 1
    for name in ("results", "training", "gap"):
        assert all(config.title in tables[f"table.{name}"] for config in results.run.models)


def test_typst_cells_show_just_their_text():
    assert render_typst(["a", "b"], [["**x + y**", "1 %"]]) == r"columns: 2, table.header([a], [b]), [*x \+ y*], [1 %]"
    assert escape_typst("a_b #c @d 'e'") == r"a\_b \#c \@d \'e\'"


# --- slides ------------------------------------------------------------------------------------------------------


def count_pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_slides_are_complete_and_the_same_twice(results):
    path = build_slides(results)
    first = path.read_bytes()
    headings = re.findall(r"^= ", SLIDES.read_text(encoding="utf-8"), re.MULTILINE)
    assert count_pages(first) == len(headings)
    assert 10 <= len(headings) <= 16
    assert build_slides(results).read_bytes() == first
    other = with_row(results, results.final_model, "test", "accuracy", value=0.5)
    assert build_slides(other).read_bytes() != first


def test_slide_that_overflows_is_an_error(results, monkeypatch, tmp_path):
    template = tmp_path / "presentation.typ"
    text = SLIDES.read_text(encoding="utf-8")
    template.write_text(text.replace("= What these numbers", "#lorem(400)\n\n= What these numbers"), encoding="utf-8")
    monkeypatch.setattr("pneumonia.report.pages.SLIDES", template)
    with pytest.raises(PneumoniaError, match="longer than its page"):
        build_slides(results)
    assert not (results.run.home / "presentation.pdf").exists()


def test_missing_image_is_one_clear_line(results):
    assert set(PICTURE.findall(SLIDES.read_text(encoding="utf-8"))) <= set(FIGURES)
    (results.run.images_dir / "examples.png").unlink()
    with pytest.raises(PneumoniaError, match=r"examples\.png missing; run `python -m pneumonia figures`") as caught:
        write_reports(results)
    assert "\n" not in str(caught.value)
    assert check_readme(results) == [], "the README, which needs no image, is done"


def test_what_was_not_measured_has_a_picture_that_says_so(results, tmp_path):
    measured = {name: table for name, table in results.measured.items() if name != "robustness"}
    results = replace(results, measured=measured)
    (results.run.images_dir / "robustness.png").unlink(missing_ok=True)
    copy_images(results, ["robustness"], tmp_path)
    assert (tmp_path / "robustness.png").exists() and not (results.run.images_dir / "robustness.png").exists()


def has_mark(page: bytes) -> bool:
    """Whether the band at the lower edge of a page is there."""
    pixels = np.asarray(Image.open(io.BytesIO(page)).convert("RGB")).astype(int)
    footer = pixels[-pixels.shape[0] // 10 :, : pixels.shape[1] // 3]
    return bool((np.abs(footer - ALERT).sum(axis=2) < 12).sum() > 50)


def test_simulated_slides_say_so_on_every_page(results, simulated):
    marked = [has_mark(page) for page in typeset_slides(simulated, "png", PPI)]
    assert len(marked) >= 10
    assert all(marked)
    assert not any(has_mark(page) for page in typeset_slides(results, "png", PPI))


# --- simulated runs ----------------------------------------------------------------------------------------------


def test_simulated_run_writes_to_its_own_home_only(simulated):
    real = [ROOT / name for name in ("README.md", "presentation.pdf")]
    before = [path.stat().st_mtime_ns if path.exists() else None for path in real]
    write_reports(simulated)
    assert [path.stat().st_mtime_ns if path.exists() else None for path in real] == before
    text = (simulated.run.home / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# SIMULATED")
    assert all(block in text for block in build_blocks(simulated).values())
    assert "## Business Problem" not in text
    assert count_pages((simulated.run.home / "presentation.pdf").read_bytes()) >= 10
