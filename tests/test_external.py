"""Another site: folders and lists are read, a shifted site is noticed, errors are one line."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN, write_tree

from pneumonia import __main__ as cli
from pneumonia.config import CLASS_NAMES, PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.calibration import calibrate
from pneumonia.models.weights import load_trained
from pneumonia.results import read_table
from pneumonia.studies import external
from pneumonia.studies.external import (
    evaluate_external,
    find_cases,
    measure_shift,
    name_report,
    read_images,
    widen_intervals,
    write_external,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Twenty adult-sized PNGs of 1,024 px from another machine (darker, blurred), one damaged file, and clutter."""
    folder = tmp_path_factory.mktemp("hospital")
    for number in range(20):
        kind = "NORMAL" if number % 2 else "bacteria"
        image = cv2.resize(simulate_radiograph(kind, np.random.default_rng(500 + number), 128), (1024, 1024))
        target = folder / ("Normal" if number % 2 else "PNEUMONIA") / f"scan{number}.png"
        target.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(target), (0.6 * cv2.GaussianBlur(image, (0, 0), 6)).astype(np.uint8))
    (folder / "PNEUMONIA" / "damaged.png").write_bytes(b"not a picture")
    (folder / "PNEUMONIA" / ".DS_Store").write_bytes(b"clutter")
    return folder


def test_a_site_is_evaluated_and_reported(finished, site, tmp_path):
    run, catalog = finished
    validation = read_table(run, "predictions").query("split.str.startswith('validation')")
    found = evaluate_external(run, CNN, validation, site, catalog)
    assert len(found.cases) == 20 and len(found.unreadable) == 1 and "damaged.png" in found.unreadable[0]
    assert set(found.metrics["split"]) == {"validation", "test"} and set(found.predictions["seed"]) == {0, 1}
    ours = found.predictions.query("split == 'test' and seed == 0")
    y_prob = calibrate(ours["y_prob"], read_table(run, "calibration"), CNN, 0)
    accuracy = ((y_prob >= 0.5) == (ours["label"] == 1)).mean()
    row = found.metrics.query("split == 'test' and seed == '0' and metric == 'accuracy'")["value"].item()
    assert row == pytest.approx(accuracy)
    assert {"calibration slope", "calibration intercept"} <= set(found.drift["what"])
    assert [line.split(":")[0] for line in found.warnings[:2]] == [f"only 10 patients are {n}" for n in CLASS_NAMES]
    compared = found.drift["what"].tolist().count("site against site, ROC AUC")
    assert compared + sum("site against site: fewer than five" in line for line in found.warnings) == 2
    (counted,) = [line for line in found.warnings if "square" in line]  # and the model sees true proportions
    assert counted.startswith("20 of 20 files are square and read as they are")
    report = write_external(found, "Tiny CNN", tmp_path / "report")
    text = report.read_text()
    assert "20 radiographs of 20 patients, 10 of them PNEUMONIA; files that could not be read: 1." in text
    shown = found.metrics.query("split == 'test' and seed == 'ensemble' and metric == 'accuracy'")["value"].item()
    assert f"| {100 * shown:.1f} % (" in text.split("| accuracy |")[1].splitlines()[0]
    assert {file.name for file in report.parent.iterdir()} == {
        *("report.md", "predictions.csv", "metrics.csv", "drift.csv", "recalibration.csv", "left_out.csv")
    }


def test_square_files_do_not_matter_where_the_model_stretches_every_picture(finished, site, monkeypatch):
    run, catalog = finished
    stretched = replace(run, models=tuple(replace(c, window=0.0) if c.name == CNN else c for c in run.models))
    monkeypatch.setattr(external, "load_trained", lambda run, *member: load_trained(finished[0], *member))
    validation = read_table(run, "predictions").query("split == 'validation'")
    warnings = evaluate_external(replace(stretched, data=None), CNN, validation, site, catalog).warnings
    assert warnings and not any("square" in line for line in warnings)


