"""The five head kinds by name, and every record that their inputs and answers are made of."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from service.tasks.choose import CHOOSE, ChooseAnswer, ChooseInput
from service.tasks.classify import CLASSIFY, ClassifyAnswer
from service.tasks.embed import EMBED, EmbedAnswer
from service.tasks.span import SPAN, SpanAnswer, SpanInput
from service.tasks.tag import TAG, TagAnswer, TagInput
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.tasks.task import Task

Input = TextInput | ChooseInput | TagInput | SpanInput
Answer = ClassifyAnswer | ChooseAnswer | TagAnswer | SpanAnswer | EmbedAnswer

# The layout between encode and decode is each task's own affair, hence Any.
TASKS: Final[Mapping[str, Task[Any, Any, Any]]] = MappingProxyType(
    {task.head: task for task in (CLASSIFY, CHOOSE, TAG, SPAN, EMBED)}
)
