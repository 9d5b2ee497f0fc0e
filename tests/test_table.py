"""answers.csv: wherever it is interrupted, --resume leaves every row exactly once."""

from __future__ import annotations

import csv
import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pneumonia.config import PneumoniaError
from pneumonia.inference.reader import Answer
from pneumonia.inference.table import COLUMNS, SETTINGS, AnswerTable, find_end

SETTINGS_USED = dict(zip(SETTINGS, ("balanced", 0.5, 0.1, 0.9, 0.5, "1857x1317", "net 1.0", "abc"), strict=True))
PATHS = ['a,"b"', "line\nbreak\n", '"', "plain.jpeg", "é 🫁", "\udcff.png", "x\r\ny", " "]


def make_row(path: str, heatmap: str | None = None, **fields) -> dict:
    """A row for `path`; plain.jpeg cannot be read, unless `fields` say otherwise."""
    if path == "plain.jpeg" and not fields:
        return Answer(path, error=f'{path}: "damaged"\n, badly').row()
    fields = fields or {"probability": 0.25, "call": "NORMAL", "refer": False, "warnings": ("blank", "lateral view")}
    return Answer(path, **fields).row() | {"heatmap": heatmap}


def read_rows(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def write_all(path, resume):
    table = AnswerTable(path, SETTINGS_USED, resume)
    for name in (name for name in PATHS if name not in table.done):
        table.write([make_row(name)])
    table.close()


def test_rows_say_what_was_answered(tmp_path):
    write_all(tmp_path / "x.csv", resume=False)
    rows = read_rows(tmp_path / "x.csv")
    assert [row["path"] for row in rows] == PATHS and tuple(rows[0]) == COLUMNS
    assert rows[0]["probability"] == "0.25" and rows[0]["refer"] == "false" and rows[0]["error"] == ""
    assert rows[0]["warnings"] == "blank; lateral view" and rows[0]["model_hash"] == "abc"
    assert rows[3]["probability"] == "" and "badly" in rows[3]["error"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 10_000))
def test_cut_anywhere_and_continued(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.csv"
    path.unlink(missing_ok=True)
    write_all(path, resume=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)])
    write_all(path, resume=True)
    rows = read_rows(path)
    assert sorted(row["path"] for row in rows) == sorted(PATHS)
    path.write_bytes(whole)
    assert sorted(map(str, rows)) == sorted(map(str, read_rows(path)))


def test_what_failed_is_tried_again_and_what_was_answered_is_not(tmp_path):
    path = tmp_path / "x.csv"
    write_all(path, resume=False)
    table = AnswerTable(path, SETTINGS_USED, resume=True)
    assert table.done == set(PATHS) - {"plain.jpeg"}
    table.write([make_row("plain.jpeg", probability=0.5, call="PNEUMONIA", refer=False)])
    table.close()
    assert [row["path"] for row in read_rows(path)][-1] == "plain.jpeg" and len(read_rows(path)) == len(PATHS)
    assert not any(row["error"] for row in read_rows(path))


def test_rows_without_the_heatmap_that_is_asked_for_are_made_again(tmp_path):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row("a", "maps/a.png"), make_row("b")])
    table.close()
    table = AnswerTable(path, SETTINGS_USED, resume=True, heatmaps=True)
    assert table.done == {"a"}
    table.close()  # interrupted before anything is made again: no answer is lost
    assert [row["path"] for row in read_rows(path)] == ["a", "b"]


def test_old_row_stays_until_there_is_a_better_one(tmp_path):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row("a"), make_row("b", error="b: gone"), make_row("c")])
    table.close()
    table = AnswerTable(path, SETTINGS_USED, resume=True, heatmaps=True)
    table.write([make_row("a", error="a: gone"), make_row("b", error="b: still gone")])
    table.write([make_row("c", "c.png")])
    table.file.close()  # as a kill would
    AnswerTable(path, SETTINGS_USED, resume=True, heatmaps=True).close()
    assert [(row["path"], row["error"], row["heatmap"]) for row in read_rows(path)] == [
        ("a", "", ""),
        ("b", "b: still gone", ""),
        ("c", "", "c.png"),
    ]


@pytest.mark.parametrize("content", ["mine", "mine, without an end", "path,probability\nmine"])
def test_file_of_another_program_is_not_touched(tmp_path, content):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(PneumoniaError, match="not a file of answers"):
        AnswerTable(tmp_path / "x.csv", SETTINGS_USED, resume=True)
    assert (tmp_path / "x.csv").read_text() == content


def test_nothing_answered_leaves_no_file(tmp_path):
    AnswerTable(tmp_path / "x.csv", SETTINGS_USED, resume=False).close()
    assert not (tmp_path / "x.csv").exists()


def test_every_cut_ends_at_a_row(tmp_path):
    path = tmp_path / "x.csv"
    write_all(path, resume=False)
    whole = path.read_bytes()
    ends = set()
    for cut in range(len(whole) + 1):
        (tmp_path / "cut.csv").write_bytes(whole[:cut])
        ends.add(find_end(tmp_path / "cut.csv"))
    assert len(ends) == 1 + 1 + len(PATHS) and max(ends) == len(whole)


def test_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "x.csv").write_text("precious\n")
    with pytest.raises(PneumoniaError, match="--resume"):
        AnswerTable(tmp_path / "x.csv", SETTINGS_USED, resume=False)
    assert (tmp_path / "x.csv").read_text() == "precious\n"


@pytest.mark.parametrize("key", SETTINGS)
def test_other_settings_are_not_mixed_in(tmp_path, key):
    write_all(tmp_path / "x.csv", resume=False)
    with pytest.raises(PneumoniaError, match="another model or settings"):
        AnswerTable(tmp_path / "x.csv", SETTINGS_USED | {key: "other"}, resume=True)


def test_another_table_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PneumoniaError, match="not a file of answers"):
        AnswerTable(tmp_path / "x.csv", SETTINGS_USED, resume=True)


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(PneumoniaError, match="cannot be written.*make that folder first$"):
        AnswerTable(tmp_path / "no" / "x.csv", SETTINGS_USED, resume=False)


def test_full_disk_takes_part_of_a_row_and_resume_mends_it(tmp_path):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row(PATHS[0])])

    class Full:
        """Takes ten more bytes, then says that the disk is full."""

        def write(self, content):
            if os.path.getsize(path) > before:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real.write(bytes(content[:10]))

    real, table.file, before = table.file, Full(), path.stat().st_size
    with pytest.raises(PneumoniaError, match="No space left.*--resume"):
        table.write([make_row(PATHS[1])])
    real.close()
    write_all(path, resume=True)
    assert [row["path"] for row in read_rows(path)] == PATHS
