"""Facts: what prose may say agrees with the result files, and turns with the sign of what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pneumonia.config import PneumoniaError
from pneumonia.pipeline import make_metrics
from pneumonia.report.facts import build_facts, fill
from pneumonia.report.wording import compare, format_interval, format_p, join_words, percent
from pneumonia.results import Results, load_results, write_run_record, write_table
from pneumonia.series import real_run, simulated_run
from pneumonia.transforms.stress_copies import STRESS_COPIES

SKILL = {"majority": 0.0, "metadata_logistic": 0.3, "thumbnail_logistic": 1.2, "basic_cnn": 1.6}  # others: 2.2
TRAINING_COLUMNS = ["model", "seed", "parameters", "epochs", "wall_seconds", "cpu_seconds"]
TRAINING_COLUMNS += ["images_per_second", "device"]
STRESSES = STRESS_COPIES


def make_results(
    home: Path, simulated: bool = False, penalty: float = 1.0, catalog: pd.DataFrame | None = None
) -> Results:
    """Result files of invented scores in `home`; `penalty` shifts the NORMAL test radiographs towards PNEUMONIA."""
    run = replace(simulated_run(None) if simulated else real_run(None), home=home, bootstrap_draws=40)
    catalog = make_catalog() if catalog is None else catalog
    used = catalog[catalog["excluded_reason"] == ""]
    frames, trainings, epochs = [], [], []
    for config in run.models:
        for seed in run.seeds_of(config):
            rng = np.random.default_rng([seed, len(config.name)])
            frames.append(make_predictions(used, config.name, seed, penalty, rng))
            trainings.append((config.name, seed, 257_153, config.epochs, 600.0, 1100.0, 320.0, "invented"))
            epochs += [(config.name, seed, epoch + 1, 0.4, 0.8, 0.5, 0.8, 0.9, 0.001) for epoch in range(config.epochs)]
    write_table(run, "catalog", catalog)
    write_table(run, "predictions", pd.concat(frames))
    write_table(run, "training", pd.DataFrame(trainings, columns=TRAINING_COLUMNS))
    columns = "model seed epoch loss accuracy val_loss val_accuracy val_roc_auc learning_rate"
    write_table(run, "history", pd.DataFrame(epochs, columns=columns.split()))
    looks = [
        ("2026-01-01T00:00+00:00", "probe", "a1", "feasibility probe before the project"),
        ("", "all", "b2", "test"),
    ]
    write_table(run, "test_looks", pd.DataFrame(looks, columns=["when", "models", "weights_hash", "why"]))
    records = [dict(zip(TRAINING_COLUMNS, row, strict=True)) | {"weights_hash": ""} for row in trainings]
    write_run_record(run, catalog, records, "a machine")
    make_metrics(run)
    return load_results(run)


def make_catalog() -> pd.DataFrame:
    """24 radiographs of each kind in train and validation, 12 in test, 2 in the official val, and three left out."""
    rows = []
    for split, folder, count in (("train_fit", "train", 24), ("validation", "train", 22), ("validation", "val", 2)):
        rows += [(split, folder, kind, number) for kind in ("NORMAL", "bacteria", "virus") for number in range(count)]
    rows += [("test", "test", kind, number) for kind in ("NORMAL", "bacteria", "virus") for number in range(12)]
    frame = pd.DataFrame(rows, columns=["split", "folder", "kind", "number"])
    frame["class_name"] = np.where(frame["kind"] == "NORMAL", "NORMAL", "PNEUMONIA")
    frame["label"] = (frame["class_name"] == "PNEUMONIA").astype(int)
    names = frame["kind"] + "-" + frame["split"] + frame["number"].astype(str)
    frame["path"] = frame["folder"] + "/" + frame["class_name"] + "/" + names + ".jpeg"
    frame["patient_id"], frame["sha256"], frame["mode"] = names, names, "L"
    frame = frame.assign(width=224, height=224, jpeg_quality=95.0, duplicate_of="", excluded_reason="")
    frame["bytes"] = 9000 + np.arange(len(frame))
    copies = frame.head(3).assign(path="train/NORMAL/copy" + frame["number"].head(3).astype(str) + ".jpeg")
    copies["duplicate_of"] = [frame["path"][0], frame["path"][1], ""]
    copies["excluded_reason"] = ["duplicate of " + frame["path"][0], "duplicate of " + frame["path"][1], "empty file"]
    return pd.concat([frame.drop(columns=["folder", "number"]), copies.drop(columns=["folder", "number"])])


def make_predictions(
    used: pd.DataFrame, model: str, seed: int, penalty: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Scores that tell the classes apart as well as SKILL says, and worse on test."""
    stress = [used[used["split"] == "validation"].assign(split=f"validation_{name}") for name in STRESSES]
    rows = pd.concat([used, *(stress if model != "metadata_logistic" else [])])
    logit = SKILL.get(model, 2.2) * (2 * rows["label"] - 1) + 0.4
    if SKILL.get(model, 2.2):
        logit += rng.normal(0, 1, len(rows)) + penalty * ((rows["split"] == "test") & (rows["label"] == 0))
    rows = rows.assign(model=model, seed=seed, y_prob=(1 / (1 + np.exp(-logit))).round(6))
    return rows[["path", "patient_id", "split", "label", "model", "seed", "y_prob"]]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return make_results(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def facts(results) -> dict[str, str]:
    return build_facts(results)


def with_row(results: Results, model: str, split: str, metric: str, **changes) -> Results:
    """The results with one mean in metrics.csv changed."""
    metrics = results.metrics.copy()
    found = metrics.query("model == @model and split == @split and metric == @metric and seed == 'mean'").index
    assert len(found) == 1
    metrics.loc[found, list(changes)] = list(changes.values())
    return replace(results, metrics=metrics)


def test_fill_replaces_keys_and_leaves_other_braces_alone(facts):
    text = fill("{final.title}: {final.test.accuracy}. {x} {} { a.b } \\frac{1}{2}", facts)
    assert text == f"{facts['final.title']}: {facts['final.test.accuracy']}. {{x}} {{}} {{ a.b }} \\frac{{1}}{{2}}"


@pytest.mark.parametrize("key", ["final.test.acuracy", "Final.test.accuracy", "final.test.accuracy:.1f"])
def test_unknown_key_is_named_with_its_neighbours(key, facts):
    with pytest.raises(PneumoniaError, match="nearest: .*final.test.accuracy") as caught:
        fill(f"It is {{{key}}}.", facts)
    assert f"'{key}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_row_of_metrics_is_a_fact(results, facts):
    suffixes = {"mean": "", "sd": ".sd", "ensemble": ".ensemble"}
    for row in results.metrics.itertuples():
        key = f"{row.model}.{row.split}.{row.metric.replace('@', '_')}{suffixes.get(row.seed, f'.seed{row.seed}')}"
        is_share = not row.metric.startswith(("roc", "average_p", "brier", "ece", "threshold"))
        if np.isnan(row.value):
            assert facts[key] == "–"
            continue
        scale, step = (100, 0.1) if is_share else (1, 0.001)
        assert float(facts[key].split()[0]) == pytest.approx(scale * row.value, abs=0.51 * step), key
        assert facts[key].endswith(("%", "points")) == is_share
        if row.seed != "sd" and not np.isnan(row.ci_low):
            low, high = (float(word) for word in facts[f"{key}.interval"].removesuffix(" %").split(" to "))
            assert (low, high) == pytest.approx((scale * row.ci_low, scale * row.ci_high), abs=0.51 * step), key


def test_final_stands_for_the_final_model(results, facts):
    final = results.final_model
    assert facts["final.title"] == results.run.model(final).title
    for key in ("{}.test.accuracy", "gap.{}.accuracy.phrase", "per1000.p30.{}.missed", "errors.{}.leaning"):
        assert facts[key.format("final")] == facts[key.format(final)]


def test_differences_turn_with_their_sign(results):
    final, value = results.final_model, results.estimate(results.final_model, "validation", "accuracy").value
    cases = ((value - 0.05, "−5.0", "5.0 points below"), (value + 0.05, "+5.0", "5.0 points above"))
    for test, signed, phrase in (*cases, (value + 0.0001, "0.0", "level with")):
        facts = build_facts(with_row(results, final, "test", "accuracy", value=test))
        assert facts["gap.final.accuracy.signed"] == f"{signed} points"
        assert facts["gap.final.accuracy.phrase"] == phrase
    facts = build_facts(with_row(results, final, "test", "roc_auc", value=0.5))
    assert facts["versus.final.majority.roc_auc.phrase"] == "level with"
    assert facts["versus.final.thumbnail_logistic.roc_auc.direction"] == "below"
    assert facts["versus.thumbnail_logistic.final.roc_auc.direction"] == "above"


def test_compare_of_nothing_and_of_scores():
    assert set(compare("a.b", "npv", float("nan")).values()) == {"–"}
    assert compare("a.b", "roc_auc", -0.0123)["a.b.signed"] == "−0.012"


@pytest.mark.parametrize(
    ("low", "high", "phrase"),
    [(0.92, 0.95, "lies above"), (0.9, 0.92, "includes"), (0.91, 0.95, "includes"), (0.8, 0.9, "lies below")],
)
def test_claim_is_held_against_the_interval(results, low, high, phrase):
    changed = with_row(results, results.final_model, "test", "accuracy", ci_low=low, ci_high=high)
    assert build_facts(changed)["claimed.phrase"] == f"{phrase} the claimed 91 %"


def test_best_on_test_is_named_when_it_is_another(results):
    other = "basic_cnn" if results.final_model != "basic_cnn" else "deep_cnn"
    facts = build_facts(with_row(results, other, "test", "roc_auc", value=1.0001))
    assert results.run.model(other).title in facts["best.roc_auc.sentence"]
    facts = build_facts(with_row(results, results.final_model, "test", "roc_auc", value=1.0001))
    assert facts["best.roc_auc.sentence"] == "Of the single models it also has the highest ROC AUC on the test split"


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "words"),
    [
        (0.9, 0.8, "a healthy child is called ill more"),
        (0.8, 0.9, "an ill child is missed more"),
        (0.9, 0.9, "as often"),
    ],
)
def test_leaning_of_the_errors(results, sensitivity, specificity, words):
    changed = with_row(results, results.final_model, "test", "sensitivity", value=sensitivity)
    changed = with_row(changed, results.final_model, "test", "specificity", value=specificity)
    assert words in build_facts(changed)["errors.final.leaning"]


