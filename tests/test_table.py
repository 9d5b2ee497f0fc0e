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
from pneumonia.inference.table import (
    COLUMNS,
    FILM,
    LONGEST,
    SETTINGS,
    AnswerTable,
    describe_film,
    find_end,
    to_cell,
)

SETTINGS_USED = dict(zip(SETTINGS, ("balanced", 0.5, 0.1, 0.9, 0.5, "1857x1317", "net 1.0", "abc"), strict=True))
PATHS = ['a,"b"', "carriage\rreturn.png", "line\nbreak\n", '"', "plain.jpeg", "é 🫁", "\udcff.png", "x\r\ny", " "]


def make_row(path: str, heatmap: str | None = None, **fields) -> dict:
    """A row for `path`; plain.jpeg cannot be read, unless `fields` say otherwise."""
    if path == "plain.jpeg" and not fields:
        return Answer(path, error=f'{path}: "damaged"\n, badly').row()
    fields = fields or {"probability": 0.25, "call": "NORMAL", "refer": False, "warnings": ("blank", "lateral view")}
    return Answer(path, **fields).row() | {"heatmap": heatmap}


def read_rows(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def end_as_a_kill_would(table: AnswerTable) -> None:
    table.file.close()
    table.lock.free()


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
    assert rows[4]["probability"] == "" and "badly" in rows[4]["error"]


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
    assert set(table.done) == set(PATHS) - {"plain.jpeg"}
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
    assert set(table.done) == {"a"}
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
    end_as_a_kill_would(table)
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
    table.file = real
    end_as_a_kill_would(table)
    write_all(path, resume=True)
    assert [row["path"] for row in read_rows(path)] == PATHS


def test_a_carriage_return_makes_no_second_row(tmp_path):
    """Not for the readers that take any line end for the end of a row, unless it is quoted."""
    path = tmp_path / "x.csv"
    write_all(path, resume=False)
    with path.open(encoding="utf-8", errors="surrogateescape") as file:  # universal newlines, as many programs do
        assert len(list(csv.DictReader(file))) == len(PATHS)


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-dash.png", "@SUM(A1).png", "\t=1.png", "\r=1.png", "＝1.png"])
def test_no_cell_is_a_formula(tmp_path, name):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row(name, heatmap=name), make_row(f"{name}2", error=f"{name}2: not an image")])
    table.close()
    rows = read_rows(path)
    assert rows[0]["path"] == rows[0]["heatmap"] == f"./{name}", "still a path of the same file"
    assert not any(cell.startswith(tuple("=+-@\t\r＝")) for row in rows for cell in row.values())
    assert set(AnswerTable(path, SETTINGS_USED, resume=True).done) == {to_cell(name)}


def test_a_name_of_200_000_characters_is_a_short_cell(tmp_path):
    path, names = tmp_path / "x.csv", ["a" * 200_000 + end for end in "xy"]
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row(names[0]), make_row(names[1], error=f"{names[1]}: File name too long")])
    table.close()
    rows = read_rows(path)  # Python refuses cells of more than 131,072 characters
    assert all(len(cell) <= LONGEST for row in rows for cell in row.values())
    assert rows[0]["path"] != rows[1]["path"] and rows[1]["error"].endswith("File name too long")
    assert set(AnswerTable(path, SETTINGS_USED, resume=True).done) == {to_cell(names[0])}


