"""Radiographs as they are, averaged, augmented and as stress copies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import CLASS_NAMES, KINDS, ModelConfig, PneumoniaError, Run
from ...data.catalog import find_root, select_used
from ...data.dataset import load_radiographs
from ...data.radiograph import read_radiograph
from ...data.sizes import find_original_sizes
from ...evaluation.estimate import join_words
from ...results import Results
from ...style import new_figure, own_axes
from ...transforms.augmentations import AUGMENTATIONS, Films, augment_batch, spell
from ...transforms.stress_copies import STRESS_COPIES

SHOWN_SIZE = 224  # pixels of a radiograph shown to the reader
DRAWS = 7  # augmented versions of one radiograph
DRAWS_SEED = 2018


def attribute(run: Run) -> str:
    """Whose radiographs these are."""
    return "Radiographs: simulated." if run.is_simulated else "Radiographs: Kermany et al. 2018, CC BY 4.0"


def read_pictures(run: Run, rows: pd.DataFrame, size: int = SHOWN_SIZE, window: float = 0.0) -> np.ndarray:
    """The radiographs of these rows (their column path) as a model of this size and window sees them: uint8 (n, size,
    size).

    Raises: PneumoniaError when there are no radiographs, or one cannot be read.
    """
    if run.data is None:
        raise PneumoniaError("no radiographs available: set CHEST_XRAY_DIR or run `make download`")
    root = find_root(run.data, run.cache)
    return np.stack([read_radiograph(root / path, size, window) for path in rows["path"]])


def pick_patients(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Up to `count` rows of as many patients: in order of their SHA-256, which is arbitrary but never changes."""
    return rows.sort_values("sha256").drop_duplicates("patient_id").head(count)


def plot_radiograph(image: np.ndarray, caption: str = "", ax: Axes | None = None, proportions: float = 0.0) -> Axes:
    """One radiograph, (h, w) in 0-255, on the full gray scale, its caption above.

    Args: proportions: width / height at which it is shown; 0: pixels are square.
    """
    ax = own_axes(ax)
    height, width = image.shape
    aspect = width / height / proportions if proportions else "equal"
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic", aspect=aspect)
    ax.set_title(caption, size=11, pad=4)
    hide_frame(ax)
    return ax


