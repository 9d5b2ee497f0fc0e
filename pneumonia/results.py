"""The result files: every read and write of a table in results/ goes through here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial

import pandas as pd

from .config import ModelConfig, PneumoniaError, Run, short_hash
from .data.catalog import hash_catalog
from .data.sizes import count_pixels
from .evaluation.estimate import Estimate
from .evaluation.scores import CALIBRATION_COLUMNS, Scores
from .records import hash_file, installed_versions, load_record, save_atomically, write_json

TEXT_COLUMNS = {"seed": str, "excluded_reason": str, "duplicate_of": str, "weights_hash": str}
TABLES = (
    *("catalog", "history", "training", "predictions", "calibration", "metrics", "metrics_uncalibrated"),
    *("comparisons", "test_looks"),
)
UNKNOWN = "unknown"  # in place of a hash, while a table is being written: it is not current


@dataclass(frozen=True)
class Results:
    """Everything that figures, README, notebook and slides are drawn from."""

    run: Run
    record: dict  # run.json
    catalog: pd.DataFrame
    history: pd.DataFrame
    training: pd.DataFrame
    predictions: pd.DataFrame  # before calibration
    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    test_looks: pd.DataFrame
    measured: dict[str, pd.DataFrame] = field(default_factory=dict)  # of the studies, those that are there and current
    calibration: pd.DataFrame = field(default_factory=partial(pd.DataFrame, columns=CALIBRATION_COLUMNS))
    metrics_uncalibrated: pd.DataFrame = field(default_factory=pd.DataFrame)  # of validation and test, as metrics

    def table(self, name: str) -> pd.DataFrame:
        """One of `measured`, by the name of its file. PneumoniaError when it is missing or of other weights."""
        if name not in self.measured:
            path = self.run.results_dir / f"{name}.csv"
            raise PneumoniaError(
                f"{path}: missing or out of date; run its step (`python -m pneumonia --help` lists them)"
            )
        return self.measured[name]

    def estimate(
        self, model: str, split: str, metric: str, seed: str = "ensemble", calibrated: bool = True
    ) -> Estimate:
        """One metric of metrics.csv with its interval.

        Args:
            seed: "ensemble", the mean probability of all seeds; a number; or "mean", of the metric over seeds. A
                baseline has one seed, which is its own ensemble.
            calibrated: False for metrics_uncalibrated.csv, which has validation and test.
        Raises: PneumoniaError when the table has no such row.
        """
        name, rows = ("metrics", self._metrics) if calibrated else ("metrics_uncalibrated", self._uncalibrated)
        if seed == "ensemble" and (model, split, metric, seed) not in rows:
            seed = "mean"
        key = (model, split, metric, seed)
        if key not in rows:
            path = self.run.results_dir / f"{name}.csv"
            raise PneumoniaError(f"{path}: no {metric} of {model} on {split}, seed {seed}; run `make report`")
        return Estimate.of(metric, *rows[key])

    @cached_property
    def _metrics(self) -> dict[tuple, tuple]:
        return index_metrics(self.metrics)

    @cached_property
    def _uncalibrated(self) -> dict[tuple, tuple]:
        return index_metrics(self.metrics_uncalibrated)

    @cached_property
    def scores(self) -> Scores:
        """The predictions, parsed once, and calibrated as calibration.csv says."""
        return Scores.parse(self.predictions, count_pixels(self.catalog)).calibrated(self.calibration)

    @property
    def final_model(self) -> str:
        return self.record["final_model"]

    @property
    def cnns(self) -> list[ModelConfig]:
        return [config for config in self.run.models if config.is_cnn]

    def title(self, model: str) -> str:
        """The name of a model as people read it."""
        return self.run.model(model).title


def index_metrics(metrics: pd.DataFrame) -> dict[tuple, tuple]:
    """(model, split, metric, seed) -> (value, ci_low, ci_high, n)."""
    columns = ["model", "split", "metric", "seed", "value", "ci_low", "ci_high", "n"]
    rows = metrics.reindex(columns=columns).itertuples(index=False, name=None)
    return {row[:4]: row[4:] for row in rows}


def write_table(run: Run, name: str, frame: pd.DataFrame) -> None:
    """Write results/<name>.csv, atomically and with the same bytes for the same numbers.

    Predictions take a tenth of the room as one row a radiograph with a column for each member, "<model>-<seed>".
    """
    path = run.results_dir / f"{name}.csv"
    if name == "predictions":
        frame = widen(frame)
    save_atomically(path, lambda partial: frame.to_csv(partial, index=False, lineterminator="\n"))


def read_table(run: Run, name: str) -> pd.DataFrame:
    """Read results/<name>.csv; empty text stays empty text, missing numbers are nan.

    Raises: PneumoniaError naming the command that makes the missing or broken file.
    """
    path = run.results_dir / f"{name}.csv"
    try:
        frame = pd.read_csv(path, dtype=TEXT_COLUMNS)
        frame = lengthen(frame) if name == "predictions" else frame
    except (OSError, ValueError) as error:
        raise PneumoniaError(
            f"{path}: missing or unreadable ({type(error).__name__}); run `make run` to make it"
        ) from error
    text = [column for column in ("excluded_reason", "duplicate_of", "mode", "weights_hash") if column in frame]
    return frame.fillna(dict.fromkeys(text, ""))


def widen(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a radiograph and split, one column a member, empty where it was not scored; in order of appearance."""
    facts = ["path", "patient_id", "split", "label"]
    members = predictions["model"] + "-" + predictions["seed"].astype(str)
    table = predictions.assign(member=members).pivot(index=["split", "path"], columns="member", values="y_prob")
    rows = predictions[facts].drop_duplicates(["split", "path"])
    table = table.loc[pd.MultiIndex.from_frame(rows[["split", "path"]]), members.unique()]
    return rows.reset_index(drop=True).join(table.reset_index(drop=True))


