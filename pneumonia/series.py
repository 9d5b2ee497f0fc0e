"""The models that are trained, as data: the series, the ablation, and the runs that own them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .config import ROOT, ModelConfig, Run

STRONG_AUGMENTATION = ("flip", "affine", "exposure")
WINDOW = 1.25  # width / height of what the networks at true proportions see
# Finalist (c) of docs/protocol.md
ROBUST_AUGMENTATION = ("shape", "all_tones", "sharpness", "flip", "framing", "exposure")

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
        window=WINDOW,
        seeds=(0, 1, 2, 3, 4),
    ),
)


def _ablation_row(name: str, title: str, *augmentations: str, **options) -> ModelConfig:
    """The deep CNN in small: 96 px and 12 epochs, all else but what the row says unchanged."""
    small = {
        "builder": "build_deep_cnn",
        "image_size": 96,
        "balance_classes": True,
        "epochs": 12,
        "learning_rate": 2e-3,
    }
    return ModelConfig(f"ablation_{name}", title, augmentations=augmentations, **small | options)


COMMON = ("flip", "framing", "exposure")
ABLATION = (
    _ablation_row("none", "no augmentation"),
    _ablation_row("framing", "+ framing and flips", "flip", "framing"),
    _ablation_row("exposure", "+ exposure", *COMMON),
    _ablation_row("tones", "+ gray levels of a random radiograph, in part", "tones", *COMMON),
    _ablation_row("window", "+ true proportions", "tones", *COMMON, window=WINDOW),
    _ablation_row("all_tones", "+ gray levels exchanged wholly", "all_tones", *COMMON, window=WINDOW),
    _ablation_row("sharpness", "+ sharpness of a random radiograph", "all_tones", "sharpness", *COMMON, window=WINDOW),
    _ablation_row("shape", "+ shape of a random radiograph: the full recipe", *ROBUST_AUGMENTATION, window=WINDOW),
    _ablation_row("stretched", "the full recipe, stretched", *ROBUST_AUGMENTATION),
    _ablation_row(
        "pretrained",
        "the full recipe, EfficientNet-Lite0 from ImageNet",
        *ROBUST_AUGMENTATION,
        window=WINDOW,
        builder="build_efficientnet_lite0",
        learning_rate=5e-4,
        pretrained=True,
    ),
    _ablation_row("square", "true proportions in a square", "tones", *COMMON, window=1.0),
    _ablation_row(
        "weights",
        "true proportions, weights",
        "tones",
        *COMMON,
        window=WINDOW,
        balance_classes=False,
        weigh_by_size=True,
    ),
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
    small = tuple(
        replace(
            config,
            builder=config.builder.replace("deep", "small"),
            image_size=min(config.image_size, 32),
            epochs=min(config.epochs, 4),
            batch_size=16,
            seeds=(0, 1) if len(config.seeds) > 1 else (),
            pretrained=False,  # nothing is downloaded for it
        )
        for config in MODEL_SERIES
    )
    return Run("simulated", data, home=home, cache=home / "cache", models=small, seeds=(0,), bootstrap_draws=200)
