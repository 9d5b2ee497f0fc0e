"""`python -m pneumonia app`: a page in the browser that reads radiographs, for this machine and no web site.

Nothing is sent elsewhere, and nothing is kept: a radiograph comes alone, as the body of one request, and is in memory
until it is answered. Only requests of the page itself are taken, so that no web site that is open in the same browser
can use it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import signal
import socket
import threading
import warnings
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..config import ROOT, PneumoniaError
from .command import NOT_FOR_CLINICAL_USE, printable
from .final_model import FinalModel
from .page import (
    WEB,
    announce,
    read_rates,
    restate,
    restore,
    show_answer,
    show_download,
    show_page,
    show_picture,
    show_prevalence,
)
from .reader import Answer, Reader

HOST = "127.0.0.1"  # no other machine can reach it
PORTS = range(7860, 7960)  # the first free one, unless --port names another
MAX_FILES, MAX_BYTES = 20, 64 * 2**20  # of one upload, and of each of its files
MAX_ROWS_BYTES = 2**18  # of the answers that come back when settings change
MAX_NAME = 255  # characters
READERS, IN_FLIGHT, WAITING = 2, 4, 28  # films that are read, that are in memory, and that wait unreceived: 32 in all
SECONDS = 60  # for one film; after that, its answer is an error
RECEIVE_SECONDS = 20  # for one film to arrive, which comes from this machine
CONNECTIONS = 256
RATES = ROOT / "results" / "operating_points.csv"
POLICY = "; ".join(  # for the browser: what the page may load, and from where
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class App:
    """Answers films and shows the answers. Keeps the model, and nothing of a radiograph."""

    def __init__(
        self,
        model: FinalModel,
        rates: Path = RATES,
        seconds: float = SECONDS,
        receive_seconds: float = RECEIVE_SECONDS,
    ):
        self.model, self.rates = model, read_rates(rates, model)
        self.seconds, self.receive_seconds = seconds, receive_seconds
        self.pool = ThreadPoolExecutor(READERS)
        self.slots, self.inside = asyncio.Semaphore(IN_FLIGHT), 0

    def read(self, content: bytes, name: str) -> tuple[Answer, str]:
        """The answer for the bytes of a file, at the prevalence of the calibration, and its picture as HTML.

        All that comes from outside is decoded here.
        """
        try:
            if not content:
                raise PneumoniaError(f"{name}: empty file; fetch it again")
            answer = Reader(model=self.model).read(content, name)
            return answer, show_picture(answer, self.model.record["evidence_scale"])
        except PneumoniaError as error:
            return Answer(name, error=str(error)), ""

    async def answer(self, content: bytes, name: str) -> tuple[Answer, str]:
        """As `read`, which may take `seconds`, while other requests are served."""
        reading = asyncio.get_running_loop().run_in_executor(self.pool, self.read, content, name)
        try:
            return await asyncio.wait_for(reading, self.seconds)
        except TimeoutError:
            return Answer(name, error=f"{name}: took longer than {self.seconds} s; shrink it"), ""

    def show(self, rows: list, operating_point: str, prevalence: float) -> dict[str, object]:
        """The page below the settings, for answers that the browser has kept: settings change, files are gone.

        Returns: `answers`, for each of them {html, sentence for a screen reader, failed}; `table`, HTML.
        Raises: PneumoniaError for what is no answer, for too many of them, for an unknown operating point, or a
        prevalence not between 0 and 1.
        """
        if len(rows) > MAX_FILES:
            raise PneumoniaError(f"{len(rows)} answers: {MAX_FILES} at most")
        reader = Reader(operating_point, prevalence, self.model)
        answers = [restate(restore(row), reader) for row in rows]
        download = show_download(answers, reader) if answers else ""
        shown = [
            {"html": show_answer(answer, reader), "sentence": announce(answer), "failed": answer.error is not None}
            for answer in answers
        ]
        return {"answers": shown, "table": download + show_prevalence(reader, self.rates)}

    async def take_film(self, request: Request) -> Response:
        """POST film?name=...: the bytes of one file -> its row and its picture."""
        size = check_body(request, "application/octet-stream", MAX_BYTES)
        name = request.query_params.get("name", "")
        if not 0 < len(name) <= MAX_NAME:
            raise HTTPException(400, f"name of a file: 1 to {MAX_NAME} characters")
        if self.inside >= IN_FLIGHT + WAITING:
            raise HTTPException(503, "too many radiographs at once; try again")
        self.inside += 1
        try:
            async with self.slots:
                content = await receive(request, size, self.receive_seconds)
                answer, picture = await self.answer(content, printable(name))
        finally:
            self.inside -= 1
        return JSONResponse({"row": answer.row(), "picture": picture})

    async def take_settings(self, request: Request) -> Response:
        """POST answers: rows, operating point and prevalence -> how they are shown."""
        size = check_body(request, "application/json", MAX_ROWS_BYTES)
        content = await receive(request, size, self.receive_seconds)
        try:
            match json.loads(content):
                case {
                    "rows": [*rows],
                    "operating_point": str(operating_point),
                    "prevalence": float(prevalence) | int(prevalence),
                }:
                    return JSONResponse(self.show(rows, operating_point, prevalence))
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "not JSON") from error
        except PneumoniaError as error:
            raise HTTPException(400, printable(str(error))) from error
        raise HTTPException(400, "not the settings of this page; load it again")

    def make_site(self) -> Starlette:
        """The page, its style and its script, and the two questions that it asks."""
        page = show_page(Reader(model=self.model), self.rates, MAX_FILES, MAX_BYTES)
        files = {
            "/": (page, "text/html"),
            "/page.css": ((WEB / "page.css").read_text(encoding="utf-8"), "text/css"),
            "/page.js": ((WEB / "page.js").read_text(encoding="utf-8"), "text/javascript"),
        }

        async def serve_file(request: Request) -> Response:
            content, kind = files[request.url.path]
            return Response(content, media_type=kind)

        routes = [Route(path, serve_file) for path in files]
        routes.append(Route("/film", self.take_film, methods=["POST"]))
        routes.append(Route("/answers", self.take_settings, methods=["POST"]))
        site = Starlette(routes=routes, exception_handlers={ClientDisconnect: lambda *_: Response()})
        site.router.redirect_slashes = False
        return site


def check_body(request: Request, kind: str, limit: int) -> int:
    """The size of the body in bytes, before any of it is received.

    No HTML form can send these kinds, and a script of another site must ask first. Raises: HTTPException.
    """
    if request.headers.get("content-type") != kind:
        raise HTTPException(415, f"Content-Type must be {kind}")
    if "content-length" not in request.headers:
        raise HTTPException(411, "Content-Length is missing")
    size = int(request.headers["content-length"])  # digits, as the server has made sure
    if size > limit:
        raise HTTPException(413, f"larger than {limit // 2**10:,} KiB; shrink it")
    return size


async def receive(request: Request, size: int, seconds: float) -> bytes:
    """The body. Raises: HTTPException when it takes too long, ClientDisconnect when it is cut off."""
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                content += chunk
    except TimeoutError as error:
        raise HTTPException(408, f"{len(content):,} of {size:,} bytes arrived in {seconds} s") from error
    return bytes(content)


class Guard:
    """ASGI middleware: only requests of the page itself come in, and what goes out stays in it.

    Another site may have pointed its own name at this machine (Host), or send what its visitor's browser then sends
    here (Origin, Sec-Fetch-Site).
    """

    def __init__(self, app, port: int):
        self.app = app
        self.hosts = {f"{name}:{port}" for name in (HOST, "localhost")} | ({HOST, "localhost"} if port == 80 else set())

    async def __call__(self, scope, receive, send) -> None:
        async def send_guarded(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if message["status"] >= 400:  # there may be a body, which nobody is going to receive
                    headers["Connection"] = "close"
            await send(message)

        problem = self.find_problem(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(problem, 403) if problem else self.app
        try:
            await app(scope, receive, send_guarded)
        except Exception:  # a bug; the browser has been told that there is one
            logging.getLogger(__name__).exception("%s %s", scope["method"], scope["path"])

    def find_problem(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused, in one line."""
        host = headers.get("host")
        if host not in self.hosts:
            return "Host: not this page; open the address that the command has printed"
        origins = headers.getlist("origin")
        if any(origin != f"http://{host}" for origin in origins) or (not origins and method not in ("GET", "HEAD")):
            return "Origin: not this page"
        if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
            return "Sec-Fetch-Site: opened by another page; type the address instead"
        return None