def test_our_own_radiographs_are_recognised(finished, tmp_path):
    run, catalog = finished
    listing = tmp_path / "ours.csv"
    used = catalog.query("split == 'train_fit'").groupby("class_name").head(3)
    used.assign(path=[str(run.data / path) for path in used["path"]])[["path", "label"]].to_csv(listing, index=False)
    validation = read_table(run, "predictions").query("split.str.startswith('validation')")
    found = evaluate_external(replace(run, data=None), CNN, validation, listing, catalog)
    assert "6 of 6 radiographs are this project's own (6 of train_fit), not another hospital's" in found.warnings
    assert found.warnings[-1].startswith("site against site: needs this project's radiographs")
    assert not found.drift["what"].str.startswith("site").any()


def test_other_radiographs_than_the_catalog_prevent_only_the_comparison_of_sites(finished, site, tmp_path):
    run, catalog = finished
    validation = read_table(run, "predictions").query("split.str.startswith('validation')")
    found = evaluate_external(replace(run, data=tmp_path, cache=tmp_path / "cache"), CNN, validation, site, catalog)
    assert found.warnings[-1].startswith(f"site against site: {tmp_path}")
    assert not found.drift["what"].str.startswith("site").any() and len(found.cases) == 20


def test_few_patients_of_a_class_leave_the_other_class_compared(site):
    labels = np.repeat([0, 1], [3, 20])
    home = (np.zeros((23, 16, 16), np.uint8), labels, np.arange(23).astype(str))
    rows, missing = measure_shift(home, find_cases(site)[0].query("~path.str.contains('damaged')"))
    assert rows["where"].tolist() == ["PNEUMONIA"] and rows["value"].item() > 0.9
    assert len(missing) == 1 and missing[0].startswith("NORMAL: site against site: fewer than five patients")


def test_a_perfect_rate_has_an_exact_interval():
    cases = pd.DataFrame({"label": [0] * 4 + [1] * 10, "patient_id": [*"aabb", *"0123456789"]})
    metrics = pd.DataFrame(
        [
            ("mean", split, name, *[1.0] * 3)
            for split in ("validation", "test")
            for name in ("sensitivity", "specificity")
        ]
        + [("mean", "test", "ppv", *[1.0] * 3), ("mean", "test", "roc_auc", *[1.0] * 3)],
        columns=["seed", "split", "metric", "value", "ci_low", "ci_high"],
    )
    low = widen_intervals(metrics, cases).set_index(["split", "metric"])["ci_low"]
    assert low["test", "sensitivity"] == low["test", "ppv"] == pytest.approx(0.025 ** (1 / 10), abs=1e-6)
    assert low["test", "specificity"] == pytest.approx(0.025 ** (1 / 2), abs=1e-6)  # two children, not four films
    assert low["validation", "sensitivity"] == low["test", "roc_auc"] == 1


def test_a_csv_names_the_same_cases(site, tmp_path):
    by_folder = find_cases(site)[0].query("~path.str.contains('damaged')").drop(columns="file")
    listing = tmp_path / "cases.csv"
    rows = by_folder.assign(label=by_folder["label"].map({0: "Normal", 1: "1"}), patient_id=["one", *["two"] * 19])
    rows.to_csv(listing, index=False)
    cases, _ = find_cases(listing)
    assert cases["label"].tolist() == by_folder["label"].tolist()
    assert cases["path"].tolist() == by_folder["path"].tolist()
    assert cases["patient_id"].value_counts().to_dict() == {"two": 19, "one": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.png,2\n", r"line 2: label must be 0, 1, NORMAL or PNEUMONIA"),
        ("path,label\na.png,0\n\nb.png,\n", r"line 4: label must be 0, 1, NORMAL or PNEUMONIA"),
        ("path,label\n,0\n", r"line 2: the path is empty"),
        ("path,label\na.png,0\n\nb.png,1\n./a.png,0\n", r"line 5: this file is already listed"),
        ("path,label\na.png,0,\nb.png,7,\n", r"line 3: label must be"),
        ('path,label\n"a\n.png",0\nb.png,7\n', r"line 4: label must be"),
        ("path\na.png\n", "no column label, but path; the first line must be path,label"),
        ("", "no column label, path"),
        ("path,label\na\0.png,3\n", r"line 2: label must be"),
        ('path,label\n"a.png,0\n', "cannot be read as CSV"),
    ],
)
def test_bad_lists_are_one_clear_line(content, message, tmp_path):
    listing = tmp_path / "cases.csv"
    listing.write_text(content)
    with pytest.raises(PneumoniaError, match=message):
        find_cases(listing)


