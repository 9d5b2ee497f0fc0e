"""Pediatric Pneumonia Image Classification: NORMAL or PNEUMONIA, and how far can the answer be believed?

What a script or a notebook needs, each loaded when it is first used:

    pneumonia.Reader()                                   a new radiograph -> probability, call, warnings, heatmap
    pneumonia.RadiographGenerator.from_directory(...)    a folder -> batches for Keras
    pneumonia.load_model("robust_cnn", seed=0)           a trained network
    pneumonia.PneumoniaError                             what all of them raise: one line with the remedy
"""

import importlib
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # before anything imports Keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # of TensorFlow, only warnings and errors

__version__ = "0.1.0"

_MODULES = {
    "Reader": ".inference.reader",
    "RadiographGenerator": ".data.generators",
    "load_model": ".models.weights",
    "PneumoniaError": ".config",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562): Reader needs no Keras, and `import pneumonia` needs nothing at all."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
