"""The page in the browser: its answers, its privacy, who is refused, and how it looks in a real Chromium.

The tests of the browser need Playwright and a Chromium, and are skipped where one is missing. They also take the
picture of the page: APP_SCREENSHOT=images/app.png makes them write it there.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import http.client
import http.server
import io
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from dicom_files import SECRETS, make_dicom
from PIL import Image

from pneumonia import __main__ as cli
from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.probability import predictive_values, rebase
from pneumonia.inference.app import (
    HEADERS,
    HOST,
    IN_FLIGHT,
    MAX_BYTES,
    MAX_FILES,
    MAX_NAME,
    MAX_ROWS_BYTES,
    POLICY,
    PORTS,
    READERS,
    RECEIVE_SECONDS,
    SECONDS,
    WAITING,
    App,
    Guard,
    make_server,
    open_port,
)
from pneumonia.inference.final_model import FinalModel
from pneumonia.inference.heatmap import OPACITY, STOPS
from pneumonia.inference.page import RATES, WEB, read_rates, restate, restore, show_answer, show_prevalence, show_scale
from pneumonia.inference.reader import Answer, Reader
from pneumonia.inference.table import COLUMNS

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOT_BYTES = 400_000
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


def read_all(app: App, paths: list[str]) -> tuple[list[dict], list[str]]:
    """The rows and the pictures of files, as the page gets them one by one."""
    read = [app.read(Path(path).read_bytes(), Path(path).name) for path in paths]
    return json.loads(json.dumps([answer.row() for answer, _ in read])), [picture for _, picture in read]


def run(coroutine):
    """The result of a coroutine, in a thread of its own: Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def embedded(html: str) -> list[Image.Image]:
    """The pictures within a piece of the page."""
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in re.findall(r"image/\w+;base64,([^\"]+)", html)]


def rows_of(table: str) -> list[dict]:
    """The CSV file within the page."""
    content = base64.b64decode(re.search(r"text/csv;base64,([^\"]+)", table)[1]).decode()
    return list(csv.DictReader(io.StringIO(content)))


# --- answers -----------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_reader(app, uploads):
    expected = [Reader(model=app.model).read(Path(path), Path(path).name) for path in files_of(uploads)[:2]]
    rows, pictures = read_all(app, files_of(uploads))
    assert [Answer(**row | {"warnings": tuple(row["warnings"])}) for row in rows[:2]] == expected
    assert rows[1]["warnings"] == ["child is not one to five years old"]
    assert "not an image" in rows[2]["error"] and rows[2]["probability"] is None
    assert [len(embedded(picture)) for picture in pictures] == [2, 2, 0]
    shown = app.show(rows, "balanced", 0.5)
    values = [
        float(re.search(r'"probability">([\d.]+) %<', answer["html"])[1]) / 100 for answer in shown["answers"][:2]
    ]
    assert values == pytest.approx([answer.probability for answer in expected], abs=5.1e-5)
    assert [answer["failed"] for answer in shown["answers"]] == [False, False, True]
    sentence = f"scan.dcm: {expected[1].call}, {100 * expected[1].probability:.2f} %; refer to a radiologist"
    assert shown["answers"][1]["sentence"] == sentence
    assert [row["path"] for row in rows_of(shown["table"])] == ["simulated.jpeg", "scan.dcm", "garbage.jpeg"]
    assert tuple(rows_of(shown["table"])[0]) == COLUMNS


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
    for point, prevalence in (("best", 0.5), ("balanced", 0), ("balanced", 1), ("balanced", float("nan"))):
        with pytest.raises(PneumoniaError):
            app.show([], point, prevalence)


GOOD_ROW = {"path": "x.png", "probability": 0.7, "call": "PNEUMONIA", "refer": True, "warnings": ["blank"]}
GOOD_ROW |= {"atypicality": 1.2, "error": None}


def test_answers_come_back_from_the_browser(app):
    answer = Answer(**GOOD_ROW | {"warnings": ("blank",)})
    assert restate(restore(GOOD_ROW), Reader(model=app.model)) == answer
    assert restore({"path": "x.png", "error": "x.png: larger"}) == Answer("x.png", error="x.png: larger")


@pytest.mark.parametrize(
    "row",
    [
        *(None, 1, "x", [], {}, {"path": "x"}, {"path": 1, "error": "x"}, {"path": "x", "error": ["x"]}),
        *(GOOD_ROW | {"probability": value} for value in (None, "0.5", 2, -0.1, float("nan"), float("inf"), 10**400)),
        *(GOOD_ROW | {"atypicality": value} for value in (None, "1", -1, float("nan"), float("inf"))),
        *(GOOD_ROW | {"warnings": value} for value in (None, "blank", {"a": 1}, [1])),
        *(GOOD_ROW | {"refer": value} for value in (None, 1, "true")),
    ],
)
def test_what_is_no_answer_of_ours_is_refused(app, row):
    with pytest.raises(PneumoniaError, match="not an answer of this page"):
        app.show([row], "balanced", 0.5)


