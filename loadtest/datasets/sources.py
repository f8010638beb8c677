"""Where each data set comes from: public addresses, checksums where known, and under which terms.

Repositories are named at a commit, so that an address always gives the same bytes; the
checksums of such files stand in ``checksums.tsv``. What a person must do by hand, or
agree to first, is said in words.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from loadtest.datasets.layouts import names_of
from loadtest.datasets.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

_RAW = "https://raw.githubusercontent.com"
_XQUAD = f"{_RAW}/google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"
_LAREQA = f"{_RAW}/google-research-datasets/lareqa/9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c"
_XCOPA = f"{_RAW}/cambridgeltl/xcopa/e2e9d7f105a758ee869cd13e0fe251ef93a29840"
_LASER = f"{_RAW}/facebookresearch/LASER/74bc6ae7ffb7cba670fe0f428d0ede9f666fb821"
_UD = "https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234"
_UD_ARCHIVES = MappingProxyType(
    {"2.5": f"{_UD}/1-3105/ud-treebanks-v2.5.tgz", "2.7": f"{_UD}/1-3424/ud-treebanks-v2.7.tgz"}
)
_MEWSLIX_CODE = "https://github.com/google-research/google-research/tree/master/dense_representations_for_entity_retrieval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What a downloaded file must hash to."""

    algorithm: str
    hexdigest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Files of an archive, by a pattern of their names, and the folder that they go to."""

    pattern: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A public file. ``target`` is relative to the data folder; an archive has ``members`` and no target."""

    url: str
    target: str | None = None
    members: tuple[Member, ...] = ()
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where people find a task's data, and what stands between them and it.

    ``consent``: what one must agree to before a download. ``by_hand``: what one must do where
    no download does it all.
    """

    page: str
    consent: str | None = None
    by_hand: str | None = None


ORIGINS: Mapping[Task, Origin] = MappingProxyType(
    {
        Task.XNLI: Origin(
            page="https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip",
            consent="XNLI is CC BY-NC 4.0: for non-commercial use only",
        ),
        Task.XCOPA: Origin(page="https://github.com/cambridgeltl/xcopa"),
        Task.UDPOS: Origin(
            page="https://lindat.mff.cuni.cz/repository/xmlui/handle/11234/1-3105 (lt pl ro uk wo: 1-3424)",
            consent="each treebank has its own licence: bg el et eu he hu it ta tr uk ur are for "
            "non-commercial use only (CC BY-NC-SA), the Polish LFG treebank is GPL 3.0",
        ),
        Task.PANX: Origin(
            page="https://www.amazon.com/clouddrive/share/d3KGCRCIYwhKJF0H3eWA26hjg2ZCRhjpEQtDL70FSBN",
            by_hand="download AmazonPhotos.zip from that page (the address may be gone by now; the authors' "
            "code is at https://github.com/afshinrahimi/mmner), unpack each LANGUAGE.tar.gz in it and save "
            "its file 'test' as panx/LANGUAGE-test",
        ),
        Task.XQUAD: Origin(page="https://github.com/google-deepmind/xquad"),
        Task.MLQA: Origin(page="https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip"),
        Task.TYDIQA: Origin(page="https://storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1-dev.tgz"),
        Task.TATOEBA: Origin(page="https://github.com/facebookresearch/LASER/tree/main/data/tatoeba/v1"),
        Task.MEWSLIX: Origin(
            page="https://storage.googleapis.com/gresearch/mewsli/mewsli-x_20220518_6.zip",
            by_hand="the archive has the candidates, but the mentions lack their articles; run "
            f"get-mewsli-x.sh of {_MEWSLIX_CODE}/mel and save wikinews_mentions-test.jsonl in mewslix/",
        ),
        Task.LAREQA: Origin(page="https://github.com/google-research-datasets/lareqa"),
    }
)


_FILES: Mapping[Task, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        Task.XCOPA: ((f"{_XCOPA}/data/{{l}}/test.{{l}}.jsonl", "xcopa/{l}/test.{l}.jsonl"),),
        Task.XQUAD: ((f"{_XQUAD}/xquad.{{l}}.json", "xquad/xquad.{l}.json"),),
        Task.TATOEBA: (
            (f"{_LASER}/data/tatoeba/v1/tatoeba.{{lll}}-eng.{{lll}}", "tatoeba/tatoeba.{lll}-eng.{lll}"),
            (f"{_LASER}/data/tatoeba/v1/tatoeba.{{lll}}-eng.eng", "tatoeba/tatoeba.{lll}-eng.eng"),
        ),
        Task.LAREQA: ((f"{_LAREQA}/xquad-r/{{l}}.json", "lareqa/xquad-r/{l}.json"),),
    }
)
"""Addresses of single files and where they go; placeholders as in layouts."""

_MEMBERS: Mapping[Task, Member] = MappingProxyType(
    {
        Task.XNLI: Member(pattern="XNLI-1.0/xnli.test.tsv", folder="xnli"),
        Task.UDPOS: Member(pattern="ud-treebanks-v{ud}/UD_*/{l}_*-ud-test.conllu", folder="ud"),
        Task.MLQA: Member(
            pattern="MLQA_V1/test/test-context-{l}-question-{l}.json", folder="mlqa/MLQA_V1/test"
        ),
        Task.TYDIQA: Member(
            pattern="tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
            folder="tydiqa/tydiqa-goldp-v1.1-dev",
        ),
        Task.MEWSLIX: Member(pattern="*candidate_set_entities.jsonl", folder="mewslix"),
    }
)
"""What to take out of the archive that is a task's page."""

_ARCHIVE_CHECKSUMS = MappingProxyType(
    {Task.MEWSLIX: Checksum(algorithm="md5", hexdigest="6d3f137027c7e0146c7aa0b3c21e90f4")}
)


def remotes_of(task: Task, language: str) -> tuple[Remote, ...]:
    """Return what to download for a task in a language; nothing where it must be fetched by hand."""
    names = names_of(task, language)
    if task in _FILES:
        return tuple(_file(url.format(**names), target.format(**names)) for url, target in _FILES[task])
    if task not in _MEMBERS:
        return ()
    template = _MEMBERS[task]
    member = Member(pattern=template.pattern.format(**names), folder=template.folder)
    url = _UD_ARCHIVES[names["ud"]] if task is Task.UDPOS else ORIGINS[task].page
    return (Remote(url=url, members=(member,), checksum=_ARCHIVE_CHECKSUMS.get(task)),)


def address_of(task: Task, language: str) -> str:
    """Return the public address of a task in a language, for people."""
    remotes = remotes_of(task, language)
    return " ".join(remote.url for remote in remotes) or ORIGINS[task].page


def _file(url: str, target: str) -> Remote:
    digest = _checksums().get(url)
    checksum = None if digest is None else Checksum(algorithm="sha256", hexdigest=digest)
    return Remote(url=url, target=target, checksum=checksum)


@cache
def _checksums() -> Mapping[str, str]:
    path = Path(__file__).with_name("checksums.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({row["url"]: row["sha256"] for row in csv.DictReader(file, delimiter="\t")})
