"""The steps of the data flow, in order; the command line and the notebook take the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pooch

from .config import ROOT, PneumoniaError, Run
from .data.catalog import audit_radiographs, select_used
from .data.download import download
from .data.pixels import store_pixels
from .data.simulate import write_simulated_tree
from .evaluation.evaluate import FINAL_MODEL_RULE, choose_final_model, compare_models, compute_metrics
from .evaluation.operating_points import compute_operating_points
from .inference.final_model import FinalModel
from .models.export import export_final
from .models.prediction import predict_all
from .models.training import collect_history, collect_training, say_now, train_all, train_in_turn
from .models.weights import describe_device
from .results import (
    Results,
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
from .series import FROM_SCRATCH, real_run, simulated_run
from .studies.attribution import attribute
from .studies.decision import compute_decision_curve, compute_per_1000
from .studies.heatmap_checks import compute_checks
from .studies.outliers import compute_outliers
from .studies.published import compare_published, compute_power
from .studies.subgroups import compute_subgroups


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
    write_run_record(run, catalog, records, describe_device())
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


def measure_export(results: Results) -> Path:
    """Export the final model, then measure it: outliers.csv, heatmap_checks.csv. Returns the path of final.json."""
    path = export_final(results)
    model = FinalModel(results.run.models_dir)
    for name, compute in (("outliers", compute_outliers), ("heatmap_checks", compute_checks)):
        table = compute(results.run, results.catalog, model)
        write_measured(results.run, name, table, results.record["weights_hash"])
    return path


DEFAULT_DATA = ROOT / "data" / "chest_xray"
HOW_TO_GET = "To get the real ones: make download (1.2 GB), or set CHEST_XRAY_DIR to a folder with train/ and test/."


def find_radiographs() -> Path | None:
    """CHEST_XRAY_DIR if it is set, else data/chest_xray if it is there, else None.

    Raises: PneumoniaError when CHEST_XRAY_DIR names nothing.
    """
    named = os.environ.get("CHEST_XRAY_DIR")
    if named:
        if not Path(named).exists():
            raise PneumoniaError(f"CHEST_XRAY_DIR={named}: no such folder; correct the variable or unset it")
        return Path(named).resolve()
    return DEFAULT_DATA if DEFAULT_DATA.exists() else None


def open_run(name: str = "auto", say: Callable[[str], None] = print) -> Run:
    """Open the real run, or the simulated one when there are no radiographs and none can be fetched.

    Args: name: "auto", "real" (an error without radiographs), "simulated", or "results" (the committed files alone).
    """
    if name not in ("auto", "real", "simulated", "results"):
        raise PneumoniaError(f"unknown run '{name}'; use auto, real, simulated or results")
    if name == "results":
        return real_run(None)
    if name == "simulated":
        return open_simulated()
    data = find_radiographs()
    if data is None:
        pooch.get_logger().setLevel("WARNING")  # its own line would come before the one that says what happened
        try:
            data = download("mendeley", DEFAULT_DATA)
        except PneumoniaError as error:
            if name == "real":
                raise
            say(f"SIMULATED: no radiographs here and none could be fetched ({str(error).split(';')[0]}).")
            say(HOW_TO_GET)
            return open_simulated()
    return real_run(data)


def open_simulated() -> Run:
    """The run in build/simulated; its radiographs are drawn when they are not there yet."""
    run = simulated_run(None)
    return simulated_run(write_simulated_tree(run.home / "chest_xray", n_train=(60, 180), n_test=(36, 60)))