def test_too_many_answers_are_refused(app):
    assert len(app.show([GOOD_ROW] * MAX_FILES, "balanced", 0.5)["answers"]) == MAX_FILES
    with pytest.raises(PneumoniaError, match=f"{MAX_FILES} at most"):
        app.show([GOOD_ROW] * (MAX_FILES + 1), "balanced", 0.5)


def test_patient_reaches_no_part_of_the_page(app, uploads):
    broken = make_dicom(CHEST)
    (uploads / "broken.dcm").write_bytes(broken[: len(broken) // 2])
    (uploads / "empty.png").write_bytes(b"")
    rows, pictures = read_all(app, [*files_of(uploads), str(uploads / "broken.dcm"), str(uploads / "empty.png")])
    shown = app.show(rows, "balanced", 0.5)
    everything = json.dumps(rows) + "".join(pictures) + json.dumps(shown) + json.dumps(rows_of(shown["table"]))
    assert [word for word in SECRETS if word in everything] == []
    assert [bool(row["error"]) for row in rows] == [False, False, True, True, True]
    assert rows[4]["error"].startswith("empty.png: empty file")


def test_names_cannot_play_with_the_page(app):
    rows = [
        {"path": "<img src=x onerror=alert(1)>.png", "error": "<script>alert(1)</script>"},
        GOOD_ROW | {"path": "a\n\x1b[2J\ud800\u202e.png", "warnings": ["<svg onload=alert(1)>"]},
    ]
    one, other = (answer["html"] for answer in app.show(rows, "balanced", 0.5)["answers"])
    assert "<img" not in one and "&lt;img" in one and "<script" not in one
    assert "a\\n\\x1b[2J\\ud800\\u202e.png" in other and "<svg onload" not in other
    other.encode()


def test_what_takes_too_long_is_an_error(monkeypatch):
    monkeypatch.setattr(Reader, "read", lambda *_: time.sleep(1))
    answer, picture = run(App(FinalModel(), seconds=0.05).answer(b"x", "x.jpeg"))
    assert answer.error.startswith("x.jpeg: took longer than 0.05 s") and picture == ""
    assert 0 < SECONDS <= 120 and 0 < RECEIVE_SECONDS <= 60


def test_too_many_pixels_are_refused(app):
    file = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(file, "PNG")
    assert "million pixels" in app.read(file.getvalue(), "bomb.png")[0].error


# --- what is shown -----------------------------------------------------------------------------------------------


def test_layers_of_the_picture_make_the_overlay_of_the_command_line(app, uploads):
    answer = Reader(model=app.model).read(uploads / "simulated.jpeg")
    radiograph, heat = embedded(read_all(app, files_of(uploads)[:1])[1][0])
    assert radiograph.size == heat.size == (400, 400) and heat.mode == "RGBA"
    alpha = heat.getchannel("A").point([round(OPACITY * level) for level in range(256)])
    stacked = Image.composite(heat.convert("RGB"), radiograph.convert("RGB"), alpha)
    difference = np.abs(np.asarray(stacked, int) - np.asarray(answer.overlay().crop((0, 0, 400, 400)), int))
    assert difference.mean() < 3 and np.asarray(alpha).max() > 20  # the radiograph travels as JPEG


def test_large_radiographs_travel_small(app):
    file = io.BytesIO()
    Image.fromarray(CHEST).resize((2400, 1800)).save(file, "PNG")
    radiograph, heat = embedded(app.read(file.getvalue(), "x.png")[1])
    assert radiograph.size == heat.size == (1024, 768)


@pytest.mark.parametrize("prevalence", [0.1, 0.5])
def test_scale_has_the_marker_beyond_the_thresholds_it_passed(app, prevalence):
    reader = Reader("rule-in", prevalence, app.model)
    points = app.model.record["operating_points"]
    between = (points["balanced"] + points["rule-in"]) / 2
    scale = show_scale(rebase(between, prevalence), reader)
    ticks = {name: float(x) for x, name in re.findall(r'"point(?: chosen)?" x="([\d.]+)%"[^>]*>([a-z-]+)', scale)}
    here = float(re.search(r'"here" cx="([\d.]+)%', scale)[1])
    assert ticks["screening"] < ticks["balanced"] < here < ticks["rule-in"]
    assert ticks["rule-in"] == pytest.approx(100 * rebase(points["rule-in"], prevalence), abs=0.01)
    assert re.findall(r'point chosen"[^>]*>([a-z-]+)', scale) == ["rule-in"]
    label = re.search(r'role="img" aria-label="([^"]+)"', scale)[1]
    assert label.startswith(f"{100 * rebase(between, prevalence):.2f} %") and "balanced" in label


def test_reasons_to_refer_are_shown(app, uploads):
    reader = Reader(model=app.model)
    answer = reader.read(uploads / "scan.dcm", "scan.dcm")
    shown = show_answer(answer, reader)
    assert "refer to a radiologist" in shown and "child is not one to five years old" in shown
    sure = replace(answer, refer=False, warnings=())
    assert "refer" not in show_answer(sure, reader) and "warning" not in show_answer(sure, reader)
    assert "<li>too close to call</li>" in show_answer(replace(sure, refer=True), reader)


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
    rows = [
        re.findall(r">([\d.]+) (?:to ([\d.]+)|%)", row)
        for row in re.findall(r'<tr[^>]*>(<th scope="row">.*?)</tr>', table)
    ]
    shares, ppv, npv = ([float(row[column][0]) for row in rows] for column in (0, 1, 3))
    assert 20 in shares and shares == sorted(shares) and table.count('class="chosen"') == 1
    assert ppv == sorted(ppv) and npv == sorted(npv, reverse=True)
    at = shares.index(20)
    assert ppv[at] == pytest.approx(100 * 0.18 / 0.34, abs=0.06)
    assert all(float(row[2][0]) <= float(row[1][0]) <= float(row[2][1]) for row in rows)
    assert "90.0 % (80.0 to 95.0)" in table and "624 test radiographs" in table


# --- who is refused ----------------------------------------------------------------------------------------------

PORT = 7860
SITE = f"http://{HOST}:{PORT}"
FILM = {"Content-Type": "application/octet-stream"}
ROWS = {"Content-Type": "application/json"}
PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": SITE}  # what a browser adds to a question of the page


class Got(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: str


async def ask(site: Guard, method: str, path: str, headers: dict, body: bytes = b"", hangs: bool = False) -> Got:
    """Put one request to the page without a network; `hangs`: the body never ends."""
    path, _, query = path.partition("?")
    size = {"Content-Length": str(len(body))} if body else {}
    given = [(k.lower().encode(), v.encode()) for k, v in ({"Host": f"{HOST}:{PORT}"} | size | headers).items() if v]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": given}
    sent, pieces = [], [{"type": "http.request", "body": body, "more_body": hangs}]

    async def receive():
        if not pieces:
            await asyncio.sleep(60)
        return pieces.pop()

    async def send(message):
        sent.append(message)

    await site(scope, receive, send)
    start, *rest = sent
    received = {key.decode(): value.decode() for key, value in start["headers"]}
    return Got(start["status"], received, b"".join(message.get("body", b"") for message in rest).decode())


@pytest.fixture(scope="module")
def site(app) -> Guard:
    return Guard(app.make_site(), PORT)


def test_page_is_served_and_says_what_it_may_load(site):
    for path in ("/", "/page.css", "/page.js"):
        got = run(ask(site, "GET", path, {"Sec-Fetch-Site": "none"}))
        assert got.status == 200 and got.body
        assert {name: got.headers[name.lower()] for name in HEADERS} == HEADERS
    assert HEADERS["X-Content-Type-Options"] == "nosniff" and HEADERS["Cache-Control"] == "no-store"
    assert "default-src 'none'" in POLICY and "unsafe" not in POLICY and "frame-ancestors 'none'" in POLICY


def test_page_holds_no_style_or_script_of_its_own(site, app):
    """The policy would not allow it, and would say so in the browser's console only."""
    page = run(ask(site, "GET", "/", {})).body
    (shown,) = app.show([GOOD_ROW], "balanced", 0.5)["answers"]
    assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?! src)|javascript:", page + shown["html"]) == []
    assert page.count("<stop ") == len(STOPS)


def test_question_of_the_page_is_answered(site, uploads):
    film = (uploads / "simulated.jpeg").read_bytes()
    got = run(ask(site, "POST", "/film?name=simulated.jpeg", FILM | PAGE, film))
    row = json.loads(got.body)["row"]
    assert got.status == 200 and row["path"] == "simulated.jpeg" and row["probability"] > 0.5
    asked = {"rows": [row], "operating_point": "rule-in", "prevalence": 0.1}
    got = run(ask(site, "POST", "/answers", ROWS | PAGE, json.dumps(asked).encode()))
    assert got.status == 200 and "a prevalence of 10 %" in json.loads(got.body)["answers"][0]["html"]


FOREIGN_HOSTS = [
    "elsewhere.example",
    f"elsewhere.example:{PORT}",
    HOST,
    f"{HOST}:{PORT + 1}",
    f"[::1]:{PORT}",
    "",
    "null",
]
FOREIGN_HOSTS += [f"localhost.elsewhere.example:{PORT}", f"{HOST}.elsewhere.example:{PORT}", f"{HOST}:{PORT}@elsewhere"]
FOREIGN = [{"Host": host, "Origin": f"http://{host}"} for host in FOREIGN_HOSTS]  # it is what its browser believes
FOREIGN += [{"Origin": "null"}, {"Origin": "http://elsewhere.example"}, {"Origin": SITE.replace("http", "https")}]
FOREIGN += [{"Origin": f"http://localhost:{port}"} for port in (PORT, 3000, 8888)]  # of another program, or name
FOREIGN += [{"Origin": f"{SITE}.elsewhere.example"}, {"Origin": f"http://{HOST}"}]
FOREIGN += [{"Sec-Fetch-Site": value} for value in ("cross-site", "same-site", "Same-Origin", "anything")]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [("GET", "/", {}), ("GET", "/page.js", {}), ("POST", "/film?name=x.png", FILM), ("POST", "/answers", ROWS)],
)
def test_other_sites_are_refused(site, method, path, kind, headers):
    got = run(ask(site, method, path, kind | PAGE | headers, b"x" if method == "POST" else b""))
    assert got.status == 403 and got.headers["connection"] == "close"
    assert got.headers["content-security-policy"] == POLICY and got.headers["x-content-type-options"] == "nosniff"
    assert len(got.body.splitlines()) == 1


def test_a_question_without_an_origin_is_refused(site):
    for method in ("POST", "OPTIONS", "PUT", "DELETE", "PATCH"):
        got = run(ask(site, method, "/film?name=x.png", FILM | {"Sec-Fetch-Site": "same-origin"}, b"x"))
        assert got.status == 403


GONE = [
    "/gradio_api/file=http://elsewhere.example/",
    "/gradio_api/upload",
    "/file=http://elsewhere.example/",
    "/upload",
]
GONE += ["/gradio_api/proxy=http://elsewhere.example/", "/proxy=http://elsewhere.example/", "http://elsewhere.example/"]
GONE += ["//elsewhere.example/", "/config", "/openapi.json", "/docs", "/queue/join", "/static/../app.py", "/../app.py"]
GONE += ["/web/page.html", "/page.html", "/page.js/", "/film/", "/favicon.ico", "/etc/passwd", "/page.css%00", ""]


@pytest.mark.parametrize("path", GONE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_nothing_else(site, path, method):
    got = run(ask(site, method, path, FILM | PAGE, b"x" if method == "POST" else b""))
    assert (got.status, got.body) == (404, "Not Found") and got.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("method", "path"), [("GET", "/film"), ("GET", "/answers"), ("PUT", "/film"), ("POST", "/")])
def test_other_methods_are_refused(site, method, path):
    assert run(ask(site, method, path, FILM | PAGE)).status == 405


@pytest.mark.parametrize(
    ("status", "path", "headers", "body"),
    [
        *((415, "/film?name=x", {"Content-Type": kind}, b"x") for kind in ("text/plain", "image/png", "")),
        *(
            (415, path, {"Content-Type": "multipart/form-data; boundary=x"}, b"x")
            for path in ("/film?name=x", "/answers")
        ),
        (415, "/answers", {"Content-Type": "application/x-www-form-urlencoded"}, b"rows=1"),
        (411, "/film?name=x", FILM | {"Transfer-Encoding": "chunked"}, b""),
        (413, "/film?name=x", FILM | {"Content-Length": str(MAX_BYTES + 1)}, b"x"),
        (413, "/film?name=x", FILM | {"Content-Length": "9" * 300}, b"x"),
        (413, "/answers", ROWS | {"Content-Length": str(MAX_ROWS_BYTES + 1)}, b"x"),
        (413, "/answers", ROWS | {"Content-Length": "100000000"}, b"x"),
        *((400, f"/film{query}", FILM, b"x") for query in ("", "?name=", "?nam=x", f"?name={'x' * (MAX_NAME + 1)}")),
        (400, "/answers", ROWS, b"[" * 200_000),
        (400, "/answers", ROWS, b'{"rows": ' + b"9" * 5000 + b"}"),
        *((400, "/answers", ROWS, body) for body in (b"x", b"\xff\xfe", b"null", b"[]", b"{}", b'{"rows": []}')),
        *(
            (400, "/answers", ROWS, json.dumps({"rows": rows, "operating_point": point, "prevalence": share}).encode())
            for rows, point, share in [
                ({}, "balanced", 0.5),
                ([1], "balanced", 0.5),
                ([GOOD_ROW] * (MAX_FILES + 1), "balanced", 0.5),
                ([GOOD_ROW | {"probability": float("nan")}], "balanced", 0.5),
                ([], "best\ud800\r\n", 0.5),
                ([], None, 0.5),
                ([], "balanced", "0.5"),
                ([], "balanced", float("inf")),
                ([], "balanced", 10**400),
            ]
        ),
    ],
)
def test_bad_bodies_are_one_line(site, status, path, headers, body):
    got = run(ask(site, "POST", path, PAGE | headers, body))
    assert got.status == status and len(got.body.splitlines()) == 1 and got.headers["connection"] == "close"


def test_an_upload_that_hangs_is_given_up(app):
    site = Guard(App(app.model, receive_seconds=0.05).make_site(), PORT)
    for path, kind in (("/film?name=x.png", FILM), ("/answers", ROWS)):
        got = run(ask(site, "POST", path, kind | PAGE | {"Content-Length": "9000"}, b"x" * 10, hangs=True))
        assert (got.status, got.body) == (408, "10 of 9,000 bytes arrived in 0.05 s")


def test_more_at_once_than_can_wait_are_sent_away(app, monkeypatch):
    """Those that are read, that are in memory, and that wait are all answered; a bug in one of them frees its place."""
    most, alive = [0], [0]

    def read(self, content, name):
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        time.sleep(0.02)
        alive[0] -= 1
        return Answer(name, error=str(1 / (name != "bug"))), ""

    monkeypatch.setattr(App, "read", read)
    crowded = App(app.model)
    site, room = Guard(crowded.make_site(), PORT), IN_FLIGHT + WAITING

    async def ask_at_once(count: int) -> list[int]:
        names = ["bug", *"x" * (count - 1)]
        answers = [ask(site, "POST", f"/film?name={name}", FILM | PAGE, b"x") for name in names]
        return [answer.status for answer in await asyncio.gather(*answers)]

    async def ask_twice() -> list[list[int]]:
        return [await ask_at_once(room + 5), await ask_at_once(room)]

    first, second = run(ask_twice())
    assert first == [500] + [200] * (room - 1) + [503] * 5 and second == [500] + [200] * (room - 1)
    assert most[0] <= READERS and crowded.inside == 0


# --- the page itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["0", "-1", "65536", "70000", "99999999999"])
def test_port_out_of_range_is_one_line(port, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(PneumoniaError):
        open_port(int(port))
    assert cli.main(["app", "--no-browser", "--port", port]) == 2
    assert capsys.readouterr().err == f"pneumonia: --port {port}: must be between 1 and 65535\n"


def test_port_that_is_taken_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with open_port(None) as listener:
        port = listener.getsockname()[1]
        assert listener.getsockname()[0] == HOST and port in PORTS
        assert cli.main(["app", "--no-browser", "--port", str(port)]) == 2
        assert capsys.readouterr().err == f"pneumonia: port {port}: taken; choose another with --port\n"
        with open_port(None) as other:
            assert other.getsockname()[1] in set(PORTS) - {port}


def test_missing_server_is_one_line():
    code = "import sys; sys.modules['uvicorn'] = None; from pneumonia.__main__ import main; sys.exit(main(['app']))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "pip install -e .[app]" in ended.stderr


# Ends the page when Python speaks to another machine or opens a file to write it, which a film never needs.
AUDITED = """
import os, sys
def refuse(event, found):
    speaks = event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
    writes = event == "open" and isinstance(found[2], int) and found[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    writes = writes and not isinstance(found[0], int) and found[0] != os.devnull  # pipes of the decoding process
    if speaks or writes or event.startswith("tempfile."):
        os.write(2, f"{event} {found}".encode())
        os._exit(3)
sys.addaudithook(refuse)
from pneumonia.__main__ import main
status = main(["app", *sys.argv[1:]])
sys.exit(str(heavy) if (heavy := {"tensorflow", "keras", "torch", "gradio"} & set(sys.modules)) else status)
"""


class Server(NamedTuple):
    """A page that is served by a process of its own."""

    process: subprocess.Popen
    port: int
    folder: Path  # TMPDIR, where anything that is stored would be

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def ask(self, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str) -> Got:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=120)
        origin = {} if method == "GET" else {"Origin": self.address.rstrip("/")}
        connection.request(
            method, path, body, origin | {key.replace("_", "-"): value for key, value in headers.items()}
        )
        answer = connection.getresponse()
        got = Got(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode())
        connection.close()
        return got

    def read(self, film: bytes, name: str = "x.jpeg") -> Got:
        return self.ask("POST", f"/film?name={name}", film, **FILM)

    def begin_upload(self, size: int = 1000, sent: bytes = b"x" * 10) -> socket.socket:
        """A connection on which a film of this size begins to arrive."""
        connection = socket.create_connection((HOST, self.port), timeout=120)
        lines = [
            "POST /film?name=x.jpeg HTTP/1.1",
            f"Host: {HOST}:{self.port}",
            f"Origin: http://{HOST}:{self.port}",
            f"Content-Length: {size}",
            "Content-Type: application/octet-stream",
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + sent)
        return connection


def start(folder: Path) -> Server:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": ""} | nowhere
    environment |= {name.lower(): value for name, value in nowhere.items()} | {"WEB_CONCURRENCY": "many"}
    command = [sys.executable, "-c", AUDITED, "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    server = Server(process, port, folder)
    assert process.stdout.readline().decode().split(" ")[0] == server.address, process.stderr.read().decode()
    return server


def end(server: Server, number: int) -> None:
    """End a page by a signal: at once, without a word, and nothing is left."""
    server.process.send_signal(number)
    _, said = server.process.communicate(timeout=60)
    assert (server.process.returncode, said.decode()) == (0, "")
    assert stored(server.folder) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = start(tmp_path_factory.mktemp("served"))
    yield started
    end(started, signal.SIGTERM)


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_served_to_this_machine_only(server):
    got = server.ask()
    assert got.status == 200 and {name: got.headers[name.lower()] for name in HEADERS} == HEADERS
    assert "server" not in got.headers
    assert server.ask(Host="elsewhere.example").status == 403
    listening = Path("/proc/net/tcp")
    if listening.exists():
        bound = {line.split()[1] for line in listening.read_text().splitlines() if line.split()[3] == "0A"}
        assert {where for where in bound if where.endswith(f":{server.port:04X}")} == {f"0100007F:{server.port:04X}"}


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: {host}\r\nHost: elsewhere.example\r\n\r\n",
        "GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        "CONNECT elsewhere.example:80 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nOrigin: http://elsewhere.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://elsewhere.example\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n",
        "POST /film?name=x HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
        "POST /film?name=x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: " + "x" * 200_000 + "\r\n\r\n",
        "GET /" + "x" * 200_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "\r\n\r\n\0\x01\x02 nothing of this is HTTP\r\n\r\n",
    ],
    ids=range(12),
)
def test_odd_requests_are_refused(server, request_text):
    text = request_text.replace("{host}", f"{HOST}:{server.port}")
    with socket.create_connection((HOST, server.port), timeout=60) as connection:
        connection.sendall(text.encode())
        answered = connection.recv(1000).decode()
    assert re.match(r"HTTP/1\.1 4\d\d ", answered), answered
    assert server.ask().status == 200


