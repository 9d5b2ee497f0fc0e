""" """

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from ..config import Run
from ..data.catalog import hash_catalog
from ..models.training import say_now
from ..records import load_record
from ..results import check_hashes, is_current, read_run_record, read_table, record_test_look, write_measured
from .learning_curve import compute_learning_curve, curve_run
from .masking import compute_masking
from .pareto import compute_pareto, pareto_run
from .robustness import compute_robustness
from .three_class import compute_three_class, three_class_run

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
