"""Single test radiographs and what the final model predicts for them: gradcam and worst_mistakes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ...data.catalog import select_used
from ...evaluation.estimate import percent
from ...evaluation.metrics import HALF, apply_threshold
from ...results import Results
from ...style import new_figure, own_axes
from .radiographs import attribute, hide_frame, pick_patients, plot_radiograph, read_pictures

EVIDENCE_COLOUR = "#D55E00"
PER_OUTCOME = 3
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
    method = "Grad-CAM ({} x {} places)".format(*head[0].input.shape[1:3]) if head else "Occlusion"
    return np.mean([compute_evidence(model, images) for model in models], axis=0), method


def plot_evidence(image: np.ndarray, evidence: np.ndarray, caption: str = "", ax: Axes | None = None) -> Axes:
    """A radiograph, coloured where the evidence (h, w) in 0-1 is strong."""
    ax = plot_radiograph(image, caption, own_axes(ax))
    colours = np.empty((*evidence.shape, 4))
    colours[..., :3], colours[..., 3] = to_rgb(EVIDENCE_COLOUR), 0.75 * evidence
    ax.imshow(colours, interpolation="bilinear")
    return ax


def outline_evidence(evidence: np.ndarray, ax: Axes) -> None:
    """A line around the places with at least half of the strongest evidence (h, w); the radiograph stays visible."""
    if evidence.max() > 0:
        ax.contour(evidence, levels=[evidence.max() / 2], colors=EVIDENCE_COLOUR, linewidths=1.6)


def compute_border_share(maps: np.ndarray) -> tuple[float, float]:
    """(share of the evidence, share of the area) in the outer eighth on each side of maps (n, h, w); nan if all 0."""
    height, width = maps.shape[1:]
    inner = maps[:, height // 8 : height - height // 8, width // 8 : width - width // 8]
    total = float(maps.sum())
    return 1 - float(inner.sum()) / total if total else np.nan, 1 - inner[0].size / maps[0].size


def describe_border_share(evidence: float, area: float) -> str:
    if np.isnan(evidence):
        return "nothing in these radiographs speaks for PNEUMONIA"
    return (
        f"the outer eighth on each side, {percent(area, 0)} of the picture, holds {percent(evidence, 0)} "
        "of the evidence for PNEUMONIA in these radiographs"
    )


def draw_gradcam(results: Results) -> Figure:
    """Four outcomes, three radiographs each, beside their evidence maps."""
    config, outcomes = results.run.model(results.final_model), compute_outcomes(results)
    groups = [outcomes[outcomes["outcome"] == name] for name in OUTCOMES.values()]
    chosen = pd.concat([pick_patients(group, PER_OUTCOME) for group in groups])
    images = read_pictures(results.run, chosen, config.image_size, config.window)
    maps, method = compute_mean_evidence(results, images)
    title = f"{config.title}: {describe_border_share(*compute_border_share(maps))}"
    note = (
        f"{method}, mean over seeds, each map scaled to its own maximum. p: probability of PNEUMONIA. "
        f"Not chosen by eye. {attribute(results.run)}"
    )
    figure = new_figure(title, note, height=6.1)
    axes = figure.subplots(PER_OUTCOME, 2 * len(OUTCOMES), squeeze=False)
    for ax in axes.flat:
        hide_frame(ax)
    for column, name in enumerate(OUTCOMES.values()):
        pair, found = axes[:, 2 * column : 2 * column + 2], np.flatnonzero(chosen["outcome"] == name)
        for line, index in zip(pair, found, strict=False):
            plot_radiograph(images[index], ax=line[0])
            plot_evidence(images[index], maps[index], f"p = {chosen['y_prob'].iloc[index]:.2f}", line[1])
        pair[0, 0].set_title(name if len(found) else f"no {name}", size=11.5, weight="bold", pad=4)
    return figure


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
    view = config.image_size, config.window
    images = read_pictures(results.run, worst, *view) if len(worst) else np.empty((0, 1, 1))
    maps, method = compute_mean_evidence(results, images) if len(worst) else ([], "Grad-CAM")
    note = (
        f"{config.title}, mean over seeds. p: probability of PNEUMONIA. Line: half of the strongest evidence for it, "
        f"where there is any ({method}). {attribute(results.run)}"
    )
    figure = new_figure(title, note, height=5.7)
    axes = figure.subplots(2, MISTAKES // 2)
    for ax in axes.flat:
        hide_frame(ax)
    for ax, image, evidence, row in zip(axes.flat, images, maps, worst.itertuples(), strict=False):
        plot_radiograph(image, f"{shorten(row.patient_id)}\n{row.kind}, p = {row.y_prob:.3f}", ax)
        outline_evidence(evidence, ax)
    return figure


def shorten(name: str) -> str:
    """A long name without its middle, which distinguishes least."""
    half = LONGEST_NAME // 2 - 1
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}...{name[-half:]}"