def save_as_a_spreadsheet_does(path, delimiter, encoding, comma=False) -> None:
    """Other line ends, booleans and numbers; the last column that is not a setting is gone."""
    rows = read_rows(path)
    for row in rows:
        row["refer"] = row["refer"].upper()
        row["threshold"], row["prevalence"] = "0.50", "0.5"
        for key in ("probability", "threshold", "refer_from", "refer_to", "prevalence"):
            row[key] = row[key].replace(".", ",") if comma else row[key]
    with path.open("w", encoding=encoding, newline="", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "comma"),
    [(",", "utf-8-sig", False), (",", "utf-8", False), (";", "utf-8-sig", True), ("\t", "utf-16", True)],
)
def test_a_table_that_a_spreadsheet_saved_is_continued(tmp_path, delimiter, encoding, comma):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row("a.png"), make_row("b;c.png"), make_row("d.png", error="d.png: gone")])
    table.close()
    before = path.read_bytes()
    save_as_a_spreadsheet_does(path, delimiter, encoding, comma)
    table = AnswerTable(path, SETTINGS_USED, resume=True)
    assert set(table.done) == {"a.png", "b;c.png"}
    table.write([make_row("d.png")])
    table.close()
    kept = [line for line in before.splitlines() if not line.startswith(b"d.png")]
    assert [line.replace(b",0.50,", b",0.5,") for line in path.read_bytes().splitlines()[:3]] == kept
    assert [row["error"] for row in read_rows(path)] == ["", "", ""]


def test_rows_that_a_spreadsheet_spoilt_are_made_again(tmp_path):
    path = tmp_path / "x.csv"
    table = AnswerTable(path, SETTINGS_USED, resume=False)
    table.write([make_row(name) for name in "abcd"])
    table.close()
    lines = path.read_text().splitlines()
    lines[1], lines[2] = lines[1].replace("0.25", "25 Jan"), lines[2].replace("false", "FAUX")
    path.write_text("\r\n".join(lines) + "\r\n")
    table = AnswerTable(path, SETTINGS_USED, resume=True)
    assert set(table.done) == {"c", "d"}
    table.close()
    assert [row["path"] for row in read_rows(path)] == ["c", "d"]


def test_notes_of_others_are_not_thrown_away(tmp_path):
    path = tmp_path / "x.csv"
    write_all(path, resume=False)
    path.write_bytes(path.read_bytes().replace(b"model_hash\n", b"model_hash,notes\n", 1))
    before = path.read_bytes()
    with pytest.raises(PneumoniaError, match=r"columns that are not ours \(notes\)"):
        AnswerTable(path, SETTINGS_USED, resume=True)
    assert path.read_bytes() == before


def test_a_table_without_the_columns_of_the_film_is_continued(tmp_path):
    path = tmp_path / "x.csv"
    older = [column for column in COLUMNS if column not in FILM]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, older, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerow(make_row("a") | SETTINGS_USED | {"refer": "false", "warnings": ""})
    table = AnswerTable(path, SETTINGS_USED, resume=True)
    assert set(table.done) == {"a"}
    table.close()
    assert tuple(read_rows(path)[0]) == COLUMNS


@pytest.mark.skipif(os.name != "posix", reason="links and permissions of POSIX")
def test_link_and_permissions_stay(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(real)
    write_all(link, resume=False)
    real.chmod(0o640)
    table = AnswerTable(link, SETTINGS_USED, resume=True)
    table.write([make_row("plain.jpeg", probability=0.5, call="PNEUMONIA", refer=False)])  # an old row goes
    table.close()
    assert link.is_symlink() and not any(row["error"] for row in read_rows(real))
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_a_header_alone_is_no_answer(tmp_path):
    path = tmp_path / "x.csv"
    AnswerTable(path, SETTINGS_USED, resume=False).lock.free()  # killed before the first row
    write_all(path, resume=False)
    assert [row["path"] for row in read_rows(path)] == PATHS


def test_a_film_that_changes_describes_itself_otherwise(tmp_path):
    path = tmp_path / "x.png"
    assert describe_film(path) == {}
    path.write_bytes(b"1234")
    first = describe_film(path)
    assert tuple(first) == FILM and first["bytes"] == 4 and first == describe_film(path)
    os.utime(path, (1, 2))
    assert describe_film(path) == {"bytes": 4, "modified": "1970-01-01T00:00:02.000+00:00"}
