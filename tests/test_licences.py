"""docs/licences.md: every direct dependency, with the licence that it gives itself, and none that binds others."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pneumonia.config import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GROUPS = {"prediction": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
ROW = re.compile(r"^\| ([\w.-]+) \| (.+?) \| (\w+) \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
TABLE = {name: (licence, group) for name, licence, group in ROW.findall(PAGE) if name != "package"}
KINDS = {  # what the names of a licence have in common
    "Apache": r"\bApache\b",
    "BSD": r"\bBSD\b",
    "CMU": r"\bMIT-CMU\b",
    "MIT": r"\bMIT\b(?!-CMU)",
    "MPL": r"\bMPL\b|Mozilla",
    "PSF": r"\bPSF\b|Python Software Foundation",
}
COPYLEFT = re.compile(r"\bA?GPL|GNU (?:Affero )?General Public", re.IGNORECASE)


def find_kinds(text: str) -> set[str]:
    return {kind for kind, pattern in KINDS.items() if re.search(pattern, text)}


def read_stated(name: str) -> str:
    """What an installed distribution says of its licence. Raises: PackageNotFoundError."""
    found = metadata(name)
    classifiers = [text for text in found.get_all("Classifier", []) if text.startswith("License ::")]
    # Some give the whole text, with the licences of all that is in the wheel, but its kind as a classifier.
    return found.get("License-Expression") or "\n".join(classifiers) or (found.get("License") or "")[:100]


def test_table_has_every_direct_dependency_and_no_other():
    expected = {(canonicalize_name(Requirement(text).name), group) for group in GROUPS for text in GROUPS[group]}
    assert {(name, group) for name, (_, group) in TABLE.items()} == expected


@pytest.mark.parametrize("name", TABLE)
def test_licence_is_what_the_package_says(name):
    licence = TABLE[name][0]
    assert find_kinds(licence) and not COPYLEFT.search(licence)
    try:
        stated = read_stated(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert find_kinds(stated) == find_kinds(licence) and not COPYLEFT.search(stated), stated[:300]


def walk_installed(names: list[str], seen: set[str]) -> Iterator[str]:
    """Distributions that these bring with them, they included."""
    for name in map(canonicalize_name, names):
        if name not in seen:
            seen.add(name)
            yield name
            needed = [Requirement(text) for text in requires(name) or ()]
            chosen = [item.name for item in needed if not item.marker or item.marker.evaluate({"extra": ""})]
            yield from walk_installed(chosen, seen)


def test_nothing_that_prediction_installs_is_under_the_gpl():
    found = list(walk_installed([Requirement(text).name for text in GROUPS["prediction"]], set()))
    assert len(found) >= len(GROUPS["prediction"])
    assert [name for name in found if COPYLEFT.search(read_stated(name))] == []


@pytest.mark.parametrize("text", ["GPL-3.0-or-later", "AGPL", "GNU General Public License v3 (GPLv3)"])
def test_copyleft_is_recognised(text):
    assert COPYLEFT.search(text)
