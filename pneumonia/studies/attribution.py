"""Which property of a radiograph does each network rely on? Changes that should not matter, on validation radiographs.

The stress copies, and two masks that hide a part of the picture. The test split is not scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from tqdm.auto import tqdm

from ..config import ModelConfig, PneumoniaError, Run
from ..data.dataset import load_radiographs
from ..data.radiograph import decode_file
from ..data.sizes import read_original_sizes
from ..evaluation.calibration import calibrate
from ..evaluation.estimate import Change, Estimate
from ..evaluation.metrics import DECIMALS, roc_auc, threshold_metrics
from ..evaluation.probability import to_logit
from ..results import Results, read_table
from ..style import new_figure
from ..transforms.operations import cover, mask_border
from ..transforms.stress_copies import STRESS_COPIES
from .drawing import label_above, name_rows, shade_cells, write_cells
from .study import Figure, Study

if TYPE_CHECKING:
    import keras

COLUMNS = ["model", "seed", "change", "metric", "value", "n"]
METRICS = ("roc_auc", "accuracy", "sensitivity", "specificity", "logit_change_normal", "logit_sd")
BORDER, CENTRE = 0.12, 0.6  # shares of the side: the frame that is hidden, the square that is hidden
CHANGES = ("validation", *STRESS_COPIES)
MASKS = ("border", "centre")  # they hide what a radiologist needs: a decrease is no flaw
SHOWN = ("validation", "encoding", "tones", "shape", "sharpness")  # in the figure; the others are in the table
Changes = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (labels (n,), uint8 images (n, h, w))


def compute_attribution(run: Run, catalog: pd.DataFrame, swap: Path | None = None) -> pd.DataFrame:
    """Every change on every trained network of the run: a frame with COLUMNS.

    Args: swap: folder of the encoding swap (load_encoding_swap); without it those rows are left out.
    """
    from ..models.weights import load_trained

    rows, held, calibration = [], {}, read_table(run, "calibration")
    members = [(config, seed) for config in run.models if config.is_cnn for seed in run.seeds_of(config)]
    for config, seed in tqdm(members, "attributing", unit="model"):
        view = config.image_size, config.window
        if view not in held:  # one view at a time: the networks of one view follow each other
            pair = load_encoding_swap(swap, *view) if swap else None
            held = {view: (build_changes(run, catalog, *view), pair)}
        member = Calibrated(load_trained(run, config, seed), calibration, config.name, seed)
        rows += measure_member(member, config, seed, *held[view])
    return pd.DataFrame(rows, columns=COLUMNS).round({"value": DECIMALS})


def build_changes(run: Run, catalog: pd.DataFrame, size: int, window: float = 0.0) -> Changes:
    """Validation as it is, its stress copies, two masks."""
    radiographs = load_radiographs(run, catalog, size, window)
    labels, images = radiographs["validation"].labels, radiographs["validation"].pixels
    copies, corner = radiographs.stress_copies(), ((1 - CENTRE) / 2, (1 - CENTRE) / 2)
    return {
        "validation": (labels, images),
        **{name.removeprefix("validation_"): (copy.labels, copy.pixels) for name, copy in copies.items()},
        "border": (labels, np.stack([mask_border(image, BORDER) for image in images])),
        "centre": (labels, np.stack([cover(image, corner, (CENTRE, CENTRE), 0) for image in images])),
    }


def load_encoding_swap(folder: Path, size: int, window: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The same radiographs in two encodings, as two uint8 arrays (n, size, size).

    Args: folder: holds as_shipped/ and as_q75/ with the same files below, of train/NORMAL of the archive.
    Raises: PneumoniaError when a file has no counterpart, or there is none at all.
    """
    shipped = sorted(path for path in (folder / "as_shipped").rglob("*") if path.is_file())
    others = [folder / "as_q75" / path.relative_to(folder / "as_shipped") for path in shipped]
    lost = [path for path in others if not path.exists()]
    if lost or not shipped:
        raise PneumoniaError(f"{lost[0] if lost else folder}: not there; give a folder with as_shipped/ and as_q75/")
    known = read_original_sizes()

    def read(path: Path) -> np.ndarray:
        return decode_file(path, size, window, known.get(f"train/NORMAL/{path.name}")).pixels

    first, second = (np.stack([read(path) for path in paths]) for paths in (shipped, others))
    return first, second


