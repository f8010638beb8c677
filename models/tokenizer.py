"""Text into sub-word ids with their places, from any fast ``tokenizer.json``.

Rules: no special token is ever added here, and no truncation or padding ever done: both
belong to whoever builds sequences. The library object is set up once and only read
afterwards, so that many threads may share one tokenizer. Places are code points of the
text as it was given, before any normalisation. Neither torch nor transformers is imported.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import tokenizers

from models.tokenizer_ids import FastIds, NotProvenError, OtherFormError
from models.tokenizer_pieces import Pieces, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

_BUNDLED = Path(__file__).parent / "bundled" / "tokenizer.json"
# Words whose pieces the library remembers. Its own 10,000 are full within minutes of text in many
# languages, and none is ever let go; so many take 40 MB, and save a third of the time to cut a text.
_REMEMBERED_WORDS = 131_072
_LONE_SURROGATE = "A text holds a lone surrogate, which is not a character."


class TokenizerError(Exception):
    """A tokenizer file cannot be used; ``str(error)`` is one line for a user's eyes."""


def bundled_file() -> Path:
    """Return the small tokenizer.json that comes with this package."""
    return _BUNDLED


class Tokenizer:
    """One vocabulary, ready to encode; thread-safe."""

    def __init__(
        self, library: tokenizers.Tokenizer, *, source: str, fast_ids: FastIds | None = None
    ) -> None:
        if hasattr(library.model, "_resize_cache"):
            library.model._resize_cache(_REMEMBERED_WORDS)  # noqa: SLF001 - there is no other name for it
        self._library = library
        self._fast_ids = fast_ids
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
            library.encode("\U0010fffd")  # of no vocabulary: a file that has nothing for it is found out here
        except Exception as error:  # the library raises bare Exception
            reason = str(error).splitlines()[0]
            raise TokenizerError(f"{source}: not a tokenizer.json that can be used: {reason}.") from error
        library.no_truncation()
        library.no_padding()
        return cls(library, source=source, fast_ids=_fast_ids(content, library, source))

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
        return [pieces_of(encoding, text) for text, encoding in zip(texts, self._encode(texts), strict=True)]

    def encode_ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encode texts where only the ids are wanted: int32 ``[L]`` each, the ``ids`` of ``encode``.

        Raises:
            ValueError: a text holds a lone surrogate, which no tokenizer can take.
        """
        found = self._found_fast(texts)
        rest = [text for text, ids in zip(texts, found, strict=True) if ids is None]
        cut = iter(self._encode(rest, self._library.encode_batch_fast) if rest else ())
        return [np.array(next(cut).ids, dtype=np.int32) if ids is None else ids for ids in found]

    def encode_words(self, words: Sequence[str]) -> Pieces:
        """Encode each word by itself, as if it stood after a space.

        ``words`` is the index of the given word; ``starts`` and ``ends`` count inside it. A
        word that is not empty always yields a piece: ``<unk>`` where nothing of it is left
        (XTREME's scripts do the same, so that each word has a piece to carry its tag).

        Raises:
            ValueError: a word holds a lone surrogate.
        """
        pieces = [
            self._unknown(word) if word and not encoding.ids else pieces_of(encoding, word)
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
            raise ValueError(_LONE_SURROGATE) from error

    def _found_fast(self, texts: Sequence[str]) -> list[NDArray[np.int32] | None]:
        if self._fast_ids is None:
            return [None] * len(texts)
        try:
            return [self._fast_ids(text) for text in texts]
        except (TypeError, UnicodeError) as error:
            raise ValueError(_LONE_SURROGATE) from error

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


def _fast_ids(content: bytes, library: tokenizers.Tokenizer, source: str) -> FastIds | None:
    try:
        return FastIds.of(content, library)
    except NotProvenError as reason:
        # Another form is nothing to worry about; a difference was never seen in this one.
        level = logging.INFO if isinstance(reason, OtherFormError) else logging.WARNING
        logging.getLogger(__name__).log(level, "%s: ids are not cut the fast way: %s.", source, reason)
        return None


def _content(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: not a tokenizer.json that can be used: {error.strerror}.") from error


def _concatenate(arrays: Iterable[NDArray[np.int32]]) -> NDArray[np.int32]:
    parts = list(arrays)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
