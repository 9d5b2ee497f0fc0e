"""answers.csv: written as a stream, and resumed after an interruption without a row too many or too few."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..config import CLASS_NAMES, PneumoniaError
from ..records import Lock
from .reader import Reader

# The same in every row of a file; threshold and referral band are at its prevalence, as the probabilities are.
SETTINGS = (
    *("operating_point", "threshold", "refer_from", "refer_to", "prevalence"),
    *("original_size", "model", "model_hash"),
)
FILM = ("bytes", "modified")  # of the file when it was read: whether it has changed since; older tables lack them
# Of `Answer.row`, and where the overlay was written to; empty for a file that could not be read, but for `error`.
COLUMNS = ("path", "probability", "call", "refer", "warnings", "atypicality", "heatmap", "error", *FILM, *SETTINGS)
NUMBERS = ("probability", "atypicality", "threshold", "refer_from", "refer_to", "prevalence")

UNSOUND, FAILED, ANSWERED, WITH_HEATMAP = 0, 1, 2, 3  # how complete a row is
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # a spreadsheet would run a cell that begins so
LONGEST = 8_000  # characters of a cell; a path has 4,096 bytes at most


class Done(NamedTuple):
    """What is known of a row that needs no other answer."""

    flagged: bool
    referred: bool
    film: tuple[str, str]  # FILM


def describe_settings(reader: Reader) -> dict[str, str | float]:
    """What every answer depends on besides its file."""
    low, high = reader.referral
    return {
        "operating_point": reader.operating_point,
        "threshold": reader.rebase(reader.threshold),
        "refer_from": reader.rebase(low),
        "refer_to": reader.rebase(high),
        "prevalence": reader.prevalence,
        "original_size": "x".join(map(str, reader.original_size or ())),  # of square files; empty: not given
        "model": reader.model.name,
        "model_hash": reader.model.hash,
    }


def describe_film(path: Path) -> dict[str, object]:
    """FILM: size and time of a file as they are now; empty where there is none."""
    try:
        found = os.stat(path)
        moment = datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1e6, UTC)
    except (OSError, ValueError, OverflowError):
        return {}
    return dict(zip(FILM, (found.st_size, moment.isoformat(timespec="milliseconds")), strict=True))


def to_cell(value: object) -> str:
    """The text of a cell: no formula, and of a length that every program reads.

    A path that begins like a formula gets ./ before it, and is the path of the same file.
    """
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "; ".join(value)
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return shorten(f"./{value}" if value.startswith(FORMULA) else value, LONGEST)


def shorten(text: str, length: int) -> str:
    """The text, or both its ends with a digest of all of it in between: still another for every text."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{text[: length // 2]} [... {len(text):,} characters, {digest} ...] {text[-length // 4 :]}"


def _encode(rows: Iterable[Iterable[str]]) -> bytes:
    lines = []
    for row in rows:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(row)  # so that cells with either of them are quoted
        lines.append(line.getvalue()[:-2])
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


HEADER = _encode([COLUMNS])


def encode_rows(rows: Iterable[dict], settings: dict) -> bytes:
    """Lines of the file for rows (`Answer.row`, and `heatmap` and FILM where they are known), without the header."""
    return _encode([to_cell((row | settings).get(column)) for column in COLUMNS] for row in rows)