def lengthen(table: pd.DataFrame) -> pd.DataFrame:
    """The inverse of `widen`: path, patient_id, split, label, model, seed, y_prob."""
    facts = ["path", "patient_id", "split", "label"]
    long = table.melt(id_vars=facts, var_name="member", value_name="y_prob").dropna(subset="y_prob")
    names = long["member"].str.rsplit("-", n=1)
    long = long.assign(model=names.str[0], seed=names.str[1].astype(int))
    return long[[*facts, "model", "seed", "y_prob"]].reset_index(drop=True)


def write_run_record(run: Run, catalog: pd.DataFrame, records: list[dict], scored: dict, device: str | None) -> None:
    """Write run.json: what was scored, with what settings, on what. The final model is named by `name_final_model`.

    Args:
        records: the training records of all members that were scored.
        scored: "<model>-<seed>" -> hashes of what its predictions depend on.
        device: what scored them; None if none was scored now: device and versions then stay those of run.json.
    """
    before = read_run_record(run) if (run.results_dir / "run.json").exists() else {}
    predictions = run.results_dir / "predictions.csv"
    wall, cpu = (sum(record[f"{kind}_seconds"] for record in records) for kind in ("wall", "cpu"))
    record = {
        "run": run.name,
        "catalog_hash": hash_catalog(catalog),
        "config_hashes": {config.name: config.hash() for config in run.models},
        "weights_hash": hash_members(records),
        "seeds": list(run.seeds),
        "split_seed": run.split_seed,
        "validation_fraction": run.validation_fraction,
        "bootstrap_draws": run.bootstrap_draws,
        "training_wall_seconds": round(wall, 1),
        "training_cpu_seconds": round(cpu, 1),
        "training_device": ", ".join(sorted({record["device"] for record in records})),
        "scoring_device": before["scoring_device"] if device is None else device,
        "versions": before["versions"] if device is None else installed_versions(),
        "scored": scored,
        "predictions_sha256": hash_file(predictions) if predictions.exists() else None,
        # What was measured earlier stays measured; whether it is current is seen when it is read.
        "measured": before.get("measured", {}),
    } | ({"metrics": before["metrics"]} if "metrics" in before else {})
    _write_json(run, record)


def write_measured(run: Run, name: str, frame: pd.DataFrame, digest: str) -> None:
    """Write the table of a study, and into run.json the hash of what it depends on.

    Killed between the two, the table is not current, for these weights or for any that are trained later.
    """
    if read_run_record(run).get("measured", {}).get(name) not in (None, digest):
        _list_measured(run, name, UNKNOWN)
    write_table(run, name, frame)
    _list_measured(run, name, digest)


def _list_measured(run: Run, name: str, digest: str) -> None:
    record = read_run_record(run)
    _write_json(run, record | {"measured": record.get("measured", {}) | {name: digest}})