def test_errors_are_those_of_the_ensemble(results, facts):
    rows = results.predictions.query("split == 'test' and model == 'basic_cnn'")
    table = rows.pivot(index="path", columns="seed", values="y_prob").mean(axis=1) >= 0.5
    label = rows.drop_duplicates("path").set_index("path")["label"].loc[table.index] == 1
    assert facts["errors.basic_cnn.missed"] == str((label & ~table).sum())
    assert facts["errors.basic_cnn.false_alarms"] == str((~label & table).sum())
    assert int(facts["errors.basic_cnn.false_alarms"]) > 0, "the test shows something"


def test_sensitivity_by_kind_is_of_the_ensemble(results):
    predictions = results.predictions.copy()
    final, label = predictions["model"] == results.final_model, predictions["label"] == 1
    in_test, viral = predictions["split"] == "test", predictions["path"].str.contains("virus")
    predictions.loc[final & in_test & label, "y_prob"] = 0.5  # called PNEUMONIA: the threshold belongs to it
    predictions.loc[final & in_test & viral & (predictions["seed"] == 0), "y_prob"] = 0.49  # so the mean is below it
    facts = build_facts(replace(results, predictions=predictions))
    assert (facts["errors.final.bacteria.sensitivity"], facts["errors.final.virus.sensitivity"]) == (
        "100.0 %",
        "0.0 %",
    )


