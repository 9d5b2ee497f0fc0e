"""Can a label be read from noise? Each training radiograph replaced by noise of its own original size, each recipe.

The noise goes the way of a radiograph: stretched copy, window, augmentations in shuffled batches. Two readers learn to
tell the label from it: a small network, and a logistic regression on the spectrum. What they find on the noise of
validation, augmented as in training, cannot be anatomy: it is what the recipe leaves of size and shape of the file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from ..config import ModelConfig, Run, short_hash
from ..data.dataset import Radiographs, load_radiographs
from ..data.noise import replace_by_noise
from ..evaluation.metrics import DECIMALS, bootstrap_weights, percentile_interval, roc_auc
from ..results import Results
from ..series import ABLATION, MODEL_SERIES, ablation_run
from ..transforms.operations import measure_sharpness
from .study import Study, Table

COLUMNS = ["model", "reader", "roc_auc", "ci_low", "ci_high", "n"]
NETWORK, SPECTRUM = "small network", "logistic regression on the spectrum"
EPOCHS, HELD_OUT_DRAWS, DRAWS = 6, 4, 1000
LIMIT = 0.6  # docs/protocol.md: a recipe above it cannot be the final model


def list_recipes() -> tuple[ModelConfig, ...]:
    """What the network of each recipe sees, the final recipe first; those that see the same are measured once."""
    seen: dict[tuple, ModelConfig] = {}
    for config in (*(config for config in MODEL_SERIES if config.window), *ABLATION):
        seen.setdefault((config.image_size, config.window, config.augmentations), config)
    return tuple(seen.values())


def compute_noise_control(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """ROC AUC from noise for every recipe of the run and both readers: a frame with COLUMNS, intervals over patients.

    Each value is the mean over HELD_OUT_DRAWS augmentations of the noise of validation.
    """
    rows, held = [], {}
    for config in tqdm(sorted(run.models, key=lambda c: (c.image_size, c.window)), "noise", unit="recipe"):
        view = config.image_size, config.window
        if view not in held:
            radiographs = load_radiographs(run, catalog, *view)
            held = {view: [replace_by_noise(radiographs[split]) for split in ("train_fit", "validation")]}
        train, validation = held[view]
        weights = bootstrap_weights(validation.patients, DRAWS)
        for reader, scored in read_noise(config, train, validation).items():
            value = np.mean([roc_auc(validation.labels, y_prob) for y_prob in scored])
            samples = np.mean([roc_auc(validation.labels, y_prob, weights) for y_prob in scored], axis=0)
            rows.append((config.name, reader, value, *percentile_interval(samples), len(validation)))
    table = pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)
    order = [config.name for config in run.models]
    return table.sort_values("model", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def read_noise(config: ModelConfig, train: Radiographs, validation: Radiographs) -> dict[str, np.ndarray]:
    """P(PNEUMONIA) of the augmented noise of validation, (HELD_OUT_DRAWS, n), by each reader.

    Batches are shuffled on both sides: in order of path, one would hold a single class, and an exchange within it would
    carry the class along.
    """
    import keras

    from ..data.generators import RadiographGenerator, compute_class_weights
    from ..models.architectures import build_model
    from ..models.training import compile_model

    def generate(part: Radiographs, seed: int) -> RadiographGenerator:
        return RadiographGenerator(
            part.pixels,
            part.labels,
            config.batch_size,
            True,
            config.augmentations,
            seed,
            aspects=part.films.aspects,
            window=part.window,
        )

    keras.utils.set_random_seed(0)
    small = replace(config, name="noise", builder="build_small_cnn", epochs=EPOCHS)
    generator = generate(train, 0)
    network = compile_model(build_model(small), small, EPOCHS * len(generator))
    network.fit(generator, epochs=EPOCHS, class_weight=compute_class_weights(train.labels), shuffle=False, verbose=0)
    spectrum = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    spectrum.fit(*_describe_spectra(*draw_once(generate(train, 1), 0)))
    scored = {NETWORK: [], SPECTRUM: []}
    held_out = generate(validation, 2)
    for draw in range(HELD_OUT_DRAWS):
        images, labels = draw_once(held_out, draw)
        scored[NETWORK].append(network.predict(images, batch_size=128, verbose=0).ravel())
        scored[SPECTRUM].append(spectrum.predict_proba(_describe_spectra(images, labels)[0])[:, 1])
        for of_reader in scored.values():  # back into the order of validation
            of_reader[-1] = of_reader[-1][np.argsort(held_out.order)].astype(np.float64)
    return {reader: np.stack(of_reader) for reader, of_reader in scored.items()}


def draw_once(generator, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """All images (n, h, w, 1) and labels (n,) of one epoch, in its order."""
    generator.set_epoch(epoch)
    images, labels = zip(*(generator[batch] for batch in range(len(generator))), strict=True)
    return np.concatenate(images), np.concatenate(labels).ravel()


def _describe_spectra(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spectrum of each image in blocks, and its mean and spread: (n, 66)."""
    flat = images[..., 0]
    blocks = np.concatenate([measure_sharpness(part) for part in np.array_split(flat, -(-len(flat) // 512))])
    moments = np.stack([flat.mean(axis=(1, 2)), flat.std(axis=(1, 2))], axis=1)
    return np.hstack([blocks.reshape(len(flat), -1), moments]), labels


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Index model, a column for each reader, and "eligible": neither finds the label, the right way round or not."""
    cells = table.pivot(index="model", columns="reader", values="roc_auc").loc[table["model"].unique()]
    cells = cells[[NETWORK, SPECTRUM]]
    return cells.assign(eligible=(cells.clip(lower=1 - cells) <= LIMIT).all(axis=1))


def describe(results: Results) -> dict[str, object]:
    """<recipe>.network, .spectrum: ROC AUC from noise, without "ablation_"; limit."""
    rows = summarise(results.table("noise_control")).iterrows()
    return {"limit": f"{LIMIT:.2f}"} | {
        name.removeprefix("ablation_"): {"network": f"{row[NETWORK]:.3f}", "spectrum": f"{row[SPECTRUM]:.3f}"}
        for name, row in rows
    }


def tabulate(results: Results) -> Table:
    table = results.table("noise_control")
    cells = table.set_index(["model", "reader"])
    titles, rows = {config.name: config.title for config in list_recipes()}, []
    for name, row in summarise(table).iterrows():
        found = [cells.loc[(name, reader)] for reader in (NETWORK, SPECTRUM)]
        texts = [f"{one['roc_auc']:.3f} ({one['ci_low']:.3f} to {one['ci_high']:.3f})" for one in found]
        size = next(config.image_size for config in list_recipes() if config.name == name)
        rows.append([f"{titles[name]}, {size} px", *texts, "yes" if row["eligible"] else "no"])
    return Table(["recipe", NETWORK, SPECTRUM, f"at most {LIMIT:.2f}"], rows)


def hash_controls(record: dict) -> str:
    """What the table depends on: the radiographs and the recipes. Args: record: run.json."""
    return short_hash([record["catalog_hash"], EPOCHS, HELD_OUT_DRAWS, *(config.hash() for config in list_recipes())])


STUDY = Study(
    compute_noise_control,
    describe,
    tables={"noise": tabulate},
    networks=lambda base: replace(ablation_run(base.data), models=list_recipes()),
    depends_on=hash_controls,
)
