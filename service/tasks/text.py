"""What a text must be before it is cut into pieces, and how its characters hold together.

Rules: a refusal says which field is meant and what to do, and never repeats the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category

from service.errors import EmptyTextError, InvalidTextError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_text(text: str, field: str) -> None:
    """Refuse a text that cannot be encoded, or that says nothing.

    Raises:
        InvalidTextError: it holds a lone surrogate.
        EmptyTextError: it is empty, or white space throughout.
    """
    check_characters(text, field)
    if not text or text.isspace():
        raise EmptyTextError(f"`{field}` is empty or holds only white space; send at least one word.")


def check_characters(text: str, field: str) -> None:
    """Refuse a text that is not made of characters.

    Raises:
        InvalidTextError: it holds a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"`{field}` holds half of a surrogate pair at character {error.start}, which is no character; "
            "send both halves, or leave it out."
        ) from error


def check_ids(ids: NDArray[np.int32], field: str) -> None:
    """Refuse a text of which the tokenizer left nothing.

    Raises:
        EmptyTextError: there is no piece, as for a text of zero-width characters alone.
    """
    if not len(ids):
        raise EmptyTextError(
            f"`{field}` holds only characters that the tokenizer drops, such as zero-width ones; "
            "send at least one word."
        )


def whole_characters(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space at its edges, and with the marks of its last character.

    A piece can end between a letter and its combining mark, or leave a mark out altogether
    when normalisation composed the two; what is shown to a reader must not. Nor does a span
    start with a mark that belongs to the letter before it. An empty span stays empty.
    """
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start == end:
        return start, end
    while start > 0 and _is_mark(text[start]) and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and _is_mark(text[end]):
        end += 1
    return start, end


def _is_mark(character: str) -> bool:
    return category(character).startswith("M")
