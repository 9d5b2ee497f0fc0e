"""A measured number with its interval, and how it is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .metrics import THRESHOLD_METRICS

UNDEFINED = "–"  # where a value is not defined: the npv of a model that predicts PNEUMONIA for every child


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the number of radiographs that it was measured on.

    Shares (accuracy, sensitivity, ...) are kept in 0-1 and written in percent; anything else (ROC AUC, calibration
    error) is written with three decimals. `str(e)` and `f"{e}"` are "95.5 %" or "0.989"; `f"{e:.0%}"` is "96 %";
    `e.interval` is "93.8 to 97.1 %"; `e.full` is "95.5 % (93.8 to 97.1 %)". `float(e)` is the value.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int | None = None
    is_share: bool = True

    @classmethod
    def of(cls, metric: str, value: float, low: float = math.nan, high: float = math.nan, n: int | None = None):
        """An estimate of a metric by its name in metrics.csv, which decides how it is written."""
        return cls(float(value), float(low), float(high), None if n is None else int(n), is_share(metric))

    @classmethod
    def of_row(cls, metric: str, row: Mapping) -> Estimate:
        """An estimate from a row (value, ci_low, ci_high and perhaps n) of a result table."""
        return cls.of(metric, row["value"], row["ci_low"], row["ci_high"], row.get("n"))

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return format(self, "")

    def __format__(self, spec: str) -> str:
        """Like the format of a float, but with a space before the percent sign, and "–" for what is not defined."""
        if math.isnan(self.value):
            return UNDEFINED
        return _write(self.value, spec or self._spec)

    def __sub__(self, other: Estimate) -> Change:
        """The difference of two values of the same kind. Its interval needs paired draws: see `Change.of`."""
        return Change(self.value - other.value, is_share=self.is_share)

    @property
    def interval(self) -> str:
        """ "93.8 to 97.1 %", "0.982 to 0.994"; "–" where there is none."""
        if math.isnan(self.low) or math.isnan(self.high):
            return UNDEFINED
        low, high = (_write(bound, self._spec) for bound in (self.low, self.high))
        return f"{low.removesuffix(' %')} to {high}"

    @property
    def full(self) -> str:
        """The value and, in brackets, its interval."""
        return f"{self} ({self.interval})"

    @property
    def _spec(self) -> str:
        return "z.1%" if self.is_share else "z.3f"  # z: what rounds to zero has no sign


@dataclass(frozen=True)
class Change:
    """A difference of two estimates, in words that turn with its sign; shares in percentage points.

    `str(c)` is its size, "4.1 points" or "0.012"; `c.signed` "+4.1 points" or "−0.012"; `c.direction` "above", "below"
    or, where the size is written as zero, "level with"; `c.phrase` "4.1 points above"; `c.interval` "−0.5 to 2.1
    points". What is not defined is "–".
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    is_share: bool = True

    @classmethod
    def of(cls, metric: str, value: float, low: float = math.nan, high: float = math.nan) -> Change:
        """A difference in a metric by its name in metrics.csv, with the interval of its paired draws."""
        return cls(float(value), float(low), float(high), is_share(metric))

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        if math.isnan(self.value):
            return UNDEFINED
        return f"{abs(100 * self.value):.1f} points" if self.is_share else f"{abs(self.value):.3f}"

    @property
    def signed(self) -> str:
        return {"above": "+", "below": "−"}.get(self.direction, "") + str(self)

    @property
    def direction(self) -> str:
        if math.isnan(self.value):
            return UNDEFINED
        return "level with" if self._is_level else "above" if self.value > 0 else "below"

    @property
    def phrase(self) -> str:
        """What stands between two models: "A is {phrase} B"."""
        return self.direction if math.isnan(self.value) or self._is_level else f"{self} {self.direction}"

    @property
    def interval(self) -> str:
        interval = Estimate(self.value, self.low, self.high, is_share=self.is_share).interval
        return interval.replace("%", "points").replace("-", "−")

    @property
    def _is_level(self) -> bool:
        """Whether the size is written as zero."""
        return not float(str(self).split()[0])


def is_share(metric: str) -> bool:
    """Whether a metric is written in percent; the others have three decimals."""
    return metric.removesuffix("@chosen") in THRESHOLD_METRICS


def percent(share: float, decimals: int = 1) -> str:
    """0.931 -> "93.1 %"; "–" for what is not defined."""
    return format(Estimate(float(share)), f".{decimals}%")


def format_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def join_words(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _write(value: float, spec: str) -> str:
    return format(value, spec).replace("%", " %")
