"""`python -m pneumonia app`: a page in the browser that reads radiographs, for this machine only.

Nothing is sent elsewhere: no analytics, no fonts, no scripts. Nothing is kept: an upload is deleted as soon as it is
answered; pictures and numbers are in the page alone. Gradio is imported late, since only the page needs it.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from contextlib import suppress
from pathlib import Path

from ..config import ROOT, PneumoniaError
from .command import NOT_FOR_CLINICAL_USE, printable
from .final_model import FinalModel
from .heatmap import OPACITY
from .page import (
    STYLE,
    read_rates,
    restate,
    show_answer,
    show_download,
    show_no_picture,
    show_picture,
    show_prevalence,
)
from .reader import Answer, Reader

HOST = "127.0.0.1"  # no other machine can reach it
MAX_FILES, MAX_MEGABYTES = 20, 64  # of one upload, and of each of its files
SECONDS = 60  # for one file; after that, its answer is an error
USERS, WAITING = 2, 8  # served at the same time, and in the queue; others are asked to come back
RATES = ROOT / "results" / "operating_points.csv"
HEAT_SCRIPT = "value => document.documentElement.style.setProperty('--heat', value)"
POLICY = (  # for the browser: nothing is loaded from or sent to another address
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; form-action 'self'"
)


class App:
    """Answers uploads and shows the answers. Keeps the model, and nothing of a radiograph."""

    def __init__(self, model: FinalModel, rates: Path = RATES, seconds: float = SECONDS):
        self.model, self.rates, self.seconds = model, read_rates(rates, model), seconds
        self.pool = ThreadPoolExecutor(USERS)

    def answer(self, paths: list[str], operating_point: str, prevalence: float) -> tuple[list[dict], str, str, str]:
        """Answer files and delete them; returns the answers as rows for `show`, and pictures, answers, table as HTML.

        The rows are at the prevalence of the calibration.
        """
        try:
            if len(paths) > MAX_FILES:
                text = f"{len(paths)} files: {MAX_FILES} at most; `python -m pneumonia predict` answers any number"
                answered = [(Answer("upload", error=text), "")]
            else:
                answered = [self._answer_one(Path(path)) for path in paths]
        finally:
            for path in paths:
                Path(path).unlink(missing_ok=True)
        rows = [answer.row() for answer, _ in answered]
        return rows, "".join(picture for _, picture in answered), *self.show(rows, operating_point, prevalence)

    def _answer_one(self, path: Path) -> tuple[Answer, str]:
        """An answer and its picture. The page shows the name of the file, never the folder of the upload."""
        name = printable(path.name)
        try:
            return self.pool.submit(self._read, path, name).result(self.seconds)
        except TooLong:
            answer = Answer(name, error=f"{name}: took longer than {self.seconds} s; shrink it")
        except PneumoniaError as error:
            answer = Answer(name, error=str(error).replace(str(path), name))
        return answer, show_no_picture(answer)

    def _read(self, path: Path, name: str) -> tuple[Answer, str]:
        answer = Reader(model=self.model).read(path, name)
        return answer, show_picture(answer, self.model.record["evidence_scale"])

    def show(self, rows: list[dict], operating_point: str, prevalence: float) -> tuple[str, str]:
        """(answers, table and download) as HTML, for rows that the page has kept: settings change, files are gone.

        Raises: PneumoniaError for an unknown operating point, or a prevalence not between 0 and 1.
        """
        reader = Reader(operating_point, prevalence, self.model)
        answers = [restate(Answer(**row | {"warnings": tuple(row["warnings"])}), reader) for row in rows or []]
        download = show_download(answers, reader) if answers else ""
        cards = "".join(show_answer(answer, reader) for answer in answers)
        return cards, download + show_prevalence(reader, self.rates)


def import_gradio():
    """Gradio, set up before it is loaded so that it sends nothing.

    Raises: PneumoniaError when it is not installed.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        import gradio
    except ImportError as error:
        remedy = "run `pip install -e .[app]`, or `make app`"
        raise PneumoniaError(f"Gradio is missing or incomplete ({error.name}): {remedy}") from error
    return gradio


def build_page(app: App):
    """The page, a `gradio.Blocks`: settings and upload on top, pictures beside answers below."""
    gradio = import_gradio()
    reader = Reader(model=app.model)
    with gradio.Blocks(title="Pneumonia", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gradio.Markdown(
            f"# Chest radiographs of children: NORMAL or PNEUMONIA?\n**{NOT_FOR_CLINICAL_USE}** {app.model.name}, "
            f"{app.model.hash}; made for frontal radiographs of children one to five years old. Everything stays on "
            f"this machine, and nothing is stored after the answer."
        )
        with gradio.Row():
            limits = f"JPEG, PNG, TIFF, BMP, WebP or DICOM; {MAX_FILES} files of {MAX_MEGABYTES} MB at most"
            files = gradio.File(label=limits, file_count="multiple", height=190)
            with gradio.Column():
                points = list(app.model.record["operating_points"])
                point = gradio.Radio(points, value=reader.operating_point, label="Operating point")
                label = "Prevalence: share of children with pneumonia"
                prevalence = gradio.Slider(0.01, 0.99, reader.prevalence, step=0.01, label=label)
                opacity = gradio.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the heatmap")
        with gradio.Row():
            pictures, answers = gradio.HTML(elem_id="pictures"), gradio.HTML(elem_id="answers")
        table = gradio.HTML(app.show([], reader.operating_point, reader.prevalence)[1], elem_id="table")
        rows = gradio.JSON(visible=False)  # kept in the browser, not here

        def answer(paths, point, prevalence):
            return None, *app.answer(paths or [], point, prevalence)

        settings, limit = [point, prevalence], {"concurrency_limit": USERS, "api_visibility": "private"}
        files.upload(answer, [files, *settings], [files, rows, pictures, answers, table], **limit)
        for setting in settings:
            setting.change(app.show, [rows, *settings], [answers, table], trigger_mode="always_last", **limit)
        opacity.change(None, opacity, None, js=HEAT_SCRIPT)
    return page.queue(max_size=WAITING, api_open=False)


def open_page(page, port: int | None, in_browser: bool) -> str:
    """Serve the page from a thread; returns its address. Raises: PneumoniaError when the port is taken."""
    gradio = import_gradio()
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    plain = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]), Middleware(add_policy)]
    closed = {"share": False, "ssr_mode": False, "run_history": False, "footer_links": [], "pwa": False}
    try:
        return page.launch(
            **closed,
            server_name=HOST,
            server_port=port,
            inbrowser=in_browser,
            max_file_size=f"{MAX_MEGABYTES}mb",
            app_kwargs={"middleware": guards},
            theme=gradio.themes.Default(**plain),
            css=STYLE,
            prevent_thread_lock=True,
            quiet=True,
        )[1]
    except OSError as error:
        raise PneumoniaError(f"port {port or '7860 to 7959'}: taken; choose another with --port") from error


def add_policy(app):
    """ASGI middleware: POLICY in the header of every answer."""

    async def guarded(scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await app(scope, receive, send_with_policy)

    return guarded


def serve(port: int | None = None, in_browser: bool = True) -> None:
    """Open the page and serve it until Ctrl-C or SIGTERM. Raises: PneumoniaError without Gradio or a free port."""
    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix="pneumonia-", ignore_cleanup_errors=True) as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build_page(App(FinalModel()))
        address = open_page(page, port, in_browser)
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        print(f"{address}  (Ctrl-C ends it) {NOT_FOR_CLINICAL_USE}", flush=True)
        with suppress(KeyboardInterrupt):
            ended.wait()
        page.close(verbose=False)