def hide_frame(ax: Axes) -> None:
    """No ticks, lines or grid; unlike `axis("off")` this keeps the axis labels."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_examples(results: Results) -> Figure:
    """Each kind as one large and two small radiographs, side by side."""
    used = select_used(results.catalog)
    train = used[used["split"] == "train_fit"]
    kinds = [kind for kind in (*KINDS, "unknown") if (train["kind"] == kind).any()]
    names = {
        "NORMAL": "NORMAL",
        "bacteria": "PNEUMONIA, bacterial",
        "virus": "PNEUMONIA, viral",
        "unknown": "PNEUMONIA",
    }
    # The patterns are those of Kermany et al. (2018), figure S6; not every radiograph shows them as clearly.
    title = (
        "Textbook pattern: clear lungs when NORMAL, one clouded lobe when bacterial, a haze over both lungs when viral"
    )
    note = (
        f"Three train radiographs of each kind, at their true proportions, not chosen by eye. {attribute(results.run)}"
    )
    figure = new_figure(title, note, height=5.4)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    grid = figure.add_gridspec(1, len(kinds))
    for column, kind in enumerate(kinds):
        cell = grid[column].subgridspec(2, 2, height_ratios=(2, 1))
        axes = [figure.add_subplot(place) for place in (cell[0, :], cell[1, 0], cell[1, 1])]
        rows = pick_patients(train[train["kind"] == kind], len(axes))
        for ax in axes:
            hide_frame(ax)
        shown = zip(axes, read_pictures(results.run, rows), find_original_sizes(rows), strict=False)
        for ax, image, (width, height) in shown:
            plot_radiograph(image, ax=ax, proportions=width / height)
        axes[0].set_title(names[kind], size=13, weight="bold")
        axes[0].set_anchor("N")  # titles of films of different proportions on one line
    return figure


def compute_mean_images(results: Results) -> dict[str, np.ndarray]:
    """class -> mean train radiograph, float64 (size, size) in 0-255, as the final model sees them."""
    config = results.run.model(results.final_model)
    train = load_radiographs(results.run, results.catalog, config.image_size, config.window)["train_fit"]
    classes = {name: train.pixels[train.labels == label] for label, name in enumerate(CLASS_NAMES)}
    return {name: pixels.mean(axis=0, dtype=np.float64) for name, pixels in classes.items()}


def draw_mean_images(results: Results) -> Figure:
    means, proportions = compute_mean_images(results), results.run.model(results.final_model).window
    difference = means["PNEUMONIA"] - means["NORMAL"]
    level, strongest = difference.mean(), difference.flat[np.abs(difference).argmax()]
    title = (
        f"Already on average the classes differ by up to {abs(strongest):.0f} of 255 gray levels in one place "
        f"(PNEUMONIA {'brighter' if strongest > 0 else 'darker'} there), by {abs(level):.1f} over the whole picture"
    )
    figure = new_figure(title, f"Mean of all radiographs that are learned from. {attribute(results.run)}", height=4.2)
    axes = figure.subplots(1, 3)
    for ax, (name, image) in zip(axes, means.items(), strict=False):
        plot_radiograph(image, f"mean of {name}", ax, proportions)
    span = float(np.abs(difference).max())
    shown = axes[2].imshow(
        difference, cmap="RdBu_r", vmin=-span, vmax=span, interpolation="bicubic", aspect=axes[0].get_aspect()
    )
    axes[2].set_title("PNEUMONIA minus NORMAL", size=11, pad=4)
    hide_frame(axes[2])
    figure.colorbar(shown, ax=axes[2], label="gray levels (of 255)", shrink=0.75)
    return figure


def find_augmented(results: Results) -> ModelConfig:
    """The final model if it is augmented, else the last one that is, else the last of the series with everything."""
    candidates = [results.run.model(results.final_model), *reversed(results.run.models)]
    return next((config for config in candidates if config.augmentations), candidates[0])


def draw_augmented_batch(results: Results) -> Figure:
    """One train radiograph per kind, and how a network sees it in DRAWS epochs."""
    config, used = find_augmented(results), select_used(results.catalog)
    names = config.augmentations or tuple(AUGMENTATIONS)
    train = used[used["split"] == "train_fit"]
    rows = pd.concat([pick_patients(train[train["kind"] == kind], 1) for kind in train["kind"].sort_values().unique()])
    images = read_pictures(results.run, rows, config.image_size, config.window)
    sizes = np.tile(find_original_sizes(rows), (DRAWS, 1))
    # One batch of DRAWS rounds over all kinds: an exchange of gray levels needs others to exchange with.
    films = Films(np.tile(images, (DRAWS, 1, 1)), sizes[:, 0] / sizes[:, 1], config.window)
    title = f"Every epoch shows every radiograph anew, with random {join_words(spell(names))}"
    seen = f"{config.image_size} x {config.image_size} pixels"
    note = f"As {config.title} sees them, at {seen}, shown at their true proportions. {attribute(results.run)}"
    figure = new_figure(title, note, height=0.95 + 1.16 * len(images))
    axes = figure.subplots(len(images), DRAWS + 1, squeeze=False)
    batch = augment_batch(films, names, np.random.default_rng(DRAWS_SEED))
    for row, (line, image, kind) in enumerate(zip(axes, images, rows["kind"], strict=True)):
        plot_radiograph(image, "" if row else "original", line[0], config.window).set_ylabel(kind)
        for ax, draw in zip(line[1:], batch[row :: len(images)], strict=True):
            plot_radiograph(draw, ax=ax, proportions=config.window)
    return figure


def compute_stress_copy_probabilities(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Ensemble probability of the final model: a row per radiograph, columns "original" and each stress copy."""
    splits = {"original": "validation"} | {name: f"validation_{name}" for name in STRESS_COPIES}
    columns = {
        name: results.scores.ensemble(results.final_model, split).set_index("path")["y_prob"]
        for name, split in splits.items()
    }
    return pd.DataFrame(columns).loc[rows["path"]]


def draw_stress_copies(results: Results) -> Figure:
    """A NORMAL and a PNEUMONIA validation radiograph, each beside its stress copies and what the final model says."""
    used = select_used(results.catalog)
    validation = used[used["split"] == "validation"]
    rows = pd.concat([pick_patients(validation[validation["class_name"] == name], 1) for name in CLASS_NAMES])
    config = results.run.model(results.final_model)
    radiographs = load_radiographs(results.run, results.catalog, config.image_size, config.window)
    shown = radiographs[(used["split"] == "train_fit") | used["path"].isin(rows["path"])]  # train_fit lends what it has
    rows = shown["validation"].rows
    copies = {name.removeprefix("validation_"): copy.pixels for name, copy in shown.stress_copies().items()}
    columns = {"original": shown["validation"].pixels} | copies
    probabilities = compute_stress_copy_probabilities(results, rows)
    before, after = (
        results.estimate(config.name, split, "roc_auc").value for split in ("validation", find_hardest_copy(results))
    )
    title = (
        f"{config.title}: ROC AUC {before:.4f} on validation, "
        f"{after:.4f} on its hardest stress copies ({find_hardest_copy(results).removeprefix('validation_')})"
    )
    note = (
        "Stress copies: changes that a radiologist would not care about, drawn once per radiograph. "
        f"p: probability of PNEUMONIA. {attribute(results.run)}"
    )
    figure = new_figure(title, note, height=3.6)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, class_name, (_, row), index in zip(
        axes, rows["class_name"], probabilities.iterrows(), range(len(rows)), strict=True
    ):
        for ax, (name, pictures) in zip(line, columns.items(), strict=True):
            plot_radiograph(pictures[index], f"{name}\np = {row[name]:.2f}", ax, config.window)
        line[0].set_ylabel(class_name)
    return figure


def find_hardest_copy(results: Results) -> str:
    """The split of stress copies on which the final model has the lowest ROC AUC."""
    return min(
        (f"validation_{name}" for name in STRESS_COPIES),
        key=lambda split: results.estimate(results.final_model, split, "roc_auc").value,
    )
