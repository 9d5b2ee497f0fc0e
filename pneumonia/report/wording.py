"""How facts.py and its like write Estimates and Changes by key; goes with them."""

from __future__ import annotations

from ..evaluation.estimate import UNDEFINED, Change, Estimate, format_p, is_share, join_words, percent

__all__ = ["format_p", "is_share", "join_words", "percent"]

NOTHING = UNDEFINED
Facts = dict[str, str]
Table = tuple[list[str], list[list[str]]]  # head and rows of cells; a cell in ** is bold


def format_value(metric: str, value: float) -> str:
    return str(Estimate.of(metric, value))


def format_interval(metric: str, low: float, high: float) -> str:
    return Estimate.of(metric, low, low, high).interval


def format_difference_interval(metric: str, low: float, high: float) -> str:
    return Change.of(metric, low, low, high).interval


def format_size(metric: str, difference: float) -> str:
    return str(Change.of(metric, difference))


def compare(key: str, metric: str, difference: float) -> Facts:
    """The ways to speak of a difference: its size, its sign, and words that turn with the sign."""
    change = Change.of(metric, difference)
    ways = {"signed": change.signed, "direction": change.direction, "phrase": change.phrase}
    return {key: str(change)} | {f"{key}.{way}": text for way, text in ways.items()}
