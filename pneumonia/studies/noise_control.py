"""Can a label be read from noise? Each training radiograph replaced by noise of its own original size, each recipe.

The noise goes the way of a radiograph: stretched copy, window, augmentations. A small network learns to tell the label
from it. What it finds on the noise of validation, augmented as in training, cannot be anatomy: it is what the recipe
leaves of the size and shape of the file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import ModelConfig, Run, short_hash
from ..data.dataset import Radiographs, load_radiographs
from ..data.noise import replace_by_noise
from ..evaluation.estimate import Estimate
from ..evaluation.metrics import DECIMALS, bootstrap_weights, percentile_interval, roc_auc
from ..results import Results
from ..series import ABLATION, ablation_run
from .study import Study, Table

COLUMNS = ["model", "roc_auc", "ci_low", "ci_high", "n"]
EPOCHS, DRAWS = 6, 1000
LIMIT = 0.6  # docs/protocol.md: a recipe above it cannot be the final model
TITLES = {row.name: row.title for row in ABLATION}


def compute_noise_control(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """ROC AUC from noise for every recipe of the run: a frame with COLUMNS, 95 % intervals over patients."""
    rows, held = [], {}
    for config in tqdm(sorted(run.models, key=lambda c: (c.image_size, c.window)), "noise", unit="recipe"):
        if (config.image_size, config.window) not in held:
            radiographs = load_radiographs(run, catalog, config.image_size, config.window)
            noise = [replace_by_noise(radiographs[split]) for split in ("train_fit", "validation")]
            held = {(config.image_size, config.window): noise}
        train, validation = held[config.image_size, config.window]
        y_prob = learn_noise(config, train, validation)
        weights = bootstrap_weights(validation.patients, DRAWS)
        interval = percentile_interval(roc_auc(validation.labels, y_prob, weights))
        rows.append((config.name, roc_auc(validation.labels, y_prob), *interval, len(validation)))
    table = pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)
    order = [config.name for config in run.models]
    return table.sort_values("model", key=lambda names: names.map(order.index), ignore_index=True)


def learn_noise(config: ModelConfig, train: Radiographs, validation: Radiographs) -> np.ndarray:
    """Train a small network on augmented noise; P(PNEUMONIA) of the augmented noise of validation, (n,)."""
    import keras

    from ..data.generators import RadiographGenerator, compute_class_weights
    from ..models.architectures import build_model
    from ..models.training import compile_model

    def generate(part: Radiographs, seed: int, shuffle: bool) -> RadiographGenerator:
        return RadiographGenerator(
            part.pixels,
            part.labels,
            config.batch_size,
            shuffle,
            config.augmentations,
            seed,
            aspects=part.films.aspects,
            window=part.window,
        )

    keras.utils.set_random_seed(0)
    small = replace(config, name="noise", builder="build_small_cnn", epochs=EPOCHS)
    generator = generate(train, 0, shuffle=True)
    model = compile_model(build_model(small), small, EPOCHS * len(generator))
    weights = compute_class_weights(train.labels)
    model.fit(generator, epochs=EPOCHS, class_weight=weights, shuffle=False, verbose=0)
    held_out = generate(validation, 1, shuffle=False)
    batches = [model.predict_on_batch(held_out[index][0]).ravel() for index in range(len(held_out))]
    return np.concatenate(batches).astype(np.float64)


def describe(results: Results) -> dict[str, str]:
    """<recipe>: ROC AUC from noise, without "ablation_"; limit."""
    return {"limit": f"{LIMIT:g}"} | {
        row["model"].removeprefix("ablation_"): str(Estimate.of("roc_auc", row["roc_auc"]))
        for _, row in results.table("noise_control").iterrows()
    }


def tabulate(results: Results) -> Table:
    rows = [
        [TITLES[row["model"]], f"{row['roc_auc']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"]
        + ["yes" if row["roc_auc"] <= LIMIT else "no"]
        for _, row in results.table("noise_control").iterrows()
    ]
    return Table(["recipe", "ROC AUC from noise", "eligible"], rows)


def hash_controls(record: dict) -> str:
    """What the table depends on: the radiographs and the recipes. Args: record: run.json."""
    return short_hash([record["catalog_hash"], EPOCHS, *(config.hash() for config in ABLATION)])


STUDY = Study(
    compute_noise_control,
    describe,
    tables={"noise": tabulate},
    networks=lambda base: ablation_run(base.data),
    depends_on=hash_controls,
)
