"""From inputs to answers, whatever protocol they came in: encode, submit, decode.

Rules: texts are cut and answers are read off the event loop, short ones on it; how many requests
are in here at once is bounded, since each holds its texts in memory; a deadline holds for
every step that can wait. What a question was asked of stays the same until it is answered, weights and
tokenizer, whatever is served meanwhile. No HTTP here.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain, count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from service.api.question import Reading, Reply
from service.backend.pending import too_late
from service.backend.phase import WHY_NOT_READY
from service.domain import Phase, Pooling, Stages, Work
from service.errors import (
    AllInputsError,
    InputError,
    NotReadyError,
    QueueFullError,
    ShapeError,
    UnknownVariantError,
)
from service.tasks.kinds import TASKS
from service.tasks.parameters import lane_of, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Sequence as Many
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from service.api.question import Prediction, Question, Served
    from service.domain import Backend, Outcome, VariantCard
    from service.tasks.parameters import Parameters
    from service.tasks.task import Encoded, Task
    from service.tasks.tokenizer import Tokenizer

T = TypeVar("T")

# Numbers that are read on the loop at once, where a hop to a thread would cost as much: one
# long text's tags, or four embeddings of XLM-R large.
_SMALL = 4096
# Inputs of a request that one thread cuts: a few milliseconds of work, ten times what handing it out costs.
_CHUNK_INPUTS = 32


class Predictor:
    """Answers questions through a backend."""

    def __init__(
        self,
        *,
        backend: Backend,
        encoders: Executor,
        decoders: Executor,
        clock: Callable[[], float],
        max_requests: int,
    ) -> None:
        """Take no questions yet. Answers are read by threads of their own, lest they queue behind texts."""
        self._backend = backend
        self._encoders = encoders
        self._decoders = decoders
        self._clock = clock
        self._max_requests = max_requests
        self._num_requests = 0
        self._drained: asyncio.Event | None = None
        self._work_ids = count()
        self._served: Mapping[str, Served] = MappingProxyType({})

    def open(self, served: Iterable[Served]) -> None:
        """Take questions for these variants from now on, and for no others."""
        self._served = MappingProxyType({one.card.name: one for one in served})

    @property
    def phase(self) -> Phase:
        """Where the service is in its life: READY when questions are taken."""
        phase = self._backend.statistics().phase
        if phase is not Phase.READY:
            return phase
        if self._drained is not None:
            return Phase.DRAINING
        return Phase.READY if self._served else Phase.STARTING

    @property
    def is_ready(self) -> bool:
        """Whether questions are taken."""
        return self.phase is Phase.READY and self._backend.statistics().ready

    @property
    def is_draining(self) -> bool:
        """Whether no more questions are taken, ever."""
        return self._drained is not None

    async def drain(self, timeout_s: float) -> bool:
        """Take no more questions and wait for those that are being answered; False if one is late."""
        self._drained = asyncio.Event()
        if not self._num_requests:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def cards(self) -> Many[VariantCard]:
        """Describe every variant that is served.

        Raises:
            NotReadyError: they are still loading.
        """
        if not self._served:
            raise NotReadyError(WHY_NOT_READY[self.phase])
        return tuple(one.card for one in self._served.values())

    def served(self, variant: str) -> Served:
        """Return a variant as it is served now.

        Raises:
            NotReadyError: they are still loading.
            UnknownVariantError: it is not served here.
        """
        served = self._served.get(variant)
        if served is None:
            self.cards()
            raise UnknownVariantError(
                "No variant of this name is served here; GET /v1/variants lists those that are."
            )
        return served

    def serves(self, variant: str) -> bool:
        """Whether a variant of this name is served here."""
        return variant in self._served

    async def answer(self, question: Question, render: Callable[[Prediction], bytes]) -> Reply:
        """Answer a question and render it; cancelling the awaiting task gives it up.

        Raises:
            ShapeError: a parameter is out of the variant's range.
            AllInputsError: every input failed alone.
            QueueFullError, NotReadyError, DeadlineError, EngineError: as the backend says.
        """
        if self._drained is not None:
            raise NotReadyError(WHY_NOT_READY[Phase.DRAINING])
        if self._num_requests >= self._max_requests:
            raise QueueFullError(
                f"{self._num_requests} requests are being answered, the most at once. Send it again later."
            )
        self._num_requests += 1
        try:
            return await self._answer(question, render)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._num_requests -= 1
        if self._drained is not None and not self._num_requests:
            self._drained.set()

    async def _answer(self, question: Question, render: Callable[[Prediction], bytes]) -> Reply:
        card = question.served.card
        parameters = _resolve(question)
        encoded = await self._encode(question, parameters)
        work = Work(
            work_id=next(self._work_ids),
            lane=lane_of(card, parameters),
            sequences=tuple(chain.from_iterable(map(_sequences, encoded))),
            arrived_at=self._clock(),
            deadline=question.deadline,
            trace=question.trace,
        )
        outcome = await self._backend.submit(work)
        is_small = sum(part.size for part in outcome.logits) <= _SMALL
        read = Reading(card=card, parameters=parameters, encoded=encoded, outcome=outcome)
        if is_small:
            body = render(read.prediction())
        else:
            body = await _in(self._decoders, lambda: render(read.prediction()))
        return self._reply(question, work, encoded, outcome, body)

    async def _encode(self, question: Question, parameters: Parameters) -> list[Encoded[Any] | InputError]:
        task = TASKS[question.served.card.head]
        tokenizer = question.served.tokenizer
        if question.is_short:
            encoded = task.encode_all(question.inputs, parameters, tokenizer)
        else:
            encoded = await self._encode_off_loop(task, question, parameters, tokenizer)
        failures = tuple(part for part in encoded if isinstance(part, InputError))
        if len(failures) == len(encoded):
            raise AllInputsError(
                "None of the inputs can be answered; `inputs` says why for each, in order.", failures=failures
            )
        return encoded

    async def _encode_off_loop(
        self, task: Task[Any, Any, Any], question: Question, parameters: Parameters, tokenizer: Tokenizer
    ) -> list[Encoded[Any] | InputError]:
        """Cut many inputs in as many threads as there are, few in one."""
        inputs = question.inputs
        parts = [inputs[begin : begin + _CHUNK_INPUTS] for begin in range(0, len(inputs), _CHUNK_INPUTS)]
        try:
            async with asyncio.timeout(max(0.0, question.deadline - self._clock())):
                encoded = await asyncio.gather(
                    *(
                        _in(self._encoders, partial(task.encode_all, part, parameters, tokenizer))
                        for part in parts
                    )
                )
        except TimeoutError as error:
            raise too_late() from error
        return list(chain.from_iterable(encoded))

    def _reply(
        self,
        question: Question,
        work: Work,
        encoded: list[Encoded[Any] | InputError],
        outcome: Outcome,
        body: bytes,
    ) -> Reply:
        usages = [part.usage for part in encoded if not isinstance(part, InputError)]
        tokenize_s = work.arrived_at - question.began_at
        total_s = self._clock() - question.began_at
        return Reply(
            body=body,
            began_at=question.began_at,
            stages=Stages(
                tokenize_s=tokenize_s,
                queue_s=outcome.queue_s,
                infer_s=outcome.infer_s,
                decode_s=max(0.0, total_s - tokenize_s - outcome.queue_s - outcome.infer_s),
            ),
            num_inputs=len(encoded),
            num_failed=len(encoded) - len(usages),
            num_tokens=sum(usage.tokens for usage in usages),
            num_truncated=sum(usage.truncated for usage in usages),
        )


async def _in(executor: Executor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def _sequences(part: Encoded[Any] | InputError) -> tuple[NDArray[np.int32], ...]:
    return () if isinstance(part, InputError) else part.sequences


def _resolve(question: Question) -> Parameters:
    card = question.served.card
    parameters = resolve(card, question.overrides)
    if parameters.pooling is Pooling.POOLER and not card.has_pooler:
        raise ShapeError(f"Variant {card.name} has no pooler; ask for `pooling` mean or cls.")
    return parameters
