"""What two answer texts must share to count as equal. Pure text rules, one per official QA evaluation.

SQuAD v1.1 (XQuAD and TyDiQA-GoldP in XTREME-R): lower case, drop ASCII punctuation, drop English articles,
squeeze white space. It knows no other language: Chinese and Thai answers stay one long token.
MLQA: drop punctuation of every script and the articles of the answer's language, cut Chinese into characters.
Rules are kept with their oddities, because published scores have them:
MLQA's Arabic rule removes the letters of the article wherever they stand, also inside a word.
Sources: SQuAD evaluate-v1.1.py; facebookresearch/MLQA mlqa_evaluation_v1.py.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from loadtest.datasets.tasks import Metric

Tokenise = Callable[[str], list[str]]
"""An answer text to its normalised tokens."""

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

_MLQA_ARTICLES: Mapping[str, re.Pattern[str] | None] = MappingProxyType(
    {
        "ar": re.compile("ال"),
        "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
        "en": _ENGLISH_ARTICLES,
        "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
        "hi": None,
        "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
        "zh": None,
    }
)
MLQA_LANGUAGES = tuple(sorted(_MLQA_ARTICLES))

# The range that MLQA's evaluation treats as Chinese characters.
_CHINESE_CHARACTER = re.compile("([\u4e00-\u9fa5])")


def squad_tokens(text: str) -> list[str]:
    """Return the tokens of ``text`` under the rules of SQuAD v1.1."""
    bare = text.lower().translate(_ASCII_PUNCTUATION)
    return _ENGLISH_ARTICLES.sub(" ", bare).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    """Return the tokens of ``text`` under MLQA's rules for ``language``.

    Raises:
        KeyError: MLQA has no such language.
    """
    articles = _MLQA_ARTICLES[language]
    bare = "".join(character for character in text.lower() if not _is_punctuation(character))
    if articles is not None:
        bare = articles.sub(" ", bare)
    if language == "zh":
        bare = _CHINESE_CHARACTER.sub(r" \1 ", bare)
    return bare.split()


def tokens_for(metric: Metric, language: str) -> Tokenise:
    """Return the normaliser of a QA metric in ``language``."""
    if metric is Metric.MLQA:
        return lambda text: mlqa_tokens(text, language)
    return squad_tokens


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")
