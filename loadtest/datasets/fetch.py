"""Completing a folder of data sets: what is missing, what may be downloaded, and doing so.

A plan is a value: addresses to download, and for each task that cannot be completed that
way the reason in words. Archives serve several languages and are downloaded once.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loadtest.datasets.download import download
from loadtest.datasets.sources import ORIGINS, Member, Remote, remotes_of
from loadtest.datasets.tasks import TASKS, Task
from loadtest.datasets.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import httpx2

    from loadtest.datasets.download import Progress
    from loadtest.datasets.library import Library

_ARCHIVES = ".archives"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """What to download, and what is left to people, as sentences by task."""

    remotes: tuple[Remote, ...]
    needs_consent: Mapping[Task, str]
    by_hand: Mapping[Task, str]


def plan_fetch(
    library: Library,
    tasks: Sequence[Task],
    languages: Sequence[str] | None,
    *,
    accepted: Collection[Task],
) -> FetchPlan:
    """Return how to complete the tasks in a folder.

    ``accepted``: tasks whose licence the user agreed to.

    Raises:
        DataError: a file that is there cannot be read.
    """
    remotes: dict[tuple[str, str | None], Remote] = {}
    needs_consent: dict[Task, str] = {}
    by_hand: dict[Task, str] = {}
    for task in tasks:
        wanted = [code for code in TASKS[task].languages if languages is None or code in languages]
        missing = [code for code in wanted if library.find(task, code) is None]
        candidates_missing = task is Task.MEWSLIX and bool(wanted) and not library.has_entities
        if not missing and not candidates_missing:
            continue
        origin = ORIGINS[task]
        if origin.by_hand and missing:
            by_hand[task] = f"{TASKS[task].title} from {origin.page}: {origin.by_hand}."
        if origin.consent and task not in accepted:
            needs_consent[task] = f"{origin.consent}; give --accept-licence {task} if you agree"
            continue
        for code in wanted if candidates_missing else missing:
            if task is not Task.MEWSLIX or candidates_missing:
                for remote in remotes_of(task, code):
                    _merge(remotes, remote)
    return FetchPlan(remotes=tuple(remotes.values()), needs_consent=needs_consent, by_hand=by_hand)


def fetch(
    client: httpx2.Client, remote: Remote, folder: Path, *, base_url: str | None, progress: Progress
) -> list[Path]:
    """Download one address into its place under ``folder`` and return the files that it gave.

    ``base_url``: a mirror that keeps each file under ``HOST/PATH`` of its address.

    Raises:
        DownloadError: it cannot be fetched.
        DataError: it is an archive and damaged.
    """
    url = remote.url if base_url is None else mirrored(remote.url, base_url)
    archive = remote.target is None
    name = urlsplit(remote.url).path.rsplit("/", maxsplit=1)[-1]
    target = folder / (_ARCHIVES if archive else "") / (name if remote.target is None else remote.target)
    if not (archive and target.is_file()):
        download(client, url, target, checksum=remote.checksum, progress=progress)
    if not archive:
        return [target]
    files = unpack(target, remote.members, folder)
    target.unlink()
    if not any(target.parent.iterdir()):
        shutil.rmtree(target.parent)
    return files


def mirrored(url: str, base_url: str) -> str:
    """Return where a mirror keeps a public address."""
    parts = urlsplit(url)
    return f"{base_url.rstrip('/')}/{parts.netloc}{parts.path}"


def _merge(remotes: dict[tuple[str, str | None], Remote], remote: Remote) -> None:
    """Add an address, or to an archive that is asked for already the further members."""
    key = (remote.url, remote.target)
    before = remotes.get(key)
    members: tuple[Member, ...] = tuple(dict.fromkeys((*(before.members if before else ()), *remote.members)))
    remotes[key] = Remote(url=remote.url, target=remote.target, members=members, checksum=remote.checksum)
