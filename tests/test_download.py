"""The download, against an HTTP server on loopback that misbehaves on demand. Nothing here needs the internet."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import stat
import sys
import threading
import types
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from pneumonia.config import PneumoniaError
from pneumonia.data import download as module
from pneumonia.data.download import SOURCES, ResumingDownloader, Source, download, split_folders

TREE = {
    f"{split}/{name}/{name}-{number}.jpeg": bytes(range(256)) * 12
    for split in ("train", "test")
    for name in ("NORMAL", "PNEUMONIA")
    for number in (1, 2)
}


class Server(ThreadingHTTPServer):
    """Serves `body`; `cuts` lists after how many body bytes each coming answer breaks off (None: not at all)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = b""
        self.status = 200
        self.ranges = True
        self.lie = 0  # added to the start of Content-Range
        self.cuts: list[int | None] = []
        self.asked: list[str | None] = []  # the Range header of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ChestXRay2017.zip"

    def source(self, known_hash: str | None = None, filename: str = "ChestXRay2017.zip") -> Source:
        return Source("test", self.url, known_hash, filename, "https://example.org/by-hand")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.asked.append(wanted)
        if server.status != 200:
            return self.send_error(server.status)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(server.body):
            return self.answer(416, b"", f"bytes */{len(server.body)}")
        here = f"bytes {start + server.lie}-{len(server.body) - 1}/{len(server.body)}"
        self.answer(206 if start else 200, server.body[start:], here if start else None)

    def answer(self, status: int, body: bytes, content_range: str | None) -> None:
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "CHUNK", 512)
    server = Server()
    server.body = zipped({f"chest_xray/{name}": content for name, content in TREE.items()})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "data" / "chest_xray"


