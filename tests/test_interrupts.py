"""Ctrl-C is one line and 130, whatever a library makes of it."""

from __future__ import annotations

import signal

import pytest

from pneumonia import __main__ as cli
from pneumonia.interrupts import happened, held, raised


@pytest.fixture(autouse=True)
def heard():
    """As in a terminal: a script in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_what_is_begun_is_finished_first():
    done = []
    with pytest.raises(KeyboardInterrupt), raised():
        with held():
            press()
            done.append("row")
        done.append("never")
    assert done == ["row"] and happened()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def swallow() -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise ImportError("numpy._core.multiarray failed to import") from None


def meet_a_destructor() -> None:
    class Odd:
        def __del__(self):
            press()

    Odd()
    raise ValueError("the library went on")


@pytest.mark.parametrize("step", [press, swallow, meet_a_destructor])
def test_no_traceback_from_a_library(step, monkeypatch, capsys):
    monkeypatch.setattr(cli, "run_catalog", lambda options: step())
    assert cli.main(["catalog"]) == 130
    assert capsys.readouterr().err == "pneumonia: interrupted; run the same command again to continue\n"


def test_an_earlier_ctrl_c_is_forgotten(monkeypatch):
    monkeypatch.setattr(cli, "run_catalog", lambda options: press())
    assert cli.main(["catalog"]) == 130
    monkeypatch.setattr(cli, "run_catalog", lambda options: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main(["catalog"])
