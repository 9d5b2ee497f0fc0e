"""`python -m pneumonia predict`: what it prints and writes, its exit statuses, and how it resumes."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRETS, make_dicom
from PIL import Image

from pneumonia import __main__ as cli
from pneumonia.config import ROOT
from pneumonia.data import decoding
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.inference import reader
from pneumonia.inference.command import name_heatmap, printable
from pneumonia.inference.final_model import RECORD, FinalModel

MANY = 1000
COMMAND = [sys.executable, "-m", "pneumonia", "predict"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six radiographs, two of them DICOM, with awkward names. Only the DICOM ones are square."""
    folder = tmp_path_factory.mktemp("radiographs")
    for seed, name in enumerate(("a b.png", "-dash.png", "line\nbreak.png", "🫁.jpeg")):
        film = Image.fromarray(simulate_radiograph("bacteria", np.random.default_rng(seed), 160))
        film.resize((200, 160)).save(folder / name)
    (folder / "sub").mkdir()
    for seed, name in enumerate(("scan", "scan.dcm"), start=4):
        pixels = simulate_radiograph("NORMAL", np.random.default_rng(seed), 160)
        (folder / "sub" / name).write_bytes(make_dicom(pixels, PatientAge="030Y"))
    return folder


@pytest.fixture(scope="module")
def squares(folder, tmp_path_factory) -> Path:
    """The same, all of them square."""
    squares = shutil.copytree(folder, tmp_path_factory.mktemp("squares") / "radiographs")
    for path in (*squares.glob("*.png"), *squares.glob("*.jpeg")):
        Image.open(path).resize((160, 160)).save(path)
    return squares


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **options)


def predict(*arguments: object) -> int:
    return cli.main(["predict", *map(str, arguments)])


def read_rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_table(folder, capsys):
    assert predict(folder) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2 + 6 and "Not for clinical use" in lines[0] and err == ""
    assert any("line\\nbreak.png" in line for line in lines)
    assert any("scan.dcm" in line and "refer" in line and "not one to five years" in line for line in lines)


def test_json_and_csv_say_the_same(folder, tmp_path, capsys):
    assert predict(folder, "--json", "--csv", tmp_path / "x.csv", "--operating-point", "screening") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = read_rows(tmp_path / "x.csv")
    assert [row["path"] for row in rows] == [answer["path"] for answer in answers]
    assert len({answer["path"] for answer in answers}) == 6
    for row, answer in zip(rows, answers, strict=True):
        assert float(row["probability"]) == answer["probability"] and row["call"] == answer["call"]
        assert row["refer"] == str(answer["refer"]).lower() and row["warnings"] == "; ".join(answer["warnings"])
        assert answer["operating_point"] == row["operating_point"] == "screening"
        assert answer["model_hash"] == FinalModel().hash and answer["model"] == FinalModel().name


