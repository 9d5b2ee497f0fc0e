"""Folders -> one audited row per radiograph: class, kind, patient, split, and why it is left out if it is."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from ..config import CLASS_NAMES, OFFICIAL_SPLITS, PneumoniaError, Run, short_hash
from ..records import name_remedy, partial_folder
from .decoding import Decoders
from .files import find_cause, find_class, is_clutter, is_image, to_printable, walk
from .radiograph import read_bytes, read_header
from .sizes import read_original_sizes

COLUMNS = [
    "path", "split", "label", "class_name", "kind", "patient_id", "width", "height", "mode", "bytes", "jpeg_quality",
    "sha256", "duplicate_of", "excluded_reason",
]  # fmt: skip
AUDIT_SIZE = 16  # pixels per side, where the pixels are not needed
SPLIT_FOLDERS = {name: name for name in OFFICIAL_SPLITS} | {"validation": "val", "valid": "val"}
NO_SPLIT, NO_LABEL = "none", -1  # of a file that is in no folder of a split, or of a class
PNEUMONIA_NAME = re.compile(r"person(\d+)_(bacteria|virus)", re.IGNORECASE)
UNPACKED_TEST_NAME = re.compile(r"test-\d{5}\.png")  # by `unpack_medmnist`
NORMAL_NAME = re.compile(r"(NORMAL2-)?IM-(\d+)", re.IGNORECASE)


def build_catalog(run: Run) -> pd.DataFrame:
    """The catalog of `audit_radiographs`, without the pixels."""
    return audit_radiographs(run, AUDIT_SIZE)[0]


def audit_radiographs(run: Run, size: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Audit every file below `run.data` and name its split; every file is read and decoded once.

    Returns: a frame with COLUMNS, sorted by path, and path -> uint8 (size, size) of every file that can be read.
    Files that cannot be used are rows with an `excluded_reason`: unreadable and (in train) duplicate ones, images of
    other classes and outside of the folders of splits; duplicates inside the official test split are only marked
    (`duplicate_of`), it stays whole.
    Raises: PneumoniaError when there are no radiographs, a class is missing, or a patient is in two splits.
    """
    root = find_root(run.data, run.cache)
    rows, images = audit_files(root, size)
    if not rows:
        raise PneumoniaError(f"{root}: no radiographs in train/ and test/; see data/README.md for the expected tree")
    catalog = pd.DataFrame(rows).sort_values("path", ignore_index=True)
    mark_duplicates(catalog)
    catalog["split"] = assign_splits(catalog, run.validation_fraction, run.split_seed)
    check_no_patient_overlap(catalog)
    check_classes(root, catalog)
    return catalog[COLUMNS], images


def audit_files(root: Path, size: int) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """A row about each file, and path -> pixels of those that can be read."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing and decoding release the interpreter lock
        audited = list(pool.map(lambda found: audit_file(root, found, size), find_files(root)))
    return [row for row, _ in audited], {row["path"]: image for row, image in audited if image is not None}


def find_root(data: Path | None, cache: Path) -> Path:
    """The folder that holds train/ and test/: `data` itself, one nested chest_xray/ below it, or an unpacked .npz."""
    if data is None:
        raise PneumoniaError("no radiographs available: set CHEST_XRAY_DIR or run `make download`")
    archives = [data] if data.suffix == ".npz" else sorted(data.glob("pneumoniamnist*.npz"), key=_size)
    candidates = [data, data / "chest_xray", data / "chest_xray" / "chest_xray", data / "CellData" / "chest_xray"]
    for folder in candidates:
        if is_data_set(folder):
            return folder
    if archives:
        return unpack_medmnist(archives[-1], cache)  # the largest has the most pixels
    try:
        found = sorted(child.name for child in data.iterdir() if not is_clutter(child.name))
    except OSError as error:
        raise PneumoniaError(f"{data}: cannot be opened ({error.strerror}); see data/README.md") from error
    raise PneumoniaError(
        f"{data}: no train/ and test/ folders (nor a MedMNIST .npz), but {name_some(found)}; see data/README.md"
    )


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds train/ and test/, in any case."""
    return {"train", "test"} <= {child.name.lower() for child in folder.glob("*") if child.is_dir()}


def name_some(names: list[str]) -> str:
    """What was found, in a few words."""
    shown = ", ".join(map(to_printable, names[:5])) or "nothing"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _size(file: Path) -> int:
    return file.stat().st_size


