"""Completing a folder: what is planned, what archives give, and what is left to people."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest

from loadtest.datasets.examples import DataError
from loadtest.datasets.fetch import fetch, mirrored, plan_fetch
from loadtest.datasets.inventory import State, take_stock
from loadtest.datasets.layouts import locate
from loadtest.datasets.library import Library
from loadtest.datasets.sources import ORIGINS, Checksum, Member, Remote, address_of, remotes_of
from loadtest.datasets.tasks import TASKS, Task
from loadtest.datasets.unpack import unpack
from tests.loadtest.file_server import Served, serving
from tests.loadtest.tiny_data import conllu, write, write_tiny_data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _ignore(num_bytes: int, total_bytes: int | None) -> None:
    del num_bytes, total_bytes


def test_every_cell_has_an_address_and_what_is_fetched_lands_where_readers_look(tmp_path: Path) -> None:
    for task, spec in TASKS.items():
        for language in spec.languages:
            assert address_of(task, language).startswith("https://")
            for remote in remotes_of(task, language):
                if remote.target:
                    write(tmp_path / remote.target, "x\n")
                for member in remote.members:
                    name = member.pattern.rsplit("/", maxsplit=1)[-1].lstrip("*").replace("*", "x")
                    write(tmp_path / member.folder / name, "x\n")
            if task not in (Task.PANX, Task.MEWSLIX):
                assert locate(tmp_path, task, language), f"{task} {language}"
    assert Library(tmp_path).has_entities


def test_what_needs_a_person_says_so() -> None:
    assert {task.value for task, origin in ORIGINS.items() if origin.consent} == {"xnli", "udpos"}
    assert {task.value for task, origin in ORIGINS.items() if origin.by_hand} == {"panx", "mewslix"}


def test_checksums_are_known_for_files_named_at_a_commit() -> None:
    (remote,) = remotes_of(Task.XQUAD, "en")
    assert remote.checksum == Checksum(
        algorithm="sha256", hexdigest="e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29"
    )
    (mewslix,) = remotes_of(Task.MEWSLIX, "en")
    assert mewslix.checksum == Checksum(algorithm="md5", hexdigest="6d3f137027c7e0146c7aa0b3c21e90f4")


def test_a_plan_leaves_out_what_is_there_and_asks_before_licences(tmp_path: Path) -> None:
    library = Library(write_tiny_data(tmp_path))
    plan = plan_fetch(library, tuple(Task), ("en", "ro", "yo"), accepted=())
    assert [remote.target for remote in plan.remotes] == [
        "tatoeba/tatoeba.ron-eng.ron",
        "tatoeba/tatoeba.ron-eng.eng",
    ]
    assert set(plan.needs_consent) == {Task.UDPOS}
    assert "--accept-licence udpos" in plan.needs_consent[Task.UDPOS]
    assert set(plan.by_hand) == {Task.PANX, Task.MEWSLIX}


def test_an_archive_is_planned_once_for_all_its_languages(tmp_path: Path) -> None:
    plan = plan_fetch(Library(tmp_path), (Task.UDPOS, Task.MLQA), ("de", "en", "wo"), accepted=(Task.UDPOS,))
    assert {urlsplit(remote.url).path.rsplit("/")[-1]: len(remote.members) for remote in plan.remotes} == {
        "ud-treebanks-v2.5.tgz": 2,
        "ud-treebanks-v2.7.tgz": 1,
        "MLQA_V1.zip": 2,
    }


def test_a_mirror_keeps_host_and_path() -> None:
    assert (
        mirrored("https://host.org/a/b.zip", "http://127.0.0.1:9/m/")
        == "http://127.0.0.1:9/m/host.org/a/b.zip"
    )


def test_an_archive_is_fetched_over_cuts_and_gives_its_members(tmp_path: Path) -> None:
    bank = conllu("Rain/NOUN fell/VERB").encode()
    content = _tar(
        {
            "ud-treebanks-v2.5/UD_English-A/en_a-ud-test.conllu": bank,
            "ud-treebanks-v2.5/UD_English-A/en_a-ud-train.conllu": b"no",
            "ud-treebanks-v2.5/UD_German-B/de_b-ud-test.conllu": bank,
        }
    )
    plan = plan_fetch(Library(tmp_path), (Task.UDPOS,), ("en",), accepted=(Task.UDPOS,))
    (remote,) = plan.remotes
    with serving() as server, httpx2.Client() as client:
        path = urlsplit(mirrored(remote.url, server.url)).path
        server.files[path] = Served(content=content, cuts=[len(content) // 3])
        files = fetch(client, remote, tmp_path, base_url=server.url, progress=_ignore)
        assert len(server.requests[path]) == 2
    assert files == [tmp_path / "ud/en_a-ud-test.conllu"]
    assert Library(tmp_path).languages(Task.UDPOS) == ("en",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ud"]


@pytest.mark.parametrize("pack", [_zip, _tar])
def test_names_inside_an_archive_lead_nowhere_else(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    archive = tmp_path / "a.bin"
    archive.write_bytes(pack({"../../evil.txt": b"x", "/abs/evil.txt": b"y"}))
    files = unpack(archive, [Member(pattern="*evil.txt", folder="in")], tmp_path / "out")
    assert {file.parent for file in files} == {tmp_path / "out" / "in"}


def test_a_damaged_archive_and_one_without_the_file_are_named(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    member = Member(pattern="wanted.txt", folder="in")
    archive.write_bytes(_zip({"other.txt": b"x"}))
    with pytest.raises(DataError, match=r"a\.zip: holds no wanted\.txt"):
        unpack(archive, [member], tmp_path)
    archive.write_bytes(_tar({"wanted.txt": bytes(200_000)})[:200])
    with pytest.raises(DataError, match=r"a\.zip: is a damaged archive"):
        unpack(archive, [member], tmp_path)
    assert not list((tmp_path / "in").glob("*"))


def test_stock_says_what_is_there_missing_and_damaged(tmp_path: Path) -> None:
    write_tiny_data(tmp_path)
    write(tmp_path / "xquad/xquad.ru.json", '{"data": [')
    stocks = {stock.language: stock for stock in take_stock(Library(tmp_path), [Task.XQUAD])}
    assert set(stocks) == set(TASKS[Task.XQUAD].languages)
    assert (stocks["en"].state, stocks["en"].num_items, stocks["en"].gold) == (State.THERE, 1, True)
    assert stocks["en"].detail == "xquad/xquad.en.json"
    assert stocks["ru"].state is State.DAMAGED
    assert stocks["ru"].detail.startswith(f"{tmp_path / 'xquad/xquad.ru.json'}:1: the JSON ends too early")
    assert stocks["th"].state is State.MISSING
    assert stocks["th"].detail.endswith("/xquad.th.json")


def test_a_remote_is_a_file_or_an_archive() -> None:
    for task, spec in TASKS.items():
        for remote in (r for language in spec.languages for r in remotes_of(task, language)):
            assert isinstance(remote, Remote)
            assert (remote.target is None) == bool(remote.members)
