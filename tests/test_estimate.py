"""How numbers are written: estimates with their intervals, changes in words that depend on the sign."""

from __future__ import annotations

import math

import pytest

from pneumonia.evaluation.estimate import Change, Estimate, format_p, join_words, percent


def test_shares_are_written_in_percent_and_the_rest_with_three_decimals():
    accuracy = Estimate.of("accuracy", 0.9551, 0.9384, 0.9711, n=624)
    assert (str(accuracy), f"{accuracy:.0%}", accuracy.n) == ("95.5 %", "96 %", 624)
    assert accuracy.full == "95.5 % (93.8 to 97.1 %)"
    area = Estimate.of_row("roc_auc", {"value": 0.9886, "ci_low": -0.0002, "ci_high": 0.99412})
    assert (f"{area}", area.interval, float(area)) == ("0.989", "0.000 to 0.994", 0.9886)
    assert str(Estimate.of("npv@chosen", 0.5)) == percent(0.5) == "50.0 %"


def test_what_is_not_defined_is_a_dash():
    nothing = Estimate.of("npv", math.nan)
    assert (str(nothing), f"{nothing:.0%}", nothing.interval, str(nothing - nothing)) == ("–", "–", "–", "–")
    change = Change.of("npv", math.nan)
    assert {change.signed, change.direction, change.phrase, change.interval} == {"–"}


@pytest.mark.parametrize(
    ("metric", "a", "b", "size", "signed", "phrase"),
    [
        ("accuracy", 0.95, 0.909, "4.1 points", "+4.1 points", "4.1 points above"),
        ("accuracy", 0.909, 0.95, "4.1 points", "−4.1 points", "4.1 points below"),
        ("accuracy", 0.9, 0.9004, "0.0 points", "0.0 points", "level with"),
        ("roc_auc", 0.9877, 1.0, "0.012", "−0.012", "0.012 below"),
        ("roc_auc", 0.98, 0.98, "0.000", "0.000", "level with"),
    ],
)
def test_a_change_is_worded_by_its_sign(metric, a, b, size, signed, phrase):
    change = Estimate.of(metric, a) - Estimate.of(metric, b)
    assert (str(change), change.signed, change.phrase) == (size, signed, phrase)
    assert phrase.endswith(change.direction)


def test_the_interval_of_a_change_has_true_minus_signs_and_no_negative_zero():
    assert Change.of("accuracy", 0.01, -0.0052, 0.0211).interval == "−0.5 to 2.1 points"
    assert Change.of("roc_auc", 0.004, -0.0041, -0.0001).interval == "−0.004 to 0.000"


def test_p_values_and_lists_of_words():
    assert (format_p(0.0004), format_p(0.0314)) == ("p < 0.001", "p = 0.031")
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