def test_blank_lines_of_a_list_are_ignored(tmp_path):
    listing = tmp_path / "cases.csv"
    listing.write_text("\ufeff\npath , label\n\na.png,0,\n,\nb.png, 1\n")
    cases, _ = find_cases(listing)
    assert cases["path"].tolist() == [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert cases["patient_id"].tolist() == cases["path"].tolist()


def test_files_without_a_patient_in_their_name_are_one_patient_each(tmp_path):
    for class_name in CLASS_NAMES:
        (tmp_path / class_name).mkdir()
        (tmp_path / class_name / "000.png").touch()
    assert find_cases(tmp_path)[0]["patient_id"].nunique() == 2


@pytest.mark.parametrize("content", ["path,label\n", "path,label\nnowhere/a.png,0\nnowhere/b.png,1\n"])
def test_a_list_of_nothing_that_can_be_read_says_so(content, finished, tmp_path):
    listing = tmp_path / "cases.csv"
    listing.write_text(content)
    with pytest.raises(PneumoniaError, match="cases.csv: no NORMAL and no PNEUMONIA radiographs") as caught:
        evaluate_external(finished[0], CNN, None, listing, finished[1])
    assert ("nowhere/a.png" in str(caught.value)) == ("nowhere" in content)


def test_folders_of_a_class_may_be_called_otherwise_be_links_and_lie_deep(tmp_path):
    names = ["a/No_findings/1.png", "a/NORMAL/child/2.png", "a/Viral Pneumonia/3.png", "a/Viral Pneumonia/child/4.png"]
    write_tree(tmp_path / "site", names)
    write_tree(tmp_path / "pool", ["5.png", "6.jfif.png"])
    (tmp_path / "site" / "pneumonia").symlink_to(tmp_path / "pool")
    cases, left_out = find_cases(tmp_path / "site")
    labels = {Path(path).name: label for path, label in zip(cases["path"], cases["label"], strict=True)}
    assert labels == {"1.png": 0, "2.png": 0, "3.png": 1, "4.png": 1, "5.png": 1, "6.jfif.png": 1} and left_out.empty
    assert cases["patient_id"].nunique() == 6


def test_images_in_other_folders_are_counted_and_a_data_set_called_pneumonia_is_no_class(tmp_path):
    names = ["NORMAL/1.png", "PNEUMONIA/2.png", "COVID19/3.png", "COVID19/4.png", "5.png", "COVID19/notes.png.txt"]
    site = write_tree(tmp_path / "Pneumonia", [name for name in names if not name.endswith(".txt")])
    (site / "COVID19" / "notes.txt").write_text("text")
    cases, left_out = find_cases(site)
    assert sorted(Path(path).name for path in cases["path"]) == ["1.png", "2.png"]
    assert dict(zip(left_out["path"], left_out["reason"], strict=True)) == {
        str(site): "1 image in a folder of neither class",
        str(site / "COVID19"): "2 images in a folder of neither class",
    }


def test_a_class_folder_that_may_not_be_opened_is_a_line(tmp_path, monkeypatch):
    site, scandir = write_tree(tmp_path / "site", ["NORMAL/1.png", "PNEUMONIA/2.png"]), os.scandir

    def refuse(path="."):
        if str(path).endswith("NORMAL"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    words = r"no NORMAL radiographs among the 1 of 2 readable files; .*NORMAL: cannot be read \(Permission denied\)"
    with pytest.raises(PneumoniaError, match=words):
        read_images(find_cases(site)[0], site, 16)


def test_copies_count_once_and_films_of_both_classes_not_at_all(tmp_path):
    site = write_tree(tmp_path / "site", [f"{name}/{number}.png" for name in CLASS_NAMES for number in range(5)])
    shutil.copytree(site, site / "site")  # as an archive that is unpacked into itself
    shutil.copyfile(site / "NORMAL" / "0.png", site / "PNEUMONIA" / "5.png")
    cases, pixels, unreadable, left_out, _ = read_images(find_cases(site)[0], site, 16)
    kept = [f"NORMAL/{number}.png" for number in range(1, 5)] + [f"PNEUMONIA/{number}.png" for number in range(5)]
    assert [path.removeprefix(f"{site}/") for path in cases["path"]] == kept and len(pixels) == 9 and unreadable == []
    reasons = dict(zip(left_out["path"], left_out["reason"], strict=True))
    assert len(reasons) == 21 - 9
    assert reasons[f"{site}/site/PNEUMONIA/3.png"] == f"a copy of {site}/PNEUMONIA/3.png"
    assert reasons[f"{site}/NORMAL/0.png"] == f"in both classes: {site}/PNEUMONIA/5.png"


def test_names_that_are_not_utf_8_are_evaluated(tmp_path):
    site = write_tree(tmp_path / "site", ["NORMAL/1.png", "PNEUMONIA/2.png"])
    try:
        shutil.copyfile(site / "NORMAL" / "1.png", os.path.join(os.fsencode(site), b"NORMAL", b"\xff.png"))
        (site / "NORMAL" / "1.png").unlink()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    listing = tmp_path / "cases.csv"
    listing.write_bytes(b"path,label\nsite/NORMAL/\xff.png,0\nsite/PNEUMONIA/2.png,1\n")
    for source in (site, listing):
        cases, *_ = read_images(find_cases(source)[0], source, 16)
        assert cases["path"].str.endswith(r"NORMAL/\xff.png").sum() == 1 and len(cases) == 2
        cases.drop(columns="file").to_csv(tmp_path / "written.csv")


def test_patients_and_names_are_not_passed_on(finished, site, tmp_path):
    listing = tmp_path / "<b>site.csv"
    rows = find_cases(site)[0].query("~path.str.contains('damaged')").drop(columns="file")
    rows.assign(patient_id=[f"MRN-{number}" for number in range(20)]).to_csv(listing, index=False)
    run, catalog = finished
    validation = read_table(run, "predictions").query("split.str.startswith('validation')")
    found = evaluate_external(replace(run, data=None), CNN, validation, listing, catalog)
    report = write_external(found, "Tiny CNN", tmp_path / "report")
    assert not any("MRN-" in file.read_text() for file in report.parent.iterdir())
    written = pd.read_csv(report.parent / "predictions.csv").query("split == 'test'")
    assert set(written["patient_id"]) == {f"patient-{number}" for number in range(1, 21)}
    assert report.read_text().startswith("# Tiny CNN on &lt;b&gt;site.csv\n")


@pytest.mark.parametrize(
    "content",
    [
        b"Path,Label\na.png,0\nb.png,1\n",
        b"path;label\na.png;normal\nb.png;Bacterial Pneumonia\n",
        b"PATH\tLABEL\na.png\tNo findings\nb.png\tPNEUMONIA\n",
        "path,label\r\na.png,0\r\nb.png,1\r\n".encode("utf-16"),
        "\ufeffpath,label\na.png,0\nb.png,1\n".encode("utf-16-be"),
    ],
    ids=["capitals", "semicolons", "tabs", "UTF-16", "UTF-16, big endian"],
)
def test_lists_as_spreadsheets_write_them(tmp_path, content):
    listing = tmp_path / "cases.csv"
    listing.write_bytes(content)
    cases, _ = find_cases(listing)
    assert cases["path"].tolist() == [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert cases["label"].tolist() == [0, 1]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(
        PneumoniaError, match=r"gone: cannot be opened \(No such file or directory\); name another folder"
    ):
        find_cases(tmp_path / "gone")
    (tmp_path / "film.png").touch()
    with pytest.raises(PneumoniaError, match="film.png: neither a folder nor a .csv"):
        find_cases(tmp_path / "film.png")
    write_tree(tmp_path, ["sick/1.png", "well/2.png"])
    with pytest.raises(
        PneumoniaError, match="no files in folders NORMAL and PNEUMONIA, but film.png, sick, well; name"
    ):
        find_cases(tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path, capsys, monkeypatch, finished):
    with pytest.raises(PneumoniaError, match="no files in folders NORMAL and PNEUMONIA"):
        find_cases(tmp_path)
    monkeypatch.setattr(cli, "open_for", lambda *_, **__: finished[0])
    assert cli.main(["evaluate", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["evaluate", "--out", str(tmp_path)]) == 2
    assert "name the folder too" in capsys.readouterr().err


def test_reports_are_named_after_their_source(tmp_path, monkeypatch):
    folder = tmp_path / "St. Anna v1.2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert name_report(Path(".")) == name_report(folder) == "St. Anna v1.2"
    assert name_report(folder / "cases.csv") == "cases"
