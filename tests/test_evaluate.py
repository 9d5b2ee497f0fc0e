"""From a predictions frame to metrics, comparisons and the final model."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from pneumonia.config import PneumoniaError
from pneumonia.evaluation import significance
from pneumonia.evaluation.calibration import calibration_intercept, calibration_slope
from pneumonia.evaluation.evaluate import (
    COMPARISON_COLUMNS,
    FINAL_MODEL_RULE,
    METRIC_COLUMNS,
    METRICS,
    choose_final_model,
    compare_models,
    compute_metrics,
)
from pneumonia.evaluation.metrics import (
    bootstrap_weights,
    choose_threshold,
    draw_seeds,
    percentile_interval,
    roc_auc,
    size_adjusted_auc,
    threshold_metrics,
)
from pneumonia.evaluation.probability import to_logit
from pneumonia.evaluation.scores import CALIBRATION_COLUMNS, STRESS_COPIES, Scores
from pneumonia.evaluation.significance import holm

COPIES = ["validation_encoding", "validation_framing"]
SPLITS = ["train_fit", "validation", *COPIES, "test"]
DRAWS = 60
QUALITY = {"weak": 0.3, "good": 1.0, "best": 2.0}  # distance between the classes
SEEDS = {"majority": [0], "weak": [0], "good": [0, 1, 2], "best": [0, 1, 2]}


def split_rows(split, patients=30):
    """The radiographs of one split: 30 patients with one to three each, the same children in all validation copies."""
    rng = np.random.default_rng(len(split.split("_")[0]))
    ids = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    place = "validation" if split.startswith("validation") else split
    return pd.DataFrame(
        {
            "path": [f"{place}/{i:03d}.jpeg" for i in range(len(ids))],
            "patient_id": [f"{place}-{patient}" for patient in ids],
            "split": split,
            "label": (ids % 3 > 0).astype(int),
        }
    )


def make_predictions():
    """Four models; the two baselines have one seed, and majority no stress copies."""
    rng = np.random.default_rng(0)
    frames = []
    for model, seeds in SEEDS.items():
        for seed in seeds:
            for split in SPLITS if model != "majority" else ["train_fit", "validation", "test"]:
                rows = split_rows(split)
                logits = rng.normal(size=len(rows)) + QUALITY.get(model, 0) * (2 * rows["label"] - 1)
                y_prob = np.ones(len(rows)) if model == "majority" else 1 / (1 + np.exp(-logits))
                frames.append(rows.assign(model=model, seed=seed, y_prob=y_prob))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def predictions():
    return make_predictions()


@pytest.fixture(scope="module")
def metrics(predictions):
    return compute_metrics(Scores.parse(predictions), DRAWS)


@pytest.fixture(scope="module")
def comparisons(predictions):
    return compare_models(Scores.parse(predictions), list(SEEDS), DRAWS)


def value_of(metrics, model, seed, split, metric, column="value"):
    keys = dict(model=model, seed=seed, split=split, metric=metric)
    rows = metrics[(metrics[list(keys)] == list(keys.values())).all(axis=1)]
    assert len(rows) == 1
    return rows[column].iloc[0]


def scores_of(predictions, model, split):
    """(n,) labels, (n, seeds) probabilities and (n,) patients, by path."""
    rows = predictions[(predictions["model"] == model) & (predictions["split"] == split)]
    table = rows.pivot(index="path", columns="seed", values="y_prob")
    facts = rows[rows["seed"] == 0].set_index("path").loc[table.index]
    return facts["label"].to_numpy(), table.to_numpy(), facts["patient_id"].to_numpy()


def test_rows_come_in_a_fixed_order(metrics):
    assert list(metrics.columns) == METRIC_COLUMNS
    assert list(metrics["model"].unique()) == list(SEEDS)
    for model, seeds in SEEDS.items():
        rows = metrics[metrics["model"] == model]
        extra = ["mean", "sd", "ensemble"] if len(seeds) > 1 else ["mean"]
        splits = SPLITS if model != "majority" else ["train_fit", "validation", "test"]
        expected = [(s, split, m) for s in [*map(str, seeds), *extra] for split in splits for m in METRICS]
        assert list(rows[["seed", "split", "metric"]].itertuples(index=False, name=None)) == expected


def test_values_of_a_seed_are_the_metrics_of_its_scores(predictions, metrics):
    y_true, y_prob, patients = scores_of(predictions, "good", "test")
    weights = bootstrap_weights(patients, DRAWS)
    for seed in range(3):
        at_half = threshold_metrics(y_true, y_prob[:, seed])
        for name, expected in at_half.items():
            assert value_of(metrics, "good", str(seed), "test", name) == pytest.approx(expected, abs=1e-6)
        low, high = percentile_interval(roc_auc(y_true, y_prob[:, seed], weights))
        assert value_of(metrics, "good", str(seed), "test", "roc_auc", "ci_low") == pytest.approx(low, abs=1e-6)
        assert value_of(metrics, "good", str(seed), "test", "roc_auc", "ci_high") == pytest.approx(high, abs=1e-6)
        assert value_of(metrics, "good", str(seed), "test", "roc_auc", "n") == len(y_true)


def test_mean_sd_and_ensemble_over_seeds(predictions, metrics):
    y_true, y_prob, patients = scores_of(predictions, "good", "test")
    weights = bootstrap_weights(patients, DRAWS)
    values = [roc_auc(y_true, y_prob[:, seed]) for seed in range(3)]
    drawn = draw_seeds(3, DRAWS)
    each = np.stack([roc_auc(y_true, y_prob[:, seed], weights) for seed in range(3)])
    of_mean = [np.mean([each[seed, draw] for seed in drawn[draw]]) for draw in range(DRAWS)]
    of_ensemble = [roc_auc(y_true, y_prob[:, drawn[draw]].mean(axis=1), weights[draw]) for draw in range(DRAWS)]
    found = {seed: value_of(metrics, "good", seed, "test", "roc_auc") for seed in ("mean", "sd", "ensemble")}
    assert found["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert found["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    assert found["ensemble"] == pytest.approx(roc_auc(y_true, y_prob.mean(axis=1)), abs=1e-6)
    for seed, samples in (("mean", of_mean), ("ensemble", of_ensemble)):  # other patients, and other seeds
        interval = [value_of(metrics, "good", seed, "test", "roc_auc", end) for end in ("ci_low", "ci_high")]
        assert interval == pytest.approx(percentile_interval(samples), abs=1e-6)
    assert metrics.loc[metrics["seed"] == "sd", ["ci_low", "ci_high"]].isna().all(axis=None)


@pytest.mark.parametrize("seed", ["0", "1", "2", "ensemble"])
def test_threshold_is_chosen_on_validation_and_all_its_copies(predictions, metrics, seed):
    seen = [scores_of(predictions, "good", split)[:2] for split in ("validation", *COPIES)]
    column = (lambda y_prob: y_prob.mean(axis=1)) if seed == "ensemble" else (lambda y_prob: y_prob[:, int(seed)])
    expected = choose_threshold(
        np.concatenate([y_true for y_true, _ in seen]), np.concatenate([column(y_prob) for _, y_prob in seen])
    )
    assert {value_of(metrics, "good", seed, split, "threshold") for split in SPLITS} == {expected}
    y_true, y_prob, _ = scores_of(predictions, "good", "test")
    at_chosen = threshold_metrics(y_true, column(y_prob), expected)
    for name, value in at_chosen.items():
        assert value_of(metrics, "good", seed, "test", f"{name}@chosen") == pytest.approx(value, abs=1e-6)


def test_undefined_values_stay_empty(metrics):
    assert np.isnan(value_of(metrics, "majority", "0", "test", "npv"))
    assert np.isnan(value_of(metrics, "majority", "0", "test", "npv", "ci_low"))
    assert value_of(metrics, "majority", "0", "test", "sensitivity") == 1
    assert metrics.loc[metrics["metric"] == "threshold", ["ci_low", "ci_high"]].isna().all(axis=None)


def test_shuffled_rows_and_a_csv_round_trip_give_the_same_bytes(predictions, metrics, comparisons):
    shuffled = predictions.sample(frac=1, random_state=0)
    shuffled = shuffled.sort_values(["model", "split"], key=lambda names: names.map([*SEEDS, *SPLITS].index))
    again = Scores.parse(pd.read_csv(io.StringIO(shuffled.to_csv(index=False))))
    assert compute_metrics(again, DRAWS).to_csv(index=False) == metrics.to_csv(index=False)
    assert compare_models(again, list(SEEDS), DRAWS).to_csv(index=False) == comparisons.to_csv(index=False)


def test_published_numbers_have_six_decimals(metrics, comparisons):
    numbers = [*metrics[["value", "ci_low", "ci_high"]].stack(), *comparisons["difference"]]
    assert all(len(repr(float(number)).partition(".")[2]) <= 6 for number in numbers)


def test_comparisons_pair_each_model_with_the_one_before(predictions, comparisons):
    assert list(comparisons.columns) == COMPARISON_COLUMNS
    pairs = list(comparisons[["model_a", "model_b"]].drop_duplicates().itertuples(index=False, name=None))
    assert pairs == [("majority", "weak"), ("weak", "good"), ("good", "best")]
    assert comparisons["test"].tolist() == ["mcnemar", "roc_auc_difference"] * 3
    y_true, prob_a, patients = scores_of(predictions, "good", "test")
    prob_b = scores_of(predictions, "best", "test")[1]
    right_a = (prob_a.mean(axis=1) >= 0.5) == y_true
    right_b = (prob_b.mean(axis=1) >= 0.5) == y_true
    mcnemar, auc = comparisons.iloc[4], comparisons.iloc[5]
    assert mcnemar["difference"] == pytest.approx(right_b.mean() - right_a.mean(), abs=1e-6)
    calls = ((prob.mean(axis=1) >= 0.5).astype(int) for prob in (prob_a, prob_b))
    assert mcnemar["p_value"] == pytest.approx(significance.mcnemar(y_true, *calls, patients), rel=1e-5)
    assert auc["difference"] == pytest.approx(
        roc_auc(y_true, prob_b.mean(axis=1)) - roc_auc(y_true, prob_a.mean(axis=1)), abs=1e-6
    )
    assert (comparisons["ci_low"] <= comparisons["difference"]).all()
    assert (comparisons["difference"] <= comparisons["ci_high"]).all()
    assert comparisons["p_holm"].tolist() == pytest.approx(holm(comparisons["p_value"]).tolist(), rel=1e-4)
    assert set(comparisons["n"]) == {len(y_true)}


def test_small_p_values_do_not_become_zero():
    rows = split_rows("test", patients=120)
    right = rows.assign(model="right", seed=0, y_prob=rows["label"] * 0.9)
    wrong = rows.assign(model="wrong", seed=0, y_prob=0.9 - rows["label"] * 0.8)
    comparisons = compare_models(Scores.parse(pd.concat([wrong, right])), ["wrong", "right"], DRAWS)
    assert 0 < comparisons["p_value"].iloc[0] < 1e-20


def test_one_model_alone_has_no_comparison(predictions):
    comparisons = compare_models(Scores.parse(predictions), ["good"], DRAWS)
    assert list(comparisons.columns) == COMPARISON_COLUMNS
    assert len(comparisons) == 0


def test_final_model_is_near_the_best_on_the_worst_copy(predictions):
    scores = Scores.parse(predictions)
    assert choose_final_model(scores, ["weak", "good", "best"]) == "best"
    assert choose_final_model(scores, ["weak", "good"]) == "good"
    assert "test split is not consulted" in FINAL_MODEL_RULE


def test_of_models_near_the_best_the_one_that_agrees_with_itself_is_final(predictions):
    same = predictions[predictions["model"] == "best"].assign(model="twin")
    validation = same[same["split"] == "validation"].set_index(["path", "seed"])["y_prob"]
    copied = same["split"].isin(COPIES)
    keys = pd.MultiIndex.from_frame(same.loc[copied, ["path", "seed"]])
    same.loc[copied, "y_prob"] = validation.loc[keys].to_numpy()  # the copies change nothing
    scores = Scores.parse(pd.concat([predictions, same]))
    assert choose_final_model(scores, ["best", "twin"]) == "twin"


def test_a_stress_copy_can_decide_the_final_model(predictions):
    spoiled = predictions.copy()
    is_copy = (spoiled["model"] == "best") & (spoiled["split"] == COPIES[1])
    spoiled.loc[is_copy, "y_prob"] = 1 - spoiled.loc[is_copy, "y_prob"]
    assert choose_final_model(Scores.parse(spoiled), ["weak", "good", "best"]) == "good"


def test_the_test_split_never_changes_the_final_model(predictions):
    candidates = ["weak", "good", "best"]
    reversed_test = predictions.copy()
    is_best_test = (predictions["split"] == "test") & (predictions["model"] == "best")
    reversed_test.loc[is_best_test, "y_prob"] = 1 - predictions.loc[is_best_test, "y_prob"]
    before_test = predictions[predictions["split"] != "test"]  # the rule works before test is scored
    for altered in (reversed_test, before_test):
        assert choose_final_model(Scores.parse(altered), candidates) == "best"


def test_equal_candidates_leave_it_to_the_order(predictions):
    equal = predictions[predictions["model"] == "best"].assign(model="equal")
    both = Scores.parse(pd.concat([predictions, equal]))
    assert choose_final_model(both, ["equal", "best"]) == "equal"
    assert choose_final_model(both, ["best", "equal"]) == "best"


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "no candidates"),
        (["best", "unknown"], "no rows of model unknown to evaluate; predict it"),
        (["majority", "best"], "majority has no validation_encoding, validation_framing; predict it"),
    ],
)
def test_candidates_that_cannot_be_judged_alike(predictions, candidates, message):
    with pytest.raises(PneumoniaError, match=message):
        choose_final_model(Scores.parse(predictions), candidates)


def drop_one_seed_of_one_radiograph(frame):
    return frame.drop(frame.index[(frame["seed"] == 2) & (frame["split"] == "test")][0])


def relabel_one_model(frame):
    rows = (frame["model"] == "weak") & (frame["path"] == "test/000.jpeg")
    return frame.assign(label=frame["label"].where(~rows, 1 - frame["label"]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="y_prob"), "column y_prob is missing"),
        (lambda frame: frame.iloc[:0], "no rows"),
        (
            lambda frame: frame.assign(y_prob=frame["y_prob"] * 1.5),
            r"predictions.csv \(majority, train_fit, seed 0\): y_prob",
        ),
        (lambda frame: frame.assign(y_prob=frame["y_prob"].where(frame.index != 5)), "y_prob has empty"),
        (lambda frame: frame.assign(y_prob=frame["y_prob"].astype(str) + "?"), "y_prob has empty or unreadable"),
        (
            lambda frame: frame[(frame["split"] != "test") | (frame["label"] == 1)],
            "test, seed 0.*only the class PNEUMONIA",
        ),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "twice"),
        (lambda frame: frame[frame["split"].isin(["train_fit", "test"])], "majority has no validation rows"),
        (lambda frame: frame[(frame["seed"] != 2) | (frame["split"] != "test")], "good lacks a seed"),
        (lambda frame: frame.replace({"split": {"test": "exam"}}), "unknown split exam"),
        (drop_one_seed_of_one_radiograph, "good, test.*different radiographs"),
        (relabel_one_model, "test/000.jpeg has two labels or patients"),
    ],
)
def test_broken_predictions_are_one_clear_line(predictions, spoil, message):
    with pytest.raises(PneumoniaError, match=message) as error:
        compute_metrics(Scores.parse(spoil(predictions.copy())), DRAWS)
    assert "predictions.csv" in str(error.value) and "\n" not in str(error.value)


def test_scores_are_those_of_the_frame(predictions):
    scores = Scores.parse(predictions.sample(frac=1, random_state=1))
    assert set(scores) == set(SEEDS) and len(scores) == len(SEEDS)
    assert list(Scores.parse(predictions)["best"]) == SPLITS
    y_true, y_prob, patients = scores_of(predictions, "good", "test")
    found = scores.test("good")
    np.testing.assert_array_equal(found.y_true, y_true)
    np.testing.assert_array_equal(found.patient_ids, patients)
    np.testing.assert_array_equal(np.stack(found.seeds, axis=1), y_prob)
    np.testing.assert_allclose(found.ensemble, y_prob.mean(axis=1))
    pooled = scores.pooled("good")
    seen = [scores["good"][split] for split in scores["good"] if split.startswith("validation")]
    assert len(seen) == 1 + len(COPIES) == 1 + len(scores.stress_copies)
    np.testing.assert_array_equal(pooled.ensemble, np.concatenate([part.ensemble for part in seen]))
    copies = scores.ensemble("good", STRESS_COPIES)
    assert len(copies) == len(COPIES) * len(scores.ensemble("good", "validation"))
    assert scores.ensemble("majority", STRESS_COPIES).empty and scores.ensemble("unknown", "test").empty


def test_models_must_share_the_test_radiographs(predictions):
    first = predictions["path"] == "test/000.jpeg"
    with pytest.raises(PneumoniaError, match="good and best differ in test rows"):
        compare_models(Scores.parse(predictions[~(first & (predictions["model"] == "best"))]), ["good", "best"], DRAWS)
    with pytest.raises(PneumoniaError, match="best has no test rows"):
        best_test = (predictions["model"] == "best") & (predictions["split"] == "test")
        compare_models(Scores.parse(predictions[~best_test]), ["good", "best"], DRAWS)
    with pytest.raises(PneumoniaError, match="no rows of model unknown"):
        compare_models(Scores.parse(predictions), ["good", "unknown"], DRAWS)


def test_only_some_splits_can_be_measured(predictions, metrics):
    some = compute_metrics(Scores.parse(predictions), DRAWS, ("validation", "test"))
    expected = metrics[metrics["split"].isin(["validation", "test"])]
    assert some.to_csv(index=False) == expected.to_csv(index=False)


def test_size_is_adjusted_for_only_where_it_is_known(predictions, metrics):
    assert metrics.loc[metrics["metric"] == "size_adjusted_auc", "value"].isna().all()
    y_true, y_prob, _ = scores_of(predictions, "best", "test")
    paths = sorted(set(predictions.query("split == 'test'")["path"]))
    pixels = {path: 1000 + number % 7 for number, path in enumerate(paths)}
    scores = Scores.parse(predictions[predictions["model"] == "best"], pixels)
    found = compute_metrics(scores, DRAWS, ("test",))
    expected = size_adjusted_auc(y_true, y_prob.mean(axis=1), [pixels[path] for path in paths])
    assert value_of(found, "best", "ensemble", "test", "size_adjusted_auc") == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(value_of(found, "best", "ensemble", "test", "size_adjusted_auc", "ci_low"))


def test_every_seed_is_calibrated_on_validation_and_its_copies(predictions):
    scores = Scores.parse(predictions)
    table = scores.fit_calibration()
    assert list(table.columns) == CALIBRATION_COLUMNS
    rows = [(model, str(seed)) for model, seeds in SEEDS.items() if model != "majority" for seed in seeds]
    assert list(table[["model", "seed"]].itertuples(index=False, name=None)) == rows, "majority has nothing to scale"
    calibrated = scores.calibrated()
    np.testing.assert_array_equal(calibrated.test("majority").ensemble, scores.test("majority").ensemble)
    for row in table.itertuples():
        before, after = (each.test(row.model).y_prob[row.seed] for each in (scores, calibrated))
        np.testing.assert_allclose(after, expit(row.slope * to_logit(before) + row.intercept), atol=1e-12)
    good = calibrated.test("good")
    np.testing.assert_allclose(good.ensemble, np.mean(good.seeds, axis=0))
    pooled = calibrated.pooled("weak")
    assert calibration_slope(pooled.y_true, pooled.ensemble) == pytest.approx(1, abs=1e-4)
    assert calibration_intercept(pooled.y_true, pooled.ensemble) == pytest.approx(0, abs=1e-4)


def test_calibration_ignores_test_and_needs_validation(predictions):
    table = Scores.parse(predictions).fit_calibration()
    without = Scores.parse(predictions[predictions["split"] != "test"]).fit_calibration()
    pd.testing.assert_frame_equal(table, without)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))  # seeds are numbers now
    scores = Scores.parse(predictions)
    np.testing.assert_array_equal(
        scores.calibrated(again).test("best").ensemble, scores.calibrated().test("best").ensemble
    )
    with pytest.raises(PneumoniaError, match="no validation rows"):
        Scores.parse(predictions[predictions["split"] == "test"]).calibrated()
