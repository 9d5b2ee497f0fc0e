"""The command line: what it lists, and how it ends when something is wrong."""

from __future__ import annotations

import re

import pytest

from pneumonia import __main__ as cli
from pneumonia.config import PneumoniaError

STEPS = (
    *("download", "catalog", "train", "evaluate", "attribute", "ablation", "figures", "report"),
    *("robustness", "masking", "learning-curve", "pareto", "three-class"),
    *("export", "predict", "notebook"),
)


def test_help_lists_every_step(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert tuple(re.findall(r"^ {4}([a-z-]+)\b", listed, re.MULTILINE)) == STEPS


def test_unknown_step_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["diagnose"])
    assert ended.value.code == 2
    assert "diagnose" in capsys.readouterr().err


def test_wrong_folder_is_one_line_and_status_2(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "nowhere"))
    assert cli.main(["catalog"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pneumonia: CHEST_XRAY_DIR=") and error.count("\n") == 1


@pytest.mark.parametrize(("raised", "status"), [(PneumoniaError("x: bad; mend it"), 2), (KeyboardInterrupt(), 130)])
def test_exit_status(monkeypatch, capsys, raised, status):
    def fail(options):
        raise raised

    monkeypatch.setattr(cli, "run_catalog", fail)
    assert cli.main(["catalog"]) == status
    assert capsys.readouterr().err.startswith("pneumonia: ")


def test_download_goes_to_the_named_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("pneumonia.data.download.download", lambda source, target: target / source)
    assert cli.main(["download", "--source", "medmnist", "--target", str(tmp_path)]) == 0
    assert str(tmp_path / "medmnist") in capsys.readouterr().out
