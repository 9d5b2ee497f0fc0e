"""`python -m pneumonia.app`: a page in the browser that answers radiographs, on this machine and for it alone.

Nothing goes out: no analytics, no fonts, no scripts from elsewhere. Nothing stays: an upload is deleted as soon as it
is answered, pictures and numbers live in the page. Gradio is imported late, so that answering needs no Gradio.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ..config import ROOT, PneumoniaError
from .command import NOT_FOR_CLINICAL_USE, printable
from .final_model import FinalModel
from .heatmap import OPACITY
from .page import STYLE, read_rates, settle, show_answer, show_download, show_no_picture, show_picture, show_prevalence
from .reader import Answer, Reader

HOST = "127.0.0.1"  # no other machine can reach it
MAX_FILES, MAX_MEGABYTES = 20, 64  # of one upload, and of each of its files
SECONDS = 60  # for one file, after which its user is told that it took too long
USERS, WAITING = 2, 8  # answered at the same time, and in the queue; others are asked to come back
RATES = ROOT / "results" / "operating_points.csv"
HEAT_SCRIPT = "value => document.documentElement.style.setProperty('--heat', value)"
POLICY = (  # of the browser: whatever Gradio would like to load from elsewhere, it is not let out
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; form-action 'self'"
)


class Desk:
    """Answers what is handed in. Keeps the model, and nothing of a radiograph."""

    def __init__(self, model: FinalModel, rates: Path = RATES, seconds: float = SECONDS):
        self.model, self.rates, self.seconds = model, read_rates(rates, model), seconds
        self.pool = ThreadPoolExecutor(USERS)

    def answer(self, paths: list[str], point: str, prevalence: float) -> tuple[list[dict], str, str, str]:
        """Answer files and delete them; returns (answers for `show`, pictures, answers, table) as JSON and HTML."""
        try:
            if len(paths) > MAX_FILES:
                text = f"{len(paths)} files: {MAX_FILES} at most; `python -m pneumonia predict` answers any number"
                answered = [(Answer("upload", error=text), "")]
            else:
                answered = [self._answer_one(Path(path)) for path in paths]
        finally:
            for path in paths:
                Path(path).unlink(missing_ok=True)
        kept = [asdict(answer) for answer, _ in answered]
        return kept, "".join(picture for _, picture in answered), *self.show(kept, point, prevalence)

    def _answer_one(self, path: Path) -> tuple[Answer, str]:
        """An answer at the prevalence of the calibration, and its picture. The folder of uploads is nobody's matter."""
        name = printable(path.name)
        try:
            reading = self.pool.submit(Reader(self.model).read, path, name).result(self.seconds)
            return reading.answer, show_picture(reading)
        except TooLong:
            answer = Answer(name, error=f"{name}: took longer than {self.seconds} s; shrink it")
        except PneumoniaError as error:
            answer = Answer(name, error=str(error).replace(str(path), name))
        return answer, show_no_picture(answer)

    def show(self, kept: list[dict], point: str, prevalence: float) -> tuple[str, str]:
        """(answers, table and download) as HTML, for answers that the page has kept: settings change, files are gone.

        Raises: PneumoniaError for an unknown operating point, or a prevalence not between 0 and 1.
        """
        reader = Reader(self.model, point, prevalence)
        answers = [settle(Answer(**one | {"warnings": tuple(one["warnings"])}), reader) for one in kept or []]
        download = show_download(answers, reader) if answers else ""
        cards = "".join(show_answer(answer, reader) for answer in answers)
        return cards, download + show_prevalence(reader, self.rates)


def import_gradio():
    """Gradio, with its ways out of the machine shut before it is loaded.

    Raises: PneumoniaError when it is not installed.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        import gradio
    except ImportError as error:
        remedy = "pip install --no-deps -r requirements-app.txt, or `make app`"
        raise PneumoniaError(f"Gradio is missing or incomplete ({error.name}): {remedy}") from error
    return gradio


def build_page(desk: Desk):
    """The page, a `gradio.Blocks`: settings and upload on top, pictures beside answers below."""
    gradio = import_gradio()
    model = desk.model
    with gradio.Blocks(title="Pneumonia", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gradio.Markdown(
            f"# Chest radiographs of children: NORMAL or PNEUMONIA?\n**{NOT_FOR_CLINICAL_USE}** {model.name}, "
            f"{model.hash}; made for frontal radiographs of children one to five years old. Everything stays on this "
            f"machine, and nothing is stored after the answer."
        )
        with gradio.Row():
            limits = f"JPEG, PNG, TIFF, BMP, WebP or DICOM; {MAX_FILES} files of {MAX_MEGABYTES} MB at most"
            files = gradio.File(label=limits, file_count="multiple", height=190)
            with gradio.Column():
                point = gradio.Radio(list(model.record["operating_points"]), value="balanced", label="Operating point")
                prevalence = gradio.Slider(
                    0.01, 0.99, Reader(model).prevalence, step=0.01, label="Prevalence: share of ill children"
                )
                opacity = gradio.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the heatmap")
        with gradio.Row():
            pictures, answers = gradio.HTML(elem_id="pictures"), gradio.HTML(elem_id="answers")
        table = gradio.HTML(desk.show([], "balanced", Reader(model).prevalence)[1], elem_id="table")
        kept = gradio.JSON(visible=False)  # in the browser, not here

        def answer(paths, point, prevalence):
            return None, *desk.answer(paths or [], point, prevalence)

        settings, limit = [point, prevalence], {"concurrency_limit": USERS, "api_visibility": "private"}
        files.upload(answer, [files, *settings], [files, kept, pictures, answers, table], **limit)
        for setting in settings:
            setting.change(desk.show, [kept, *settings], [answers, table], trigger_mode="always_last", **limit)
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


def main(arguments: list[str] | None = None) -> int:
    """Open the page and serve it until Ctrl-C or a signal to end; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pneumonia.app", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    try:
        with tempfile.TemporaryDirectory(prefix="pneumonia-", ignore_cleanup_errors=True) as uploads:
            os.environ["GRADIO_TEMP_DIR"] = uploads
            page = build_page(Desk(FinalModel()))
            address = open_page(page, options.port, not options.no_browser)
            signal.signal(signal.SIGTERM, lambda *_: ended.set())
            print(f"{address}  (Ctrl-C ends it) {NOT_FOR_CLINICAL_USE}", flush=True)
            with suppress(KeyboardInterrupt):
                ended.wait()
            page.close(verbose=False)
    except PneumoniaError as error:
        print(f"pneumonia: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
