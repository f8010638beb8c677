"""Talks to the service outside the timed path: is it ready, what does it serve, embed these.

Plain blocking calls; under Locust the sockets below yield to the hub by themselves.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, Self

import httpx2
from pydantic import BaseModel, ConfigDict, PositiveInt, TypeAdapter, ValidationError

from loadtest.driver.errors import NotReadyError, TargetError
from loadtest.driver.wire import predict_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.driver.wire import Target

_CALL_TIMEOUT_S = 10.0
_EMBED_TIMEOUT_S = 120.0  # a batch of long candidates on a slow device
_ASK_INTERVAL_S = 0.25
_MAX_QUOTE = 200


class _Card(BaseModel):
    """What the load tester reads of a variant; all else that a service says of it is kept as it came."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str
    head: str
    labels: list[str] | None = None
    revision: str | None = None
    digest: str | None = None
    dtype: str | None = None
    num_layers: PositiveInt | None = None
    synthetic: bool = False


_CARDS: Final = TypeAdapter(list[_Card])
_OUTPUTS: Final = TypeAdapter(list[dict[str, Any]])


class Refusal(Exception):  # noqa: N818 - a reply to act on, not a failure
    """The service answered with another status than 200."""

    def __init__(self, status: int, title: str, retry_after_s: float) -> None:
        super().__init__(f"{status} {title}".strip())
        self.status = status
        self.retry_after_s = retry_after_s


class ServiceClient:
    """A connection for control calls; use it in a ``with`` block."""

    def __init__(self, target: Target) -> None:
        self._target = target
        trust = ssl.create_default_context()  # as on the timed path: what one of them accepts the other does
        self._client = httpx2.Client(
            base_url=target.url, timeout=_CALL_TIMEOUT_S, trust_env=False, verify=trust
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_until_ready(self, timeout_s: float, show: Callable[[str, float], None]) -> None:
        """Ask ``/health/ready`` until it says 200; ``show`` is told what it said and the seconds left.

        Raises:
            NotReadyError: it did not within ``timeout_s``.
            TargetError: it shows a certificate that is not trusted here, which waiting does not mend.
        """
        deadline = time.monotonic() + timeout_s
        while (said := self._not_ready()) is not None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise NotReadyError(
                    f"The target {self._target.url} is not ready after {timeout_s:g} s: {said}"
                )
            show(said, left_s)
            time.sleep(min(_ASK_INTERVAL_S, left_s))

    def variants(self) -> list[dict[str, Any]]:
        """Return what the service says of each variant.

        Raises:
            TargetError: it does not answer, or not as this API does.
        """
        try:
            reply = self._client.get("/v1/variants")
            listed: list[dict[str, Any]] = reply.json()["variants"]
            json.dumps(listed, ensure_ascii=False).encode()  # what cannot be written down is no text
            _CARDS.validate_python(listed)
        except httpx2.HTTPError as error:
            raise TargetError(f"{self._target.url}/v1/variants cannot be read: {_reason(error)}.") from error
        except ValidationError as error:
            raise TargetError(
                f"{self._target.url}/v1/variants answered with no list of variants: {_first(error)}. "
                "Is this an xlmr-serve?"
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            quote = reply.text[:_MAX_QUOTE]
            raise TargetError(
                f"{self._target.url}/v1/variants answered {reply.status_code} with no list of variants "
                f"({quote!r}). Is this an xlmr-serve?"
            ) from error
        return listed

    def predict(
        self, variant: str, inputs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return one output an input.

        Raises:
            Refusal: the service answered with another status than 200.
            TargetError: it did not answer, or not as this API does.
        """
        body = {"inputs": [dict(one) for one in inputs], "parameters": dict(parameters)}
        try:
            reply = self._client.post(predict_path(variant), json=body, timeout=_EMBED_TIMEOUT_S)
        except httpx2.HTTPError as error:
            raise TargetError(f"{self._target.url} stopped answering: {_reason(error)}.") from error
        if reply.status_code != httpx2.codes.OK:
            raise Refusal(reply.status_code, _title(reply), _retry_after_s(reply))
        try:
            outputs: list[dict[str, Any]] = _OUTPUTS.validate_python(reply.json()["outputs"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TargetError(f"{variant} answered with no outputs: {reply.text[:_MAX_QUOTE]!r}.") from error
        if len(outputs) != len(inputs):
            raise TargetError(f"{variant} answered {len(outputs)} outputs to {len(inputs)} inputs.")
        return outputs

    def _not_ready(self) -> str | None:
        """Return why the service is not ready, in a few words; None where it is."""
        try:
            reply = self._client.get("/health/ready")
        except httpx2.HTTPError as error:
            if isinstance(_root(error), ssl.SSLCertVerificationError):
                raise TargetError(
                    f"The target {self._target.url} is not trusted: {_reason(error)}."
                ) from error
            return _reason(error)
        return None if reply.status_code == httpx2.codes.OK else f"/health/ready answers {reply.status_code}"


def _reason(error: httpx2.HTTPError) -> str:
    said = str(error).rstrip(".")
    if not isinstance(error, httpx2.ConnectError):
        return f"{type(error).__name__} {said}".strip()
    match _root(error):
        case ssl.SSLCertVerificationError() as refused:
            why = refused.verify_message
            return f"its certificate is not good here ({why}); SSL_CERT_FILE may name certificates to trust"
        case ssl.SSLError():
            return f"no TLS connection comes about ({said})"
        case socket.gaierror():
            return f"no machine of this name is known ({said})"
        case _:
            return "nobody accepts connections there"


def _first(error: ValidationError) -> str:
    """Return what is wrong with a list of variants, and where."""
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {found['msg']}" if place else found["msg"]


def _root(error: BaseException) -> BaseException:
    """Return what an error came of in the end."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _title(reply: httpx2.Response) -> str:
    try:
        problem = reply.json()
    except ValueError:
        return reply.text[:_MAX_QUOTE]
    return str(problem.get("detail") or problem.get("title") or "") if isinstance(problem, dict) else ""


def _retry_after_s(reply: httpx2.Response) -> float:
    try:
        return min(60.0, max(0.0, float(reply.headers.get("Retry-After", "1"))))
    except ValueError:
        return 1.0
