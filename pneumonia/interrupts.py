"""Ctrl-C at any moment is one line and exit status 130.

Until there is something to finish, a program leaves at once: a KeyboardInterrupt in the middle of the imports comes out
of some libraries as another error. Within `raised` it is Python's own KeyboardInterrupt, within `held` it waits.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # exit status, as shells have it
_happened = _is_held = False


def leave_at_once() -> None:
    """From now on: say so and end. For programs only, not for a library."""
    if _is_heard():
        signal.signal(signal.SIGINT, _leave)


@contextmanager
def raised() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread; when it comes a second time, leave at once."""
    if not _is_heard():
        yield
        return
    before, hook = signal.signal(signal.SIGINT, _raise), sys.unraisablehook
    sys.unraisablehook = _say_nothing
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook


@contextmanager
def held() -> Iterator[None]:
    """What is begun here is finished before KeyboardInterrupt is raised. For what never takes long."""
    global _is_held
    _is_held, happened_before = True, _happened
    try:
        yield
    finally:
        _is_held = False
    if _happened and not happened_before:
        raise KeyboardInterrupt


def happened() -> bool:
    """Whether there was a Ctrl-C within `raised`, whatever became of its KeyboardInterrupt; `forget` begins anew."""
    return _happened


def forget() -> None:
    global _happened
    _happened = False


def _is_heard() -> bool:
    """Not where signals go to another thread, nor where the one who started us wants Ctrl-C ignored (nohup, &)."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)


def _leave(*_) -> None:
    os.write(2, b"pneumonia: interrupted\n")
    os._exit(INTERRUPTED)


def _raise(*_) -> None:
    global _happened
    if _happened:
        _leave()
    _happened = True
    if not _is_held:
        raise KeyboardInterrupt


def _say_nothing(unraisable) -> None:
    """Of a KeyboardInterrupt that met a destructor: `happened` knows of it."""
    if not (_happened and issubclass(unraisable.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)