class AnswerTable:
    """An open CSV file. Rows are written whole and in order, in UTF-8; odd bytes of file names are kept.

    One process at a time writes to it. A link stays a link, and the permissions of the file stay.
    """

    def __init__(self, path: Path, settings: dict, resume: bool, heatmaps: bool = False):
        """Start a new file, or with `resume` continue one that the same model and settings started.

        Files that could not be read are tried again, and so are those without a heatmap where `heatmaps` are wanted. An
        old row stays until there is a more complete one. `done` holds the paths, as `to_cell` writes them, that need no
        answer. A table that a spreadsheet has saved is continued, too, and rows that it spoilt are made again.
        Raises: PneumoniaError when there is a file and `resume` is off, when it was made with other settings, when
        another process writes to it, or when it cannot be written.
        """
        self.path, self.target = path, Path(os.path.realpath(path))
        self.settings, self.resumed, self.done, self.lock = settings, False, {}, None
        self.wanted = WITH_HEATMAP if heatmaps else ANSWERED
        try:
            if self.target.is_file() or not self.target.exists():  # /dev/stdout is nobody's
                self.lock = Lock(self.target)
            if not self._is_new():
                if not resume:
                    raise PneumoniaError(f"{path}: exists; add --resume to continue it, or remove it")
                self._continue()
            if not self.resumed:
                self.target.write_bytes(HEADER)
            self.file = self.target.open("ab", buffering=0)
        except OSError as error:
            self._free()
            raise self._unwritable(error) from error
        except BaseException:
            self._free()
            raise

    def _is_new(self) -> bool:
        """Nothing is lost where there is no file, or one with no more than a header of ours."""
        if not self.target.exists() or self.target.stat().st_size == 0:
            return True
        with self.target.open("rb") as file:
            return HEADER.startswith(file.read(len(HEADER) + 1))

    def _continue(self) -> None:
        """Check that the file is one of ours; remove what an interruption left of its last row."""
        with self.target.open("rb") as file:
            head = file.read(len(HEADER))
        self.is_ours = head == HEADER  # else a spreadsheet, or an older version, has written it
        if self.is_ours and (end := find_end(self.target)) < self.target.stat().st_size:
            os.truncate(self.target, end)
        try:
            if any(not self._has_settings(row) for row in self._rows()):
                raise PneumoniaError(f"{self.path}: made with another model or settings; choose another name")
            best = self._find_best()
        except (csv.Error, UnicodeError) as error:
            raise PneumoniaError(f"{self.path}: not a file of answers ({error}); choose another name") from error
        self.resumed = True
        self._keep(best)

    def _rows(self) -> Iterator[dict[str, str]]:
        """Rows as they were written; of rows that are no longer whole, what is left."""
        encoding, dialect = _detect(self.target)
        with self.target.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, delimiter=dialect, restval="")
            columns = set(reader.fieldnames or ())
            if not columns >= set(COLUMNS) - set(FILM):
                raise PneumoniaError(f"{self.path}: not a file of answers; choose another name")
            if more := sorted(columns - set(COLUMNS)):
                names = ", ".join(shorten(name, 100) for name in more)
                raise PneumoniaError(f"{self.path}: has columns that are not ours ({names}); remove them")
            for found in reader:
                row = {column: found.get(column) or "" for column in COLUMNS}
                row["refer"] = row["refer"].lower()
                if dialect != ",":
                    row |= {column: row[column].replace(",", ".") for column in NUMBERS}
                yield row

    def _has_settings(self, row: dict[str, str]) -> bool:
        return all(_is_same(row[key], to_cell(self.settings[key])) for key in SETTINGS)

    def _find_best(self) -> dict[str, tuple[int, int]]:
        """The most complete row of every path, of equals the last: path -> (how complete, row number)."""
        best: dict[str, tuple[int, int]] = {}
        for number, row in enumerate(self._rows()):
            rate = _rate(row)
            best[row["path"]] = max(best.get(row["path"], (0, 0)), (rate, number))
            if rate >= self.wanted:
                film = tuple(row[key] for key in FILM)
                self.done[row["path"]] = Done(row["warnings"] != "", row["refer"] == "true", film)
        return best

    def _keep(self, best: dict[str, tuple[int, int]]) -> None:
        """Leave the best row of every path, in a file of our own format."""
        kept = {number for rate, number in best.values() if rate > UNSOUND}
        if self.is_ours and all(number in kept for number, _ in enumerate(self._rows())):
            return
        partial = self.target.with_name(f".part-{self.target.name}")
        try:
            partial.touch(0o600)
            with partial.open("wb") as file:
                file.write(HEADER)
                for number, row in enumerate(self._rows()):
                    if number in kept:
                        file.write(_encode([row.values()]))
            shutil.copymode(self.target, partial)
            os.replace(partial, self.target)
            self.is_ours = True
        finally:
            partial.unlink(missing_ok=True)

    def write(self, rows: Iterable[dict]) -> None:
        """Append rows, as of `encode_rows`. Raises: PneumoniaError when the disk is full; --resume then continues
        after the last whole row."""
        remaining = memoryview(encode_rows(rows, self.settings))
        try:
            while remaining:  # an unbuffered write may take only a part
                remaining = remaining[self.file.write(remaining) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PneumoniaError:
        remedy = name_remedy(error, then=", then run with --resume")
        return PneumoniaError(f"{self.path}: cannot be written ({error.strerror or error}); {remedy}")

    def close(self) -> None:
        """Leave one row for every path, and no file without rows."""
        self.file.close()
        try:
            if self.resumed:
                self._keep(self._find_best())
            if self.target.is_file() and self.target.stat().st_size == len(HEADER):
                self.target.unlink()
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._free()

    def _free(self) -> None:
        if self.lock:
            self.lock.free()


def name_remedy(error: OSError, then: str = "") -> str:
    """What to do about a place that cannot be written to; `then` is added where a part of the work is done."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"free the disk{then}"
    return "make that folder first" if error.errno == errno.ENOENT else "choose another place"


def find_end(path: Path) -> int:
    """Where the last whole row ends, in bytes: at a line break outside quotes (a file name may contain line breaks)."""
    end = position = quotes = 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                end = position
    return end


def _detect(path: Path) -> tuple[str, str]:
    """Encoding and delimiter, by the first line: spreadsheets have their own."""
    with path.open("rb") as file:
        first = file.readline(10_000)
    encoding = "utf-16" if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return encoding, max(",;\t", key=lambda mark: first.count(mark.encode()))


def _is_same(one: str, other: str) -> bool:
    """Whether two cells say the same; a spreadsheet writes 0.50 or 0.5 as it likes."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _rate(row: dict[str, str]) -> int:
    if row["error"]:
        return FAILED
    try:
        is_sound = 0 <= float(row["probability"]) <= 1 and row["call"] in CLASS_NAMES
    except ValueError:
        return UNSOUND
    if not (is_sound and row["refer"] in ("true", "false")):
        return UNSOUND
    return WITH_HEATMAP if row["heatmap"] else ANSWERED
