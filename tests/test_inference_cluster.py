"""An archive on a Ray cluster of two nodes, both on this machine: the same answers, each path once, nothing lost."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia import __main__ as cli
from pneumonia import ray_cluster
from pneumonia.config import ROOT
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.records import Lock

COUNT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """60 files: one is not a radiograph, one has an odd name."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(COUNT):
        pixels = simulate_radiograph("bacteria", np.random.default_rng(number % 5), 96)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    (folder / "030.png").write_bytes(b"not an image")
    os.rename(folder / "031.png", folder / "é 🫁.png")
    return folder


@pytest.fixture
def small(monkeypatch):
    """Blocks and parts so small that there are many."""
    pytest.importorskip("ray.data", reason="needs Ray: pip install -e .[cluster]")
    from pneumonia.inference import cluster

    monkeypatch.setattr(cluster, "BLOCK_ROWS", 4)
    monkeypatch.setattr(cluster, "PART_ROWS", 4)
    return cluster


def test_a_part_is_written_when_it_is_full_or_its_time_is_up(small, monkeypatch):
    import pyarrow as pa

    now = 0
    monkeypatch.setattr(small.time, "monotonic", lambda: now)

    def blocks():
        nonlocal now
        for seconds, rows in ((1, 2), (1, 2), (1, 1), (small.PART_SECONDS - 2, 1), (2, 1), (90, 0), (1, 1)):
            now += seconds
            yield pa.table({"path": ["x"] * rows})

    assert [len(part) for part in small.gather(blocks())] == [4, 3, 1]


def test_the_second_writer_is_refused(folder, tmp_path, small, capsys):
    lock = Lock(tmp_path)
    assert predict(folder, "--cluster", "local", "--out", tmp_path) == 2
    lock.free()
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"process {os.getpid()} on" in err


@pytest.fixture
def nodes(small):
    """A head node and another one, a CPU each; the second may be removed."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def predict(*arguments: object) -> int:
    return cli.main(["predict", *map(str, arguments)])


def read_parts(out: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def read_alone(folder: Path, table: Path) -> dict[str, dict]:
    assert predict(folder, "--csv", table) == 1
    with table.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def assert_same(rows: list[dict], alone: dict[str, dict]) -> None:
    assert sorted(row["path"] for row in rows) == sorted(alone), "each path once"
    for row in rows:
        other = alone[row["path"]]
        assert row["error"] == other["error"] and row["call"] == other["call"]
        assert row["warnings"] == other["warnings"] and row["model_hash"] == other["model_hash"]
        if row["error"] == "":
            assert row["probability"] == pytest.approx(float(other["probability"]), abs=1e-6)
            assert str(row["refer"]).lower() == other["refer"]


@pytest.mark.parametrize(
    "options", [("--cluster", "auto"), ("--out", "x"), ("--cluster", "auto", "--out", "x", "--json")]
)
def test_options_that_do_not_go_together(folder, capsys, options):
    assert predict(folder, *options) == 2
    assert "--cluster and --out: go together" in capsys.readouterr().err


def test_missing_ray_is_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray_cluster, "ray", None)
    assert predict(folder, "--cluster", "auto", "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "pip install -e .[cluster]" in err


def test_two_nodes_one_of_them_killed_give_what_one_process_gives(folder, tmp_path, nodes, small, monkeypatch):
    alone = read_alone(folder, tmp_path / "alone.csv")
    write, written = small.write_part, []

    def write_and_kill(part, out, name=None):
        write(part, out, name)
        written.append(len(part))
        if nodes.second and len(written) == 2:
            nodes.remove_node(nodes.second, allow_graceful=False)
            nodes.second = None

    monkeypatch.setattr(small, "write_part", write_and_kill)
    assert predict(folder, "--cluster", nodes.address, "--out", tmp_path / "out") == 1
    assert nodes.second is None and len(written) > 2
    assert_same(read_parts(tmp_path / "out"), alone)


def test_killed_and_resumed(folder, tmp_path, small, capsys):
    alone, out = read_alone(folder, tmp_path / "alone.csv"), tmp_path / "out"
    code = (
        "import sys; from pneumonia import __main__ as cli; from pneumonia.inference import cluster;"
        "cluster.BLOCK_ROWS = cluster.PART_ROWS = 4; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "predict", str(folder), "--cluster", "auto", "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.glob("part-*"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(3)  # until the cluster of the dead process is gone
    assert 0 < len(read_parts(out)) < COUNT
    assert predict(folder, "--cluster", "local", "--out", out) == 2
    assert "add --resume" in capsys.readouterr().err
    assert predict(folder, "--cluster", "local", "--out", out, "--resume") == 1
    assert_same(read_parts(out), alone)
    assert predict(folder, "--cluster", "local", "--out", out, "--resume", "--operating-point", "screening") == 2
    assert "another model or settings" in capsys.readouterr().err


def test_nothing_to_read(tmp_path, small, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty", "--cluster", "local", "--out", tmp_path / "out") == 2
    assert "no radiographs found" in capsys.readouterr().err