def test_large_bodies_are_refused_before_they_are_sent(server):
    for path, kind, size in (("/film?name=x", FILM, MAX_BYTES + 1), ("/answers", ROWS, 100_000_000)):
        got = server.ask("POST", path, b"", **kind, Content_Length=str(size))
        assert got.status == 413 and got.headers["connection"] == "close"


def test_eight_users_with_the_same_film_get_eight_answers(server, uploads):
    film = (uploads / "scan.dcm").read_bytes()
    with ThreadPoolExecutor(8) as users:
        got = list(users.map(lambda _: server.read(film, "scan.dcm"), range(8)))
    assert {answer.status for answer in got} == {200} and len({answer.body for answer in got}) == 1
    row = json.loads(got[0].body)["row"]
    assert row["error"] is None and row["warnings"] == ["child is not one to five years old"]
    assert [word for word in SECRETS if word in got[0].body] == [] and stored(server.folder) == []


def test_uploads_that_are_cut_off_leave_nothing_and_hold_nobody(server, uploads):
    film = (uploads / "simulated.jpeg").read_bytes()
    for _ in range(3):
        begun = [server.begin_upload() for _ in range(IN_FLIGHT + WAITING)]
        time.sleep(0.2)
        assert stored(server.folder) == []
        for connection in begun:
            connection.close()
    began = time.monotonic()
    while (status := server.read(film).status) == 503:  # the last of them may still be on their way out
        time.sleep(0.2)
    assert status == 200 and time.monotonic() - began < 3 * RECEIVE_SECONDS  # far less than if each were waited for


