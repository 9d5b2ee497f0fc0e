"""Can the heatmaps be believed?

Pointing (Zhang et al., 2018): does the strongest place lie within an opacity planted in a simulated radiograph?
Agreement: do Grad-CAM and occlusion, which share nothing but the model, point alike?
Randomised weights (Adebayo et al., 2018): does the map change when what was learned is taken away?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
from scipy.stats import binomtest, spearmanr

from ..config import Run
from ..data.dataset import load_radiographs
from ..data.simulate import simulate_radiograph
from ..evaluation.estimate import percent
from ..evaluation.metrics import DECIMALS
from ..evaluation.probability import to_logit
from ..inference.final_model import OUTPUTS, FinalModel
from ..inference.heatmap import compute_occlusion, scale_evidence
from ..results import Results
from .study import Study

if TYPE_CHECKING:
    import keras

COLUMNS = ["check", "method", "metric", "value", "ci_low", "ci_high", "n"]
COUNT = 200  # radiographs with a planted opacity
OCCLUDED = 60  # of these, by occlusion too: 50 times the work
DRAWS = 3  # of random networks
TOLERANCE = 1 / 16  # of the side: how far beside the opacity still counts, as in Zhang et al. (15 of 224 pixels)


def compute_checks(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """All checks of the exported model, as a frame with COLUMNS.

    Pointing is checked on simulated radiographs, the rest on validation radiographs of children with pneumonia.
    """
    model = FinalModel(run.models_dir)
    validation = load_radiographs(run, catalog, model.size, model.window)["validation"]
    pneumonias = validation.pixels[validation.labels == 1][:OCCLUDED]
    images, masks = plant_opacities(model.size)
    maps = map_gradcam(model, images)
    falls = map_occlusion(model, images[:OCCLUDED])
    rows = [*check_pointing("Grad-CAM", maps, masks), *check_pointing("occlusion", falls, masks[:OCCLUDED])]
    middle = np.zeros_like(maps)
    middle[:, model.size // 2, model.size // 2] = 1
    rows += check_pointing("the middle of the picture", middle, masks)
    rows += check_agreement(map_gradcam(model, pneumonias), map_occlusion(model, pneumonias))
    rows += check_randomised(run, model, pneumonias)
    return pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)


def plant_opacities(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulated lobar pneumonias, uint8 (n, size, size), and where they are, bool (n, size, size)."""
    drawn = [
        simulate_radiograph("bacteria", np.random.default_rng([7, seed]), size, return_mask=True)
        for seed in range(COUNT)
    ]
    return tuple(np.stack(part) for part in zip(*drawn, strict=True))


def map_gradcam(model: FinalModel, images: np.ndarray) -> np.ndarray:
    """float32 (n, size, size), not negative."""
    evidence = model.score(images, OUTPUTS)["evidence"]
    return np.stack([scale_evidence(one, float(max(one.max(), 1e-9)), model.size, model.size) for one in evidence])


def map_occlusion(model: FinalModel, images: np.ndarray) -> np.ndarray:
    """float32 (n, size, size): the decrease of the logit, which does not saturate as the probability does."""

    def predict(batch: np.ndarray) -> np.ndarray:
        return to_logit(model.score(batch)["probability"].astype(float))

    return np.stack([compute_occlusion(predict, image, model.size // 4, model.size // 8) for image in images])


def check_pointing(method: str, maps: np.ndarray, masks: np.ndarray) -> list[tuple]:
    """The share of maps whose peak is within the opacity, and the share of the picture that counts as such."""
    side = 2 * round(TOLERANCE * maps.shape[1]) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    targets = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in masks])
    peaks = maps.reshape(len(maps), -1).argmax(axis=1)
    hits = targets.reshape(len(maps), -1)[np.arange(len(maps)), peaks]
    low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    share = ("pointing", method, "share of the picture", targets.mean(), np.nan, np.nan, len(hits))
    return [("pointing", method, "hit rate", hits.mean(), low, high, len(hits)), share]


def check_agreement(maps: np.ndarray, others: np.ndarray) -> list[tuple]:
    """Rank correlation of two methods over the places of a picture, mean over pictures."""
    values = np.array([correlate(one, other) for one, other in zip(maps, others, strict=True)])
    return [("agreement", "Grad-CAM and occlusion", "rank correlation", *_mean_interval(values), len(values))]


def check_randomised(run: Run, model: FinalModel, images: np.ndarray) -> list[tuple]:
    """Rank correlation of the maps of one member with those of other networks; 1 would be the same map.

    Where another seed gives much the same map and a network that has learned nothing does not, the map shows what was
    learned. For scale: how alike the maps of two different radiographs are.
    """
    import keras

    from ..models.architectures import build_model
    from ..models.gradcam import compute_gradcam
    from ..models.weights import load_trained

    config = run.model(model.record["model"])
    seeds = run.seeds_of(config)
    original = compute_gradcam(load_trained(run, config, seeds[0]), images)
    others = {"another radiograph": np.roll(original, 1, axis=0)}
    if len(seeds) > 1:
        others["another seed"] = compute_gradcam(load_trained(run, config, seeds[1]), images)
    others["head randomised"] = compute_gradcam(randomise_head(load_trained(run, config, seeds[0])), images)
    for draw in range(DRAWS):
        keras.utils.set_random_seed(draw)
        others[f"all layers randomised, draw {draw}"] = compute_gradcam(build_model(config), images)
    rows = []
    for method, maps in others.items():
        values = np.array([correlate(one, other) for one, other in zip(original, maps, strict=True)])
        rows.append(("randomised weights", method, "rank correlation", *_mean_interval(values), len(values)))
    return rows


def randomise_head(model: keras.Model) -> keras.Model:
    """Permute the weights of the last layer in place, which keeps their scale."""
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.random.default_rng(0).permutation(kernel), bias])
    return model


def correlate(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation over a coarse grid; 0 where a map is constant."""
    step = max(1, len(one) // 16)
    first, second = (image[::step, ::step].ravel() for image in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, and 95 % interval by the normal approximation."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def describe(results: Results) -> dict[str, str]:
    """believed: what the checks say together."""
    table = results.table("heatmap_checks")
    rows = table.set_index(["check", "method", "metric"])
    share = rows.loc[("pointing", "Grad-CAM", "share of the picture"), "value"]
    random = table[table["method"].str.startswith("all layers randomised")]["value"].max()

    def spell(*key: str, as_share: bool = False) -> str:
        row = rows.loc[key]
        shown = percent if as_share else "{:.2f}".format
        return f"{shown(row['value'])} ({shown(row['ci_low'])} to {shown(row['ci_high'])})"

    hits, middle, occlusion = (
        spell("pointing", method, "hit rate", as_share=True)
        for method in ("Grad-CAM", "the middle of the picture", "occlusion")
    )
    agreement = spell("agreement", "Grad-CAM and occlusion", "rank correlation")
    another = spell("randomised weights", "another radiograph", "rank correlation")
    return {
        "believed": "They depend on what was learned: the maps of a network with random weights have a rank "
        f"correlation of {random:.2f} at most with the real ones (maps of two different children: {another}). They "
        f"point only roughly: in {hits} of simulated radiographs the strongest place lies in the planted opacity, "
        f"which with its margin is {percent(share)} of the picture; the middle of the picture would hit {middle}, "
        f"occlusion {occlusion}. Grad-CAM and occlusion agree with a rank correlation of {agreement}."
    }


STUDY = Study(compute_checks, describe)