def test_no_tensorflow_and_no_other_heavy_import(folder):
    code = (
        "import sys; from pneumonia.__main__ import main; status = main(sys.argv[1:]);"
        "heavy = {'tensorflow', 'keras', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'cv2', 'onnx'} & set(sys.modules);"
        "sys.exit(f'{heavy}' if heavy else status)"
    )
    command = [sys.executable, "-c", code, "predict", str(folder), "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 6


def test_exit_statuses(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jpeg").write_text("no image")
    assert predict(tmp_path / "empty") == predict(tmp_path / "empty", "--csv", tmp_path / "x.csv") == 2
    assert capsys.readouterr().err.count("no radiographs found") == 2 and not (tmp_path / "x.csv").exists()
    assert predict(tmp_path / "*.tif") == 2
    assert "*.tif: cannot be read (No such file)" in capsys.readouterr().err
    assert predict(tmp_path / "bad.jpeg") == 2
    assert predict(tmp_path / "bad.jpeg", folder / "a b.png", "--csv", tmp_path / "x.csv") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 2 and err.count("bad.jpeg: not an image") == 2
    bad, good = read_rows(tmp_path / "x.csv")
    assert "not an image" in bad["error"] and bad["probability"] == "" and good["error"] == ""
    assert predict(folder, "--prevalence", 2) == predict(folder, "--resume") == predict(folder, "--workers", 0) == 2
    with pytest.raises(SystemExit) as ended:
        predict(folder, "--operating-point", "best")
    assert ended.value.code == 2


def test_prevalence_moves_probability_and_threshold_together(folder, capsys):
    for prevalence in (0.05, 0.3, 0.5, 0.9):
        assert predict(folder, "--json", "--prevalence", prevalence) == 0
        for answer in map(json.loads, capsys.readouterr().out.splitlines()):
            assert (answer["probability"] >= answer["threshold"]) == (answer["call"] == "PNEUMONIA")
            within = answer["refer_from"] <= answer["probability"] < answer["refer_to"]
            assert answer["refer"] == within or answer["warnings"]
    assert predict(folder, "--prevalence", 0.05) == 0
    assert "prevalence 5 %: PNEUMONIA from 0.050" in capsys.readouterr().out


def test_missing_library_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pneumonia.inference.command", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "pneumonia.inference.command")
    assert predict(folder) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "tqdm" in err and "`pip install -e .`" in err


def test_list_on_standard_input_and_leading_dash(folder):
    ended = run("--json", "-", input=f"{folder}/a b.png\n{folder}/nowhere.png\n")
    assert ended.returncode == 1 and ended.stdout.count("\n") == 2 and ended.stderr.count("\n") == 1
    command = [*COMMAND, "--json", "--", "-dash.png"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and json.loads(ended.stdout)["path"] == "-dash.png"


def test_patient_reaches_no_output(folder, tmp_path):
    odd = make_dicom(np.zeros((40, 40), np.uint8)).replace(b"004Y", b"Zzq!").replace(b"20031114", b"2003111Z")
    odd_path = tmp_path / "odd.dcm"
    odd_path.write_bytes(odd)
    (tmp_path / "broken.dcm").write_bytes(odd[: len(odd) - 900])
    command = (folder / "sub", odd_path, tmp_path / "broken.dcm", "--json", "--heatmap", tmp_path / "maps")
    ended = run(*command, "--csv", tmp_path / "x.csv", env=os.environ | {"PYTHONWARNINGS": "always"})
    assert ended.returncode == 1
    written = [path.read_bytes() for path in [tmp_path / "x.csv", *(tmp_path / "maps").iterdir()]]
    assert len(written) == 1 + 3
    everything = b"".join([ended.stdout.encode(), ended.stderr.encode(), *written])
    assert [secret for secret in (*SECRETS, "2003111Z", "Zzq!") if secret.encode() in everything] == []


def test_heatmaps(folder, tmp_path, capsys):
    assert predict(folder, "--json", "--heatmap", tmp_path / "maps") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == sorted(
        name_heatmap(answer["path"]) for answer in answers
    )
    for answer in answers:
        with Image.open(answer["heatmap"]) as overlay:
            assert overlay.height == 160 and overlay.width > 160 and overlay.info == {}


def test_heatmap_names_are_safe_and_differ():
    names = {name_heatmap(path) for path in ("a/x.png", "b/x.png", "-x.png", "..", "é\n/🫁.png", "y" * 300)}
    assert len(names) == 6
    assert all(name[0] not in "-." and "\n" not in name and len(name) < 80 for name in names)


def test_nothing_odd_reaches_the_terminal():
    assert printable("a\x1b[2Jb\n\udcff") == "a\\x1b[2Jb\\n\\udcff"


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """1,000 small files."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    (folder / "0150.png").write_bytes(b"not an image")
    return folder


def heed_interrupts() -> None:
    """In the background of a script, its shell makes all of them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for_rows(path: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, "ended before it could be interrupted"
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_interrupted_and_resumed(many, tmp_path, number, status):
    """The list comes through a pipe that stays open, so that it can be interrupted half-way on any machine."""
    table = tmp_path / "x.csv"
    command = [*COMMAND, "-", "--csv", str(table), "--batch-size", "2"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_interrupts, **pipes)
    process.stdin.write("".join(f"{many / f'{n:04d}.png'}\n" for n in range(MANY // 2)))
    process.stdin.flush()
    wait_for_rows(table, 12, process)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == status and "Traceback" not in error
    before = table.read_bytes()
    assert 11 <= len(read_rows(table)) < MANY
    table.write_bytes(before + b'"a row that was beg')
    ended = run(many, "--csv", table, "--resume")
    assert ended.returncode == 1 and ended.stderr.count("\n") <= 1
    rows = read_rows(table)
    assert sorted(row["path"] for row in rows) == [str(many / f"{number:04d}.png") for number in range(MANY)]
    whole = before[: before.rindex(b"\n")].decode().splitlines()
    kept = [row for row in csv.DictReader(whole) if not row["error"]]  # what failed is tried again
    assert rows[: len(kept)] == kept
    assert [row["path"] for row in rows if row["error"]] == [str(many / "0150.png")]
    again = run(many, "--csv", table, "--resume")  # nothing left to read, but for one that cannot be
    assert again.returncode == 1 and again.stderr.count("\n") == 1 and len(read_rows(table)) == MANY
    one = run(many / "0000.png", "--csv", table, "--resume")  # failures of other files are not its own
    assert one.returncode == 0 and len(read_rows(table)) == MANY  # but their rows stay


def test_full_disk_then_resume(many, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    table = tmp_path / "x.csv"
    ended = run(many, "--csv", table, preexec_fn=limit)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr and "--resume" in ended.stderr.splitlines()[-1]
    assert table.stat().st_size <= 9_000
    assert run(many, "--csv", table, "--resume").returncode == 1
    assert [row["path"] for row in read_rows(table)] == [str(many / f"{number:04d}.png") for number in range(MANY)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_disk_that_is_full_from_the_start(folder, tmp_path):
    ended = run(folder, "--csv", "/dev/full")
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "No space left" in ended.stderr
    (tmp_path / "maps").write_text("a file where the folder should be")
    ended = run(folder, "--heatmap", tmp_path / "maps")
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "cannot be written" in ended.stderr


def test_closed_pipe_is_no_error(many):
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{' '.join(COMMAND)} {many} --json --batch-size 2 | head -1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.count("\n") == 1 and "Traceback" not in ended.stderr and "BrokenPipe" not in ended.stderr


@pytest.mark.parametrize("problem", ["missing", "truncated", "another hash"])
def test_broken_model_is_one_line(folder, tmp_path, monkeypatch, capsys, problem):
    for path in (ROOT / "models").glob("final*"):
        shutil.copyfile(path, tmp_path / path.name)
    part = tmp_path / json.loads((tmp_path / RECORD).read_text())["files"][0]["name"]
    content = part.read_bytes()
    if problem == "missing":
        part.unlink()
    else:
        part.write_bytes(content[:-9] if problem == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(reader, "FinalModel", lambda: FinalModel(tmp_path))
    assert predict(folder) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and part.name in err and "pneumonia export" in err


@pytest.fixture
def windowed(tmp_path, monkeypatch):
    """The committed model, as if it saw the central window of 1.25 : 1."""
    models = tmp_path / "models"
    models.mkdir()
    for path in (ROOT / "models").glob("final*"):
        shutil.copyfile(path, models / path.name)
    (models / RECORD).write_text(json.dumps(json.loads((models / RECORD).read_text()) | {"window": 1.25}))
    monkeypatch.setattr(reader, "FinalModel", lambda: FinalModel(models))


def test_square_files_are_counted_in_one_line(folder, squares, windowed, tmp_path, capsys):
    assert predict(folder) == 0 and capsys.readouterr().err == "", "none is square but DICOM, which says its shape"
    assert predict(squares, "--csv", tmp_path / "x.csv") == 0
    err = capsys.readouterr().err
    assert err.startswith("pneumonia: 4 of 6 files are square and read as they are; ") and err.count("\n") == 1
    assert "--original-size WIDTHxHEIGHT (their own size, where they are originals)" in err
    assert [reader.SQUARE in row["warnings"] for row in read_rows(tmp_path / "x.csv")] == [True] * 4 + [False] * 2


def test_the_size_of_the_originals_silences_it_and_is_a_setting(squares, windowed, tmp_path, capsys):
    for size in ("160x160", "1857X1317"):
        table = tmp_path / f"{size}.csv"
        assert predict(squares, "--csv", table, "--original-size", size) == 0
        assert capsys.readouterr().err == ""
        assert {row["original_size"] for row in read_rows(table)} == {size.lower()}
    plain, wide = (read_rows(tmp_path / f"{size}.csv") for size in ("160x160", "1857X1317"))
    changed = [one["probability"] != other["probability"] for one, other in zip(plain, wide, strict=True)]
    assert changed == [True] * 4 + [False] * 2, "DICOM keeps its own"
    assert predict(squares, "--csv", table, "--resume") == 2
    assert "another model or settings" in capsys.readouterr().err
    for size in ("1857", "0x5", "1857x-3", "axb"):
        assert predict(squares, "--original-size", size) == 2
        assert capsys.readouterr().err.endswith("must be WIDTHxHEIGHT in pixels, such as 1857x1317\n")


def damage(folder: Path) -> Path:
    """A film of many comments, which no decoder is through with in an hour."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "0.gif")
    plain = (folder / "0.gif").read_bytes()
    at = plain.index(b"\x2c", 13 + 3 * 2)
    (folder / "0.gif").write_bytes(plain[:at] + b"\x21\xfe\x01a\0" * 1_000_000 + plain[at:])
    return folder / "0.gif"


def test_a_hostile_film_holds_nobody_up(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "SECONDS", 3)
    film = damage(tmp_path)
    assert predict(film, folder / "*.png", "--csv", tmp_path / "x.csv") == 1
    out, err = capsys.readouterr()
    assert err == f"pneumonia: {film}: takes more than 3 seconds to decode; save the picture anew\n"
    assert [row["error"] == "" for row in read_rows(tmp_path / "x.csv")] == [False] + [True] * 3
    assert out.startswith(f"{tmp_path / 'x.csv'}: 3 read, 1 failed, ")


def test_the_last_line_counts(folder, tmp_path, capsys):
    (tmp_path / "bad.jpeg").write_text("no image")
    table = tmp_path / "x.csv"
    assert predict(tmp_path / "bad.jpeg", folder / "sub", "--csv", table) == 1
    out = capsys.readouterr().out
    assert out == f"{table}: 2 read, 1 failed, 2 flagged, 2 referred. Not for clinical use.\n", "they are adults"
    assert predict(folder, "--csv", table, "--resume", "--json") == 0
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    flagged, referred = (sum(bool(answer[key]) for answer in answers) + 2 for key in ("warnings", "refer"))
    assert len(answers) == 4
    assert err == (
        f"{table}: 6 read (2 of them before), 0 failed, {flagged} flagged, {referred} referred. Not for clinical use.\n"
    )


def test_a_film_that_has_changed_since_is_named(folder, tmp_path, capsys):
    films, table = shutil.copytree(folder, tmp_path / "films"), tmp_path / "x.csv"
    assert predict(films, "--csv", table) == 0
    rows = read_rows(table)
    assert [int(row["bytes"]) for row in rows] == [os.path.getsize(row["path"]) for row in rows]
    capsys.readouterr()
    assert predict(films, "--csv", table, "--resume") == 0
    assert capsys.readouterr().err == ""
    Image.fromarray(np.zeros((300, 200), np.uint8)).save(films / "a b.png")
    assert predict(films, "--csv", table, "--resume") == 0
    err = capsys.readouterr().err
    assert err.startswith(f"pneumonia: 1 answered before and changed since, such as {films / 'a b.png'}; ")
    assert err.count("\n") == 1 and read_rows(table) == rows


def test_a_formula_for_a_name(folder, tmp_path):
    shutil.copy(folder / "a b.png", tmp_path / "=1+1.png")
    command = [*COMMAND, "--csv", "x.csv", "--resume", "=1+1.png"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for before in ("", " (1 of them before)"):
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0 and ended.stdout.startswith(f"x.csv: 1 read{before}, 0 failed, ")
    assert [row["path"] for row in read_rows(tmp_path / "x.csv")] == ["./=1+1.png"]


def test_the_second_writer_is_told_who_the_first_is(many, tmp_path):
    table = tmp_path / "x.csv"
    command = [*COMMAND, "-", "--csv", str(table), "--batch-size", "2"]
    first = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first.stdin.write("".join(f"{many / f'{number:04d}.png'}\n" for number in range(20)))
    first.stdin.flush()
    wait_for_rows(table, 2, first)
    for options in ([], ["--resume"]):
        second = run(many / "0500.png", "--csv", table, *options)
        assert second.returncode == 2 and second.stderr.count("\n") == 1
        assert f"{table}: process {first.pid} on " in second.stderr and "is writing to it" in second.stderr
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0 and "20 read" in out and len(read_rows(table)) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize("content", [b"caf\xe9.png\n", "nowhere.png\n".encode("utf-16"), b"\xef\xbb\xbfnowhere.png\n"])
def test_lists_that_are_not_utf_8(content):
    ended = subprocess.run([*COMMAND, "-"], cwd=ROOT, input=content, capture_output=True, check=False)
    assert ended.returncode == 2 and ended.stderr.count(b"\n") == 1, ended.stderr
    assert b"nowhere.png: cannot be read" in ended.stderr or b"caf\\udce9.png: cannot be read" in ended.stderr


def test_a_film_piped_in_is_one_line(folder):
    for content in ((folder / "a b.png").read_bytes(), b"a\0b/*.jpg\n"):
        ended = subprocess.run([*COMMAND, "-"], cwd=ROOT, input=content, capture_output=True, check=False)
        assert ended.returncode == 2 and ended.stderr.count(b"\n") == 1
        assert b"pneumonia: standard input: not a list of paths" in ended.stderr


def test_a_line_of_200_000_characters(folder, tmp_path):
    ended = run("-", "--csv", tmp_path / "x.csv", input=f"{'x' * 200_000}\n{folder}/a b.png\n")
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1 and len(ended.stderr) < 2_000
    assert re.search(r"\[\.\.\. 200,\d\d\d characters, ", ended.stderr) and "File name too long" in ended.stderr
    assert run("-", "--csv", tmp_path / "x.csv", "--resume", input=f"{folder}/a b.png\n").returncode == 0
    assert len(read_rows(tmp_path / "x.csv")) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("options", [[], ["--json"], ["--csv"]])
def test_full_disk_behind_standard_output(many, tmp_path, options):
    options = [*options, str(tmp_path / "x.csv")] if "--csv" in options else options
    with open("/dev/full", "w") as full:
        command = [*COMMAND, str(many / "0000.png"), *options]
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert "standard output: cannot be written (No space left on device); free the disk" in ended.stderr
    assert not options or options[0] != "--csv" or len(read_rows(tmp_path / "x.csv")) == 1, "what was answered is kept"


def test_without_docstrings_and_asserts(folder, tmp_path):
    command = [sys.executable, "-OO", *COMMAND[1:], str(folder), "--heatmap", str(tmp_path), "--csv"]
    ended = subprocess.run([*command, tmp_path / "x.csv"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and ended.stderr == "" and len(read_rows(tmp_path / "x.csv")) == 6


# What has just been imported when Ctrl-C comes; argparse is the first after which it is heard.
MOMENTS = ("argparse", "pneumonia.config", "numpy._core.multiarray", "numpy", "PIL.Image")
MOMENTS += ("pneumonia.inference.command", "onnxruntime.capi.onnxruntime_pybind11_state", "onnxruntime")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_at_the_start(folder, moment):
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_interrupts, **pipes)
    for line in process.stderr:
        if line.split("|")[-1].strip() == moment:
            break
    process.send_signal(signal.SIGINT)
    rest = [line for line in process.stderr.read().splitlines() if not line.startswith("import time:")]
    process.communicate(timeout=60)
    assert process.returncode == 130 and rest == ["pneumonia: interrupted"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("rows", [1, 2, 5, 9, 14])
def test_ctrl_c_while_a_hostile_film_is_decoded(many, tmp_path, rows):
    """Heard at once, whatever the decoders are at, and twice as well as once."""
    table, film = tmp_path / "x.csv", damage(tmp_path)
    names = [str(many / f"{number:04d}.png") for number in range(15)] + [str(film)] * 4
    command = [*COMMAND, *names, "--csv", str(table), "--batch-size", "1"]
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_interrupts, stderr=subprocess.PIPE, text=True)
    wait_for_rows(table, rows, process)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    if rows % 2:
        process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and time.monotonic() - start < 30
    assert error.startswith("pneumonia: interrupted") and error.count("\n") == 1
    assert run(*names[:15], "--csv", table, "--resume").returncode == 0 and len(read_rows(table)) == 15
