"""The command line: the steps it lists, its errors and exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pneumonia import __main__ as cli
from pneumonia.config import PneumoniaError
from pneumonia.studies import STUDIES

STEPS = (
    *("download", "catalog", "train", "evaluate", "figures", "report"),
    *("near-duplicates", "attribute", "robustness", "masking"),
    *("ablation", "noise-control", "learning-curve", "pareto", "three-class"),
    *("export", "predict", "app", "notebook"),
)


def test_help_lists_every_step(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert tuple(re.findall(r"^ {4}([a-z-]+)\b", listed, re.MULTILINE)) == STEPS


def test_help_says_which_steps_look_at_test():
    text = " ".join(cli.build_parser().format_help().split())
    assert "results/pareto.csv (a look at test)" in text
    assert "results/attribution.csv" in text and "results/attribution.csv (a look" not in text


def test_the_command_line_imports_nothing_heavy():
    code = "import sys; from pneumonia.__main__ import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pandas", "matplotlib", "keras"} & set(loaded), "`predict` would start slowly, or not at all"


def test_a_missing_package_is_one_line(monkeypatch, capsys):
    def fail(options):
        raise ModuleNotFoundError("No module named 'keras'", name="keras")

    monkeypatch.setattr(cli, "run_catalog", fail)
    assert cli.main(["catalog"]) == 2
    assert capsys.readouterr().err == "pneumonia: keras is not installed; run `pip install -e .[train]`\n"


def test_a_backend_that_is_not_installed_is_named(monkeypatch, capsys):
    def fail(options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(cli, "run_train", fail)
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err == (
        "pneumonia: KERAS_BACKEND=torch is not installed; install it or unset KERAS_BACKEND\n"
    )


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["robustness", "--seeds", "1"], {"seeds": 1}),
        (["attribute", "--encoding-swap", "films"], {"swap": Path("films")}),
        (["learning-curve"], {}),
    ],
)
def test_the_step_of_a_study_makes_its_table(monkeypatch, capsys, arguments, chosen):
    made = {}
    monkeypatch.setattr(cli, "open_for", lambda options: None)
    monkeypatch.setattr(
        "pneumonia.pipeline.make_study", lambda run, name, **options: made.update({name: options}) or "x"
    )
    assert cli.main(arguments) == 0
    (name,) = made
    assert STUDIES[name].made_by == arguments[0] and made[name] == chosen
    assert f"results/{name}.csv" in capsys.readouterr().out


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
