"""How numbers are written in prose: percent, intervals, p-values, and comparisons whose words turn with the sign."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .metrics import THRESHOLD_METRICS

NOTHING = "–"  # where a value is not defined: the npv of a model that calls every child ill

Facts = dict[str, str]
Table = tuple[list[str], list[list[str]]]  # head and rows of cells; a cell in ** is bold


def percent(share: float, decimals: int = 1) -> str:
    """0.931 -> "93.1 %"."""
    return NOTHING if np.isnan(share) else f"{100 * share:.{decimals}f} %"


def is_share(metric: str) -> bool:
    """Whether a metric is written in percent; the others have three decimals."""
    return metric.removesuffix("@chosen") in THRESHOLD_METRICS


def format_value(metric: str, value: float) -> str:
    return percent(value) if is_share(metric) else NOTHING if np.isnan(value) else f"{value:.3f}"


def format_interval(metric: str, low: float, high: float) -> str:
    """ "91.0 to 95.0 %", "0.958 to 0.989"."""
    if np.isnan(low) or np.isnan(high):
        return NOTHING
    if is_share(metric):
        return f"{_round_half(100 * low, 1):.1f} to {_round_half(100 * high, 1):.1f} %"
    return f"{_round_half(low, 3):.3f} to {_round_half(high, 3):.3f}"


def format_difference_interval(metric: str, low: float, high: float) -> str:
    """ "−0.5 to 2.1 points", "−0.004 to 0.011"."""
    return format_interval(metric, low, high).replace("%", "points").replace("-", "−")


def format_size(metric: str, difference: float) -> str:
    """A difference without its sign: "4.1 points", "0.012"."""
    if np.isnan(difference):
        return NOTHING
    return f"{abs(100 * difference):.1f} points" if is_share(metric) else f"{abs(difference):.3f}"


def compare(key: str, metric: str, difference: float) -> Facts:
    """The ways to speak of a difference: its size, its sign, and words that turn with the sign."""
    if np.isnan(difference):
        return dict.fromkeys((key, f"{key}.signed", f"{key}.direction", f"{key}.phrase"), NOTHING)
    size = format_size(metric, difference)
    if not float(size.split()[0]):
        return {key: size, f"{key}.signed": size, f"{key}.direction": "level with", f"{key}.phrase": "level with"}
    direction = "above" if difference > 0 else "below"
    signed = ("+" if difference > 0 else "−") + size
    return {key: size, f"{key}.signed": signed, f"{key}.direction": direction, f"{key}.phrase": f"{size} {direction}"}


def format_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def join_words(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _round_half(value: float, decimals: int) -> float:
    return round(float(value), decimals) + 0.0  # + 0.0 turns -0.0 into 0.0


def with_span(metric: str, row: pd.Series) -> str:
    """ "93.1 % (91.0 to 95.0 %)", "0.981 (0.972 to 0.989)"; what is no metric of its own is a share."""
    metric = metric if metric == "roc_auc" else "accuracy"
    return f"{format_value(metric, row['value'])} ({format_interval(metric, row['ci_low'], row['ci_high'])})"