def unpack_medmnist(archive: Path, cache: Path) -> Path:
    """Write a MedMNIST archive as a train/val/test tree of PNG files, once. It names no patients."""
    if why := why_unreadable(archive):
        raise PneumoniaError(f"{archive}: {why}; check its name and permissions")
    state = archive.stat()
    target = cache / f"{archive.stem}-{short_hash([state.st_size, state.st_mtime_ns])}"
    if target.exists():
        return target
    try:
        with partial_folder(target) as partial:
            _write_tree(archive, partial)
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # NumPy's and zipfile's, of a file that is no archive
            raise _not_medmnist(archive, error) from error
        raise PneumoniaError(
            f"{archive}: cannot be unpacked into {cache} ({error.strerror}); {name_remedy(error)} and run again"
        ) from error
    except (KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_medmnist(archive, error) from error
    return target


def _write_tree(archive: Path, folder: Path) -> None:
    with np.load(archive) as arrays:
        for split in OFFICIAL_SPLITS:
            for class_name in CLASS_NAMES:
                (folder / split / class_name).mkdir(parents=True, exist_ok=True)
            pairs = zip(arrays[f"{split}_images"], arrays[f"{split}_labels"].ravel(), strict=True)
            for number, (pixels, label) in enumerate(pairs):
                Image.fromarray(pixels).save(folder / split / CLASS_NAMES[label] / f"{split}-{number:05d}.png")


def _not_medmnist(archive: Path, error: Exception) -> PneumoniaError:
    return PneumoniaError(f"{archive}: not a PneumoniaMNIST archive ({error}); download it again")


class Found(NamedTuple):
    """A file of a data set, by its folders."""

    file: Path
    split: str  # train, val or test; "": none
    class_name: str  # NORMAL or PNEUMONIA; the folder's own name where it is neither
    within: tuple[str, ...] = ()  # below the folder of the class; the last is the name of the file
    reason: str = ""  # why it cannot be used; "": it can


def iterate_files(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (official split, class name, file) for everything that claims to be a radiograph, in sorted order."""
    for found in find_files(root):
        if not found.reason:
            yield found.split, found.class_name, found.file


def find_files(root: Path) -> Iterator[Found]:
    """Everything below a data set but clutter; of what is in no folder of a class, images alone.

    A data set within it, as in the Kaggle archive, is one folder.
    """
    for child in _list(root):
        split = SPLIT_FOLDERS.get(child.name.lower())
        if split and child.is_dir():
            yield from _find_in_split(child, split)
        elif not is_data_set(child):
            files = walk(child) if child.is_dir() else [child]
            yield from (Found(file, "", "", reason="not in train/, val/ or test/") for file in files if is_image(file))
        else:
            yield Found(child, "", "", reason="a data set of its own, with a train/ and a test/")


def _find_in_split(folder: Path, split: str) -> Iterator[Found]:
    for child in _list(folder):
        class_name = find_class(child.name) or ""
        if not child.is_dir():
            if is_image(child):  # also a folder that cannot be listed, or a link to nowhere
                yield Found(child, split, "", reason=why_unreadable(child) or "not in a folder NORMAL or PNEUMONIA")
        elif class_name:
            for file in walk(child):
                within = file.relative_to(child).parts
                other = [name for name in within[:-1] if find_class(name) not in (None, class_name)]
                reason = f"in a folder {to_printable(other[0])} within {class_name}" if other else ""
                yield Found(file, split, class_name, within, reason)
        else:
            reason = f"in the folder {to_printable(child.name)}, neither NORMAL nor PNEUMONIA"
            yield from (Found(file, split, child.name, reason=reason) for file in walk(child) if is_image(file))


def _list(folder: Path) -> list[Path]:
    """What is in a folder, in order; the folder itself where it cannot be listed."""
    try:
        return sorted(child for child in folder.iterdir() if not is_clutter(child.name))
    except OSError:
        return [folder]


def why_unreadable(path: Path) -> str:
    """The reason in a few words; "" where a file can be opened, or a folder listed."""
    try:
        os.scandir(path).close() if path.is_dir() else path.stat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def audit_file(root: Path, found: Found, size: int) -> tuple[dict[str, object], np.ndarray | None]:
    """One row about one file, and its pixels; a file that cannot be used is a row too, without pixels.

    Every pixel is decoded, so that a truncated file is found here and not in training.
    """
    file, path = found.file, found.file.relative_to(root).as_posix()
    patient_id, kind = parse_name(file.stem, found.class_name)
    is_labelled = found.class_name in CLASS_NAMES and found.split != ""
    if is_labelled and kind == "unknown":
        kind = find_cause(path.split("/")[1]) or kind
    row: dict[str, object] = {
        "path": to_printable(path),
        "official": found.split,
        "label": CLASS_NAMES.index(found.class_name) if is_labelled else NO_LABEL,
        "class_name": to_printable(found.class_name),
        "kind": kind if is_labelled else "unknown",
        "patient_id": name_patient(found) if is_labelled else to_printable(path),
        "excluded_reason": found.reason,
    }
    if not found.reason and row["path"] != path:
        row["excluded_reason"] = "its name is not UTF-8, or has a carriage return; rename it"
    if file.is_dir():  # one that cannot be listed, or a data set of its own
        row["excluded_reason"] = why_unreadable(file) or found.reason
    if row["excluded_reason"]:
        return row, None
    try:
        content = read_bytes(file)
        row |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        row |= Decoders().run(read_header, str(file), content, str(file))
        return row, Decoders().decode(content, str(file), size).pixels
    except PneumoniaError as error:
        row["excluded_reason"] = str(error).removeprefix(f"{file}: ").split(";")[0]
        return row, None


def name_patient(found: Found) -> str:
    """The patient in the name of a file; else the folder between the file and that of its class; else the file itself,
    which is another patient than a file of the same name in the other class, or in another split."""
    named = parse_name(found.file.stem, found.class_name)[0]
    own = found.within[0] if len(found.within) > 1 else found.file.stem
    return named or to_printable(f"{found.split}-{found.class_name}-{own}")


def parse_name(stem: str, class_name: str) -> tuple[str | None, str]:
    """(patient_id, kind) from a file name of the archive; (None, ...) when the name identifies no patient.

    The archive counts patients separately per series and kind, so the key is all three: person12_virus and
    person12_bacteria are two children (in the real data they are no more alike than any two; see data/README.md).
    """
    if match := PNEUMONIA_NAME.match(stem):
        return f"person-{int(match[1])}-{match[2].lower()}", match[2].lower()
    if match := NORMAL_NAME.match(stem):
        return f"{(match[1] or '').upper()}IM-{int(match[2])}", "NORMAL"
    return None, "NORMAL" if class_name == "NORMAL" else "unknown"


def mark_duplicates(catalog: pd.DataFrame) -> None:
    """Note the first of every group of byte-identical files; leave the others out, except in the test split."""
    readable = catalog["excluded_reason"] == ""
    in_order = catalog[readable].sort_values("official", key=lambda name: name != "test", kind="stable")
    first = in_order.groupby("sha256")["path"].transform("first").reindex(catalog.index[readable])
    catalog["duplicate_of"] = first.where(first != catalog.loc[readable, "path"], "").reindex(catalog.index).fillna("")
    repeated = (catalog["duplicate_of"] != "") & (catalog["official"] != "test")
    catalog.loc[repeated, "excluded_reason"] = "duplicate of " + catalog.loc[repeated, "duplicate_of"]


def assign_splits(catalog: pd.DataFrame, fraction: float, seed: int) -> pd.Series:
    """Name the split of every row: train_fit, validation or test.

    The official test folder stays as it is. The official val folder (16 radiographs) and `fraction` of the train
    radiographs of each kind become validation, whole patients at a time, drawn with `seed`.

    Args: catalog with columns official, patient_id, kind, excluded_reason.
    Returns: a Series aligned with the catalog.
    """
    split = catalog["official"].map({"train": "train_fit", "val": "validation", "test": "test", "": NO_SPLIT})
    in_val = set(catalog.loc[catalog["official"] == "val", "patient_id"])
    carved = in_val | draw_patients(catalog[catalog["official"] == "train"], fraction, seed)
    return split.mask((catalog["official"] == "train") & catalog["patient_id"].isin(carved), "validation")


def draw_patients(train: pd.DataFrame, fraction: float, seed: int) -> set[str]:
    """Patients holding about `fraction` of the usable radiographs of every kind (stratified, grouped)."""
    usable = train[train["excluded_reason"] == ""]
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for _, of_kind in usable.groupby("kind", sort=True):
        sizes = of_kind.groupby("patient_id", sort=True).size()
        sizes = sizes.iloc[rng.permutation(len(sizes))]
        drawn |= set(sizes.index[sizes.cumsum() <= fraction * len(of_kind)])
    return drawn


def check_no_patient_overlap(catalog: pd.DataFrame) -> None:
    """Raise PneumoniaError when a patient has radiographs in two splits: results would be too good to be true."""
    per_patient = catalog.groupby("patient_id")["split"].nunique()
    if (per_patient > 1).any():
        patient = per_patient.index[per_patient > 1][0]
        paths = ", ".join(catalog.loc[catalog["patient_id"] == patient, "path"].head(3))
        raise PneumoniaError(f"patient {patient} is in two splits ({paths}); move the files into one split folder")


def check_classes(root: Path, catalog: pd.DataFrame) -> None:
    """Raise PneumoniaError when a split has no radiograph of a class: nothing could be learned or measured."""
    used = select_used(catalog)
    for split in ("train_fit", "validation", "test"):
        missing = set(CLASS_NAMES) - set(used.loc[used["split"] == split, "class_name"])
        if missing:
            why = ""
            if len(left_out := catalog[catalog["excluded_reason"] != ""]):
                first = left_out.sort_values("label", key=lambda label: label != NO_LABEL, kind="stable").iloc[0]
                why = f"; {len(left_out)} left out, such as {first['path']} ({first['excluded_reason']})"
            raise PneumoniaError(f"{root}: no readable {' or '.join(sorted(missing))} radiographs for {split}{why}")


def select_used(catalog: pd.DataFrame) -> pd.DataFrame:
    """The rows that models are trained on or scored on."""
    return catalog[catalog["excluded_reason"] == ""].reset_index(drop=True)


def hash_catalog(catalog: pd.DataFrame) -> str:
    """Twelve hex digits that change when a used file, its label or its split changes."""
    used = select_used(catalog)
    return short_hash(used[["path", "sha256", "label", "split"]].values.tolist())


def summarise(catalog: pd.DataFrame) -> pd.DataFrame:
    """Radiographs per split and class, patients, and what was left out: the audit in one small table."""
    used = select_used(catalog)
    table = pd.crosstab(used["split"], used["class_name"]).reindex(["train_fit", "validation", "test"])
    table["patients"] = used.groupby("split")["patient_id"].nunique()
    left_out = catalog[catalog["excluded_reason"] != ""]
    reason = left_out["excluded_reason"].str.split(" of ").str[0].where(lambda r: r == "duplicate", "unreadable")
    reason = reason.mask(left_out["label"] == NO_LABEL, "elsewhere")
    for name in ("duplicate", "unreadable", *(["elsewhere"] if (reason == "elsewhere").any() else [])):
        table[f"left out: {name}"] = left_out[reason == name].groupby("split").size()
    if NO_SPLIT in set(left_out["split"]):
        table.loc[NO_SPLIT, "left out: elsewhere"] = (left_out["split"] == NO_SPLIT).sum()
    return table.fillna(0).astype(int)


def describe_test_split(catalog: pd.DataFrame) -> str:
    """Which version of the official test split this is, told by its file names: one sentence."""
    names = {tuple(path.split("/")[-2:]) for path in catalog.loc[catalog["split"] == "test", "path"]}
    names = {(class_name.upper(), name) for class_name, name in names}
    known = {tuple(path.split("/")[1:]) for path in read_original_sizes() if path.startswith("test/")}
    if known and names == known:
        return f"Test split: this archive's, all {len(known)} radiographs."
    if names and all(UNPACKED_TEST_NAME.fullmatch(name) for _, name in names):
        return "Test split: PneumoniaMNIST's; 66 of its 234 NORMAL radiographs are others than this archive's."
    shared = len(names & known)
    return f"Test split: another; {shared} of its {len(names)} file names are among the {len(known)} of this archive's."


def count_shared_bare_numbers(catalog: pd.DataFrame) -> dict[str, int]:
    """Sensitivity check: bare patient numbers found in both train and test, per class, had the kind been ignored.

    The archive counts patients separately for each series and kind, so an equal bare number is not an equal child.
    """
    numbers = catalog["patient_id"].str.extract(r"^(?:(?:NORMAL2-)?IM|person)-(\d+)(?:-[a-z]+)?$")[0].astype("Float64")
    shared = {}
    for class_name, rows in catalog.assign(number=numbers).dropna(subset="number").groupby("class_name"):
        in_test = set(rows.loc[rows["split"] == "test", "number"])
        shared[str(class_name)] = len(in_test & set(rows.loc[rows["split"] != "test", "number"]))
    return shared