def open_port(port: int | None) -> socket.socket:
    """A socket of this machine that listens on this port, or on the first free one of PORTS.

    Raises: PneumoniaError when it is out of range, taken or not permitted.
    """
    if port is not None and not 0 < port < 2**16:
        raise PneumoniaError(f"--port {port}: must be between 1 and {2**16 - 1}")
    reason = ""
    for candidate in PORTS if port is None else [port]:
        try:
            return socket.create_server((HOST, candidate))
        except OSError as error:
            reason = "taken" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
    named = f"{PORTS[0]} to {PORTS[-1]}" if port is None else port
    raise PneumoniaError(f"port {named}: {reason}; choose another with --port")


def make_server(app: App, port: int) -> uvicorn.Server:
    """The page as a server that `run([open_port(port)])` starts."""
    return uvicorn.Server(
        uvicorn.Config(
            Guard(app.make_site(), port),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            workers=1,
            log_config=None,
            log_level="critical",  # refused requests are no news
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
    )


def serve(port: int | None = None, in_browser: bool = True) -> None:
    """Open the page and serve it until Ctrl-C or SIGTERM. Raises: PneumoniaError without a free port."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # Ctrl-C just before the loop runs
    with open_port(port) as listener:
        app = App(FinalModel())
        port = listener.getsockname()[1]
        server, address = make_server(app, port), f"http://{HOST}:{port}/"
        with suppress(KeyboardInterrupt):
            print(f"{address}  (Ctrl-C ends it) {NOT_FOR_CLINICAL_USE}", flush=True)
            if in_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            server.run([listener])
        app.pool.shutdown(wait=False, cancel_futures=True)