def test_hardest_twin_is_named(results):
    plain = results.estimate(results.final_model, "validation", "roc_auc").value
    changed = with_row(results, results.final_model, "validation_framing", "roc_auc", value=plain - 0.1)
    facts = build_facts(changed)
    assert (facts["stress.final.roc_auc.name"], facts["stress.final.roc_auc"]) == ("framing", f"{plain - 0.1:.3f}")
    assert facts["stress.final.roc_auc.change.phrase"] == "0.100 below"


def test_per_1000_follows_from_the_rates(results):
    changed = with_row(results, results.final_model, "test", "sensitivity", value=0.9, ci_low=0.8, ci_high=0.95)
    changed = with_row(changed, results.final_model, "test", "specificity", value=0.7, ci_low=0.6, ci_high=0.75)
    facts = build_facts(changed)
    assert (facts["per1000.p30.ill"], facts["per1000.p30.well"]) == ("300", "700")
    assert (facts["per1000.p30.final.missed"], facts["per1000.p30.final.missed.interval"]) == ("30", "15 to 60")
    assert facts["per1000.p30.final.false_alarms"] == "210"
    assert facts["per1000.p30.final.false_alarms.interval"] == "175 to 280"
    assert (facts["per1000.test.prevalence"], facts["per1000.test.ill"]) == ("66.7 %", "667")
    assert facts["per1000.p15.majority.false_alarms"] == "850"


