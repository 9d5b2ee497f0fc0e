"""Download the radiographs from one of three public sources into one folder, complete and checked or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import pooch
import requests
from tqdm.auto import tqdm

from .. import __version__
from ..config import CLASS_NAMES, ROOT, PneumoniaError
from ..records import name_remedy

JUNK = shutil.ignore_patterns("__MACOSX", ".DS_Store", "Thumbs.db", "._*")  # left in archives by macOS and Windows
CHUNK = 1 << 16  # bytes; an interruption loses no more than these
PAUSE = 1.0  # seconds before an interrupted download is resumed
# identity: in a compressed answer the byte positions are not those of the file, and no resume would fit
HEADERS = {"User-Agent": f"Mozilla/5.0 (compatible; pneumonia/{__version__})", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Source:
    """One source of the radiographs. No `filename` means a Kaggle data set: `url` ends in its handle."""

    name: str
    url: str
    known_hash: str | None  # "algorithm:hex digits", or None where none is published
    filename: str  # ends in .zip (unpacked) or .npz (kept as it is)
    page: str  # where a person finds the file


# Only version 2 has the chest X-rays in a zip of their own. Three public repositories agree on its SHA-256, for example
# samlowe106/ConvolutedComputerVision (chest-x-ray-images-pneumonia/download_data.py); Mendeley's own was not seen.
MENDELEY = Source(
    "mendeley",
    "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
    "sha256:13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36",
    "ChestXRay2017.zip",
    "https://data.mendeley.com/datasets/rscbjbr9sj/2",
)
# kagglehub checks the MD5 that Kaggle sends, resumes by itself and keeps a copy in its own cache.
PAGE = "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia"
KAGGLE = Source("kaggle", PAGE, None, "", PAGE)
# url_224 and MD5_224 of INFO["pneumoniamnist"] in medmnist/info.py, version 3.0.2 (github.com/MedMNIST/MedMNIST).
MEDMNIST = Source(
    "medmnist",
    "https://zenodo.org/records/10519652/files/pneumoniamnist_224.npz?download=1",
    "md5:d6a3c71de1b945ea11211b03746c1fe1",
    "pneumoniamnist_224.npz",
    "https://zenodo.org/records/10519652",
)
SOURCES = {source.name: source for source in (MENDELEY, KAGGLE, MEDMNIST)}


def download(source: str | Source, target: Path | str = ROOT / "data" / "chest_xray", progressbar: bool = True) -> Path:
    """Fetch `source` ("mendeley", "kaggle", "medmnist" or a `Source`); returns the absolute path of `target`, complete.

    `target` then holds train/ and test/ (val/ where the source has it), or pneumoniamnist_224.npz. It appears in one
    step at the very end; until then everything is in a hidden folder beside it, where an interrupted download resumes.
    A `target` that already holds the data is returned unchanged.

    Raises PneumoniaError: unknown source, target in use, no connection, HTTP error, wrong checksum, bad zip, disk full.
    """
    source = SOURCES.get(source, source)
    if not isinstance(source, Source):
        raise PneumoniaError(f"unknown source '{source}'; the sources are: {', '.join(SOURCES)}")
    target = Path(target).resolve()
    is_npz = source.filename.endswith(".npz")
    if (target / source.filename).is_file() if is_npz else split_folders(target):
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PneumoniaError(f"{target} holds something else already; empty it or choose another target folder")
    with workspace(target, source.name) as work:
        ready = prepare(source, work, progressbar)
        if target.exists():
            target.rmdir()  # empty, see above; Windows cannot rename onto it
        os.replace(ready, target)
        shutil.rmtree(work, ignore_errors=True)
    return target


@contextmanager
def workspace(target: Path, name: str) -> Iterator[Path]:
    """A hidden folder beside `target` (same disk, so the last step is a rename); only an unfinished download stays."""
    work = target.with_name(f".{target.name}.{name}")
    half_made = work / "half_made"
    try:
        shutil.rmtree(half_made, ignore_errors=True)  # what a killed run left
        (half_made / "ready").mkdir(parents=True)
        yield work
    except OSError as error:
        why = error.strerror or str(error)[-90:]  # copytree collects thousands of reasons, all alike; take the last
        remedy = f"{name_remedy(error)} or choose another, then run again"
        raise PneumoniaError(f"cannot write {target} ({why}); {remedy}") from error
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
        with suppress(OSError):  # keeps the folder if a download waits in it
            work.rmdir()


def require_space(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed:
        space = f"{free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed"
        raise PneumoniaError(f"{folder.parent} is too full ({space}); free some space or choose another target folder")


def prepare(source: Source, work: Path, progressbar: bool) -> Path:
    """Everything but the last rename. Returns: a folder in `work` with what `target` is to hold."""
    ready, unpacked = work / "half_made" / "ready", work / "half_made" / "unpacked"
    if not source.filename:
        for split, folder in fetch_kaggle(source).items():
            shutil.copytree(folder, ready / split, ignore=JUNK)
    elif source.filename.endswith(".npz"):
        os.replace(fetch(source, work, progressbar), ready / source.filename)
    else:
        for split, folder in unpack(fetch(source, work, progressbar), unpacked, progressbar).items():
            os.replace(folder, ready / split)
    return ready


def fetch(source: Source, work: Path, progressbar: bool) -> Path:
    """The file of `source` in `work`, compared with its checksum; pooch deletes a file that does not match."""
    downloader = ResumingDownloader(work / f"{source.filename}.part", progressbar)
    try:
        return Path(pooch.retrieve(source.url, source.known_hash, source.filename, work, downloader=downloader))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk
        kept = f", {downloader.size():,} bytes are kept" if downloader.size() else ""
        raise failure(source, error, kept) from error


def fetch_kaggle(source: Source) -> dict[str, Path]:
    """The split folders in the cache of kagglehub."""
    try:
        import kagglehub  # only this source needs it

        if folders := split_folders(Path(kagglehub.dataset_download(source.url.partition("/datasets/")[2]))):
            return folders
        raise ValueError("no train/ and test/ in it")
    except ImportError as error:
        raise PneumoniaError(f"the source '{source.name}' needs kagglehub: pip install kagglehub") from error
    except Exception as error:  # kagglehub raises a dozen kinds, of no common family
        raise failure(source, error) from error


def failure(source: Source, error: Exception, kept: str = "") -> PneumoniaError:
    """What went wrong in a few words (requests and kagglehub write paragraphs), and a remedy that always works."""
    reason = " ".join(str(error).split()).split(". ")[0] or type(error).__name__
    if getattr(error, "response", None) is not None:
        reason = f"HTTP {error.response.status_code}"
    elif isinstance(error, requests.RequestException):
        reason = "interrupted" if kept else "no connection"
    by_hand = f"download {source.filename or 'it'} by hand from {source.page}, unpack it if it is a .zip,"
    first = "run again"
    if problem := find_certificate_problem(error):
        reason, first = problem
    remedy = f"{first}, or {by_hand} and set CHEST_XRAY_DIR to its folder"
    return PneumoniaError(f"cannot download {source.url} ({reason}{kept}); {remedy}")


def find_certificate_problem(error: Exception) -> tuple[str, str] | None:
    """(reason, remedy) where certificates are why there is no connection; None where they are not."""
    variable = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)), None)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        named = variable or "REQUESTS_CA_BUNDLE"
        return "the server's certificate is not trusted", f"set {named} to a file that has your network's certificate"
    is_bundle = isinstance(error, requests.exceptions.SSLError) or "CA certificate bundle" in str(error)
    if variable and is_bundle:
        return f"no certificates in {os.environ[variable]}", f"correct {variable} or unset it"
    return ("TLS failed", "run again") if isinstance(error, requests.exceptions.SSLError) else None


@dataclass(frozen=True)
class ResumingDownloader:
    """A pooch downloader that keeps what it has in `part` and asks for the rest (HTTP Range, RFC 9110 section 14).

    It retries after an interruption as long as every attempt adds bytes; then `part` is kept for the next run.
    """

    part: Path
    progressbar: bool = True

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        while True:
            before = self.size()
            try:
                self.receive(url)
                break
            except requests.RequestException:
                if self.size() <= before:
                    raise
                time.sleep(PAUSE)
        os.replace(self.part, output_file)

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def receive(self, url: str) -> None:
        """One request. A body that ends early raises requests.RequestException; what came is in `part`."""
        have = self.size()
        headers = HEADERS | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
            status, sent = response.status_code, response.headers.get("Content-Range", "")
            if have and status == 416 and sent == f"bytes */{have}":
                return  # killed after the last byte: nothing is missing
            if have and (status == 416 or (status == 206 and not sent.startswith(f"bytes {have}-"))):
                self.part.unlink()  # of another file than the one there now
                return self.receive(url)
            response.raise_for_status()
            self.append(response, have if status == 206 else 0)  # 200: no Range here, start over

    def append(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        require_space(self.part.parent, 2 * total - start if total else 0)  # the file, and as much unpacked (JPEGs)
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=not self.progressbar)
        with bar, self.part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def unpack(archive: Path, folder: Path, progressbar: bool) -> dict[str, Path]:
    """Unpack a zip below `folder` and return its split folders. All members are checked before any is written."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                refuse_unsafe(member)
            wanted = [m for m in zipped.infolist() if not m.is_dir() and not JUNK("", m.filename.split("/"))]
            require_space(archive.parent, sum(member.file_size for member in wanted))
            for member in tqdm(wanted, desc="unpack", unit="file", disable=not progressbar):
                zipped.extract(member, folder)
        if folders := split_folders(folder):
            return folders
        raise ValueError("no train/ and test/ with NORMAL and PNEUMONIA in it")
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        archive.unlink()  # it would be as bad next time
        raise PneumoniaError(f"{archive.name} deleted: {error}; get it from its official source") from error


def refuse_unsafe(member: zipfile.ZipInfo) -> None:
    """ValueError for whatever could write outside the folder: absolute paths, drives, `..`, links, devices."""
    path = PureWindowsPath(member.filename)  # splits at / and at \, so this holds on every system
    kind = stat.S_IFMT(member.external_attr >> 16)  # Unix file type; 0 in archives made elsewhere
    if path.drive or path.root or ".." in path.parts or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"unsafe member '{member.filename}'")


def split_folders(folder: Path) -> dict[str, Path]:
    """{"train": path, "test": path, maybe "val": path} of the shallowest data set in `folder`; {} if there is none."""
    trains = [path for path in folder.rglob("*") if path.name.lower() == "train" and path.is_dir()]
    for train in sorted(trains, key=lambda path: len(path.parts)):
        splits = {path.name.lower(): path for path in train.parent.iterdir() if path.is_dir()}
        classes = {path.name.upper() for path in train.iterdir()}  # the OCT images have a train folder as well
        if "test" in splits and classes.issuperset(CLASS_NAMES) and not JUNK("", train.relative_to(folder).parts):
            return {split: splits[split] for split in ("train", "val", "test") if split in splits}
    return {}
