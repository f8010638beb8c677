"""The body of a request, within a limit, as JSON.

Rules: the limit holds for chunked bodies too, since it is the bytes that are counted and
not the length that was announced. The content type is not looked at: a body is JSON in
UTF-8 or it is refused. Python's parser is used because it lets lone surrogates through;
they fail later, with the one input that holds them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NoReturn

from service.api.headers import header
from service.errors import ClientGoneError, MalformedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive


async def read_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive, *, max_bytes: int) -> bytes:
    """Read the whole body of a request. ``headers``, ``receive``: as ASGI has them.

    Raises:
        TooLargeError: it is longer than ``max_bytes``.
        MalformedError: it is compressed.
        ClientGoneError: the client hung up before the end.
    """
    if header(headers, "content-encoding") not in {None, "identity"}:
        raise MalformedError(
            "The body is compressed, which is not understood; send it plain, without Content-Encoding."
        )
    announced = header(headers, "content-length") or ""
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body, is_whole = bytearray(), False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("The client hung up while it sent the body.")
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        is_whole = not message.get("more_body", False)
    return bytes(body)


def parse_json(body: bytes) -> object:
    """Parse a body.

    Raises:
        MalformedError: it is not JSON as RFC 8259 has it, or is nested too deeply.
    """
    try:
        parsed: object = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError(f"The body is not UTF-8: see byte {error.start}. Send JSON in UTF-8.") from error
    except json.JSONDecodeError as error:
        raise MalformedError(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            'Send {"inputs": [...]}.'
        ) from error
    except RecursionError as error:
        raise MalformedError('The body is nested too deeply. Send {"inputs": [...]}.') from error
    except ValueError as error:
        raise MalformedError("The body holds a number with too many digits. Send smaller numbers.") from error
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"The body holds {name}, which is not JSON. Leave it out, or send null.")


# json.loads makes one for every body, as soon as it is asked for anything.
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"The body is longer than {max_bytes} bytes. Send fewer or shorter inputs at once.")