def test_steps_say_what_comparisons_say(results):
    row = results.comparisons.query("model_b == 'basic_cnn' and test == 'mcnemar'").index
    comparisons = results.comparisons.copy()
    for p_holm, difference, verdict in (
        (0.04, 0.1, "better than"),
        (0.04, -0.1, "worse than"),
        (0.06, 0.1, "not dist"),
    ):
        comparisons.loc[row, ["p_holm", "difference"]] = p_holm, difference
        facts = build_facts(replace(results, comparisons=comparisons))
        assert facts["step.basic_cnn.accuracy.verdict"].startswith(verdict)
    assert facts["step.basic_cnn.against"] == "16x16 thumbnail"


def test_catalog_is_counted(facts):
    expected = {"n": "183", "used": "180", "duplicates": "2", "unreadable": "1", "validation.n": "72", "test.n": "36"}
    expected |= {
        "test.normal": "12",
        "test.pneumonia": "24",
        "train_fit.virus": "24",
        "official.val.step": "16.7 points",
    }
    expected |= {"metadata": "bytes", "form": "224-px copies of the official files", "test.prevalence": "66.7 %"}
    assert {key: facts[f"catalog.{key}"] for key in expected} == expected
    assert (facts["looks.n"], facts["looks.before.n"], facts["looks.since.n"]) == ("2", "1", "1")


def test_catalog_of_original_files_without_val(results):
    catalog = results.catalog[~results.catalog["path"].str.startswith("val/")].reset_index(drop=True)
    catalog.loc[0, ["width", "mode"]] = 1200, "RGB"
    facts = build_facts(replace(results, catalog=catalog))
    assert facts["catalog.form"] == "the official files as published (sides of 224 to 1,200 pixels)"
    assert facts["catalog.metadata"] == "width, mode and bytes"
    assert facts["catalog.official.val.sentence"].startswith("There is no official validation folder")


def test_training_is_added_up(facts):
    assert (facts["training.cpu_minutes"], facts["training.wall_minutes"]) == ("422", "230")  # 23 of 1100 and 600 s
    assert (facts["training.networks.n"], facts["training.basic_cnn.parameters"]) == ("20", "257,153")


def test_numbers_are_written_plainly():
    assert (percent(0.9314), percent(0.3, 0), percent(float("nan"))) == ("93.1 %", "30 %", "–")
    assert format_interval("roc_auc", -0.0002, 0.011) == "0.000 to 0.011"
    assert (format_p(0.0004), format_p(0.0312)) == ("p < 0.001", "p = 0.031")
    assert [join_words(list(words)) for words in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
