"""Where the radiographs come from: CHEST_XRAY_DIR, data/chest_xray, a download, else simulated ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pooch

from ..config import ROOT, PneumoniaError, Run
from ..series import real_run, simulated_run
from .download import download
from .simulate import write_simulated_tree

DEFAULT_DATA = ROOT / "data" / "chest_xray"
HOW_TO_GET = "To get the real ones: make download (1.2 GB), or set CHEST_XRAY_DIR to a folder with train/ and test/."


def open_run(name: str = "auto", say: Callable[[str], None] = print) -> Run:
    """Open the real run, or the simulated one when there are no radiographs and none can be downloaded.

    Args: name: "auto", "real" (an error without radiographs), "simulated", or "results" (the committed files alone).
    """
    if name not in ("auto", "real", "simulated", "results"):
        raise PneumoniaError(f"unknown run '{name}'; use auto, real, simulated or results")
    if name == "results":
        return real_run(None)
    if name == "simulated":
        return open_simulated()
    data = find_radiographs()
    if data is None:
        pooch.get_logger().setLevel("WARNING")  # its own line would come before the one that says what happened
        try:
            data = download("mendeley", DEFAULT_DATA)
        except PneumoniaError as error:
            if name == "real":
                raise
            say(f"SIMULATED: no radiographs here and none could be fetched ({str(error).split(';')[0]}).")
            say(HOW_TO_GET)
            return open_simulated()
    return real_run(data)


def find_radiographs() -> Path | None:
    """CHEST_XRAY_DIR if it is set, else data/chest_xray if it is there, else None.

    Raises: PneumoniaError when CHEST_XRAY_DIR names nothing.
    """
    named = os.environ.get("CHEST_XRAY_DIR")
    if named:
        if not Path(named).exists():
            raise PneumoniaError(f"CHEST_XRAY_DIR={named}: no such folder; correct the variable or unset it")
        return Path(named).resolve()
    return DEFAULT_DATA if DEFAULT_DATA.exists() else None


def open_simulated() -> Run:
    """The run in build/simulated; its radiographs are drawn when they are not there yet."""
    run = simulated_run(None)
    return simulated_run(write_simulated_tree(run.home / "chest_xray", n_train=(30, 90), n_test=(24, 40)))
