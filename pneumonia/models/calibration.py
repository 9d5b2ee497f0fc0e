"""The calibration of a network, as evaluation fits it, built into its last layer: for export."""

from __future__ import annotations

import keras


def rescale_last_layer(model: keras.Model, slope: float, intercept: float) -> None:
    """logit -> slope * logit + intercept, by changing the weights of the last dense layer in place."""
    layer = model.layers[-1]
    kernel, bias = layer.get_weights()
    layer.set_weights([slope * kernel, slope * bias + intercept])