def zipped(members: dict[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sha256(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(source: Source | str, target: Path, *words: str) -> str:
    """The one line that `download` raises; it holds all `words`."""
    with pytest.raises(PneumoniaError) as caught:
        download(source, target, progressbar=False)
    line = str(caught.value)
    assert "\n" not in line
    assert not [word for word in words if word not in line], line
    return line


@pytest.mark.parametrize("prefix", ["", "chest_xray/", "chest_xray/chest_xray/", "CellData/chest_xray/"])
def test_good_zip_in_every_layout(server, target, prefix):
    members = {prefix + name: content for name, content in TREE.items()}
    junk_names = (f"__MACOSX/{prefix}train/NORMAL/._1.jpeg", f"{prefix}.DS_Store", f"{prefix}test/Thumbs.db")
    junk = dict.fromkeys(junk_names, b"junk")
    oct_images = {f"CellData/OCT/{split}/NORMAL/1.jpeg": b"retina" for split in ("train", "test")}
    server.body = zipped(junk | oct_images | members)
    source = server.source(sha256(server.body))

    assert download(source, target, progressbar=False) == target
    assert files(target) == TREE
    assert [path.name for path in target.parent.iterdir()] == ["chest_xray"]  # no archive, no temporary folder
    assert download(source, target, progressbar=False) == target
    assert len(server.asked) == 1  # the data are there, nothing is fetched again


def test_val_is_kept_and_the_nested_copy_dropped(server, target):
    tree = TREE | {"val/NORMAL/v.jpeg": b"v", "val/PNEUMONIA/v.jpeg": b"v"}
    nested = {f"chest_xray/chest_xray/{name}": b"copy" for name in tree}
    server.body = zipped({f"chest_xray/{name}": content for name, content in tree.items()} | nested)
    download(server.source(), target, progressbar=False)
    assert files(target) == tree


def test_progress_bar_is_shown(server, target, capfd):
    download(server.source(), target)
    shown = capfd.readouterr().err
    assert "B/s" in shown and "unpack: 100%" in shown


def test_truncated_body_is_resumed_within_one_call(server, target):
    server.cuts = [5000, 3000]
    download(server.source(sha256(server.body)), target, progressbar=False)
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
    assert server.asked[0] is None and len(starts) == 2
    assert 5000 - 512 <= starts[0] <= 5000 and starts[0] < starts[1] <= 8000  # at most one chunk comes twice
    assert files(target) == TREE


def test_interrupted_download_is_resumed_by_the_next_call(server, target):
    server.cuts = [5000, 0]
    source = server.source(sha256(server.body))
    refused(source, target, server.url, "interrupted", "bytes are kept", "run again", "CHEST_XRAY_DIR")
    assert not target.exists()
    part = target.parent / ".chest_xray.test" / "ChestXRay2017.zip.part"
    assert part.read_bytes() == server.body[: part.stat().st_size]
    have = part.stat().st_size

    server.asked.clear()
    download(source, target, progressbar=False)
    assert server.asked == [f"bytes={have}-"]
    assert files(target) == TREE
    assert [path.name for path in target.parent.iterdir()] == ["chest_xray"]


def test_server_without_range_starts_over(server, target):
    server.ranges = False
    server.cuts = [5000]
    download(server.source(sha256(server.body)), target, progressbar=False)
    assert server.asked[0] is None and server.asked[1].startswith("bytes=")
    assert files(target) == TREE


@pytest.mark.parametrize("kept", ["complete", "too long", "lie"])
def test_part_that_does_not_fit_the_answer(server, tmp_path, kept):
    part, output = tmp_path / "x.part", tmp_path / "x"
    part.write_bytes({"complete": server.body, "too long": server.body + b"?", "lie": b"?" * 100}[kept])
    server.lie = 7  # 206, but not from the byte that was asked for
    ResumingDownloader(part, progressbar=False)(server.url, str(output))
    assert output.read_bytes() == server.body
    assert len(server.asked) == (1 if kept == "complete" else 2)


def test_wrong_checksum_leaves_nothing_behind(server, target):
    refused(
        server.source("sha256:" + "0" * 64), target, server.url, "hash", "CHEST_XRAY_DIR", "https://example.org/by-hand"
    )
    assert list(target.parent.iterdir()) == []


def special(name: str, kind: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system = 3  # Unix
    member.external_attr = (kind | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "member",
    [
        "../evil.jpeg",
        "chest_xray/train/../../../evil.jpeg",
        "__MACOSX/../../evil.jpeg",
        "/evil.jpeg",
        "C:evil.jpeg",
        "..\\evil.jpeg",
        "\\\\host\\share\\evil.jpeg",
        special("chest_xray/train/link.jpeg", stat.S_IFLNK),
        special("chest_xray/train/pipe.jpeg", stat.S_IFIFO),
    ],
    ids=lambda member: member if isinstance(member, str) else member.filename,
)
def test_hostile_zip_is_refused_before_anything_is_written(server, target, member, tmp_path):
    server.body = zipped({f"chest_xray/{name}": content for name, content in TREE.items()} | {member: b"/etc/passwd"})
    refused(server.source(sha256(server.body)), target, "ChestXRay2017.zip", "unsafe member", "official source")
    assert list(tmp_path.rglob("*")) == [target.parent]


@pytest.mark.parametrize("damage", ["html", "stored member", "deflated member", "no train"])
def test_broken_zip_is_deleted(server, target, damage):
    if damage == "html":
        server.body = b"<html>Please log in</html>"
    elif damage == "stored member":
        server.body = server.body.replace(bytes(range(256)), bytes(reversed(range(256))), 1)  # CRC no longer fits
    elif damage == "deflated member":
        name = "train/NORMAL/1.jpeg"
        body = bytearray(zipped({name: b"x" * 999}, zipfile.ZIP_DEFLATED))
        body[30 + len(name)] = 0xFF  # first byte of the stream: a block type that does not exist
        server.body = bytes(body)
    else:
        server.body = zipped({"OCT2017/train/CNV/1.jpeg": b"x", "OCT2017/test/CNV/1.jpeg": b"x"})
    refused(server.source(), target, "ChestXRay2017.zip deleted", "official source")
    assert list(target.parent.iterdir()) == []


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_full_while_downloading_keeps_what_came(server, target, monkeypatch):
    class FullFile(io.FileIO):
        def write(self, data):
            return super().write(data) if self.tell() < 4096 else full_disk()

    def open_full(path, mode="r", *rest, **named):
        return FullFile(path, mode) if path.suffix == ".part" else real_open(path, mode, *rest, **named)

    real_open = Path.open
    source = server.source(sha256(server.body))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        refused(source, target, "cannot write", str(target), "No space left", "run again")
    assert not target.exists()
    server.asked.clear()
    download(source, target, progressbar=False)
    assert server.asked == ["bytes=4096-"]
    assert files(target) == TREE


def test_disk_full_while_unpacking_keeps_the_archive_and_no_half_tree(server, target, monkeypatch):
    def extract(archive, member, folder):
        return real_extract(archive, member, folder) if "train" in member.filename else full_disk()

    real_extract = zipfile.ZipFile.extract
    source = server.source(sha256(server.body))
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", extract)
        refused(source, target, "cannot write", str(target), "No space left")
    assert list(files(target.parent)) == [".chest_xray.test/ChestXRay2017.zip"]
    download(source, target, progressbar=False)
    assert len(server.asked) == 1  # the archive was not fetched twice
    assert files(target) == TREE


def test_split_folders_in_any_case_and_never_in_junk(tmp_path):
    for split in ("__MACOSX/train", "__MACOSX/test", "a/b/Train", "a/b/TEST", "a/b/other"):
        for name in ("normal", "Pneumonia"):
            (tmp_path / split / name).mkdir(parents=True)
    assert split_folders(tmp_path) == {"train": tmp_path / "a/b/Train", "test": tmp_path / "a/b/TEST"}
    shutil.rmtree(tmp_path / "a" / "b" / "TEST")
    assert split_folders(tmp_path) == {}


@pytest.mark.parametrize("free, left", [(1000, []), (30_000, ["ChestXRay2017.zip"])])
def test_full_disk_is_seen_beforehand(server, target, monkeypatch, free, left):
    """With 1,000 free bytes before the download; with enough for a compressed zip before unpacking it."""
    server.body = zipped({name: content * 10 for name, content in TREE.items()}, zipfile.ZIP_DEFLATED)
    assert 1000 < 2 * len(server.body) < 30_000 < 10 * sum(map(len, TREE.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    refused(server.source(), target, "too full", "GB are needed", str(target.parent))
    assert [Path(name).name for name in files(target.parent)] == left
    assert not target.exists()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_http_error_names_the_url_and_the_remedy(server, target, status):
    server.status = status
    words = (server.url, f"HTTP {status}", "https://example.org/by-hand", "CHEST_XRAY_DIR")
    refused(server.source(), target, *words)
    assert len(server.asked) == 1
    assert list(target.parent.iterdir()) == []


def test_connection_refused_names_the_url_and_the_remedy(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x.zip"
    source = Source("test", url, None, "x.zip", "https://example.org/by-hand")
    refused(source, target, url, "no connection", "https://example.org/by-hand", "CHEST_XRAY_DIR")
    assert list(target.parent.iterdir()) == []


def test_a_certificate_that_is_not_trusted_is_said(server, target, monkeypatch):
    def get(*_, **__):
        raise requests.exceptions.SSLError("Max retries exceeded ([SSL: CERTIFICATE_VERIFY_FAILED] self-signed)")

    monkeypatch.setattr(module.requests, "get", get)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    line = refused(server.source(), target, "certificate is not trusted", "set REQUESTS_CA_BUNDLE to a file that has")
    assert "no connection" not in line


@pytest.mark.parametrize("content", [None, "nonsense", ""], ids=["missing", "nonsense", "empty"])
def test_a_bundle_without_certificates_is_named(server, target, tmp_path, monkeypatch, content):
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    source = replace(server.source(), url=server.url.replace("http:", "https:"))
    line = refused(source, target, f"no certificates in {bundle}", "correct REQUESTS_CA_BUNDLE or unset it")
    assert "room" not in line and "cannot write" not in line


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "free the disk"), (errno.EROFS, "make the folder writable")]
)
def test_a_place_that_cannot_be_written_to_has_its_own_remedy(server, target, monkeypatch, number, remedy):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    refused(server.source(), target, "cannot write", f"({os.strerror(number)}); {remedy} or choose another")


def test_unknown_source_lists_the_known_ones(target):
    refused("zenodo", target, "zenodo", "mendeley", "kaggle", "medmnist")


def test_target_with_other_content_is_left_alone(server, target):
    target.mkdir(parents=True)
    (target / "thesis.txt").write_text("mine")
    refused(server.source(), target, str(target), "another target")
    assert files(target.parent) == {"chest_xray/thesis.txt": b"mine"}
    assert server.asked == []


def test_empty_target_and_leftovers_of_a_killed_run_are_no_obstacle(server, target):
    target.mkdir(parents=True)
    half_made = target.parent / ".chest_xray.test" / "half_made" / "ready" / "train" / "NORMAL"
    half_made.mkdir(parents=True)
    (half_made / "old.jpeg").write_bytes(b"old")
    download(server.source(), target, progressbar=False)
    assert files(target.parent) == {f"chest_xray/{name}": content for name, content in TREE.items()}


def test_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(server.source(), tmp_path / "file" / "chest_xray", "cannot write", "choose another")


def test_medmnist_file_is_placed_as_it_is(server, target):
    server.body = b"PK not for us to open"
    known_hash = "md5:" + hashlib.md5(server.body).hexdigest()
    source = server.source(known_hash, "pneumoniamnist_224.npz")
    assert download(source, target, progressbar=False) == target
    assert files(target.parent) == {"chest_xray/pneumoniamnist_224.npz": server.body}
    download(source, target, progressbar=False)
    assert len(server.asked) == 1


def test_kaggle_copy_is_flattened(target, tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "versions" / "2"
    for prefix in ("chest_xray", "chest_xray/chest_xray", "chest_xray/__MACOSX/chest_xray"):
        for name, content in (TREE | {"val/NORMAL/.DS_Store": b"x", "val/PNEUMONIA/v.jpeg": b"v"}).items():
            path = cache / prefix / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    handles = []
    fake = types.SimpleNamespace(dataset_download=lambda handle: handles.append(handle) or str(cache))
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    assert download("kaggle", target) == target
    assert handles == ["paultimothymooney/chest-xray-pneumonia"]
    assert files(target) == TREE | {"val/PNEUMONIA/v.jpeg": b"v"}
    assert len(files(cache)) == 30  # kagglehub's own copy is not touched

    shutil.rmtree(target)

    def copytree(source, destination, symlinks=False, ignore=None, *_, **__):
        return real_copytree(source, destination, symlinks, ignore, full_disk)

    real_copytree = shutil.copytree
    monkeypatch.setattr(shutil, "copytree", copytree)
    refused("kaggle", target, "cannot write", "No space left")
    assert [path.name for path in target.parent.iterdir()] == []


def test_kaggle_failures_are_one_line(target, tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("403 Client Error.\n\nYou don't have permission")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=fail))
    refused("kaggle", target, "kaggle.com/datasets/paultimothymooney", "403 Client Error", "CHEST_XRAY_DIR")
    fake = types.SimpleNamespace(dataset_download=lambda _: str(tmp_path))
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    refused("kaggle", target, "no train/ and test/")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    refused("kaggle", target, "pip install kagglehub")
    assert list(target.parent.iterdir()) == []


def test_published_sources():
    assert list(SOURCES) == ["mendeley", "kaggle", "medmnist"]
    digits = {"md5": 32, "sha256": 64}
    for source in SOURCES.values():
        assert source.url.startswith("https://") and source.page.startswith("https://")
        if source.known_hash:
            algorithm, _, value = source.known_hash.partition(":")
            assert len(value) == digits[algorithm] and set(value) <= set("0123456789abcdef")
    assert SOURCES["mendeley"].filename == "ChestXRay2017.zip"  # the chest X-rays, not OCT2017.tar.gz
