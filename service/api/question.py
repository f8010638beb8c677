"""What is asked of the predictor, and what it says; no protocol's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import InputError
from service.tasks.kinds import TASKS

if TYPE_CHECKING:
    from service.domain import Outcome, Stages, TraceContext, VariantCard
    from service.tasks.kinds import Answer, Input
    from service.tasks.parameters import Overrides, Parameters
    from service.tasks.task import Encoded, Usage
    from service.tasks.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A variant as it is served at one moment: its weights, and the tokenizer that belongs to them."""

    card: VariantCard
    tokenizer: Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Inputs for one variant.

    ``began_at``, ``deadline``: monotonic seconds. ``is_short``: its texts are cut in less time than a thread
    takes to be woken.
    """

    served: Served
    inputs: tuple[Input, ...]
    overrides: Overrides
    began_at: float
    deadline: float
    is_short: bool = False
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one input was answered, and what it took."""

    answer: Answer
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One result an input, in order."""

    card: VariantCard
    parameters: Parameters
    results: tuple[Answered | InputError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A rendered prediction, and what it took. ``began_at``: monotonic seconds."""

    body: bytes
    began_at: float
    stages: Stages
    num_inputs: int
    num_failed: int
    num_tokens: int
    num_truncated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything that is needed to read answers from logits, in one value for another thread."""

    card: VariantCard
    parameters: Parameters
    encoded: list[Encoded[Any] | InputError]
    outcome: Outcome

    def prediction(self) -> Prediction:
        """Decode each input's share of the logits."""
        task = TASKS[self.card.head]
        results: list[Answered | InputError] = []
        begin = 0
        for part in self.encoded:
            if isinstance(part, InputError):
                results.append(part)
                continue
            end = begin + len(part.sequences)
            answer = task.decode(part, self.outcome.logits[begin:end], self.card.labels, self.parameters)
            results.append(Answered(answer=answer, usage=part.usage))
            begin = end
        return Prediction(card=self.card, parameters=self.parameters, results=tuple(results))
