"""In which script a text is written, from a closed list.

Rules: the script of most letters among the first few hundred characters; digits, punctuation and marks
of no script are none. The list holds the scripts of XTREME-R's fifty languages; everything else is
"other", and so is a text without a letter. Japanese counts as one script, Han alone as another: kana
anywhere in a text that is mostly Han or kana make it Japanese. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Final, assert_never

from service.tasks.choose import ChooseInput
from service.tasks.span import SpanInput
from service.tasks.tag import TagInput
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.tasks.kinds import Input

OTHER: Final = "other"
_JAPANESE: Final = "japanese"
_HAN: Final = "han"

# First and last code point, and the script of the letters between them; by first code point.
# Source: Unicode's blocks (Blocks.txt), those whose letters the fifty languages are written in.
_RANGES: Final = (
    (0x0041, 0x005A, "latin"),
    (0x0061, 0x007A, "latin"),
    (0x00AA, 0x00AA, "latin"),
    (0x00BA, 0x00BA, "latin"),
    (0x00C0, 0x024F, "latin"),
    (0x0370, 0x03FF, "greek"),
    (0x0400, 0x052F, "cyrillic"),
    (0x0590, 0x05FF, "hebrew"),
    (0x0600, 0x06FF, "arabic"),
    (0x0750, 0x077F, "arabic"),
    (0x08A0, 0x08FF, "arabic"),
    (0x0900, 0x097F, "devanagari"),
    (0x0980, 0x09FF, "bengali"),
    (0x0A00, 0x0A7F, "gurmukhi"),
    (0x0A80, 0x0AFF, "gujarati"),
    (0x0B80, 0x0BFF, "tamil"),
    (0x0C00, 0x0C7F, "telugu"),
    (0x0D00, 0x0D7F, "malayalam"),
    (0x0E00, 0x0E7F, "thai"),
    (0x1000, 0x109F, "burmese"),
    (0x10A0, 0x10FF, "georgian"),
    (0x1100, 0x11FF, "hangul"),
    (0x1C90, 0x1CBF, "georgian"),
    (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"),
    (0x3040, 0x30FF, _JAPANESE),
    (0x3130, 0x318F, "hangul"),
    (0x31F0, 0x31FF, _JAPANESE),
    (0x3400, 0x4DBF, _HAN),
    (0x4E00, 0x9FFF, _HAN),
    (0xAC00, 0xD7A3, "hangul"),
    (0xF900, 0xFAFF, _HAN),
    (0xFB50, 0xFDFF, "arabic"),
    (0xFE70, 0xFEFC, "arabic"),
    (0xFF66, 0xFF9D, _JAPANESE),
    (0x20000, 0x323AF, _HAN),
)
_FIRSTS: Final = tuple(first for first, _, _ in _RANGES)
SCRIPTS: Final = (*sorted({script for _, _, script in _RANGES}), OTHER)
# Enough to know; a whole document would cost more than its answer's other counting.
_LOOKED_AT: Final = 200


def script_of(text: str) -> str:
    """Return one of SCRIPTS."""
    counts = Counter(map(_script_of_letter, filter(str.isalpha, text[:_LOOKED_AT])))
    if not counts:
        return OTHER
    script = counts.most_common(1)[0][0]
    return _JAPANESE if script == _HAN and counts[_JAPANESE] else script


def scripts_of(inputs: Iterable[Input]) -> Counter[str]:
    """Count inputs by the script of what each is mostly about: its text, context or words."""
    return Counter(script_of(_text_of(item)) for item in inputs)


def _text_of(item: Input) -> str:
    match item:
        case TextInput(text=text):
            return text
        case ChooseInput(context=context) | SpanInput(context=context):
            return context
        case TagInput(text=str(text)):
            return text
        case TagInput(tokens=tokens):
            return " ".join((tokens or ())[:_LOOKED_AT])
        case _:
            assert_never(item)


def _script_of_letter(letter: str) -> str:
    code = ord(letter)
    index = bisect_right(_FIRSTS, code) - 1
    if index < 0 or code > _RANGES[index][1]:
        return OTHER
    return _RANGES[index][2]
