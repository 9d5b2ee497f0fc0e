"""What a run is: where its files are, which models it trains (series.py lists them), and what a model is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

CLASS_NAMES = ("NORMAL", "PNEUMONIA")  # index = label; the positive class is PNEUMONIA = 1
KINDS = ("NORMAL", "bacteria", "virus")  # what the file names say beyond the class
OFFICIAL_SPLITS = ("train", "val", "test")  # folders of the archive, in this order
RECIPE_VERSION = 1  # raise it when a change of code would train other weights; old ones then no longer match
# Fields of ModelConfig that came later; one that is off is left out of the hash, so that older weights still match.
LATER_OPTIONS = ("pretrained", "window", "weigh_by_size")
CLAIMED_ACCURACY = 0.91  # "91 % accuracy with a ___ recall": the claim of the work this follows

ROOT = Path(__file__).resolve().parents[1]


class PneumoniaError(Exception):
    """A problem that the user can solve: one line that names the file and the remedy."""


@dataclass(frozen=True)
class ModelConfig:
    """One row of the model series. Changing any field changes its hash, and so retrains it."""

    name: str  # the key in every result file
    title: str  # what readers see
    builder: str  # a function of models/architectures.py
    image_size: int  # pixels per side of the input
    augmentations: tuple[str, ...] = ()  # names in transforms/augmentations.py
    balance_classes: bool = False  # weight the classes inversely to their frequency
    epochs: int = 0  # 0: not trained by gradient descent
    batch_size: int = 64
    learning_rate: float = 1e-3  # peak of the warm-up + cosine schedule
    weight_decay: float = 1e-4
    pretrained: bool = False  # start from weights learned on ImageNet instead of random ones
    window: float = 0.0  # width / height of the central window that is the input; 0: all of it, stretched to a square
    weigh_by_size: bool = False  # weight examples by the inverse propensity of their class given the original size
    seeds: tuple[int, ...] = ()  # instead of the seeds of the run

    @property
    def is_cnn(self) -> bool:
        return self.epochs > 0

    def hash(self) -> str:
        """Twelve hex digits that change whenever the training would."""
        fields = asdict(self)
        ignored = {"title", "seeds", *(name for name in LATER_OPTIONS if not fields[name])}
        kept = {name: value for name, value in fields.items() if name not in ignored}
        return short_hash(kept | {"recipe": RECIPE_VERSION})


@dataclass(frozen=True)
class Run:
    """What a run reads and writes. The real run owns the committed files, the simulated one build/simulated."""

    name: str  # "real" or "simulated"
    data: Path | None  # folder (or MedMNIST .npz) with the radiographs; None: only results are available
    home: Path  # where results/, images/, models/, README.md and presentation.pdf are written
    cache: Path  # decoded radiographs, safe to delete
    models: tuple[ModelConfig, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    split_seed: int = 2018  # fixes the carved validation split
    validation_fraction: float = 0.15  # of the train patients
    bootstrap_draws: int = 2000

    @property
    def is_simulated(self) -> bool:
        return self.name == "simulated"

    @property
    def results_dir(self) -> Path:
        return self.home / "results"

    @property
    def images_dir(self) -> Path:
        return self.home / "images"

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    def model(self, name: str) -> ModelConfig:
        """The configuration called `name`; an unknown name is an error that lists the known ones."""
        for config in self.models:
            if config.name == name:
                return config
        known = ", ".join(config.name for config in self.models)
        raise PneumoniaError(f"unknown model '{name}'; the models of this run are: {known}")

    def seeds_of(self, config: ModelConfig) -> tuple[int, ...]:
        """The seeds of a model; baselines are deterministic, so that one is enough."""
        return (config.seeds or self.seeds) if config.is_cnn else self.seeds[:1]


def short_hash(value: object) -> str:
    """First twelve hex digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
