"""The ten tasks of XTREME-R and their fifty languages, as one table.

Languages come from here, never from a directory listing: a folder may lack some, and
the benchmark's own scripts skip a few (`ro` of XQuAD, `wo` of UDPOS) and score none of
LAReQA. Label names and caps are the benchmark's; a served model may order its labels
differently, so labels are matched by name.

Source: Ruder et al. 2021 (arXiv 2104.07412) and google-research/xtreme at 838c13b,
evaluate.py (languages), scripts/train_*.sh (caps), processors/xnli.py (label order).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Task(StrEnum):
    """One of the ten tasks; its value is the name used everywhere."""

    XNLI = "xnli"
    XCOPA = "xcopa"
    UDPOS = "udpos"
    PANX = "panx"
    XQUAD = "xquad"
    MLQA = "mlqa"
    TYDIQA = "tydiqa"
    TATOEBA = "tatoeba"
    MEWSLIX = "mewslix"
    LAREQA = "lareqa"


class Head(StrEnum):
    """What a served head does; the names of the service's API."""

    CLASSIFY = "classify"
    CHOOSE = "choose"
    TAG = "tag"
    SPAN = "span"
    EMBED = "embed"


class Metric(StrEnum):
    """How the benchmark scores a task."""

    ACCURACY = "accuracy"
    ENTITY_F1 = "entity_f1"
    UPOS_F1 = "upos_f1"
    SQUAD = "squad"
    MLQA = "mlqa"
    RETRIEVAL_ACCURACY = "retrieval_accuracy"
    MAP_AT_20 = "map_at_20"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What the benchmark says of one task.

    ``languages``: of the items (queries of a retrieval task). ``candidate_languages``: of what is searched,
    empty unless the task retrieves. ``searches_own_language``: whether a query looks only among those of its
    own language (Tatoeba) or among all (Mewsli-X, LAReQA). ``labels``: the benchmark's names in its order,
    empty where answers are no labels. ``max_tokens``: cap of a sequence, special tokens included (of a query
    where the task retrieves); ``candidate_max_tokens``: of a candidate. ``layer``: of a 24-layer model,
    1-based output.
    """

    task: Task
    title: str
    head: Head
    metric: Metric
    languages: tuple[str, ...]
    max_tokens: int
    candidate_languages: tuple[str, ...] = ()
    searches_own_language: bool = False
    candidate_max_tokens: int | None = None
    labels: tuple[str, ...] = ()
    stride: int | None = None
    max_answer_tokens: int | None = None
    pooling: str | None = None
    layer: int | None = None
    normalize: bool | None = None
    licence: str

    @property
    def retrieves(self) -> bool:
        """Whether answers are found among candidates that are embedded first."""
        return bool(self.candidate_languages)


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LANGUAGES = _codes(
    "af ar az bg bn de el en es et eu fa fi fr gu he hi ht hu id it ja jv ka kk ko lt ml mr ms my nl pa pl "
    "pt qu ro ru sw ta te th tl tr uk ur vi wo yo zh"
)
"""The fifty languages, ISO 639-1, in alphabetical order."""

NLI_LABELS = ("contradiction", "entailment", "neutral")
"""XTREME's order (processors/xnli.py); published checkpoints differ among themselves."""

ENTITY_LABELS = _codes("B-LOC B-ORG B-PER I-LOC I-ORG I-PER O")
UPOS_LABELS = _codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")


def _all_but(excluded: str) -> tuple[str, ...]:
    without = set(_codes(excluded))
    return tuple(code for code in LANGUAGES if code not in without)


_SPECS = (
    TaskSpec(
        task=Task.XNLI,
        title="XNLI",
        head=Head.CLASSIFY,
        metric=Metric.ACCURACY,
        languages=_codes("ar bg de el en es fr hi ru sw th tr ur vi zh"),
        max_tokens=128,
        labels=NLI_LABELS,
        licence="CC BY-NC 4.0",
    ),
    TaskSpec(
        task=Task.XCOPA,
        title="XCOPA",
        head=Head.CHOOSE,
        metric=Metric.ACCURACY,
        languages=_codes("et ht id it qu sw ta th tr vi zh"),
        max_tokens=128,
        licence="CC BY 4.0",
    ),
    TaskSpec(
        task=Task.UDPOS,
        title="UDPOS",
        head=Head.TAG,
        metric=Metric.UPOS_F1,
        languages=_all_but("az bn gu ht jv ka ml ms my pa qu sw"),
        max_tokens=128,
        labels=UPOS_LABELS,
        licence="per treebank (bg el et eu he hu it ta tr uk ur non-commercial, pl GPL 3.0)",
    ),
    TaskSpec(
        task=Task.PANX,
        title="WikiANN-NER",
        head=Head.TAG,
        metric=Metric.ENTITY_F1,
        languages=_all_but("ht wo"),
        max_tokens=128,
        labels=ENTITY_LABELS,
        licence="none stated by its authors; the text is Wikipedia's (CC BY-SA)",
    ),
    TaskSpec(
        task=Task.XQUAD,
        title="XQuAD",
        head=Head.SPAN,
        metric=Metric.SQUAD,
        languages=_codes("ar de el en es hi ro ru th tr vi zh"),
        max_tokens=384,
        stride=128,
        max_answer_tokens=30,
        licence="CC BY-SA 4.0",
    ),
    TaskSpec(
        task=Task.MLQA,
        title="MLQA",
        head=Head.SPAN,
        metric=Metric.MLQA,
        languages=_codes("ar de en es hi vi zh"),
        max_tokens=384,
        stride=128,
        max_answer_tokens=30,
        licence="CC BY-SA 3.0",
    ),
    TaskSpec(
        task=Task.TYDIQA,
        title="TyDiQA-GoldP",
        head=Head.SPAN,
        metric=Metric.SQUAD,
        languages=_codes("ar bn en fi id ko ru sw te"),
        max_tokens=384,
        stride=128,
        max_answer_tokens=30,
        licence="Apache-2.0",
    ),
    TaskSpec(
        task=Task.TATOEBA,
        title="Tatoeba",
        head=Head.EMBED,
        metric=Metric.RETRIEVAL_ACCURACY,
        languages=_all_but("en gu ht ms my pa qu wo yo"),
        candidate_languages=_all_but("en gu ht ms my pa qu wo yo"),
        searches_own_language=True,
        max_tokens=512,
        candidate_max_tokens=512,
        pooling="mean",
        layer=14,
        normalize=True,
        licence="CC BY 2.0 FR",
    ),
    TaskSpec(
        task=Task.MEWSLIX,
        title="Mewsli-X",
        head=Head.EMBED,
        metric=Metric.MAP_AT_20,
        languages=_codes("ar de en es fa ja pl ro ta tr uk"),
        candidate_languages=LANGUAGES,
        max_tokens=64,
        candidate_max_tokens=64,
        pooling="pooler",
        normalize=True,
        licence="not stated for the data set; Wikinews text CC BY 2.5, Wikipedia text CC BY-SA",
    ),
    TaskSpec(
        task=Task.LAREQA,
        title="LAReQA",
        head=Head.EMBED,
        metric=Metric.MAP_AT_20,
        languages=_codes("ar de el en es hi ru th tr vi zh"),
        candidate_languages=_codes("ar de el en es hi ru th tr vi zh"),
        max_tokens=96,
        candidate_max_tokens=256,
        pooling="pooler",
        normalize=True,
        licence="CC BY-SA 4.0",
    ),
)

TASKS: Mapping[Task, TaskSpec] = MappingProxyType({spec.task: spec for spec in _SPECS})
"""Every task's row, in the order of ``Task``."""