def test_only_so_much_is_taken_at_once(server):
    """Of many large uploads, those that wait stay with their senders."""
    senders = [server.begin_upload(MAX_BYTES) for _ in range(IN_FLIGHT + 4)]
    sent, piece = dict.fromkeys(senders, 0), bytes(2**20)
    full = MAX_BYTES - 2 * len(piece)
    for connection in senders:
        connection.setblocking(False)

    def find_ready() -> list[socket.socket]:
        return select.select([], [one for one in senders if sent[one] < full], [], 1)[1]

    while (ready := find_ready()) or sum(size >= full for size in sent.values()) < IN_FLIGHT:
        for connection in ready:
            sent[connection] += connection.send(piece)
    taken = sorted(sent.values(), reverse=True)
    for connection in senders:
        connection.close()
    assert taken[IN_FLIGHT] < MAX_BYTES / 2


def test_a_killed_page_leaves_nothing(tmp_path):
    server = start(tmp_path)
    connection = server.begin_upload(MAX_BYTES, bytes(2**20))
    server.process.kill()
    server.process.communicate(timeout=60)
    connection.close()
    assert stored(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_interrupt_ends_the_page_also_while_uploads_hang(tmp_path):
    server = start(tmp_path)
    assert server.ask().status == 200  # it serves; until then connections wait in the kernel
    connection = server.begin_upload()
    end(server, signal.SIGINT)
    connection.close()


# --- in a browser ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e .[dev]")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs a browser ({', '.join(BROWSERS)}): apt-get install chromium")
    rebound = "--host-resolver-rules=MAP elsewhere.example 127.0.0.1"
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", rebound])
        yield started
        started.close()


@pytest.fixture
def page(server, browser):
    """The page in a new tab, and `page.asked`: every address that it asked for. It must not break its own policy."""
    tab = browser.new_page(viewport={"width": 1200, "height": 980})
    tab.set_default_timeout(120_000)
    tab.asked, said = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(server.address)
    yield tab
    tab.close()
    assert said == []


def upload(page, *paths: str) -> list[str]:
    """Upload files; returns the text of each answer."""
    page.set_input_files("#films", list(paths))
    return wait_for_answers(page, len(paths))


def wait_for_answers(page, count: int) -> list[str]:
    page.wait_for_selector(f"#answers[aria-busy=false] article:nth-child({count})")
    return page.locator(".answer").all_inner_texts()


def wait_for_text(page, text: str) -> None:
    page.locator("#answers").get_by_text(text).first.wait_for()


def test_browser_shows_what_the_command_line_prints(page, server, uploads):
    command = [sys.executable, "-m", "pneumonia", "predict", "--json", *files_of(uploads)[:2]]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = [json.loads(line) for line in printed.splitlines()]
    texts = upload(page, *files_of(uploads)[:2])
    probabilities = [float(text.rstrip(" %")) / 100 for text in page.locator(".probability").all_inner_texts()]
    assert probabilities == pytest.approx([answer["probability"] for answer in expected], abs=5.1e-5)
    assert page.locator(".call").all_inner_texts() == [answer["call"] for answer in expected]
    assert "child is not one to five years old" in texts[1] and expected[1]["refer"]
    assert "Not for clinical use." in page.inner_text("body") and FinalModel().hash in page.inner_text("body")
    assert page.locator(".layers img").count() == 4
    for layer in page.locator(".layers img").all():
        assert layer.evaluate("image => image.complete && image.naturalWidth > 100")
    assert stored(server.folder) == []
    assert {url for url in page.asked if not url.startswith((server.address, "data:"))} == set()


def test_browser_shows_errors_and_goes_on(page, uploads):
    (text,) = upload(page, files_of(uploads)[2])
    assert "garbage.jpeg: not an image" in text and "garbage.jpeg" in page.get_by_role("status").inner_text()
    upload(page, files_of(uploads)[0], files_of(uploads)[2])
    assert page.get_by_role("status").inner_text() == "1 answered, 1 could not be read"
    upload(page, files_of(uploads)[0])
    assert page.locator("article").count() == 1 and page.locator(".error:visible").count() == 0


def test_browser_refuses_large_and_many_files(page, server, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (text,) = upload(page, str(tmp_path / "large.png"))
    assert f"larger than {MAX_BYTES // 2**20} MB" in text
    paths = [tmp_path / f"{number}.png" for number in range(MAX_FILES + 1)]
    for path in paths:
        path.write_bytes(b"x")
    page.set_input_files("#films", [str(path) for path in paths])
    wait_for_text(page, f"{MAX_FILES} at most")
    assert page.locator("article").count() == 1
    assert not any("/film" in url for url in page.asked)


def test_browser_settings_and_table(page, uploads):
    expected = Reader("rule-in", 0.1).read(files_of(uploads)[0])
    upload(page, files_of(uploads)[0])
    page.get_by_role("radio", name="rule-in").check()
    page.get_by_role("slider", name="Prevalence").fill("0.1")
    wait_for_text(page, "a prevalence of 10 %")
    page.locator(".scale .chosen").get_by_text("rule-in").wait_for()
    assert float(page.inner_text(".probability").rstrip(" %")) / 100 == pytest.approx(expected.probability, abs=5.1e-5)
    with page.expect_download() as download:
        page.click("a.csv")
    with open(download.value.path(), newline="") as file:
        (row,) = csv.DictReader(file)
    assert download.value.suggested_filename == "answers.csv"
    assert (row["operating_point"], row["prevalence"], row["call"]) == ("rule-in", "0.1", expected.call)
    page.get_by_role("slider", name="Opacity").fill("0.25")
    assert page.locator(".heat").evaluate("layer => getComputedStyle(layer).opacity") == "0.25"


def test_browser_takes_what_is_dropped(page, uploads):
    content = base64.b64encode((uploads / "simulated.jpeg").read_bytes()).decode()
    page.evaluate_handle(
        """content => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.jpeg"));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    assert "dropped.jpeg" in wait_for_answers(page, 1)[0]


def test_browser_shows_the_latest_choice_only(page, uploads):
    page.set_input_files("#films", files_of(uploads)[:2] * 5)
    page.set_input_files("#films", files_of(uploads)[1])
    wait_for_answers(page, 1)
    time.sleep(0.5)
    assert page.locator("article h2").all_inner_texts() == ["scan.dcm"]


def test_browser_says_that_the_page_has_ended(browser, tmp_path_factory, uploads):
    server = start(tmp_path_factory.mktemp("ended"))
    tab = browser.new_page()
    tab.goto(server.address)
    end(server, signal.SIGTERM)
    tab.set_input_files("#films", files_of(uploads)[0])
    tab.get_by_role("status").get_by_text("the page has ended").wait_for()
    tab.close()


def test_everything_works_from_the_keyboard(page, uploads):
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.keyboard.press("Tab")
    for _ in range(60):  # Playwright may not be ready to catch the first
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if choosers:
            break
    choosers[-1].set_files(files_of(uploads)[0])
    wait_for_answers(page, 1)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    page.locator(".scale .chosen").get_by_text("screening").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    wait_for_text(page, "a prevalence of 49 %")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.locator(".heat").evaluate("layer => getComputedStyle(layer).opacity") == "0"
    page.keyboard.press("Tab")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_everything_has_a_name_for_a_screen_reader(page, uploads):
    upload(page, files_of(uploads)[1])
    for role, name in [
        ("group", "Operating point"),
        ("radio", "screening"),
        ("slider", "Prevalence: share of children with pneumonia"),
        ("slider", "Opacity of the heatmap"),
        ("heading", "scan.dcm"),
        ("img", "Radiograph"),
        ("img", "Heatmap"),
        ("img", re.compile(r"[\d.]+ % on a scale from 0 to 100 %; screening .* too close to call .*")),
        ("list", "Warnings"),
        ("columnheader", "PPV"),
        ("rowheader", "50 %"),
        ("link", "Download answers.csv"),
    ]:
        assert page.get_by_role(role, name=name, exact=True).count() == 1, name
    assert page.get_by_label("Choose radiographs or drop them here").get_attribute("id") == "films"
    assert page.get_by_role("slider", name="Prevalence").get_attribute("aria-valuetext") == "50 %"
    assert re.fullmatch(r"scan\.dcm: \w+, [\d.]+ %; refer to a radiologist", page.get_by_role("status").inner_text())


def luminance(color: str) -> float:
    """Relative luminance of #rgb or #rrggbb, as WCAG 2 defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_text_can_be_read_in_light_and_dark():
    light, dark = re.findall(r":root \{(.*?)\}", (WEB / "page.css").read_text(encoding="utf-8"), re.DOTALL)
    pairs = [(ink, paper) for ink in ("ink", "soft", "accent") for paper in ("paper", "panel")]
    for scheme in (light, dark):
        colors = {name: luminance(color) for name, color in re.findall(r"--([\w-]+): (#\w+)", scheme)}
        for ink, paper in [*pairs, ("refer", "refer-panel"), ("refer", "paper"), ("error", "paper")]:
            low, high = sorted((colors[ink], colors[paper]))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)


ATTACK = """<!doctype html><title>attack</title>
<img src="{page}"><script src="{page}page.js"></script><link rel="stylesheet" href="{page}page.css">
<iframe src="{page}"></iframe><iframe name="inside"></iframe>
<form method="post" enctype="multipart/form-data" target="inside" action="{page}film?name=form.jpeg">
<input name="x" value="y"></form>
<script>
const film = new Blob(["x"]), type = "application/octet-stream";
const tries = [
  fetch("{page}"),
  fetch("{page}", {{mode: "no-cors", credentials: "include"}}),
  fetch("{page}film?name=a.jpeg", {{method: "POST", mode: "no-cors", body: film}}),
  fetch("{page}film?name=b.jpeg", {{method: "POST", body: film, headers: {{"Content-Type": type}}}}),
  fetch("{page}film?name=c.jpeg", {{method: "POST", body: film, credentials: "include"}}),
  fetch("{page}answers", {{method: "POST", mode: "no-cors", body: "{{}}"}}),
  new Promise((resolve, reject) => {{
    const line = new WebSocket("{page}".replace("http", "ws"));
    [line.onopen, line.onerror] = [resolve, reject];
  }}),
];
const got = (end) => end.status === "fulfilled" && !["opaque", "error"].includes(end.value.type);
document.forms[0].submit();
addEventListener("load", async () => document.title = `got ${{(await Promise.allSettled(tries)).filter(got).length}}`);
</script>"""


class Attacker(http.server.BaseHTTPRequestHandler):
    """Another site, whose page asks ours for all that a page can ask."""

    victim = ""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(ATTACK.format(page=self.victim).encode())

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("name", ["localhost", HOST])  # another site, and another port of the same
def test_other_sites_in_the_browser_get_nothing(app, browser, monkeypatch, name):
    answered, tab = [], browser.new_page()
    with open_port(None) as listener, http.server.ThreadingHTTPServer((HOST, 0), Attacker) as attacker:
        port = listener.getsockname()[1]
        victim = make_server(app, port)
        site = victim.config.app

        async def watched(scope, receive, send):
            async def send_watched(message):
                if message["type"] == "http.response.start":
                    answered.append((message["status"], scope["method"], scope["path"]))
                await send(message)

            await site(scope, receive, send_watched)

        victim.config.app = watched
        monkeypatch.setattr(Attacker, "victim", f"http://{HOST}:{port}/")
        threads = [
            threading.Thread(target=victim.run, args=([listener],)),
            threading.Thread(target=attacker.serve_forever),
        ]
        for thread in threads:
            thread.start()
        try:
            tab.goto(f"http://{name}:{attacker.server_port}/")
            tab.wait_for_function("document.title !== 'attack'")
            assert tab.title() == "got 0"
            tab.close()
        finally:
            attacker.shutdown()
            victim.should_exit = True
            for thread in threads:
                thread.join(60)
    assert {status for status, *_ in answered} == {403}, answered
    assert len(answered) >= 10 and {method for _, method, _ in answered} == {"GET", "POST", "OPTIONS"}, answered


def test_a_name_that_is_pointed_at_this_machine_gets_nothing(browser, server):
    tab = browser.new_page()
    assert tab.goto(f"http://elsewhere.example:{server.port}/").status == 403
    assert tab.goto(server.address).status == 200
    tab.close()


def test_picture_of_the_page(page, uploads, tmp_path):
    target = Path(os.environ.get("APP_SCREENSHOT", tmp_path / "app.png"))
    upload(page, files_of(uploads)[0])
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    taken.convert("RGB").save(target, optimize=True)  # without a palette, which would band the radiograph
    assert target.stat().st_size < SCREENSHOT_BYTES


def test_committed_picture_is_small_and_without_metadata():
    path = ROOT / "images" / "app.png"
    with Image.open(path) as image:
        assert image.mode == "RGB" and image.format == "PNG" and not image.info
        assert image.width == 1200 and path.stat().st_size < SCREENSHOT_BYTES