def is_current(run: Run, record: dict, name: str, digest: str | None) -> bool:
    """Whether the table of a study is there, and of what it depends on now.

    Args: digest: the hash of that; None for a table that follows from predictions.csv and is made with metrics.csv.
    """
    there = (run.results_dir / f"{name}.csv").exists()
    return there and (digest is None or record.get("measured", {}).get(name) == digest)


def name_final_model(run: Run, final_model: str, rule: str, depends_on: str = "", tables: Sequence[str] = ()) -> None:
    """Add to run.json which model is the final one, the rule by which it was chosen, and what was made with it.

    Args: depends_on: the hash of what the `tables` were made from; `read_kept_final_model` asks for it.
    """
    made = {"depends_on": depends_on, "final_model": final_model, "tables": _hash_tables(run, tables)}
    _write_json(run, read_run_record(run) | {"metrics": made, "final_model": final_model, "final_model_rule": rule})


def read_kept_final_model(run: Run, depends_on: str) -> str | None:
    """The final model of the last time, if all tables that were made with it are there and depend on the same."""
    made = read_run_record(run).get("metrics")
    if made is None or made["depends_on"] != depends_on or made["tables"] != _hash_tables(run, made["tables"]):
        return None
    return made["final_model"]


def _hash_tables(run: Run, names: Iterable[str]) -> dict[str, str | None]:
    """Table -> the start of the SHA-256 of its file; None where there is none."""
    paths = {name: run.results_dir / f"{name}.csv" for name in names}
    return {name: hash_file(path)[:12] if path.exists() else None for name, path in paths.items()}


def _write_json(run: Run, record: dict) -> None:
    write_json(run.results_dir / "run.json", record)


def read_final_model(run: Run) -> str:
    """The name of the final model. Raises: PneumoniaError when none has been chosen: `evaluate` was interrupted."""
    record = read_run_record(run)
    if "final_model" not in record:
        raise PneumoniaError(f"{run.results_dir / 'run.json'}: names no final model yet; run `make report`")
    return record["final_model"]


def read_results(run: Run, digests: Mapping[str, str | None]) -> Results:
    """All result files of a run; `studies.load_results` knows the digests.

    Args: digests: table of a study -> the hash of what it depends on, see `is_current`.
    Raises: PneumoniaError when one is missing, or when they were made with another catalog or configuration.
    """
    tables = {name: read_table(run, name) for name in TABLES}
    record = read_run_record(run)
    check_hashes(run, record, tables["catalog"])
    read_final_model(run)
    current = [name for name, digest in digests.items() if is_current(run, record, name, digest)]
    measured = {name: read_table(run, name) for name in current}
    return Results(run=run, record=record, measured=measured, **tables)


def read_run_record(run: Run) -> dict:
    path = run.results_dir / "run.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PneumoniaError(f"{path}: missing or unreadable; run `make run` to make it") from error


def hash_members(records: list[dict]) -> str:
    """Twelve hex digits that change when a weight of any member does."""
    return short_hash([record["weights_hash"] for record in records])


def check_hashes(run: Run, record: dict, catalog: pd.DataFrame) -> None:
    """Refuse results that were made from other radiographs, settings or weights than those at hand."""
    expected = {config.name: config.hash() for config in run.models}
    changed = [name for name, digest in expected.items() if record["config_hashes"].get(name) != digest]
    if changed:
        raise PneumoniaError(
            f"{run.results_dir}: made with another configuration of {', '.join(changed)}; run `make run`"
        )
    members = [load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config)]
    if all(members) and hash_members(members) != record["weights_hash"]:
        raise PneumoniaError(f"{run.results_dir}: {run.models_dir} was trained anew since; run `make run` to score it")
    if record["catalog_hash"] != hash_catalog(catalog):
        raise PneumoniaError(
            f"{run.results_dir}: run.json and catalog.csv are of different radiographs; run `make run`"
        )


def record_test_look(run: Run, records: list[dict], why: str, once: bool = True) -> None:
    """Add a line to test_looks.csv; `once`: unless these very weights have been scored on the test split before.

    Args: records: the training records of all members that were scored.
    """
    looks = read_table(run, "test_looks") if (run.results_dir / "test_looks.csv").exists() else pd.DataFrame()
    digest = hash_members(records)
    if once and not looks.empty and digest in set(looks["weights_hash"]):
        return
    look = {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "models": ", ".join(dict.fromkeys(record["model"] for record in records)),
        "weights_hash": digest,
        "why": why,
    }
    write_table(run, "test_looks", pd.concat([looks, pd.DataFrame([look])], ignore_index=True))
