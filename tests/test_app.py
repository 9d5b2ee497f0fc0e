"""The page in the browser: its answers, its privacy, and how it looks in a real Chromium.

The tests of the browser need Gradio, Playwright and a Chromium, and are skipped where one is missing. They also take
the picture of the page: APP_SCREENSHOT=images/app.png makes them write it there.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRETS, make_dicom
from PIL import Image

from pneumonia import __main__ as cli
from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.probability import predictive_values, rebase
from pneumonia.inference.app import HOST, MAX_FILES, MAX_MEGABYTES, OPACITY, POLICY, SECONDS, App
from pneumonia.inference.final_model import FinalModel
from pneumonia.inference.page import RATES, read_rates, restate, show_answer, show_prevalence, show_scale
from pneumonia.inference.reader import Reader
from pneumonia.inference.table import COLUMNS

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOT_BYTES = 150_000
CHEST = simulate_radiograph("bacteria", np.random.default_rng(3), 400)


@pytest.fixture(scope="module")
def app() -> App:
    return App(FinalModel())


@pytest.fixture
def uploads(tmp_path) -> Path:
    """simulated.jpeg, scan.dcm of a child who is too old, and garbage.jpeg."""
    Image.fromarray(CHEST).save(tmp_path / "simulated.jpeg", quality=92)
    (tmp_path / "scan.dcm").write_bytes(make_dicom(CHEST, PatientAge="030Y"))
    (tmp_path / "garbage.jpeg").write_text("no image")
    return tmp_path


def files_of(folder: Path) -> list[str]:
    return [str(folder / name) for name in ("simulated.jpeg", "scan.dcm", "garbage.jpeg")]


def embedded(html: str) -> list[Image.Image]:
    """The pictures within a piece of the page."""
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in re.findall(r"image/\w+;base64,([^\"]+)", html)]


def rows_of(table: str) -> list[dict]:
    """The CSV file within the page."""
    content = base64.b64decode(re.search(r"text/csv;base64,([^\"]+)", table)[1]).decode()
    return list(csv.DictReader(io.StringIO(content)))


# --- answers -----------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_reader_and_uploads_are_gone(app, uploads):
    expected = [Reader(model=app.model).read(Path(path), Path(path).name) for path in files_of(uploads)[:2]]
    kept, pictures, answers, table = app.answer(files_of(uploads), "balanced", 0.5)
    assert kept[:2] == [answer.row() for answer in expected]
    assert "not an image" in kept[2]["error"] and kept[2]["probability"] is None
    assert list(uploads.iterdir()) == []
    assert json.loads(json.dumps(kept))[1]["warnings"] == ["child is not one to five years old"]
    assert answers.count('class="card') == pictures.count('class="card') == 3
    shown = [float(value) / 100 for value in re.findall(r'"probability">([\d.]+)<', answers)]
    assert shown == pytest.approx([answer.probability for answer in expected], abs=5.1e-5)
    assert [row["path"] for row in rows_of(table)] == ["simulated.jpeg", "scan.dcm", "garbage.jpeg"]
    assert tuple(rows_of(table)[0]) == COLUMNS


@pytest.mark.parametrize("point", ["screening", "balanced", "rule-in"])
@pytest.mark.parametrize("prevalence", [0.02, 0.5, 0.9])
def test_settings_changed_later_give_what_the_command_line_gives(app, point, prevalence, tmp_path):
    for seed in range(4):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(simulate_radiograph(("NORMAL", "virus")[seed % 2], np.random.default_rng(seed), 160)).save(path)
        first = Reader(model=app.model).read(path)
        reader = Reader(point, prevalence, app.model)
        later, direct = restate(first, reader), reader.read(path)
        assert later.probability == pytest.approx(direct.probability, abs=5e-5)
        assert replace(later, probability=0) == replace(direct, probability=0)


def test_wrong_settings_are_errors(app):
    for point, prevalence in (("best", 0.5), ("balanced", 0), ("balanced", 1)):
        with pytest.raises(PneumoniaError):
            app.show([], point, prevalence)


def test_patient_and_folder_reach_no_part_of_the_page(app, uploads):
    broken = make_dicom(CHEST)
    (uploads / "broken.dcm").write_bytes(broken[: len(broken) // 2])
    (uploads / "empty.png").write_bytes(b"")
    paths = [*files_of(uploads), str(uploads / "broken.dcm"), str(uploads / "empty.png"), str(uploads / "gone.png")]
    parts = app.answer(paths, "balanced", 0.5)
    everything = json.dumps(parts[0]) + "".join(parts[1:]) + json.dumps(rows_of(parts[3]))
    assert [word for word in (*SECRETS, str(uploads)) if word in everything] == []
    assert [bool(one["error"]) for one in parts[0]] == [False, False, True, True, True, True]
    assert parts[0][4]["error"].startswith("empty.png: empty file")


def test_names_cannot_play_with_the_page(app, tmp_path):
    name = "<img src=x onerror=alert(1)>.png"
    (tmp_path / name).write_text("no image")
    (tmp_path / "a\n\x1b[2J.png").write_text("no image")
    _, pictures, answers, _ = app.answer([str(tmp_path / name), str(tmp_path / "a\n\x1b[2J.png")], "balanced", 0.5)
    assert "<img" not in pictures + answers and "&lt;img" in answers
    assert "\x1b" not in answers and "a\\n\\x1b[2J.png" in answers


def test_too_many_files_are_refused_and_deleted(app, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(MAX_FILES + 1)]
    for path in paths:
        path.write_bytes(b"x")
    kept, pictures, answers, _ = app.answer([str(path) for path in paths], "balanced", 0.5)
    assert len(kept) == 1 and f"{MAX_FILES} at most" in kept[0]["error"] and pictures == ""
    assert list(tmp_path.iterdir()) == [] and app.answer([], "balanced", 0.5)[:3] == ([], "", "")


def test_what_takes_too_long_is_an_error(uploads, monkeypatch):
    monkeypatch.setattr(Reader, "read", lambda *_: time.sleep(1))
    kept = App(FinalModel(), seconds=0.05).answer(files_of(uploads)[:1], "balanced", 0.5)[0]
    assert "took longer than 0.05 s" in kept[0]["error"] and not (uploads / "simulated.jpeg").exists()
    assert 0 < SECONDS <= 120


def test_too_many_pixels_are_refused(app, tmp_path):
    Image.new("1", (9_000, 9_000)).save(tmp_path / "bomb.png")
    assert "million pixels" in app.answer([str(tmp_path / "bomb.png")], "balanced", 0.5)[0][0]["error"]


# --- what is shown -----------------------------------------------------------------------------------------------


def test_layers_of_the_picture_make_the_overlay_of_the_command_line(app, uploads):
    answer = Reader(model=app.model).read(uploads / "simulated.jpeg")
    radiograph, heat, bar = embedded(app.answer(files_of(uploads)[:1], "balanced", 0.5)[1])
    assert radiograph.size == heat.size == (400, 400) and heat.mode == "RGBA" and bar.height == 640
    alpha = heat.getchannel("A").point([round(OPACITY * level) for level in range(256)])
    stacked = Image.composite(heat.convert("RGB"), radiograph.convert("RGB"), alpha)
    difference = np.abs(np.asarray(stacked, int) - np.asarray(answer.overlay().crop((0, 0, 400, 400)), int))
    assert difference.mean() < 3 and np.asarray(alpha).max() > 20  # the radiograph travels as JPEG


def test_large_radiographs_travel_small(app, tmp_path):
    Image.fromarray(CHEST).resize((2400, 1800)).save(tmp_path / "x.png")
    radiograph, heat, _ = embedded(app.answer([str(tmp_path / "x.png")], "balanced", 0.5)[1])
    assert radiograph.size == heat.size == (1024, 768)


@pytest.mark.parametrize("prevalence", [0.1, 0.5])
def test_scale_has_the_marker_beyond_the_thresholds_it_passed(app, prevalence):
    reader = Reader("rule-in", prevalence, app.model)
    points = app.model.record["operating_points"]
    between = (points["balanced"] + points["rule-in"]) / 2
    scale = show_scale(rebase(between, prevalence), reader)
    ticks = {
        name: float(left) for left, name in re.findall(r"left:([\d.]+)%;height[^>]+><span>(?:<b>)?([a-z-]+)", scale)
    }
    here = float(re.search(r'"here" style="left:([\d.]+)%', scale)[1])
    assert ticks["screening"] < ticks["balanced"] < here < ticks["rule-in"]
    assert ticks["rule-in"] == pytest.approx(100 * rebase(points["rule-in"], prevalence), abs=0.01)
    assert "<b>rule-in</b>" in scale and "<b>balanced</b>" not in scale


def test_reasons_to_refer_are_shown(app, uploads):
    reader = Reader(model=app.model)
    answer = reader.read(uploads / "scan.dcm", "scan.dcm")
    shown = show_answer(answer, reader)
    assert "refer to a radiologist" in shown and "child is not one to five years old" in shown
    sure = replace(answer, refer=False, warnings=())
    assert "refer" not in show_answer(sure, reader) and "warning" not in show_answer(sure, reader)
    assert "too close to call" in show_answer(replace(sure, refer=True), reader)


def test_predictive_values_are_counts_of_children():
    pneumonia, normal, found, cleared = 150, 850, 140, 700
    ppv, npv = predictive_values(found / pneumonia, cleared / normal, pneumonia / 1000)
    assert ppv == pytest.approx(found / (found + normal - cleared)) and npv == pytest.approx(cleared / (cleared + 10))
    assert np.isnan(predictive_values(0, 1, 0.5)[0]) and np.isnan(predictive_values(1, 0, 0.5)[1])


def write_rates(path: Path, model: FinalModel, shift: float = 0) -> Path:
    """A file like results/operating_points.csv, with made-up rates, for thresholds that are `shift` off."""
    lines = ["point,low,high,split,metric,value,ci_low,ci_high,n"]
    for point, threshold in model.record["operating_points"].items():
        for split in ("validation", "test"):
            values = {"sensitivity": (0.9, 0.8, 0.95), "specificity": (0.8, 0.7, 0.85), "ppv": (0.5, 0.4, 0.6)}
            for metric, (value, low, high) in values.items():
                bounds = f"{threshold + shift},{threshold + shift},{split}"
                lines.append(f"{point},{bounds},{metric},{value},{low},{high},624")
    path.write_text("\n".join(lines))
    return path


def test_rates_are_taken_only_at_the_threshold_of_the_model(app, tmp_path):
    rates = read_rates(write_rates(tmp_path / "x.csv", app.model), app.model)
    assert set(rates) == set(app.model.record["operating_points"]) and set(rates["balanced"]) == set(RATES)
    assert rates["balanced"]["sensitivity"] == (0.9, 0.8, 0.95, 624)
    assert read_rates(write_rates(tmp_path / "x.csv", app.model, 0.01), app.model) == {}
    assert read_rates(tmp_path / "none.csv", app.model) == {}
    assert "not in the results" in show_prevalence(Reader(model=app.model), {})


def test_prevalence_table(app, tmp_path):
    rates = read_rates(write_rates(tmp_path / "x.csv", app.model), app.model)
    table = show_prevalence(Reader("balanced", 0.2, app.model), rates)
    rows = [re.findall(r"<td>([\d.]+) (?:to ([\d.]+)|%)", row) for row in re.findall(r"<tr[^>]*>(<td>.*?)</tr>", table)]
    shares, ppv, npv = ([float(row[column][0]) for row in rows] for column in (0, 1, 3))
    assert 20 in shares and shares == sorted(shares) and table.count('class="chosen"') == 1
    assert ppv == sorted(ppv) and npv == sorted(npv, reverse=True)
    at = shares.index(20)
    assert ppv[at] == pytest.approx(100 * 0.18 / 0.34, abs=0.06)
    assert all(float(row[2][0]) <= float(row[1][0]) <= float(row[2][1]) for row in rows)
    assert "90.0 % (80.0 to 95.0)" in table and "624 test radiographs" in table


# --- the page itself ---------------------------------------------------------------------------------------------


def test_missing_gradio_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert cli.main(["app", "--no-browser"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "pip install -e .[app]" in err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, folder that holds the uploads) of a page served by its own process, which must exit cleanly."""
    pytest.importorskip("gradio", reason="needs Gradio: pip install -e .[app]")
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    code = (
        "import sys; from pneumonia.__main__ import main; status = main(['app', *sys.argv[1:]]);"
        "sys.exit(str(heavy) if (heavy := {'tensorflow', 'keras', 'torch'} & set(sys.modules)) else status)"
    )
    command = [sys.executable, "-c", code, "--no-browser", "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(folder)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    address = process.stdout.readline().decode().split(" ")[0]
    assert address == f"http://{HOST}:{port}/", process.stderr.read().decode()
    yield address, folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, process.stderr.read().decode()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e .[dev]")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser ({', '.join(BROWSERS)}): apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(server, browser):
    """The page in a new tab, and `page.asked`: every address that it asked for."""
    tab = browser.new_page(viewport={"width": 1200, "height": 980})
    tab.set_default_timeout(120_000)
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(server[0])
    tab.wait_for_selector("input[type=file]", state="attached")
    yield tab
    tab.close()


def upload(page, *paths: str) -> list[str]:
    """Upload files; returns the text of each answer."""
    page.set_input_files("input[type=file]", list(paths))
    page.wait_for_selector("#answers .card")
    return page.locator("#answers .card").all_inner_texts()


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def test_browser_shows_what_the_command_line_prints(page, server, uploads):
    command = [sys.executable, "-m", "pneumonia", "predict", "--json", *files_of(uploads)[:2]]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = [json.loads(line) for line in printed.splitlines()]
    texts = upload(page, *files_of(uploads)[:2])
    probabilities = [float(text) / 100 for text in page.locator(".probability").all_inner_texts()]
    assert probabilities == pytest.approx([answer["probability"] for answer in expected], abs=5.1e-5)
    assert page.locator(".call").all_inner_texts() == [answer["call"] for answer in expected]
    assert "child is not one to five years old" in texts[1] and expected[1]["refer"]
    assert "Not for clinical use." in page.inner_text("body") and FinalModel().hash in page.inner_text("body")
    for layer in page.locator(".picture img").all():
        assert layer.evaluate("image => image.complete && image.naturalWidth > 100")
    assert stored(server[1]) == []
    assert {url for url in page.asked if not url.startswith((server[0], "data:", "blob:" + server[0]))} == set()


def test_browser_shows_errors_and_goes_on(page, uploads):
    (text,) = upload(page, files_of(uploads)[2])
    assert "garbage.jpeg: not an image" in text and page.locator("#answers [role=alert]").count() == 1
    page.set_input_files("input[type=file]", files_of(uploads)[0])
    page.wait_for_selector(".probability")
    assert page.locator("#answers .card").count() == 1


def test_browser_refuses_large_files(page, server, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_MEGABYTES * 1_100_000)
    page.set_input_files("input[type=file]", tmp_path / "large.png")
    page.get_by_text("Error", exact=True).first.wait_for()
    assert page.locator("#answers .card").count() == 0 and stored(server[1]) == []
    assert f"{MAX_MEGABYTES} MB at most" in page.inner_text("body")


def test_server_refuses_large_files(server):
    """Also those that come past the page."""
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="large.png"\r\n\r\n'
    body = part + bytes(MAX_MEGABYTES * 1_100_000) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"{server[0]}gradio_api/upload", body, headers)
    with pytest.raises(urllib.error.URLError) as refused:  # an answer, or the line is cut before all is sent
        urllib.request.urlopen(request)
    assert getattr(refused.value, "code", 413) == 413 and stored(server[1]) == []


