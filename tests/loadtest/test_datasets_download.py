"""Downloads against a server that cuts, changes and refuses."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING

import httpx2
import pytest

from loadtest.datasets.download import MAX_FRUITLESS_ATTEMPTS, DownloadError, download
from loadtest.datasets.sources import Checksum
from tests.loadtest.file_server import FileServer, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = random.Random(7).randbytes(300_000)  # noqa: S311 - any bytes will do


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as state:
        yield state


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=5) as client:
        yield client


class Recorder:
    """Remembers the progress it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int | None]] = []

    def __call__(self, num_bytes: int, total_bytes: int | None) -> None:
        self.told.append((num_bytes, total_bytes))


def _sha256(content: bytes = CONTENT) -> Checksum:
    return Checksum(algorithm="sha256", hexdigest=hashlib.sha256(content).hexdigest())


def _fetch(
    client: httpx2.Client, server: FileServer, target: Path, checksum: Checksum | None = None
) -> Recorder:
    recorder = Recorder()
    download(client, f"{server.url}/f", target, checksum=checksum, progress=recorder)
    return recorder


def test_a_file_comes_whole_with_its_progress(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    server.files["/f"] = Served(content=CONTENT)
    target = tmp_path / "deep" / "f"
    recorder = _fetch(client, server, target, _sha256())
    assert target.read_bytes() == CONTENT
    assert recorder.told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["f"]


def test_a_cut_connection_is_taken_up_where_it_was_cut(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    server.files["/f"] = Served(content=CONTENT, cuts=[100_000, 50_000])
    _fetch(client, server, tmp_path / "f", _sha256())
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.requests["/f"] == [None, "bytes=100000-", "bytes=150000-"]


def test_what_came_is_kept_for_the_next_call(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    served = Served(content=CONTENT, cuts=[70_000] + [0] * MAX_FRUITLESS_ATTEMPTS)
    server.files["/f"] = served
    target = tmp_path / "f"
    with pytest.raises(DownloadError, match=r"3 times in a row.*70000 bytes are kept"):
        _fetch(client, server, target, _sha256())
    assert not target.exists()
    assert not served.cuts
    _fetch(client, server, target, _sha256())
    assert target.read_bytes() == CONTENT
    assert server.requests["/f"][-1] == "bytes=70000-"


def test_a_file_that_changed_in_between_begins_anew(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    server.files["/f"] = Served(content=CONTENT, cuts=[70_000] + [0] * MAX_FRUITLESS_ATTEMPTS)
    with pytest.raises(DownloadError):
        _fetch(client, server, tmp_path / "f")
    changed = CONTENT[::-1]
    server.files["/f"] = Served(content=changed, etag='"v2"')
    _fetch(client, server, tmp_path / "f", _sha256(changed))
    assert (tmp_path / "f").read_bytes() == changed


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_server_without_versions_begins_anew(
    tmp_path: Path, server: FileServer, client: httpx2.Client, etag: str | None
) -> None:
    server.files["/f"] = Served(content=CONTENT, etag=etag, cuts=[70_000])
    _fetch(client, server, tmp_path / "f", _sha256())
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.requests["/f"] == [None, None]


def test_a_server_without_ranges_begins_anew(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    server.files["/f"] = Served(content=CONTENT, cuts=[70_000], ranges=False)
    _fetch(client, server, tmp_path / "f", _sha256())
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.requests["/f"] == [None, "bytes=70000-"]


def test_a_part_of_another_address_is_not_joined(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    (tmp_path / "f.part.json").write_text(json.dumps({"url": "http://elsewhere/f", "version": '"v1"'}))
    server.files["/f"] = Served(content=CONTENT)
    _fetch(client, server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_only_renamed(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    (tmp_path / "f.part.json").write_text(json.dumps({"url": f"{server.url}/f", "version": '"v1"'}))
    server.files["/f"] = Served(content=CONTENT)
    _fetch(client, server, tmp_path / "f", _sha256())
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert server.requests["/f"] == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_begins_anew(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT + b"more")
    (tmp_path / "f.part.json").write_text(json.dumps({"url": f"{server.url}/f", "version": '"v1"'}))
    server.files["/f"] = Served(content=CONTENT)
    _fetch(client, server, tmp_path / "f", _sha256())
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_behind(
    tmp_path: Path, server: FileServer, client: httpx2.Client
) -> None:
    server.files["/f"] = Served(content=b"something else")
    with pytest.raises(DownloadError, match=r"sha256 is .*, expected"):
        _fetch(client, server, tmp_path / "f", _sha256())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (404, "no longer there"),
        (403, "wants a person to sign in"),
        (429, "again later"),
        (503, "again later"),
        (418, "in a browser"),
    ],
)
def test_a_refusal_says_what_to_do(
    tmp_path: Path, server: FileServer, client: httpx2.Client, status: int, advice: str
) -> None:
    server.files["/f"] = Served(content=b"", status=status)
    with pytest.raises(DownloadError, match=f"HTTP {status}: .*{advice}"):
        _fetch(client, server, tmp_path / "f")
    assert not (tmp_path / "f").exists()
    assert len(server.requests["/f"]) == 1


def test_a_server_that_is_not_there_is_named(tmp_path: Path, client: httpx2.Client) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(DownloadError, match="connection was lost"):
        download(client, f"{url}/f", tmp_path / "f", checksum=None, progress=Recorder())
