"""An archive on a Ray cluster of one and of two nodes with a core each, both on this machine."""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from pneumonia.config import PneumoniaError
from pneumonia.data.catalog import iterate_files

from .measure import Measured, Variant

BENCHMARK = "archive on a cluster"
NODES = (1, 2)


def list_variants(data: Path, count: int) -> list[Variant]:
    """`count` radiographs of `data`, repeated until enough, read through links with a name each."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise PneumoniaError("cluster: Ray is not installed; run `pip install -e .[cluster]`") from error
    return [Variant(f"{nodes} node{'s' if nodes > 1 else ''}", read_archive, (data, count, nodes)) for nodes in NODES]


def read_archive(data: Path, count: int, nodes: int) -> Measured:
    """Radiographs a second from the command on: starting the actors is a part of it, starting Ray is not."""
    from ray.cluster_utils import Cluster

    from pneumonia.inference.cluster import predict_archive

    found = [file for split, _, file in iterate_files(data) if split == "train"]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        with tempfile.TemporaryDirectory() as folder:
            links = Path(folder) / "links"
            links.mkdir()
            for number, file in enumerate(islice(cycle(found), count)):
                (links / f"{number:06d}{file.suffix}").symlink_to(file.resolve())
            paths, start = sorted(links.iterdir()), time.perf_counter()
            predict_archive(paths, Path(folder) / "out", cluster.address, "balanced", None)
            return {(BENCHMARK, "throughput"): count / (time.perf_counter() - start)}
    finally:
        cluster.shutdown()
