"""One process at a time writes to a file; the others learn which."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.records import Lock

HOLD = """
import sys, time
from pathlib import Path
from pneumonia.config import PneumoniaError
from pneumonia.records import Lock
path, taken = Path(sys.argv[1]), 0
while taken < 20:
    try:
        lock = Lock(path)
    except PneumoniaError:
        continue
    path.write_text(sys.argv[2])
    time.sleep(0.002)
    assert path.read_text() == sys.argv[2], "two at once"
    lock.free()
    taken += 1
"""


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x.csv")]
    processes = [subprocess.Popen([*command, name], cwd=ROOT, stderr=subprocess.PIPE, text=True) for name in "abc"]
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert ended == [("", 0)] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"], "nothing is left"


def test_a_lock_names_who_holds_it_and_a_kill_frees_it(tmp_path):
    path = tmp_path / "x.csv"
    code = "import sys, time; from pathlib import Path; from pneumonia.records import Lock\n"
    code += "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", code, str(path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PneumoniaError, match=rf"x.csv: process {holder.pid} on .* is writing to it; wait"):
            Lock(path)
    finally:
        holder.kill()
        holder.communicate()
    Lock(path).free()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_locked_from_within(tmp_path):
    lock = Lock(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(PneumoniaError, match=f"process {os.getpid()} on"):
        Lock(tmp_path)
    lock.free()
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_it_there_is_no_lock(tmp_path):
    Lock(tmp_path / "nowhere" / "x.csv").free()
