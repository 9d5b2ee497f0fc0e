"""Decoding in a process that can be ended: a film takes 10 seconds and 1 GB at most, whatever its bytes.

A file of a few kilobytes can keep a decoder busy for hours, fill the memory, or crash it, and a thread that decodes
cannot be stopped. So bytes go through a pipe to a process, and the picture, or one line about what is wrong, comes
back. A process serves one film after the other; only one that had to be ended is started anew.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..config import ROOT, PneumoniaError
from .dicom import too_costly
from .radiograph import Decoded, decode, read_bytes
from .sizes import look_up_original_size

SECONDS, GIGABYTES = 10, 1  # of one film
TICK = 0.25  # seconds between two looks at the films under way
BUFFER = 1 << 17  # bytes: most films, and what a model sees of any, pass in one piece
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pneumonia.data.decoding import serve; serve()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Decoders:
    """As many decoding processes as there are threads that ask at the same time. Safe between threads."""

    def __init__(self) -> None:
        self.busy: set[Decoder] = set()
        self.stopped = False

    def decode_file(
        self, path: Path, size: int | None = None, window: float = 0.0, shape: tuple[int, int] | None = None
    ) -> Decoded:
        """As `radiograph.decode_file`."""
        return self.decode(read_bytes(path), str(path), size, window, look_up_original_size(path) or shape)

    def decode(
        self,
        content: bytes,
        name: str,
        size: int | None = None,
        window: float = 0.0,
        shape: tuple[int, int] | None = None,
    ) -> Decoded:
        """As `radiograph.decode`. Raises: PneumoniaError also when it takes more time or memory than a film may."""
        return self.run(decode, name, content, name, size, window, shape)

    def run(self, function: Callable, name: str, *arguments: object) -> object:
        """`function(*arguments)` in a decoding process; the function is one of a module. `name` begins every error."""
        decoder = _take(name)
        self.busy.add(decoder)
        try:
            if self.stopped:
                raise PneumoniaError(f"{name}: reading was stopped")
            return decoder.run(function, name, *arguments)
        finally:
            self.busy.discard(decoder)
            if self.stopped or decoder.process.returncode is not None:
                decoder.end()
            else:
                _idle.append(decoder)

    def stop(self) -> None:
        """End what is being decoded; whoever waits for it gets an error."""
        self.stopped = True
        for decoder in list(self.busy):
            decoder.process.kill()


class Decoder:
    """A process that decodes one film at a time."""

    def __init__(self) -> None:
        # Not by multiprocessing, which would run the caller's script again. In a session (on Windows: a group) of its
        # own, so that Ctrl-C in the terminal does not reach it; it ends when its input does, however we end.
        on_windows = {} if os.name == "posix" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=BUFFER,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
            **on_windows,
        )
        self.is_ready = False
        self.ticks = 0  # that the film has taken

    def run(self, function: Callable, name: str, *arguments: object) -> object:
        """What the function returns there. Raises: PneumoniaError of the function, or when the process has ended."""
        try:
            if not self.is_ready:  # its imports are not the film's fault
                self.is_ready = pickle.load(self.process.stdout)
            self.ticks = 0
            _busy.add(self)
            _send((function, name, arguments), self.process.stdin)
            value, error = pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise PneumoniaError(f"{name}: {self._explain(self.end())}") from None
        except BaseException:  # Ctrl-C between question and answer: the next film must not get this one's picture
            self.end()
            raise
        finally:
            _busy.discard(self)
        if error is not None:
            raise PneumoniaError(error)
        return value

    def _explain(self, status: int) -> str:
        if not self.is_ready:
            return f"cannot be decoded (the process for it ended with status {status}); try again"
        if self.ticks * TICK >= SECONDS:
            return f"takes more than {SECONDS} seconds to decode; save the picture anew"
        return f"breaks its decoder (status {status}); save the picture anew"

    def end(self) -> int:
        """End the process at once. Returns: its exit status."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()
        return self.process.wait()


_idle: list[Decoder] = []  # of the whole program
_busy: set[Decoder] = set()
_watchman: threading.Thread | None = None
_lock = threading.Lock()


def start_early() -> None:
    """Start a process now, if none is idle, so that it is ready when the first film comes."""
    if not _idle:
        with suppress(OSError):  # will be said of the first film
            _idle.append(Decoder())


def _take(name: str) -> Decoder:
    """An idle process, or a new one."""
    global _watchman
    with _lock:
        if _watchman is None:
            _watchman = threading.Thread(target=_end_the_late, name="decoding", daemon=True)
            _watchman.start()
        while _idle:
            decoder = _idle.pop()
            if decoder.process.poll() is None:
                return decoder
            decoder.end()  # somebody has killed it
    try:
        return Decoder()
    except OSError as error:
        raise PneumoniaError(f"{name}: no process can be started to decode it ({error.strerror or error})") from error


def _end_the_late() -> None:
    """Ticks are counted, and no clock is read: a program that was suspended has lost no time."""
    while True:
        time.sleep(TICK)
        for decoder in list(_busy):
            decoder.ticks += 1
            if decoder.ticks * TICK >= SECONDS:
                decoder.process.kill()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _forget() -> None:
    """After a fork: the processes belong to the parent, and the thread is not here."""
    global _watchman, _lock
    _idle.clear()
    _busy.clear()
    _watchman, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def serve() -> None:
    """The other side: run what comes through standard input, until that is closed."""
    requests, answers = os.fdopen(0, "rb", BUFFER), os.fdopen(os.dup(1), "wb", BUFFER)
    os.dup2(2, 1)  # a library that prints must not spoil an answer
    _limit_memory()
    _send(True, answers)
    with suppress(EOFError, BrokenPipeError):
        while True:
            function, name, arguments = pickle.load(requests)
            _limit_time()
            try:
                answer = function(*arguments), None
            except PneumoniaError as error:
                answer = None, str(error)
            except MemoryError:
                answer = None, str(too_costly(name))
            _send(answer, answers)


def _send(value: object, file) -> None:
    pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    file.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has none
        return
    limit, hard = GIGABYTES * 2**30, resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no picture is left on the disk where a decoder breaks


def _limit_time() -> None:
    """Should the program be gone that would end this process, the system ends it, after as much work."""
    if hasattr(signal, "setitimer"):  # Windows has none
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 2)
