"""Training on a Ray cluster of two nodes, both on this machine: the same results, even when a node is lost."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import CNN, tiny_run

from pneumonia import ray_cluster
from pneumonia.config import PneumoniaError, Run
from pneumonia.models import cluster
from pneumonia.models.training import train_all
from pneumonia.models.weights import load_trained
from pneumonia.records import load_record

SEEDS = (0, 1)
TOLERANCE = 1e-6


def silent(line: str) -> None:
    """Say nothing."""


def test_missing_ray_is_one_line(monkeypatch):
    monkeypatch.setattr(ray_cluster, "ray", None)
    with pytest.raises(PneumoniaError, match=r"Ray is not installed; run `pip install -e \.\[cluster\]`"):
        ray_cluster.connect("auto")


@pytest.fixture
def nodes():
    """A head node and another one, a CPU each; the second may be removed."""
    pytest.importorskip("ray", reason="needs Ray: pip install -e .[cluster]")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def train_there(run: Run, catalog, nodes, say) -> None:
    def train(*arguments) -> None:
        cluster.train_on_cluster(*arguments, address=nodes.address)

    train_all(run, catalog, say=say, train=train)


def assert_close(run: Run, other: Run) -> None:
    for seed in SEEDS:
        weights = [load_trained(each, run.model(CNN), seed).get_weights() for each in (run, other)]
        for one, two in zip(*weights, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=TOLERANCE)
        histories = [load_record(each, run.model(CNN), seed)["history"] for each in (run, other)]
        losses = [[row["val_loss"] for row in history] for history in histories]
        assert losses[0] == pytest.approx(losses[1], abs=2 * TOLERANCE)  # they are rounded to as much


def test_two_nodes_one_of_them_killed_give_what_one_process_gives(clean_tree, tmp_path, nodes, trained):
    alone, catalog, _ = trained
    run, lines = tiny_run(clean_tree, tmp_path, ("majority", CNN), SEEDS, balance_classes=True), []

    def say(line: str) -> None:
        lines.append(line)
        if nodes.second and "epoch" in line:
            nodes.remove_node(nodes.second, allow_graceful=False)
            nodes.second = None

    train_there(run, catalog, nodes, say)
    assert_close(run, alone)
    assert [line for line in lines if "its worker was lost" in line]
    reported = [line.split("loss")[0] for line in lines if "  epoch" in line]
    assert sorted(set(reported)) == sorted(
        f"{CNN} seed {seed}  epoch  {epoch}/3  " for seed in SEEDS for epoch in (1, 2, 3)
    )
    assert lines[-1] == "trained 3 of 3 trainings; 0 were up to date"
    assert not list(run.cache.glob("checkpoint*"))


def test_error_of_a_training_comes_back_as_the_same_line(clean_tree, tmp_path, nodes, trained):
    catalog = trained[1]
    run = tiny_run(clean_tree, tmp_path, ("basic_cnn",), learning_rate=1e30)
    with pytest.raises(PneumoniaError, match=r"^basic_cnn seed 0, epoch \d: the loss is not a number"):
        train_there(run, catalog, nodes, silent)
