"""Text into sub-word ids with their places, from any fast ``tokenizer.json``.

Rules: no special token is ever added here, and no truncation or padding ever done: both
belong to whoever builds sequences. The library object is set up once and only read
afterwards, so that many threads may share one tokenizer. Places are code points of the
text as it was given, before any normalisation. Neither torch nor transformers is imported.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import tokenizers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

_BUNDLED = Path(__file__).parent / "bundled" / "tokenizer.json"
_WORD = re.compile(r"\S+")
# Words whose pieces the library remembers. Its own 10,000 are full within minutes of text in many
# languages, and none is ever let go; so many take 40 MB, and save a third of the time to cut a text.
_REMEMBERED_WORDS = 131_072


class TokenizerError(Exception):
    """A tokenizer file cannot be used; ``str(error)`` is one line for a user's eyes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The sub-words of one text, or of one list of words.

    ``ids``: int32 ``[L]``. ``starts``, ``ends``: int32 ``[L]``, code points, end exclusive.
    ``words``: int32 ``[L]``, the index of the word that a piece belongs to.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    words: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end (code points) of each whitespace-separated word of a text."""
    return [match.span() for match in _WORD.finditer(text)]


def bundled_file() -> Path:
    """Return the small tokenizer.json that comes with this package."""
    return _BUNDLED


class Tokenizer:
    """One vocabulary, ready to encode; thread-safe."""

    def __init__(self, library: tokenizers.Tokenizer, *, source: str) -> None:
        library.no_truncation()
        library.no_padding()
        if hasattr(library.model, "_resize_cache"):
            library.model._resize_cache(_REMEMBERED_WORDS)  # noqa: SLF001 - there is no other name for it
        self._library = library
        self.source = source
        self.bos_id = self._special("<s>")
        self.pad_id = self._special("<pad>")
        self.eos_id = self._special("</s>")
        self.unk_id = self._special("<unk>")
        self.vocab_size = 1 + max(library.get_vocab(with_added_tokens=True).values())

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Read a ``tokenizer.json``; truncation and padding that it may carry are switched off.

        Raises:
            TokenizerError: the file cannot be read, is not a tokenizer, or lacks one of the
                tokens ``<s> <pad> </s> <unk>``.
        """
        return cls.from_bytes(_content(path), source=str(path))

    @classmethod
    def from_bytes(cls, content: bytes, *, source: str) -> Self:
        """Make of a file's content what ``from_file`` makes of the file. ``source``: the file, for messages.

        Raises:
            TokenizerError: as there.
        """
        try:
            library = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises bare Exception
            reason = str(error).splitlines()[0]
            raise TokenizerError(f"{source}: not a tokenizer.json that can be used: {reason}.") from error
        return cls(library, source=source)

    @classmethod
    def bundled(cls) -> Self:
        """Read the small tokenizer that comes with this package."""
        return cls.from_file(_BUNDLED)

    def encode(self, texts: Sequence[str]) -> list[Pieces]:
        """Encode texts in one library call, which lets go of the interpreter lock.

        ``words`` counts whitespace-separated words, as ``word_spans`` gives them. A special token
        that is written out in a text becomes that token, as in transformers.

        Raises:
            ValueError: a text holds a lone surrogate, which no tokenizer can take.
        """
        return [_pieces(encoding, text) for text, encoding in zip(texts, self._encode(texts), strict=True)]

    def encode_ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encode texts where only the ids are wanted: int32 ``[L]`` each, the ``ids`` of ``encode``.

        Raises:
            ValueError: a text holds a lone surrogate, which no tokenizer can take.
        """
        cut = self._encode(texts, self._library.encode_batch_fast)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in cut]

    def encode_words(self, words: Sequence[str]) -> Pieces:
        """Encode each word by itself, as if it stood after a space.

        ``words`` is the index of the given word; ``starts`` and ``ends`` count inside it. A
        word that is not empty always yields a piece: ``<unk>`` where nothing of it is left
        (XTREME's scripts do the same, so that each word has a piece to carry its tag).

        Raises:
            ValueError: a word holds a lone surrogate.
        """
        pieces = [
            self._unknown(word) if word and not encoding.ids else _pieces(encoding, word)
            for word, encoding in zip(words, self._encode(words), strict=True)
        ]
        return Pieces(
            ids=_concatenate(piece.ids for piece in pieces),
            starts=_concatenate(piece.starts for piece in pieces),
            ends=_concatenate(piece.ends for piece in pieces),
            words=np.repeat(np.arange(len(pieces), dtype=np.int32), [len(piece) for piece in pieces]),
        )

    def _encode(
        self, texts: Sequence[str], call: Callable[..., list[tokenizers.Encoding]] | None = None
    ) -> list[tokenizers.Encoding]:
        call = call or self._library.encode_batch
        try:
            return call(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeError) as error:
            raise ValueError("A text holds a lone surrogate, which is not a character.") from error

    def _unknown(self, word: str) -> Pieces:
        return Pieces(
            ids=np.array([self.unk_id], dtype=np.int32),
            starts=np.array([0], dtype=np.int32),
            ends=np.array([len(word)], dtype=np.int32),
            words=np.array([0], dtype=np.int32),
        )

    def _special(self, token: str) -> int:
        identity: int | None = self._library.token_to_id(token)
        if identity is None:
            raise TokenizerError(
                f"{self.source}: the token {token} is missing; XLM-R needs <s>, <pad>, </s> and <unk>."
            )
        return identity


class Tokenizers:
    """Tokenizers by what is in their files; files of equal content, which checkpoints often bring, share one.

    Reading XLM-R's takes most of a second, and 250,000 pieces of memory. Every method may be called in any
    thread.
    """

    def __init__(self) -> None:
        self._by_digest: dict[str, Tokenizer] = {}
        self._lock = threading.Lock()

    def read(self, path: Path | str) -> tuple[str, Tokenizer]:
        """Return the digest of a file's content (SHA-256 in hexadecimal), and its tokenizer, read once.

        Raises:
            TokenizerError: as ``Tokenizer.from_file``.
        """
        content = _content(path)
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            if digest not in self._by_digest:
                self._by_digest[digest] = Tokenizer.from_bytes(content, source=str(path))
            return digest, self._by_digest[digest]

    def find(self, digest: str) -> Tokenizer | None:
        """Return what was read of a file of such a content; None where none was, or it is no longer held."""
        with self._lock:
            return self._by_digest.get(digest)

    def keep(self, digests: Collection[str]) -> None:
        """Let go of everything but these."""
        with self._lock:
            self._by_digest = {digest: one for digest, one in self._by_digest.items() if digest in digests}


def _content(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: not a tokenizer.json that can be used: {error.strerror}.") from error


def _pieces(encoding: tokenizers.Encoding, text: str) -> Pieces:
    offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    starts, ends = np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1])
    _cover_composed(ends, starts, text)
    # The library counts its own pre-tokens, and normalisation can split one word into several
    # of them or join two; places in the given text do not have that trouble.
    word_ends = np.array([end for _, end in word_spans(text)], dtype=np.int32)
    # A piece may start at a separator after the last word: normalisation makes a space of the
    # acute accent in "\u00b4\x1f", and the library places what is left of it behind the space.
    words = np.searchsorted(word_ends, starts, side="right").clip(max=max(len(word_ends) - 1, 0))
    return Pieces(
        ids=np.array(encoding.ids, dtype=np.int32),
        starts=starts,
        ends=ends,
        words=words.astype(np.int32),
    )


def _cover_composed(ends: NDArray[np.int32], starts: NDArray[np.int32], text: str) -> None:
    """Lengthen ``ends`` over the code points that normalisation drew into the one before them.

    Where the normaliser composes a letter and its combining marks, the library places the
    result on the letter alone, and a span that ends there would lose the marks.
    """
    if unicodedata.is_normalized("NFKC", text):
        return  # nothing was composed
    covered = np.maximum.accumulate(ends)
    following = np.append(starts[1:], len(text))
    for piece in np.flatnonzero((ends == covered) & (ends < following)):
        end = int(ends[piece])
        while end < following[piece] and not unicodedata.category(text[end]).startswith(("Z", "C")):
            end += 1
        ends[piece] = end


def _concatenate(arrays: Iterable[NDArray[np.int32]]) -> NDArray[np.int32]:
    parts = list(arrays)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
