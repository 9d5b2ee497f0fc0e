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
        share = metric.removesuffix("@chosen") in THRESHOLD_METRICS
        return cls(float(value), float(low), float(high), None if n is None else int(n), share)

    @classmethod
    def of_row(cls, row: Mapping, metric: str = "accuracy") -> Estimate:
        """The value, ci_low, ci_high and n of a row of a result table, written as `metric` is."""
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

    @property
    def interval(self) -> str:
        """ "93.8 to 97.1 %", "0.982 to 0.994"; "–" where there is none."""
        if math.isnan(self.low) or math.isnan(self.high):
            return UNDEFINED
        low = _write(_plain_zero(self.low), self._spec)
        return f"{low.removesuffix(' %')} to {_write(_plain_zero(self.high), self._spec)}"

    @property
    def full(self) -> str:
        """The value and, in brackets, its interval."""
        return f"{self} ({self.interval})"

    @property
    def _spec(self) -> str:
        return ".1%" if self.is_share else ".3f"


def percent(share: float, decimals: int = 1) -> str:
    """0.931 -> "93.1 %"; "–" for what is not defined."""
    return format(Estimate(float(share)), f".{decimals}%")


def _write(value: float, spec: str) -> str:
    return format(value, spec).replace("%", " %")


def _plain_zero(value: float) -> float:
    """A tiny negative number would be written "-0.0"."""
    return 0.0 if abs(value) < 5e-7 else value
