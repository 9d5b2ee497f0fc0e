"""The models that are trained, as data: the series, the ablation, and the runs that own them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .config import ROOT, ModelConfig, Run

FROM_SCRATCH = (
    "build_basic_cnn",
    "build_deep_cnn",
    "build_small_cnn",
)  # builders of the candidates for the final model
STRONG_AUGMENTATION = ("flip", "affine", "exposure")
ROBUST_AUGMENTATION = ("tones", "aspect", "flip", "framing", "exposure")  # against what misleads the other models

MODEL_SERIES = (
    ModelConfig("majority", "Majority class", "build_majority", image_size=16),
    ModelConfig("metadata_logistic", "File metadata only", "build_file_logistic", image_size=16),
    ModelConfig("thumbnail_logistic", "16x16 thumbnail", "build_thumbnail_logistic", image_size=16),
    ModelConfig("basic_cnn", "Basic CNN", "build_basic_cnn", image_size=64, epochs=20),
    ModelConfig(
        "basic_cnn_augmented",
        "Basic CNN, augmented",
        "build_basic_cnn",
        image_size=64,
        augmentations=STRONG_AUGMENTATION,
        epochs=30,
    ),
    ModelConfig("deep_cnn", "Deep CNN", "build_deep_cnn", image_size=128, epochs=15, learning_rate=2e-3),
    ModelConfig(
        "deep_cnn_augmented",
        "Deep CNN, augmented + balanced",
        "build_deep_cnn",
        image_size=128,
        augmentations=STRONG_AUGMENTATION,
        balance_classes=True,
        epochs=30,
        learning_rate=2e-3,
    ),
    ModelConfig(
        "robust_cnn",
        "Robust CNN",
        "build_deep_cnn",
        image_size=128,
        augmentations=ROBUST_AUGMENTATION,
        balance_classes=True,
        epochs=30,
        learning_rate=2e-3,
        seeds=(0, 1, 2, 3, 4),
    ),
    ModelConfig(
        "transfer_cnn",
        "Transfer CNN",
        "build_efficientnet_lite0",
        image_size=128,
        # one seed without "encoding" lost 0.036 ROC AUC on the stress copy "noise"
        augmentations=(*ROBUST_AUGMENTATION, "encoding"),
        balance_classes=True,
        epochs=12,
        learning_rate=5e-4,
        pretrained=True,
        half_precision=True,
    ),
)


def _ablation_row(name: str, title: str, *augmentations: str, **options) -> ModelConfig:
    """The deep CNN in small: 96 px and 12 epochs, all else but what the row says unchanged."""
    return ModelConfig(
        name=f"ablation_{name}",
        title=title,
        builder="build_deep_cnn",
        image_size=96,
        augmentations=augmentations,
        epochs=12,
        learning_rate=2e-3,
        **{"balance_classes": True} | options,
    )


COMMON = ("flip", "framing", "exposure")
WINDOW = {"window": 1.25}
ABLATION = (
    _ablation_row("none", "no augmentation"),
    _ablation_row("framing", "+ framing and flips", "flip", "framing"),
    _ablation_row("exposure", "+ exposure", *COMMON),
    _ablation_row("tones", "+ tones of a random radiograph", "tones", *COMMON),
    _ablation_row("shape", "+ shape of a random radiograph", "shape", "tones", *COMMON),
    _ablation_row("square", "tones, centre square at true proportions", "tones", *COMMON, window=1.0),
    _ablation_row("window", "tones, window at true proportions", "tones", *COMMON, **WINDOW),
    _ablation_row("window_shape", "window, + shape", "shape", "tones", *COMMON, **WINDOW),
    _ablation_row("sharpness", "window, + sharpness", "tones", "sharpness", *COMMON, **WINDOW),
    _ablation_row("encoding", "window, + encoding", "tones", *COMMON, "encoding", **WINDOW),
    _ablation_row("all_tones", "window, all tones exchanged", "all_tones", *COMMON, **WINDOW),
    _ablation_row("blind", "window, all of these", "shape", "all_tones", "sharpness", *COMMON, "encoding", **WINDOW),
    _ablation_row("tones_sharpness", "window, all tones and sharpness", "all_tones", "sharpness", *COMMON, **WINDOW),
    _ablation_row(
        "all_three", "window, shape, all tones and sharpness", "shape", "all_tones", "sharpness", *COMMON, **WINDOW
    ),
    _ablation_row(
        "stretch_three", "stretched, shape, all tones, sharpness", "shape", "all_tones", "sharpness", *COMMON
    ),
    _ablation_row("stretch_blind", "stretched, all of these", "shape", "all_tones", "sharpness", *COMMON, "encoding"),
    _ablation_row(
        "weights", "window, + weights", "tones", *COMMON, balance_classes=False, weigh_by_size=True, **WINDOW
    ),
)


def _candidate(name: str, title: str, *augmentations: str) -> ModelConfig:
    """A finalist of docs/protocol.md: the deep CNN at true proportions, 128 px and 30 epochs."""
    return ModelConfig(
        name,
        title,
        "build_deep_cnn",
        image_size=128,
        augmentations=augmentations,
        balance_classes=True,
        epochs=30,
        learning_rate=2e-3,
        seeds=(0, 1, 2, 3, 4),
        **WINDOW,
    )


CANDIDATES = (
    _candidate("exchange_cnn", "Exchange CNN", "all_tones", "sharpness", *COMMON),
    _candidate("exchange_shape_cnn", "Exchange CNN, with shape", "shape", "all_tones", "sharpness", *COMMON),
    _candidate("exchange_tones_cnn", "Exchange CNN, tones alone", "all_tones", *COMMON),
)


def ablation_run(data: Path | None) -> Run:
    """The augmentations added one at a time. Weights stay in build/; results/ablation.csv holds the scores."""
    return Run("ablation", data, home=ROOT / "build" / "ablation", cache=ROOT / "build" / "cache", models=ABLATION)


def real_run(data: Path | None) -> Run:
    """The run whose results are committed."""
    return Run("real", data, home=ROOT, cache=ROOT / "build" / "cache", models=MODEL_SERIES)


def simulated_run(data: Path | None) -> Run:
    """The same run in miniature, on simulated radiographs, within build/simulated.

    Compiling takes most of the time. So there is one seed, but two for the robust network, since the real run has an
    ensemble of it; and the deep networks have fewer layers.
    """
    home = ROOT / "build" / "simulated"
    builders = {"build_deep_cnn": "build_small_cnn", "build_efficientnet_lite0": "build_half_cnn"}
    small = tuple(
        replace(
            config,
            builder=builders.get(config.builder, config.builder),
            image_size=min(config.image_size, 32),
            epochs=min(config.epochs, 4),
            batch_size=16,
            seeds=(0, 1) if len(config.seeds) > 1 else (),
            pretrained=False,  # nothing is downloaded for it
        )
        for config in MODEL_SERIES
    )
    return Run("simulated", data, home=home, cache=home / "cache", models=small, seeds=(0,), bootstrap_draws=200)