def set_number(page, label: str, value: str) -> None:
    field = page.locator(f"input[type=number][aria-label*='{label}']")
    field.fill(value)
    field.press("Enter")


def test_browser_settings_and_table(page, uploads, tmp_path):
    expected = Reader("rule-in", 0.1).read(files_of(uploads)[0])
    upload(page, files_of(uploads)[0])
    page.get_by_label("rule-in").check()
    set_number(page, "Prevalence", "0.1")
    page.wait_for_function("document.querySelector('#answers').innerText.includes('a prevalence of 10 %')")
    page.wait_for_function("document.querySelector('.scale b').innerText == 'rule-in'")
    assert float(page.inner_text(".probability")) / 100 == pytest.approx(expected.probability, abs=5.1e-5)
    with page.expect_download() as download:
        page.click("a.csv")
    with open(download.value.path(), newline="") as file:
        (row,) = csv.DictReader(file)
    assert download.value.suggested_filename == "answers.csv"
    assert (row["operating_point"], row["prevalence"], row["call"]) == ("rule-in", "0.1", expected.call)
    set_number(page, "Opacity", "0.25")
    page.wait_for_function("getComputedStyle(document.querySelector('.heat')).opacity == '0.25'")


def test_served_to_this_machine_only(server):
    address, _ = server
    with urllib.request.urlopen(address) as answer:
        assert answer.headers["Content-Security-Policy"] == POLICY and "fonts.g" not in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError) as refused:  # a site that points its own name at this machine
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "elsewhere.example"}))
    assert refused.value.code == 400
    port = int(address.rsplit(":", 1)[1].strip("/"))
    listening = Path("/proc/net/tcp")
    if listening.exists():
        bound = {line.split()[1] for line in listening.read_text().splitlines() if line.split()[3] == "0A"}
        assert {where for where in bound if where.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_picture_of_the_page(page, uploads, tmp_path):
    target = Path(os.environ.get("APP_SCREENSHOT", tmp_path / "app.png"))
    upload(page, files_of(uploads)[0])
    page.wait_for_function("[...document.images].every(image => image.complete)")
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    taken.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    assert target.stat().st_size < SCREENSHOT_BYTES


def test_committed_picture_is_small_and_without_metadata():
    path = ROOT / "images" / "app.png"
    with Image.open(path) as image:
        assert image.mode == "P" and image.format == "PNG" and not image.info
        assert image.width == 1200 and path.stat().st_size < SCREENSHOT_BYTES
