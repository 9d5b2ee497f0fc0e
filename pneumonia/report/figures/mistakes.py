"""Single test radiographs and what the final model predicts for them: worst_mistakes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...data.catalog import select_used
from ...evaluation.metrics import HALF, apply_threshold
from ...results import Results
from ...style import new_figure
from .radiographs import attribute, hide_frame, plot_radiograph, read_pictures

EVIDENCE_COLOUR = "#D55E00"
MISTAKES = 12
LONGEST_NAME = 20  # letters of a patient_id that fit above a picture
# (label, called) -> name of the outcome
OUTCOMES = {(1, 1): "true positive", (0, 0): "true negative", (0, 1): "false positive", (1, 0): "false negative"}


def compute_outcomes(results: Results) -> pd.DataFrame:
    """Test radiographs with y_prob of the final model (mean over seeds), kind, sha256, and the outcome at HALF."""
    scores = results.scores.ensemble(results.final_model, "test")
    facts = select_used(results.catalog).set_index("path")[["kind", "sha256"]]
    called = apply_threshold(scores["y_prob"], HALF).astype(int)
    outcome = [OUTCOMES[pair] for pair in zip(scores["label"], called, strict=True)]
    return scores.assign(outcome=outcome).join(facts, on="path")


def compute_mean_evidence(results: Results, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Where the final model finds PNEUMONIA, mean over its seeds, and by which method: float32 (n, h, w) in 0-1.

    Raises: PneumoniaError when a member is not trained.
    """
    from ...models.gradcam import compute_evidence, find_pooled_head
    from ...models.weights import load_trained

    config = results.run.model(results.final_model)
    models = [load_trained(results.run, config, seed) for seed in results.run.seeds_of(config)]
    head = find_pooled_head(models[0])
    method = "Grad-CAM, {} x {} places".format(*head[0].input.shape[1:3]) if head else "Occlusion"
    return np.mean([compute_evidence(model, images) for model in models], axis=0), method


def shade_evidence(evidence: np.ndarray, ax: Axes) -> None:
    """Colour over the places with at least half of the strongest evidence (h, w), on the picture of the axes."""
    if evidence.max() > 0:
        left, right, bottom, top = ax.images[0].get_extent()
        height, width = evidence.shape
        places = np.linspace(left, right, width), np.linspace(top, bottom, height)
        levels = [evidence.max() / 2, evidence.max()]
        ax.contourf(*places, evidence, levels=levels, colors=EVIDENCE_COLOUR, alpha=0.25)
        ax.contour(*places, evidence, levels=levels[:1], colors=EVIDENCE_COLOUR, linewidths=1.2)


def compute_worst_mistakes(outcomes: pd.DataFrame, count: int = MISTAKES) -> pd.DataFrame:
    """The wrong predictions whose probability is farthest from the label, worst first; ties in order of path."""
    wrong = outcomes[outcomes["outcome"].str.startswith("false")]
    distance = (wrong["y_prob"] - wrong["label"]).abs()
    return wrong.assign(distance=distance).sort_values(["distance", "path"], ascending=[False, True]).head(count)


def draw_worst_mistakes(results: Results) -> Figure:
    outcomes = compute_outcomes(results)
    worst = compute_worst_mistakes(outcomes)
    wrong = int(outcomes["outcome"].str.startswith("false").sum())
    missed = int((worst["outcome"] == "false negative").sum())
    title = f"{wrong} of {len(outcomes)} predictions on the official test are wrong"
    if wrong:
        title += f"; the {len(worst)} most confident: {len(worst) - missed} false alarms, {missed} missed PNEUMONIA"
    config = results.run.model(results.final_model)
    images, maps, method = [], [], "Grad-CAM"
    if len(worst):
        images = read_pictures(results.run, worst, window=config.window)  # finer than what the model sees
        seen = read_pictures(results.run, worst, config.image_size, config.window)
        maps, method = compute_mean_evidence(results, seen)
    note = (
        f"{config.title}, mean over seeds. p: probability of PNEUMONIA. Shaded: where the evidence for it is at least "
        f"half of its maximum ({method}). {attribute(results.run)}"
    )
    figure = new_figure(title, note, height=5.0)
    axes = figure.subplots(2, MISTAKES // 2)
    for ax in axes.flat:
        hide_frame(ax)
    for ax, image, evidence, row in zip(axes.flat, images, maps, worst.itertuples(), strict=False):
        plot_radiograph(image, f"{shorten(row.patient_id)}\n{row.kind}, p = {row.y_prob:.3f}", ax, config.window)
        shade_evidence(evidence, ax)
    return figure


def shorten(name: str) -> str:
    """A long name without its middle, which distinguishes least."""
    half = LONGEST_NAME // 2 - 1
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"
