"""The small networks that some studies train for themselves; their weights stay in build/."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from ..config import ROOT, ModelConfig, Run, short_hash
from ..series import ABLATION

RECIPE = next(row for row in ABLATION if row.name == "ablation_shape")  # 96 px and 12 epochs


def recipe_hash(record: dict) -> str:
    """What the studies of RECIPE depend on: the radiographs, and the recipe. Args: record: run.json."""
    return short_hash([record["catalog_hash"], RECIPE.hash()])


def networks_run(base: Run, name: str, models: tuple[ModelConfig, ...], seeds: tuple[int, ...]) -> Run:
    """A run with a home of its own that uses the radiographs of another."""
    home = ROOT / "build" / name if base.name == "real" else base.home / name
    return replace(base, name=name, home=home, models=models, seeds=seeds)


def train_networks(run: Run, catalog: pd.DataFrame, say: Callable[[str], None]) -> None:
    """Train what is missing."""
    from ..models.training import train_all

    train_all(run, catalog, say=say)
