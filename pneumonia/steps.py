"""The steps of the data flow, in order; the command line and the notebook take the same ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from .attribution import attribute
from .catalog import audit_radiographs, hash_catalog, select_used
from .config import FROM_SCRATCH, Run
from .decision import compute_decision_curve, compute_per_1000
from .evaluation import (
    FINAL_MODEL_RULE,
    choose_final_model,
    compare_models,
    compute_metrics,
)
from .generators import store_pixels
from .learning_curve import compute_learning_curve, curve_run
from .masking import compute_masking
from .operating import compute_operating_points
from .pareto import compute_pareto, pareto_run
from .prediction import predict_all
from .published_comparison import compare_published, compute_power
from .records import load_record
from .results import (
    check_hashes,
    is_current,
    name_final_model,
    read_run_record,
    read_table,
    record_test_look,
    write_measured,
    write_run_record,
    write_table,
)
from .robustness import compute_robustness
from .subgroups import compute_subgroups
from .three_class import compute_three_class, three_class_run
from .training import collect_history, collect_training, say_now, train_all, train_in_turn


def make_catalog(run: Run) -> pd.DataFrame:
    """Audit the radiographs into catalog.csv, and keep what was decoded for the networks of the largest input."""
    size = max(config.image_size for config in run.models)
    catalog, images = audit_radiographs(run, size)
    write_table(run, "catalog", catalog)
    catalog = read_table(run, "catalog")  # as every later step sees it
    store_pixels(run, catalog, images, size)
    return catalog


def make_models(
    run: Run,
    catalog: pd.DataFrame,
    retrain: bool = False,
    say: Callable[[str], None] = say_now,
    train: Callable[..., None] = train_in_turn,
) -> list[dict]:
    """Train what is missing, by `train` (see train_all); leave history.csv, training.csv. Returns the records."""
    records = train_all(run, catalog, retrain, say, train)
    write_table(run, "history", collect_history(records))
    write_table(run, "training", collect_training(records))
    return records


def make_predictions(run: Run, catalog: pd.DataFrame, records: list[dict], why: str) -> pd.DataFrame:
    """Score every member once, and count it as a look at the test split if it is one."""
    predictions = predict_all(run, catalog)
    if (select_used(catalog)["split"] == "test").any():
        record_test_look(run, records, why)
    write_table(run, "predictions", predictions)
    write_run_record(run, catalog, records)
    return read_table(run, "predictions")


def make_attribution(run: Run, catalog: pd.DataFrame, swap: Path | None = None) -> None:
    """What moves each network on validation radiographs -> attribution.csv, unless it is there for these weights.

    The test split is not scored. Args: swap: see attribution.load_encoding_swap; it is measured whenever it is given.
    """
    record = read_run_record(run)
    if swap or not is_current(run, record, "attribution"):
        write_measured(run, "attribution", attribute(run, catalog, swap), record["weights_hash"])


def make_metrics(run: Run) -> None:
    """predictions.csv -> metrics.csv, comparisons.csv and the final model in run.json. Needs no radiographs."""
    check_hashes(run, read_run_record(run), read_table(run, "catalog"))
    predictions = read_table(run, "predictions")
    metrics = compute_metrics(predictions, run.bootstrap_draws)
    final = choose_final_model(metrics, [config.name for config in run.models if config.builder in FROM_SCRATCH])
    comparisons = compare_models(predictions, [config.name for config in run.models], run.bootstrap_draws)
    write_table(run, "metrics", metrics)
    write_table(run, "comparisons", comparisons)
    name_final_model(run, final, FINAL_MODEL_RULE)
    make_consequences(run, predictions, final)


def make_consequences(run: Run, predictions: pd.DataFrame, final: str) -> None:
    """What else follows from predictions.csv: the tables results.FOLLOWING, each in its file."""
    write_table(run, "subgroups", compute_subgroups(predictions, run.bootstrap_draws))
    write_table(run, "operating_points", compute_operating_points(predictions, final, run.bootstrap_draws))
    write_table(run, "per_1000", compute_per_1000(predictions, final, run.bootstrap_draws))
    write_table(run, "decision_curve", compute_decision_curve(predictions, final, run.bootstrap_draws))
    write_table(run, "published_comparisons", compare_published(predictions, final, run.bootstrap_draws))
    write_table(run, "power", compute_power(predictions, final))


MEASUREMENTS = {  # of the trained series: table -> (how it is made, why the test split is looked at)
    "robustness": (compute_robustness, "robustness: the test split corrupted and resampled, models as they were"),
    "masking": (compute_masking, "masking: the test split with parts painted over, models as they were"),
}


def make_measurement(run: Run, name: str, others: int = 99, say: Callable[[str], None] = say_now) -> pd.DataFrame:
    """Make one of MEASUREMENTS, unless it is there for these very weights; each is one look at the test split.

    Args: others: at most this many seeds of every model but the final one; the table says how many there were.
    """
    record, catalog = read_run_record(run), read_table(run, "catalog")
    check_hashes(run, record, catalog)
    if is_current(run, record, name):
        say(f"{name}.csv is of these weights already")
        return read_table(run, name)
    compute, why = MEASUREMENTS[name]
    fewer = tuple(
        config if config.name == record["final_model"] else replace(config, seeds=run.seeds_of(config)[:others])
        for config in run.models
    )
    table = compute(replace(run, models=fewer), catalog)
    members = [load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config)]
    record_test_look(run, members, why, once=False)
    write_measured(run, name, table, record["weights_hash"])
    return read_table(run, name)


STUDIES = {  # trainings of their own, in build/: table -> (their run, how it is made, why the test split is looked at)
    "learning_curve": (
        curve_run,
        compute_learning_curve,
        "learning curve: small networks, 5 to 100 % of the patients",
    ),
    "pareto": (pareto_run, compute_pareto, "pareto: small networks of several widths, sizes and epochs"),
    "three_class": (three_class_run, compute_three_class, "three outputs (normal, bacterial, viral) beside one"),
}


def make_study(run: Run, name: str, say: Callable[[str], None] = say_now) -> pd.DataFrame:
    """Train and score one of STUDIES, unless it is there for these radiographs; each is one look at the test split."""
    record, catalog = read_run_record(run), read_table(run, "catalog")
    if is_current(run, record, name):
        say(f"{name}.csv is of these radiographs already; delete it to make it again")
        return read_table(run, name)
    build_run, compute, why = STUDIES[name]
    study = build_run(run)
    table = compute(study, catalog, say=say)
    members = [load_record(study, config, seed) for config in study.models for seed in study.seeds_of(config)]
    record_test_look(run, members, why, once=False)
    write_measured(run, name, table, hash_catalog(catalog))
    return read_table(run, name)
