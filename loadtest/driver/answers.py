"""A reply as it came -> what a sample keeps of it. Read after the run, never during it. Pure.

An answer that does not have the shape of its head is an error, like a failed request: the
service said something else than what was asked.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.datasets.tasks import Head
from loadtest.trace.samples import BAD_ANSWER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_TOKENS = 2**31 - 1  # what a sample's column holds
STAGES = ("tokenize", "queue", "infer", "decode", "total")
_TEI_STAGES = {
    "x-tokenization-time": "tokenize",
    "x-queue-time": "queue",
    "x-inference-time": "infer",
    "x-total-time": "total",
}
_KEYS = {
    Head.CLASSIFY: ("label", str),
    Head.CHOOSE: ("choice", int),
    Head.TAG: ("tags", list),
    Head.SPAN: ("answers", list),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``error`` is None where ``text`` (JSON) or ``vector`` (float32 ``[H]``) can be used."""

    error: str | None = None
    revision: str | None = None
    tokens: int | None = None
    text: str | None = None
    vector: NDArray[np.float32] | None = None


def read_answer(body: bytes, head: Head) -> Answer:
    """Return the one output of a native reply with status 200."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return Answer(error=f"{BAD_ANSWER}not json")
    outputs = reply.get("outputs") if isinstance(reply, dict) else None
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        return Answer(error=f"{BAD_ANSWER}not one output")
    output: dict[str, Any] = outputs[0]
    revision = reply.get("revision")
    known = revision if isinstance(revision, str) and _is_text(revision) else None
    if "error" in output:
        return Answer(error=f"input refused: {_title(output['error'])}", revision=known)
    usage = output.pop("usage", None)
    counted = whole(usage.get("tokens")) if isinstance(usage, dict) else None
    if head is Head.EMBED:
        vector = read_vector(output.get("embedding"))
        error = None if vector is not None else f"{BAD_ANSWER}no embedding"
        return Answer(error=error, revision=known, tokens=counted, vector=vector)
    key, kind = _KEYS[head]
    if not isinstance(output.get(key), kind):
        return Answer(error=f"{BAD_ANSWER}no {key}", revision=known, tokens=counted)
    text = json.dumps(output, ensure_ascii=False, separators=(",", ":"))
    if not _is_text(text):  # half a surrogate pair has no UTF-8; JSON can carry it as an escape
        text = json.dumps(output, separators=(",", ":"))
    return Answer(revision=known, tokens=counted, text=text)


def whole(value: Any) -> int | None:
    """Return a number of tokens as samples can hold it; None from what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        return None
    return int(value)


def read_vector(value: Any) -> NDArray[np.float32] | None:
    """Return an embedding, ``[H]``, from numbers or base64 of little-endian float32; None from neither."""
    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        elif isinstance(value, list):
            with np.errstate(over="ignore"):  # past float32 is infinite, and found below
                vector = np.asarray(value, dtype=np.float32)
        else:
            return None
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return None
    usable = vector.ndim == 1 and vector.size > 0 and bool(np.isfinite(vector).all())
    return vector.astype(np.float32) if usable else None


def read_timing(text: str) -> Mapping[str, float]:
    """Return milliseconds by stage, and ``tokens`` where TEI's headers tell; nothing where nothing is told.

    ``text`` is a Server-Timing header, or TEI's headers as ``name=value`` joined by ``;``.
    """
    if text.startswith("x-"):
        return _tei_timing(text)
    timing: dict[str, float] = {}
    for entry in text.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if name in STAGES and key.strip() == "dur":
                timing.update(_number(name, value))
    return timing


def _tei_timing(text: str) -> dict[str, float]:
    """Read milliseconds and tokens from headers of Text Embeddings Inference (router/src/http/server.rs)."""
    timing: dict[str, float] = {}
    for pair in text.split(";"):
        name, _, value = pair.partition("=")
        if name in _TEI_STAGES:
            timing.update(_number(_TEI_STAGES[name], value))
        elif name == "x-compute-tokens":
            timing.update(_number("tokens", value))
    return timing


def _number(name: str, value: str) -> dict[str, float]:
    try:
        number = float(value.strip().strip('"'))
    except ValueError:
        return {}
    return {name: number} if np.isfinite(number) and number >= 0 else {}


def _title(error: Any) -> str:
    title = str(error.get("title", "no title"))[:80] if isinstance(error, dict) else "no title"
    return title.encode("utf-8", "replace").decode()


def _is_text(text: str) -> bool:
    """Whether a string can be written down; JSON can also name halves of surrogate pairs, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
