"""Folders in, one audited row per radiograph out."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import (
    CLEAN_COUNTS,
    DUPLICATE,
    DUPLICATE_OF,
    LOWER_CASE_FOLDER,
    OTHER_MODES,
    ROWS,
    UNREADABLE,
    USABLE,
)
from PIL import Image
from tiny_runs import names_of, tiny_run, write_tree

from pneumonia.config import CLASS_NAMES, KINDS, PneumoniaError
from pneumonia.data.catalog import (
    COLUMNS,
    build_catalog,
    count_shared_bare_numbers,
    describe_test_split,
    hash_catalog,
    mark_duplicates,
    parse_name,
    select_used,
    summarise,
)
from pneumonia.data.sizes import read_original_sizes

CLUTTER = (
    "__MACOSX/train/NORMAL/._a.jpeg",
    "train/NORMAL/._a.jpeg",
    "train/NORMAL/Thumbs.db",
    "train/.DS_Store",
    "test/PNEUMONIA/desktop.ini",
    "train/OTHER/notes.txt",
    "train/NORMAL/.hidden.jpeg",
    "readme.txt",
)
SMALL_TREE = names_of("train", 8) + names_of("val", 1, start=50) + names_of("test", 2, start=90)


@pytest.fixture(scope="module")
def audited(simulated_tree, tmp_path_factory) -> pd.DataFrame:
    """The catalog of `simulated_tree`, by path."""
    return build_catalog(tiny_run(simulated_tree, tmp_path_factory.mktemp("home"))).set_index("path", drop=False)


@pytest.fixture
def audit(tmp_path):
    """Build the catalog of any folder."""
    return lambda data: build_catalog(tiny_run(data, tmp_path / "home"))


# --- the simulated tree -------------------------------------------------------------------------------------------


def test_every_file_is_a_row_and_nothing_else_is(audited):
    assert len(audited) == ROWS
    assert list(audited.columns) == COLUMNS
    assert audited["path"].is_monotonic_increasing
    assert audited["path"].is_unique


def test_used_radiographs_are_counted(audited):
    used = select_used(audited.reset_index(drop=True))
    assert len(used) == USABLE
    assert list(used.index) == list(range(USABLE))


def test_counts_of_the_official_folders(audited):
    used = audited[audited["excluded_reason"] == ""]
    official = used["path"].str.split("/").str[0]
    more = pd.Series({("train", "NORMAL"): 2, ("train", "PNEUMONIA"): 2})  # the other modes
    found = used.groupby([official, used["class_name"]]).size()
    assert (found - more.reindex(found.index, fill_value=0)).to_dict() == CLEAN_COUNTS


@pytest.mark.parametrize(("path", "problem"), UNREADABLE.items())
def test_every_broken_file_is_a_row_with_its_reason(audited, path, problem):
    words = {"truncated": "truncated", "empty": "empty file", "text": "not an image"}
    assert words[problem] in audited.loc[path, "excluded_reason"]
    assert pd.isna(audited.loc[path, "sha256"]) == (problem == "empty")


def test_reasons_name_no_place_on_this_machine(audited, simulated_tree):
    assert not audited["excluded_reason"].str.contains(str(simulated_tree), regex=False).any()


def test_second_of_two_equal_train_files_is_left_out(audited):
    assert audited.loc[DUPLICATE, "duplicate_of"] == DUPLICATE_OF
    assert audited.loc[DUPLICATE, "excluded_reason"] == f"duplicate of {DUPLICATE_OF}"
    assert audited.loc[DUPLICATE_OF, ["duplicate_of", "excluded_reason"]].tolist() == ["", ""]
    assert (audited["duplicate_of"] != "").sum() == 1


@pytest.mark.parametrize(("path", "mode"), OTHER_MODES.items())
def test_other_modes_are_used(audited, path, mode):
    assert audited.loc[path, ["mode", "width", "height", "excluded_reason"]].tolist() == [mode, 128, 128, ""]


def test_facts_about_a_file_are_its_own(audited, simulated_tree):
    row = audited.loc[DUPLICATE_OF]
    assert row["bytes"] == (simulated_tree / DUPLICATE_OF).stat().st_size
    assert (row["width"], row["height"], row["mode"]) == (96, 96, "L")
    assert row["jpeg_quality"] in (75, 98)
    assert (row["class_name"], row["label"], row["kind"]) == ("PNEUMONIA", 1, "bacteria")


def test_label_class_and_kind_agree(audited):
    assert set(audited["kind"]) == set(KINDS)
    assert (audited["label"] == (audited["class_name"] == "PNEUMONIA")).all()
    assert ((audited["kind"] == "NORMAL") == (audited["label"] == 0)).all()


def test_class_folder_in_lower_case_is_read_as_the_class(audited):
    rows = audited[audited["path"].str.startswith(LOWER_CASE_FOLDER)]
    assert len(rows) == CLEAN_COUNTS["test", "NORMAL"]
    assert set(rows["class_name"]) == {"NORMAL"}


def test_summary_accounts_for_every_row(audited):
    table = summarise(audited.reset_index(drop=True))
    assert list(table.index) == ["train_fit", "validation", "test"]
    assert table[["NORMAL", "PNEUMONIA"]].sum().sum() == USABLE
    left_out = table[["left out: duplicate", "left out: unreadable"]].sum()
    assert left_out.tolist() == [1, len(UNREADABLE)]
    assert table.loc["test", "patients"] == audited.loc[audited["split"] == "test", "patient_id"].nunique()


def test_catalog_is_the_same_whenever_it_is_built(audited, simulated_tree, audit):
    pd.testing.assert_frame_equal(audit(simulated_tree), audited.reset_index(drop=True))


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "class_name", "patient", "kind"),
    [
        ("person1000_bacteria_2931", "PNEUMONIA", "person-1000-bacteria", "bacteria"),
        ("person1000_virus_1681", "PNEUMONIA", "person-1000-virus", "virus"),
        ("person63_bacteria_306", "PNEUMONIA", "person-63-bacteria", "bacteria"),
        ("IM-0115-0001", "NORMAL", "IM-115", "NORMAL"),
        ("IM-0125-0001-0002", "NORMAL", "IM-125", "NORMAL"),
        ("NORMAL2-IM-0115-0001", "NORMAL", "NORMAL2-IM-115", "NORMAL"),
        ("normal2-im-0115-0001", "NORMAL", "NORMAL2-IM-115", "NORMAL"),
        ("scan_17", "NORMAL", None, "NORMAL"),
        ("scan_17", "PNEUMONIA", None, "unknown"),
    ],
)
def test_names_give_the_patient_and_the_kind(stem, class_name, patient, kind):
    assert parse_name(stem, class_name) == (patient, kind)


def test_files_that_name_no_patient_are_a_patient_each(tmp_path, audit):
    folders = [f"{split}/{name}" for split in ("train", "val", "test") for name in ("NORMAL", "PNEUMONIA")]
    names = [f"{folder}/{folder.replace('/', '_')}_{number}.png" for folder in folders for number in range(3)]
    assert audit(write_tree(tmp_path / "data", names))["patient_id"].nunique() == 18


def test_equal_names_in_two_classes_are_two_patients_and_a_folder_is_one(tmp_path, audit):
    names = [
        f"{split}/{name}/{number}.png" for split in ("train", "test") for name in CLASS_NAMES for number in range(9)
    ]
    names += [f"train/NORMAL/child/{number}.png" for number in range(3)]
    catalog = audit(write_tree(tmp_path / "data", names)).set_index("path")
    assert catalog["patient_id"].nunique() == 4 * 9 + 1
    assert catalog.filter(like="/child/", axis=0)["patient_id"].nunique() == 1


# --- duplicates ---------------------------------------------------------------------------------------------------


def copy_of(tree: Path, source: str, target: str) -> None:
    shutil.copyfile(tree / source, tree / target)


def test_duplicates_in_the_test_split_are_marked_and_kept(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    first, copy = "test/NORMAL/IM-0090-0001.jpeg", "test/NORMAL/IM-0099-0001.jpeg"
    copy_of(tree, first, copy)
    row = audit(tree).set_index("path").loc[copy]
    assert (row["duplicate_of"], row["excluded_reason"]) == (first, "")


def test_train_copy_of_a_test_radiograph_is_left_out(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    copy_of(tree, "test/NORMAL/IM-0090-0001.jpeg", "train/NORMAL/IM-0010-0001.jpeg")
    rows = audit(tree).set_index("path")
    assert rows.loc["train/NORMAL/IM-0010-0001.jpeg", "excluded_reason"] == "duplicate of test/NORMAL/IM-0090-0001.jpeg"
    assert rows.loc["test/NORMAL/IM-0090-0001.jpeg", "excluded_reason"] == ""


def test_train_copy_of_a_test_radiograph_is_left_out_whatever_the_case_of_the_folders(tmp_path, audit):
    tree = write_tree(tmp_path / "data", [path.replace("train", "TRAIN") for path in SMALL_TREE])
    copy_of(tree, "test/NORMAL/IM-0090-0001.jpeg", "TRAIN/NORMAL/IM-0010-0001.jpeg")
    rows = audit(tree).set_index("path")
    assert rows.loc["TRAIN/NORMAL/IM-0010-0001.jpeg", "excluded_reason"].startswith("duplicate of test")


def test_three_equal_files_keep_one(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    for number in (21, 22):
        copy_of(tree, "train/NORMAL/IM-0001-0001.jpeg", f"train/NORMAL/IM-00{number}-0001.jpeg")
    rows = audit(tree)
    assert (rows["excluded_reason"] == "duplicate of train/NORMAL/IM-0001-0001.jpeg").sum() == 2


def test_two_unreadable_files_are_not_duplicates_of_each_other():
    table = pd.DataFrame(
        {"path": ["a", "b"], "official": "train", "sha256": "same", "excluded_reason": ["empty file", "empty file"]}
    )
    mark_duplicates(table)
    assert table["duplicate_of"].tolist() == ["", ""]
    assert table["excluded_reason"].tolist() == ["empty file", "empty file"]


# --- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", ["", "chest_xray", "chest_xray/chest_xray"])
def test_nested_folders_give_the_same_catalog(tmp_path, audit, nested):
    tree = write_tree(tmp_path / "data" / nested, SMALL_TREE)
    catalog = audit(tmp_path / "data")
    pd.testing.assert_frame_equal(catalog, audit(tree))
    assert len(catalog) == len(SMALL_TREE)


def test_without_val_all_validation_is_carved_from_train(tmp_path, audit):
    catalog = audit(write_tree(tmp_path / "data", [path for path in SMALL_TREE if not path.startswith("val")]))
    assert set(catalog.loc[catalog["split"] == "validation", "path"].str.split("/").str[0]) == {"train"}


def test_letter_case_of_folders_does_not_matter(tmp_path, audit):
    swaps = (("NORMAL/", "Normal/"), ("PNEUMONIA/", "pneumonia/"), ("test", "Test"))
    mixed = [reduce(lambda path, swap: path.replace(*swap), swaps, path) for path in SMALL_TREE]
    lower, upper = audit(write_tree(tmp_path / "a", mixed)), audit(write_tree(tmp_path / "b", SMALL_TREE))
    counts = [frame.groupby(["split", "class_name"]).size().to_dict() for frame in (lower, upper)]
    assert counts[0] == counts[1]


def test_clutter_is_ignored(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    for clutter in CLUTTER:
        (tree / clutter).parent.mkdir(parents=True, exist_ok=True)
        (tree / clutter).write_bytes(b"clutter")
    assert sorted(audit(tree)["path"]) == sorted(SMALL_TREE)


LEFT_OUT = {
    "train/OTHER/a.jpeg": "in the folder OTHER, neither NORMAL nor PNEUMONIA",
    "train/a.jpeg": "not in a folder NORMAL or PNEUMONIA",
    "train/NORMAL/more/PNEUMONIA/a.jpeg": "in a folder PNEUMONIA within NORMAL",
    "extra/a.jpeg": "not in train/, val/ or test/",
    "a.jpeg": "not in train/, val/ or test/",
}


def test_images_elsewhere_are_rows_with_their_reason(tmp_path, audit):
    tree = write_tree(tmp_path / "data", [*SMALL_TREE, *LEFT_OUT])
    (tree / "train" / "NORMAL" / "link.jpeg").symlink_to("nowhere")
    (tree / "test" / "gone").symlink_to("nowhere")
    catalog = audit(tree)
    rows = catalog.set_index("path")
    assert rows.loc[list(LEFT_OUT), "excluded_reason"].to_dict() == LEFT_OUT
    for link in ("train/NORMAL/link.jpeg", "test/gone"):
        assert rows.loc[link, "excluded_reason"].startswith("cannot be read (No such file")
    assert len(catalog) == len(SMALL_TREE) + len(LEFT_OUT) + 2
    assert hash_catalog(catalog) == hash_catalog(audit(write_tree(tmp_path / "other", SMALL_TREE)))
    table = summarise(catalog)
    assert table.loc["none", "left out: elsewhere"] == 2
    assert table.filter(like="left out").sum().sum() == len(LEFT_OUT) + 2
    assert table[list(CLASS_NAMES)].sum().sum() == len(SMALL_TREE)


def test_a_data_set_within_the_other_is_one_row(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    shutil.copytree(tree, tree / "chest_xray")
    rows = audit(tree).set_index("path")
    assert len(rows) == len(SMALL_TREE) + 1
    assert rows.loc["chest_xray", "excluded_reason"] == "a data set of its own, with a train/ and a test/"


def test_other_names_of_folders_and_deeper_ones(tmp_path, audit):
    moved = {"val/": "validation/", "/PNEUMONIA/": "/Bacterial Pneumonia/", "/NORMAL/": "/No_findings/a/b/"}
    names = [reduce(lambda path, pair: path.replace(*pair), moved.items(), path) for path in SMALL_TREE]
    catalog = audit(write_tree(tmp_path / "data", names))
    plain = audit(write_tree(tmp_path / "plain", SMALL_TREE))
    assert set(catalog["excluded_reason"]) == {""}
    columns = ["split", "class_name", "kind"]
    found, expected = (frame[columns].value_counts().sort_index() for frame in (catalog, plain))
    pd.testing.assert_series_equal(found, expected)


def test_the_folder_names_the_kind_where_the_file_does_not(tmp_path, audit):
    more = [f"train/{cause} pneumonia/scan{number}.png" for number, cause in enumerate(("Viral", "Bacterial"))]
    rows = audit(write_tree(tmp_path / "data", [*SMALL_TREE, *more])).set_index("path")
    assert rows.loc[more, "kind"].tolist() == ["virus", "bacteria"]


def test_linked_class_folders_are_followed(tmp_path, audit):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    (tree / "train" / "NORMAL").rename(tmp_path / "pool")
    (tree / "train" / "NORMAL").symlink_to(tmp_path / "pool")
    assert sorted(audit(tree)["path"]) == sorted(SMALL_TREE)


@pytest.mark.parametrize("name", [b"IM-0900-\xff.jpeg", b"IM-0900-\r.jpeg"])
def test_names_that_no_table_can_hold_are_rows_that_say_so(tmp_path, audit, name):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    try:
        shutil.copyfile(tree / SMALL_TREE[0], os.path.join(os.fsencode(tree), b"train/NORMAL", name))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    catalog = audit(tree)
    catalog.to_csv(tmp_path / "catalog.csv", index=False, lineterminator="\n")
    (row,) = pd.read_csv(tmp_path / "catalog.csv").query("path.str.contains('IM-0900')").to_dict("records")
    assert row["path"] in ("train/NORMAL/IM-0900-\\xff.jpeg", "train/NORMAL/IM-0900-\\r.jpeg")
    assert row["excluded_reason"].endswith("rename it") and len(catalog) == len(SMALL_TREE) + 1


def test_a_folder_that_may_not_be_opened_is_named(tmp_path, audit, monkeypatch):
    tree, scandir = write_tree(tmp_path / "data", SMALL_TREE), os.scandir

    def refuse(path="."):
        if str(path).endswith("train/NORMAL"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    words = "1 left out, such as train/NORMAL (cannot be read (Permission denied))"
    assert words in refusal(audit, tree)


# --- what cannot be a data set ------------------------------------------------------------------------------------


def refusal(audit, data: Path) -> str:
    """The one-line error for a folder."""
    with pytest.raises(PneumoniaError) as caught:
        audit(data)
    line = str(caught.value)
    assert "\n" not in line
    assert str(data) in line
    return line


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("train/NORMAL", "no readable NORMAL radiographs for train_fit"),
        ("train/PNEUMONIA", "no readable PNEUMONIA radiographs for train_fit"),
        ("test/PNEUMONIA", "no readable PNEUMONIA radiographs for test"),
    ],
)
@pytest.mark.parametrize("leave_empty_folder", [True, False])
def test_missing_class_is_refused(tmp_path, audit, missing, words, leave_empty_folder):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    shutil.rmtree(tree / missing)
    if leave_empty_folder:
        (tree / missing).mkdir()
    assert words in refusal(audit, tree)


@pytest.mark.parametrize("folders", [[], ["train"], ["train", "test"], ["train/NORMAL", "test/NORMAL"], ["pictures"]])
def test_empty_folders_are_refused(tmp_path, audit, folders):
    (tmp_path / "data").mkdir()
    for folder in folders:
        (tmp_path / "data" / folder).mkdir(parents=True)
    assert "data/README.md" in refusal(audit, tmp_path / "data")


def test_folder_that_is_not_there_is_refused(tmp_path, audit):
    refusal(audit, tmp_path / "gone")


def test_file_in_place_of_a_folder_is_refused(tmp_path, audit):
    (tmp_path / "data.zip").write_bytes(b"PK")
    refusal(audit, tmp_path / "data.zip")


def test_tree_without_one_readable_file_is_refused(tmp_path, audit):
    for path in SMALL_TREE:
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_text("not an image")
    assert "no readable NORMAL or PNEUMONIA radiographs" in refusal(audit, tmp_path / "data")


def test_patient_in_train_and_test_is_refused(tmp_path, audit):
    tree = write_tree(tmp_path / "data", [*SMALL_TREE, "test/NORMAL/IM-0001-0002.jpeg"])
    with pytest.raises(PneumoniaError, match="patient IM-1 is in two splits"):
        audit(tree)


def test_run_without_radiographs_is_refused_in_words(audit):
    with pytest.raises(PneumoniaError, match="radiographs"):
        audit(None)


def test_file_that_may_not_be_read_is_a_row_whose_reason_names_no_place_on_this_machine(tmp_path, audit, monkeypatch):
    tree = write_tree(tmp_path / "data", SMALL_TREE)
    forbidden, read_bytes = tree / SMALL_TREE[0], Path.read_bytes

    def refuse(path):
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    reason = audit(tree).set_index("path").loc[SMALL_TREE[0], "excluded_reason"]
    assert "Permission denied" in reason
    assert str(tree) not in reason


# --- MedMNIST -----------------------------------------------------------------------------------------------------


def write_medmnist(path: Path, seed: int = 0, **changes) -> Path:
    """An archive like pneumoniamnist_28.npz: gray pictures, labels (n, 1), in three splits of one third PNEUMONIA."""
    rng, arrays = np.random.default_rng(seed), {}
    for split, count in (("train", 60), ("val", 6), ("test", 9)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 3 == 0).astype(np.uint8)[:, None]
    np.savez_compressed(path, **(arrays | changes))
    return path


@pytest.mark.parametrize("named", ["file", "folder"])
def test_medmnist_archive_is_a_data_set(tmp_path, audit, named):
    (tmp_path / "data").mkdir()
    archive = write_medmnist(tmp_path / "data" / "pneumoniamnist.npz")
    catalog = audit(archive if named == "file" else tmp_path / "data")
    official = catalog["path"].str.split("/").str[0]
    assert catalog.groupby(official)["label"].agg(["size", "sum"]).to_dict("index") == {
        "train": {"size": 60, "sum": 20},
        "val": {"size": 6, "sum": 2},
        "test": {"size": 9, "sum": 3},
    }
    assert catalog["patient_id"].is_unique  # it names none
    assert set(catalog["excluded_reason"]) == {""}
    assert set(zip(catalog["width"], catalog["mode"], strict=True)) == {(28, "L")}


def test_medmnist_archive_is_unpacked_once(tmp_path, audit):
    archive = write_medmnist(tmp_path / "pneumoniamnist.npz")
    audit(archive)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "home" / "cache").rglob("*.png")}
    assert len(before) == 75
    audit(archive)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "home" / "cache").rglob("*.png")} == before


def test_another_medmnist_archive_of_the_same_name_is_not_taken_for_the_first(tmp_path, audit):
    archive = tmp_path / "pneumoniamnist.npz"
    first = hash_catalog(audit(write_medmnist(archive, seed=0)))
    assert hash_catalog(audit(write_medmnist(archive, seed=1))) != first


@pytest.mark.parametrize("damage", ["empty", "truncated", "corrupt"])
def test_damaged_medmnist_archive_is_refused_and_leaves_nothing(tmp_path, audit, damage):
    archive = write_medmnist(tmp_path / "pneumoniamnist.npz")
    whole = archive.read_bytes()
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "truncated": whole[:middle],
        "corrupt": whole[:middle] + bytes(200) + whole[middle + 200 :],
    }
    archive.write_bytes(content[damage])
    assert "not a PneumoniaMNIST archive" in refusal(audit, archive)
    assert not list((tmp_path / "home").rglob("*.png"))


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "free the disk"), (errno.EROFS, "make the folder writable")]
)
def test_a_medmnist_archive_that_cannot_be_unpacked_is_not_to_blame(tmp_path, audit, monkeypatch, number, remedy):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    archive = write_medmnist(tmp_path / "pneumoniamnist.npz")
    monkeypatch.setattr(Image.Image, "save", fail)
    line = refusal(audit, archive)
    assert f"({os.strerror(number)}); {remedy} and run again" in line and "download" not in line
    assert not list((tmp_path / "home" / "cache").iterdir())


def test_a_medmnist_archive_that_is_not_there_is_refused(tmp_path, audit):
    assert "cannot be read (No such file" in refusal(audit, tmp_path / "pneumoniamnist.npz")


def test_text_in_place_of_a_medmnist_archive_is_refused(tmp_path, audit):
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"<html>404 Not Found</html>")
    assert "not a PneumoniaMNIST archive" in refusal(audit, tmp_path / "pneumoniamnist.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": np.zeros((60, 14), np.uint8)},  # ChestMNIST
        {"train_labels": np.full((60, 1), 7, np.uint8)},  # PathMNIST
        {"test_labels": np.zeros((3, 1), np.uint8)},
    ],
    ids=["fourteen labels", "nine classes", "too few labels"],
)
def test_another_medmnist_archive_is_refused(tmp_path, audit, changes):
    refusal(audit, write_medmnist(tmp_path / "other.npz", **changes))


# --- hash ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["path", "sha256", "label", "split"])
def test_hash_changes_with_what_is_learned_from(audited, column):
    changed = audited.reset_index(drop=True)
    row = changed.index[changed["excluded_reason"] == ""][5]
    changed.loc[row, column] = 1 - changed.loc[row, "label"] if column == "label" else "other"
    assert hash_catalog(changed) != hash_catalog(audited)


def test_hash_does_not_change_with_what_is_left_out(audited):
    assert hash_catalog(audited.drop(index=[DUPLICATE, *UNREADABLE])) == hash_catalog(audited)


def test_hash_changes_with_the_validation_split(simulated_tree, tmp_path, audited):
    other = build_catalog(replace(tiny_run(simulated_tree, tmp_path), split_seed=7))
    assert hash_catalog(other) != hash_catalog(audited)


# --- the real radiographs: the facts of data/README.md ------------------------------------------------------------


@pytest.fixture(scope="module")
def real_catalog(chest_xray_dir, tmp_path_factory) -> pd.DataFrame:
    return build_catalog(tiny_run(chest_xray_dir, tmp_path_factory.mktemp("home")))


def test_real_counts(real_catalog):
    assert len(real_catalog) == 5856
    official = real_catalog["path"].str.split("/").str[0]
    assert real_catalog.groupby([official, "class_name"]).size().to_dict() == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("val", "NORMAL"): 8,
        ("val", "PNEUMONIA"): 8,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
    }
    kinds = real_catalog.groupby([official, "kind"]).size()
    assert kinds["train"].to_dict() == {"NORMAL": 1341, "bacteria": 2530, "virus": 1345}
    assert kinds["test"].to_dict() == {"NORMAL": 234, "bacteria": 242, "virus": 148}


def test_real_duplicates(real_catalog):
    copies = real_catalog[real_catalog["duplicate_of"] != ""]
    assert copies["duplicate_of"].nunique() == 30
    assert len(copies) + copies["duplicate_of"].nunique() == 62
    by_path = real_catalog.set_index("path")
    originals = by_path.loc[copies["duplicate_of"]]
    assert (originals["class_name"].to_numpy() == copies["class_name"].to_numpy()).all()
    assert (copies["path"].str.split("/").str[0] == copies["duplicate_of"].str.split("/").str[0]).all()


def test_real_test_split_stays_whole_and_nothing_is_unreadable(real_catalog):
    assert (select_used(real_catalog)["split"] == "test").sum() == 624  # the official test split is left whole
    reasons = real_catalog.loc[real_catalog["excluded_reason"] != "", "excluded_reason"]
    assert reasons.str.startswith("duplicate of ").all()


def test_real_validation_share(real_catalog):
    train = select_used(real_catalog).query("path.str.startswith('train')", engine="python")
    shares = (train["split"] == "validation").groupby(train["kind"]).mean()
    assert ((shares > 0.14) & (shares <= 0.15)).all()


def test_real_patients_are_not_shared_but_their_bare_numbers_seem_to_be(real_catalog):
    assert real_catalog.groupby("patient_id")["split"].nunique().max() == 1
    assert count_shared_bare_numbers(real_catalog) == {"NORMAL": 94, "PNEUMONIA": 170}


# --- which test split ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([path for path in read_original_sizes() if path.startswith("test/")], "this archive's, all 624 radiographs."),
        ([f"test/NORMAL/test-{number:05d}.png" for number in range(3)], "PneumoniaMNIST's; 66 of its 234 NORMAL"),
        (
            ["test/normal/IM-0001-0001.jpeg", "test/NORMAL/mine.png"],
            "another; 1 of its 2 file names are among the 624 of this archive's.",
        ),
    ],
    ids=["archive", "MedMNIST", "another"],
)
def test_the_test_split_at_hand_is_named(names, sentence):
    catalog = pd.DataFrame({"path": [*names, "train/NORMAL/IM-0115-0001.jpeg"]})
    catalog["split"] = catalog["path"].str.split("/").str[0].replace("train", "train_fit")
    assert describe_test_split(catalog).startswith(f"Test split: {sentence}")