class Calibrated(NamedTuple):
    """A network of one seed and what calibrates it."""

    network: keras.Model
    calibration: pd.DataFrame
    name: str
    seed: int

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probability of PNEUMONIA, (n,), of uint8 images (n, h, w)."""
        from ..models.prediction import predict_pixels

        return calibrate(predict_pixels(self.network, images), self.calibration, self.name, self.seed)


def measure_member(model: Calibrated, config: ModelConfig, seed: int, changes: Changes, pair) -> list[dict]:
    measured = [*measure_changes(model, changes), *(measure_swap(model, pair) if pair else ())]
    return [{"model": config.name, "seed": seed} | row for row in measured]


def measure_changes(model: Calibrated, changes: Changes) -> Iterator[dict]:
    """Yield {change, metric, value, n}: ROC AUC, rates at 0.5, and the mean change of the logit in each class."""
    before = None
    for name, (labels, images) in changes.items():
        y_prob = model.predict(images)
        before = y_prob if before is None else before
        moved = to_logit(y_prob) - to_logit(before)
        values = threshold_metrics(labels, y_prob)
        measured = {
            "roc_auc": roc_auc(labels, y_prob),
            **{metric: values[metric] for metric in ("accuracy", "sensitivity", "specificity")},
            "logit_change_normal": moved[labels == 0].mean(),
            "logit_change_pneumonia": moved[labels == 1].mean(),
        }
        for metric, value in measured.items():
            yield {"change": name, "metric": metric, "value": value, "n": len(labels)}


def measure_swap(model: Calibrated, pair: tuple[np.ndarray, np.ndarray]) -> Iterator[dict]:
    """Yield the mean and the spread over radiographs of the logit's change from the first encoding to the second."""
    first, second = (to_logit(model.predict(images)) for images in pair)
    for metric, value in (("logit_change_normal", (second - first).mean()), ("logit_sd", (second - first).std())):
        yield {"change": "encoding_swap", "metric": metric, "value": value, "n": len(first)}


def describe_changes(table: pd.DataFrame, changes: tuple[str, ...]) -> dict:
    """model -> change -> metric -> mean over seeds as text; "–" for what was not measured."""
    means = table.groupby(["model", "change", "metric"])["value"].mean().to_dict()
    return {
        model: {
            change: {metric: spell(metric, means.get((model, change, metric), np.nan)) for metric in METRICS}
            for change in changes
        }
        for model in table["model"].unique()
    }


def spell(metric: str, value: float) -> str:
    """A value as text; "–" for nan."""
    if metric == "logit_change_normal":
        return Change.of(metric, value).signed
    return str(Estimate.of(metric, value))


def describe(results: Results) -> dict[str, dict]:
    """<model>.<change>.<metric>; `final` stands for the final model."""
    models = describe_changes(results.table("attribution"), (*CHANGES, *MASKS, "encoding_swap"))
    return models | {"final": models[results.final_model]}


def average_seeds(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric of attribution.csv or ablation.csv, mean over seeds: index network, columns the changes."""
    rows = table[table["metric"] == metric]
    means = rows.pivot_table(index="model", columns="change", values="value", aggfunc="mean", sort=False)
    return means[[name for name in (*CHANGES, *MASKS) if name in means]]


def find_largest_loss(table: pd.DataFrame) -> tuple[str, str]:
    """(network, change): where changing a single property costs most ROC AUC."""
    lost = table[[name for name in STRESS_COPIES if name in table]].rsub(table["validation"], axis=0)
    network, change = np.unravel_index(np.argmax(lost.to_numpy(dtype=float)), lost.shape)
    return str(lost.index[network]), str(lost.columns[change])


def describe_swap(measured: pd.DataFrame) -> str:
    """How far the encoding swap moves a logit at most; nothing where it was not measured."""
    rows = measured.query("change == 'encoding_swap' and metric == 'logit_change_normal'")
    if rows.empty:
        return ""
    most = rows.groupby("model")["value"].mean().abs().max()
    return f" The same file at another JPEG quality: a logit changes by at most {most:.3f} on average."


def draw_attribution(results: Results) -> Drawing:
    measured = results.table("attribution")
    table, specificity = (average_seeds(measured, metric) for metric in ("roc_auc", "specificity"))
    columns = [name for name in SHOWN if name in table]
    table = table.loc[[config.name for config in results.cnns], columns]
    network, change = find_largest_loss(table)
    before, after = table.loc[network, "validation"], table.loc[network, change]
    title = (
        f"Changing only the {change} takes {results.title(network)} from ROC AUC {before:.3f} to {after:.3f}; "
        f"{results.title(results.final_model)} keeps {table.loc[results.final_model, change]:.3f}"
    )
    note = (
        "Validation and altered copies, mean over seeds: ROC AUC, below it the share of NORMAL cleared at 0.5. "
        "tones, shape, sharpness: those of a random training radiograph, whatever its class." + describe_swap(measured)
    )
    figure = new_figure(title, note, height=2.0 + 0.72 * len(table))
    ax = shade_cells(table, figure.subplots())
    write_cells(ax, table, specificity.loc[table.index, table.columns], "", 14, 0.04)
    label_above(ax, list(table.columns), "validation radiographs as they are, and altered", size=12)
    name_rows(ax, results, table.index, 1.6)
    return figure


STUDY = Study(
    compute_attribution,
    describe,
    figures={
        "suspects": Figure(
            draw_attribution, "Table: ROC AUC and specificity of each network on validation and on altered copies of it"
        )
    },
)
