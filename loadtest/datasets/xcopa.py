"""XCOPA: a premise and two choices, one of which is its cause or effect; JSON, one object a line.

XTREME's preparation sets every label of its test files to 0 and keeps the file otherwise,
so a file whose labels are all 0 has no gold: see ``MIN_ALL_ZERO``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loadtest.datasets.examples import ChoiceExample
from loadtest.datasets.shape import Place, text_of, whole_of

if TYPE_CHECKING:
    from loadtest.datasets.files import JsonLines

QUESTIONS = ("cause", "effect")
MIN_ALL_ZERO = 20
"""Labels are fair coins (XCOPA balances them), so as many zeros in a row are no accident: 2**-20."""


def read(lines: JsonLines, *, stripped: bool = False) -> list[ChoiceExample]:
    """Return the examples of one language.

    ``stripped``: the file lies where XTREME's preparation puts it, so that labels that are
    all 0 mean nothing however few they are.

    Raises:
        DataError: a line lacks a key, or its question or label is none of the known.
    """
    examples = []
    for number, record in lines:
        place = Place(path=lines.path, line=number)
        question = text_of(record, "question", place)
        if question not in QUESTIONS:
            raise place.fail(f"question {question!r}; known are cause and effect")
        label = whole_of(record, "label", place) if "label" in record else None
        if label is not None and label not in (0, 1):
            raise place.fail(f"label {label}; expected 0 or 1")
        examples.append(
            ChoiceExample(
                premise=text_of(record, "premise", place),
                question=question,
                choices=(text_of(record, "choice1", place), text_of(record, "choice2", place)),
                label=label,
            )
        )
    all_zero = all(example.label == 0 for example in examples)
    if all_zero and (stripped or len(examples) >= MIN_ALL_ZERO):
        return [replace(example, label=None) for example in examples]
    return examples
