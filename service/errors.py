"""Everything that can go wrong in the service, as one tree.

::

    ServiceError
    ├── RequestError            the request as a whole is refused
    │   ├── MalformedError          not JSON
    │   ├── UnknownVariantError     no such variant
    │   ├── TooLargeError           body, or number of inputs
    │   ├── ShapeError              types, unknown keys, wrong head kind
    │   └── AllInputsError          every input of it failed alone
    ├── InputError              one input is refused, the others are answered
    │   ├── EmptyTextError
    │   ├── InvalidTextError        lone surrogates
    │   └── TooLongError            past max_tokens with truncate=false
    ├── BusyError               nothing is wrong with the request; it came at a bad time
    │   ├── QueueFullError          retry after ``retry_after_s``
    │   ├── NotReadyError           starting, draining, or the engine is gone
    │   └── DeadlineError           the deadline passed before an answer
    ├── EngineError             the device failed on a batch
    ├── ClientGoneError         the client hung up before its answer was ready
    └── StartupError            the configuration cannot be served; the process ends with one line

Each carries a sentence that says what happened and what to do. HTTP statuses are
given in ``api/problems.py`` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass


class ServiceError(Exception):
    """Root of the tree; ``str(error)`` is fit for a user's eyes."""


class RequestError(ServiceError):
    """The request as a whole is refused."""


class MalformedError(RequestError):
    """The body is not JSON."""


class UnknownVariantError(RequestError):
    """The named variant is not served here."""


class TooLargeError(RequestError):
    """The body, or the number of its inputs, is past the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that is wrong with the shape of a request.

    ``loc``: where, as keys and indices from the body's top. ``type``: a short
    machine-readable word. Neither holds anything that the client wrote.
    """

    loc: tuple[str | int, ...]
    msg: str
    type: str


class ShapeError(RequestError):
    """The request has wrong types, unknown keys, or inputs for another head kind."""

    def __init__(self, message: str, *, flaws: tuple[Flaw, ...] = ()) -> None:
        """Keep what is wrong, place by place."""
        super().__init__(message)
        self.flaws = flaws


class InputError(ServiceError):
    """One input is refused; the others of its request are answered."""


class EmptyTextError(InputError):
    """A text, a list of words, or every sub-word of it is empty."""


class InvalidTextError(InputError):
    """A text cannot be encoded as UTF-8 (lone surrogates)."""


class TooLongError(InputError):
    """An input is past ``max_tokens`` and truncation was not asked for."""


class AllInputsError(RequestError):
    """Every input of a request failed alone, so there is nothing to answer."""

    def __init__(self, message: str, *, failures: tuple[InputError, ...]) -> None:
        """Keep why each input failed, in the order of the inputs."""
        super().__init__(message)
        self.failures = failures


class BusyError(ServiceError):
    """Nothing is wrong with the request; it came at a bad time."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        """Keep how long a client should wait before it tries again, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(BusyError):
    """The queue holds as many tokens as it may."""


class NotReadyError(BusyError):
    """The service is starting or draining, or its engine is gone."""


class DeadlineError(BusyError):
    """The deadline passed before an answer was ready."""


class EngineError(ServiceError):
    """The device failed on a batch."""


class ClientGoneError(ServiceError):
    """The client hung up before its answer was ready; nobody reads this error."""


class StartupError(ServiceError):
    """The configuration cannot be served; the process ends with this one line."""


def loading_failed(error: BaseException) -> StartupError:
    """Say of an error that nobody expected, once it is logged, that the weights could not be loaded."""
    return StartupError(f"Loading failed ({type(error).__name__}); the log says where.")
