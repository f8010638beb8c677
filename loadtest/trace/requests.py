"""How an example becomes a request: texts, caps and pooling as XTREME-R's scripts have them.

An item stays one sentence where XTREME splits it (tagging past 125 sub-words): the
service's windows cover the rest. What departs from the benchmark is an option of
``Deviations``, off unless asked for and then named in the trace's header.

- XCOPA asks ``{premise} What was the {question}?``; the service joins context and question.
- A LAReQA candidate is the pair (sentence, context) with newlines removed.
- Layer 14 of Tatoeba is that of a 24-layer model, as ``--specific_layer 13`` counted from 0.

Source: google-research/xtreme at 838c13b, scripts/ and third_party/.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import (
    ChoiceExample,
    PairExample,
    QueryExample,
    QuestionExample,
    WordsExample,
)
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.items import Gold, Item, Role, TraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.datasets.examples import CandidateExample, Example
    from loadtest.datasets.library import Portion
    from loadtest.datasets.tasks import TaskSpec
    from loadtest.trace.items import GoldAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviations:
    """Departures from the benchmark's requests; all off is the benchmark.

    ``lower_case``: lower-case Mewsli-X and LAReQA, whose scripts pass ``--do_lower_case`` for XLM-R too.
    ``source_queries``: Tatoeba asks in the language and searches English, not the reverse.
    ``joined_candidates``: LAReQA's sentence and context as one text, as its evaluation script joins them,
    not as a pair, as its training does. ``keep_newlines``: leave newlines in LAReQA's candidates.
    ``uncapped``: leave caps to the served variant.
    """

    lower_case: bool = False
    source_queries: bool = False
    joined_candidates: bool = False
    keep_newlines: bool = False
    uncapped: bool = False

    def asked_for(self) -> dict[str, bool]:
        """Return those that are on, for a header."""
        return {name: on for name, on in asdict(self).items() if on}


DEVIATIONS = tuple(field.name for field in fields(Deviations))


def parse_deviations(text: str) -> Deviations:
    """Return the deviations that a comma-separated list names; an empty text names none.

    Raises:
        TraceError: a name is unknown.
    """
    names = [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
    for name in names:
        if name not in DEVIATIONS:
            raise TraceError(f"Unknown deviation {name!r}; known are {', '.join(DEVIATIONS)}.")
    return Deviations(**dict.fromkeys(names, True))


def parameters_of(spec: TaskSpec, role: Role, deviations: Deviations) -> dict[str, Any]:
    """Return the parameters of a task's requests; those that the task leaves open are absent."""
    cap = spec.candidate_max_tokens if role is Role.CANDIDATE else spec.max_tokens
    values = {
        "max_tokens": None if deviations.uncapped else cap,
        "stride": spec.stride,
        "max_answer_tokens": spec.max_answer_tokens,
        "pooling": spec.pooling,
        "layer": spec.layer,
        "normalize": spec.normalize,
    }
    return {name: value for name, value in values.items() if value is not None}


def item_of(example: Example, task: Task, language: str, index: int, deviations: Deviations) -> Item:
    """Return the item of an example; ``index`` is its place among all of its task and language."""
    spec = TASKS[task]
    role = Role.QUERY if spec.retrieves else Role.ITEM
    return Item(
        id=f"{task}/{language}/{index:06d}",
        task=task.value,
        language=language,
        role=role,
        input=_input_of(example, task, deviations),
        parameters=parameters_of(spec, role, deviations),
    )


def language_of(item_id: str) -> str:
    """Return the language that an item's id names (``task/language/name``), empty where it names none."""
    return item_id.partition("/")[2].partition("/")[0]


def candidate_of(candidate: CandidateExample, task: Task, language: str, deviations: Deviations) -> Item:
    """Return the item of something to be found."""
    return Item(
        id=f"{task}/{language}/{candidate.name}",
        task=task.value,
        language=language,
        role=Role.CANDIDATE,
        input=_candidate_input(candidate, task, deviations),
        parameters=parameters_of(TASKS[task], Role.CANDIDATE, deviations),
    )


def gold_of(example: Example, item_id: str, candidate_ids: Sequence[str] = ()) -> Gold | None:
    """Return the right answer of an example, None where its file had none.

    ``candidate_ids``: what a query should find.
    """
    answer: GoldAnswer | None
    unit = ""
    match example:
        case PairExample(label=label):
            answer = label
        case ChoiceExample(label=index):
            answer = index
        case WordsExample(tags=tags):
            answer = None if tags is None else list(tags)
        case QuestionExample(answers=answers, unit=unit):
            answer = list(answers) or None
        case QueryExample(unit=unit):
            answer = list(candidate_ids) or None
    return None if answer is None else Gold(id=item_id, gold=answer, unit=unit)


def sides_of(
    portion: Portion, deviations: Deviations
) -> tuple[Sequence[Example], Sequence[CandidateExample]]:
    """Return what asks and what is searched, exchanged for Tatoeba where ``source_queries`` is on."""
    if portion.task is not Task.TATOEBA or not deviations.source_queries:
        return portion.examples, portion.candidates
    queries = [example for example in portion.examples if isinstance(example, QueryExample)]
    return (
        [
            QueryExample(text=candidate.text, keys=candidate.keys if query.keys else ())
            for query, candidate in zip(queries, portion.candidates, strict=True)
        ],
        [
            replace(candidate, text=query.text)
            for query, candidate in zip(queries, portion.candidates, strict=True)
        ],
    )


def _input_of(example: Example, task: Task, deviations: Deviations) -> dict[str, Any]:
    match example:
        case PairExample(premise=premise, hypothesis=hypothesis):
            return {"text": premise, "text_pair": hypothesis}
        case ChoiceExample(premise=premise, question=question, choices=choices):
            return {
                "context": premise,
                "question": f"What was the {question}?",
                "choices": list(choices),
            }
        case WordsExample(words=words):
            return {"tokens": list(words)}
        case QuestionExample(question=question, context=context):
            return {"question": question, "context": context}
        case QueryExample(text=text):
            return {"text": _cased(text, task, deviations)}


def _candidate_input(candidate: CandidateExample, task: Task, deviations: Deviations) -> dict[str, Any]:
    text, context = candidate.text, candidate.context
    if not deviations.keep_newlines and context is not None:
        # Removed, not replaced: what stood on two lines then stands together, as in the benchmark.
        text, context = text.replace("\n", ""), context.replace("\n", "")
    if context is None:
        return {"text": _cased(text, task, deviations)}
    if deviations.joined_candidates:
        return {"text": _cased(text + context, task, deviations)}
    return {"text": _cased(text, task, deviations), "text_pair": _cased(context, task, deviations)}


def _cased(text: str, task: Task, deviations: Deviations) -> str:
    lower = deviations.lower_case and task in (Task.MEWSLIX, Task.LAREQA)
    return text.lower() if lower else text
