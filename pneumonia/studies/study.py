"""What a study is: one question about the models, one file in this folder. `__init__.py` lists them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the command line reads STUDIES where only what `predict` needs is installed
    import matplotlib.figure
    import pandas as pd

    from ..config import Run
    from ..results import Results


class Table(NamedTuple):
    """A table for people, in docs and slides: the first column names the row; a cell in ** is bold."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """A figure: images/<its key>.png."""

    draw: Callable[[Results], matplotlib.figure.Figure]
    alt: str  # what it shows, for those who cannot see it
    needs_radiographs: bool = False  # or weights; then `report` leaves it as it is


def weights_hash(record: dict) -> str:
    """Of a table that depends on the trained series. Args: record: run.json."""
    return record["weights_hash"]


def catalog_hash(record: dict) -> str:
    """Of a table that depends on the radiographs alone. Args: record: run.json."""
    return record["catalog_hash"]


@dataclass(frozen=True)
class Study:
    """What the file of a study defines as STUDY.

    compute makes the table: where it is made by `report` from (scores, final model, bootstrap draws), else from
    (run, catalog), where `run` is that of its own networks if it trains some. describe, draw and tabulate take the
    Results, and are only called when the table of the study is there and up to date.
    """

    compute: Callable[..., pd.DataFrame] | None = None  # None: measured from outside, by bench/
    describe: Callable[[Results], dict] = lambda results: {}  # key -> a sentence or more, or dicts of numbers
    figures: dict[str, Figure] = field(default_factory=dict)  # file name without .png -> figure
    tables: dict[str, Callable[[Results], Table]] = field(default_factory=dict)
    looks_at_test: str = ""  # the reason given in test_looks.csv; "": it does not score the test split
    networks: Callable[[Run], Run] | None = None  # the run of the networks that are trained for it, in build/
    train: Callable[..., object] | None = None  # (that run, catalog, say): trains those that are missing
    depends_on: Callable[[dict], str] = weights_hash  # run.json -> hash of all that the table depends on


class NotMeasured(str):
    """Stands in for the values of a study that was not measured: every key gives this one sentence."""

    def __getitem__(self, key) -> NotMeasured:
        return self

    def __getattr__(self, name: str) -> NotMeasured:
        if name.startswith("_"):
            raise AttributeError(name)
        return self


@dataclass(frozen=True)
class Question:
    """A line of STUDIES: what a reader and the command line need to know before the file is imported."""

    name: str  # of the file in this folder and of the table in results/
    made_by: str  # a step of the command line, or a whole command
    text: str  # ends with a question mark
    option: str = ""  # what the step of its own takes: --seeds or --encoding-swap
    looks_at_test: bool = False  # whether making it scores the test split once more

    def load(self) -> Study:
        return import_module(f"{__package__}.{self.name}").STUDY

    @property
    def has_step(self) -> bool:
        """Whether a step of the command line makes this table and no other."""
        return self.made_by not in ("report", "export") and not self.made_by.startswith("python ")

    @property
    def command(self) -> str:
        """The command that makes the table."""
        return self.made_by if self.made_by.startswith("python ") else f"python -m pneumonia {self.made_by}"

    def digest(self, record: dict) -> str | None:
        """The hash of what its table depends on by run.json; None: it is made from predictions.csv by `report`."""
        return None if self.made_by == "report" else self.load().depends_on(record)

    @property
    def missing(self) -> str:
        """What stands in place of a sentence when the table is not there."""
        return f"Not measured in this run (`{self.command}`)."

    def describe(self, results: Results) -> dict | NotMeasured:
        """key -> sentences or numbers. Where the table is missing or out of date every key says how to make it."""
        if self.name not in results.measured:
            return NotMeasured(self.missing)
        return self.load().describe(results)

    def tabulate(self, results: Results) -> dict[str, Table]:
        """name -> table; of a single cell where it was not measured."""
        tables = self.load().tables
        if self.name not in results.measured:
            return {name: Table([""], [[self.missing]]) for name in tables}
        return {name: tabulate(results) for name, tabulate in tables.items()}
