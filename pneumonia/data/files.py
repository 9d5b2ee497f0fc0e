"""Which files lie below a folder, which of them are images, and of which class: the same for every command."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from .dicom import is_dicom

# Those that are read, then those that are not: reading one of these says so.
SUFFIXES = (
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom"),
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif"),
)
HEAD_BYTES = 1024  # enough to tell an image
SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II\*\0|MM\0\*|II\+\0|MM\0\+|RIFF....WEBP|BM....\0\0\0\0"
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51|\0\0\0\x0cJXL |\xff\x0a|....ftyp(?:avif|avis|heic|heix|hevc|mif1|msf1)",
    re.DOTALL,
)
CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}  # left in folders by desktops
CLASS_WORDS = {  # the words of a folder or a label -> class; case, digits and what separates them do not matter
    "NORMAL": {"normal", "healthy", "no finding", "no findings", "no pneumonia", "non pneumonia", "not pneumonia"},
    "PNEUMONIA": {"pneumonia"}
    | {f"{cause} pneumonia" for cause in ("bacterial", "bacteria", "viral", "virus")}
    | {f"pneumonia {cause}" for cause in ("bacterial", "bacteria", "viral", "virus")},
}


def is_image(path: str | Path) -> bool:
    """Whether a file claims to be an image, by its suffix or by its first bytes, and so has to be read or reported.

    What cannot be opened (a broken link, no permission, a folder that cannot be listed) does: reading it says why.
    """
    if str(path).lower().endswith(SUFFIXES):
        return True
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            return stat.S_ISDIR(mode)
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return True
    return SIGNATURES.match(head) is not None or is_dicom(head)


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left by a desktop (macOS leaves `._x.jpeg`)."""
    return name.startswith(".") or name.lower() in CLUTTER


def walk(folder: str | Path) -> Iterator[Path]:
    """Every file below a folder but clutter, always in the same order, a folder's own before those of its subfolders.

    Links to folders are followed after all others, but for those that lead back up; every folder is listed once, so
    that loops end. Broken links are files, and a folder that cannot be listed is given itself, to be reported.
    """
    start, seen, linked = os.path.realpath(folder), set(), deque([os.fspath(folder)])
    while linked:
        waiting = [linked.popleft()]
        while waiting:
            current = waiting.pop()
            try:
                found = os.stat(current)
                if (identity := (found.st_dev, found.st_ino)) in seen:
                    continue
                seen.add(identity)
                with os.scandir(current) as entries:
                    listed = sorted((entry for entry in entries if not is_clutter(entry.name)), key=lambda e: e.name)
            except OSError:
                yield Path(current)
                continue
            folders = []
            for entry in listed:
                if not _is_folder(entry):
                    yield Path(entry.path)
                elif not entry.is_symlink():
                    folders.append(entry.path)
                elif not _leads_up(start, entry.path):
                    linked.append(entry.path)
            waiting += reversed(folders)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _leads_up(start: str, link: str) -> bool:
    """Whether a link leads to the folder where the walk began, or to one above it."""
    target = os.path.realpath(link)
    return os.path.join(start, "").startswith(os.path.join(target, ""))


def find_class(name: str) -> str | None:
    """NORMAL or PNEUMONIA for the name of a folder or a label, such as `No_findings`; None where it is neither."""
    words = " ".join(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))).lower()
    return next((label for label, known in CLASS_WORDS.items() if words in known), None)


def find_cause(name: str) -> str | None:
    """bacteria or virus, where the name of a class folder says it."""
    found = re.search(r"bacteria|virus|viral", name.lower())
    return found and ("bacteria" if found[0] == "bacteria" else "virus")


def to_printable(text: str) -> str:
    """A file name as text that every file of results can hold: bytes that are not UTF-8, and carriage returns, which
    end a line of a table, are escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace").replace("\r", "\\r")
