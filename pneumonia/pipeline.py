"""The steps of the data flow, in order; the command line and the notebook share them.

radiographs -> catalog.csv -> models/ -> predictions.csv -> metrics.csv and what follows -> studies -> final.onnx
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

import pandas as pd

from .config import PneumoniaError, Run, short_hash
from .data.catalog import audit_radiographs, hash_catalog, select_used
from .data.pixels import store_pixels
from .data.sizes import count_pixels
from .evaluation.evaluate import FINAL_MODEL_RULE, choose_final_model, compare_models, compute_metrics
from .evaluation.scores import Scores
from .records import hash_file, hash_sources, load_record, lock
from .results import (
    Results,
    check_hashes,
    is_current,
    name_final_model,
    read_final_model,
    read_kept_final_model,
    read_run_record,
    read_table,
    record_test_look,
    write_measured,
    write_run_record,
    write_table,
)
from .studies import STUDIES

# Keras is imported by the steps that need it: `report` starts without it.
FOLLOWING = tuple(name for name, question in STUDIES.items() if question.made_by == "report")
METRICS_TABLES = ("calibration", "metrics", "metrics_uncalibrated", "comparisons", *FOLLOWING)
METRICS_CODE = ("pneumonia/evaluation/*.py", "pneumonia/studies/*.py", "pneumonia/results.py", "pneumonia/pipeline.py")
say_now = partial(print, flush=True)  # a log shows every line at once


def lock_results(run: Run) -> AbstractContextManager:
    """Held while results that belong together are written, so that those of another process come before or after."""
    return lock(run.cache / "results.lock", say_now)


def one_at_a_time(step: Callable) -> Callable:
    """A step that holds the lock from its beginning to its end."""

    @wraps(step)
    def locked(run: Run, *arguments, **options):
        with lock_results(run):
            return step(run, *arguments, **options)

    return locked


def make_catalog(run: Run) -> pd.DataFrame:
    """Audit the radiographs into catalog.csv, and keep what was decoded for the networks of the largest input."""
    size = max(config.image_size for config in run.models)
    catalog, images = audit_radiographs(run, size)
    write_table(run, "catalog", catalog)
    catalog = read_table(run, "catalog")  # as every later step sees it
    store_pixels(run, catalog, images, size)
    return catalog


def make_models(run: Run, catalog: pd.DataFrame, retrain: bool = False, **options) -> list[dict]:
    """Train what is missing; leave history.csv and training.csv. Returns the training records.

    Args: options: `say` and `train` of training.train_all.
    """
    from .models.training import collect_history, collect_training, train_all

    records = train_all(run, catalog, retrain, **options)
    write_table(run, "history", collect_history(records))
    write_table(run, "training", collect_training(records))
    return records


@one_at_a_time
def make_predictions(run: Run, catalog: pd.DataFrame, records: list[dict], why: str) -> pd.DataFrame:
    """Score the members that have not been scored, and count it as a look at the test split if it is one.

    Predictions are kept where weights, settings, radiographs and code are those that they were made with; and where a
    member that is scored again differs by no more than one processor does from another.
    """
    from .models.prediction import hash_prediction, keep_equal, predict_all
    from .models.weights import describe_device

    digests = {f"{record['model']}-{record['seed']}": hash_prediction(record) for record in records}
    scored, parts = read_scored(run)
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    current = {member for member in parts if scored["{}-{}".format(*member)] == digests.get("{}-{}".format(*member))}
    stale = [(config, seed) for config, seed in members if (config.name, seed) not in current]
    if stale:
        if (select_used(catalog)["split"] == "test").any():
            record_test_look(run, records, why)  # before anything is scored: none is lost to an interruption
        for member, rows in predict_all(run, catalog, stale).groupby(["model", "seed"]):
            name = "{}-{}".format(*member)
            same_weights = member in parts and scored[name]["weights"] == digests[name]["weights"]
            parts[member] = keep_equal(rows, parts[member]) if same_weights else rows
        predictions = pd.concat([parts[config.name, seed] for config, seed in members], ignore_index=True)
        write_table(run, "predictions", predictions)
    write_run_record(run, catalog, records, digests, describe_device() if stale else None)
    return read_table(run, "predictions")


def read_scored(run: Run) -> tuple[dict, dict[tuple, pd.DataFrame]]:
    """What run.json says of the members that were scored, and their rows of predictions.csv by (model, seed).

    Both are empty where there are none, or where predictions.csv is not the file that run.json was written with.
    """
    try:
        record, predictions = read_run_record(run), read_table(run, "predictions")
    except PneumoniaError:
        return {}, {}
    if record.get("predictions_sha256") != hash_file(run.results_dir / "predictions.csv"):
        return {}, {}
    return record["scored"], dict(list(predictions.groupby(["model", "seed"])))


@one_at_a_time
def make_metrics(run: Run) -> None:
    """All that follows from predictions.csv: calibration, metrics, comparisons, the final model, studies.

    Needs no radiographs. Everything is measured after calibration; metrics_uncalibrated.csv says how it was before.
    Kept where predictions, settings and code are those that it was made with.
    """
    catalog, draws = read_table(run, "catalog"), run.bootstrap_draws
    check_hashes(run, read_run_record(run), catalog)
    predictions = hash_file(run.results_dir / "predictions.csv")
    read = [predictions, hash_catalog(catalog), count_pixels(catalog), [config.name for config in run.models]]
    digest = short_hash([*read, draws, hash_sources(*METRICS_CODE)])
    if kept := read_kept_final_model(run, digest):
        name_final_model(run, kept, FINAL_MODEL_RULE, digest, METRICS_TABLES)
        return
    uncalibrated = Scores.parse(read_table(run, "predictions"), count_pixels(catalog))
    calibration = uncalibrated.fit_calibration()
    scores = uncalibrated.calibrated(calibration)
    metrics = compute_metrics(scores, draws)
    final = choose_final_model(scores, [config.name for config in run.models if config.window])
    comparisons = compare_models(scores, [config.name for config in run.models], draws)
    write_table(run, "calibration", calibration)
    write_table(run, "metrics", metrics)
    write_table(run, "metrics_uncalibrated", compute_metrics(uncalibrated, draws, ("validation", "test")))
    write_table(run, "comparisons", comparisons)
    for name in FOLLOWING:
        write_table(run, name, STUDIES[name].load().compute(scores, final, draws))
    name_final_model(run, final, FINAL_MODEL_RULE, digest, METRICS_TABLES)


def make_study(
    run: Run,
    name: str,
    again: bool = False,
    swap: Path | None = None,
    seeds: int | None = None,
    say: Callable[[str], None] = say_now,
) -> pd.DataFrame:
    """Make the table of one study, unless it is there for these weights and radiographs.

    Args:
        again: also when it is there. Networks that a study trains for itself are kept and not trained again.
        swap: folder for those that measure the encoding swap (attribution.load_encoding_swap); implies `again`.
        seeds: at most this many of every model but the final one; the table says how many there were.
        say: takes a line of progress at a time, of those that train.
    Raises: PneumoniaError when it cannot be made here, or when results and weights do not belong together.
    """
    question, record, catalog = STUDIES[name], read_run_record(run), read_table(run, "catalog")
    study = question.load()
    if study.compute is None:
        raise PneumoniaError(f"results/{name}.csv: is measured from outside; run `{question.command}`")
    if not study.networks:
        check_hashes(run, record, catalog)
    digest = study.depends_on(record | {"catalog_hash": hash_catalog(catalog)})
    if is_current(run, record, name, digest) and not (again or swap):
        say(f"{name}.csv is up to date")
        return read_table(run, name)
    models = study.networks(run) if study.networks else run
    scored = models if seeds is None else limit_seeds(models, read_final_model(run), seeds)
    if study.train:
        study.train(models, catalog, say=say)
    if study.looks_at_test:  # recorded before anything is scored, and each time: none is lost to an interruption
        members = [load_record(models, config, seed) for config in models.models for seed in models.seeds_of(config)]
        if not all(members):
            raise PneumoniaError(f"{models.models_dir}: not all models are trained; run `make run`")
        with lock_results(run):
            record_test_look(run, members, study.looks_at_test, once=False)
    table = study.compute(scored, catalog, **({"swap": swap} if swap else {}))
    with lock_results(run):
        write_measured(run, name, table, digest)
    return read_table(run, name)


def limit_seeds(run: Run, final: str, seeds: int) -> Run:
    """The run with at most so many seeds of every model but the final one."""
    models = [
        config if config.name == final else replace(config, seeds=run.seeds_of(config)[:seeds]) for config in run.models
    ]
    return replace(run, models=tuple(models))


def make_export(results: Results) -> Path:
    """Export the final model to models/, and make the studies of what was exported. Returns the path of final.json."""
    from .models.export import export_final

    path = export_final(results)
    for name, question in STUDIES.items():
        if question.made_by == "export":
            make_study(results.run, name, again=True)
    return path
