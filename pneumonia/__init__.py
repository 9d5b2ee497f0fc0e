"""Pediatric Pneumonia Image Classification: NORMAL or PNEUMONIA, and how far can the answer be believed?

`Reader`, `RadiographGenerator`, `load_model` and `PneumoniaError`, each loaded when it is first used:

    import pneumonia

    answer = pneumonia.Reader().read("film.jpeg")  # JPEG, PNG, DICOM and others; without TensorFlow
    print(answer.probability, answer.call, answer.refer, answer.warnings)
    answer.overlay().save("heatmap.png")

    # from here on with Keras: pip install -e ".[train]"
    # a folder with NORMAL/ and PNEUMONIA/, seen as the network does
    films = pneumonia.RadiographGenerator.from_directory("films", size=128, window=1.25)
    model = pneumonia.load_model("robust_cnn", seed=0)  # a keras.Model
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    print(model.evaluate(films, return_dict=True, verbose=0))
    probabilities = model.predict(films, verbose=0)
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
    try:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    except ModuleNotFoundError as error:
        extra = "" if name == "Reader" else "[train]"
        raise ImportError(f'{error.name} is not installed; run `pip install -e ".{extra}"`') from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
