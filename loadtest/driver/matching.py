"""Whether an arm's variants can answer a trace's tasks, and what must be sent differently if so.

Pure: trace, arm and what the target says of its variants go in; a match comes out, or one
sentence that names the file to change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.datasets.tasks import TASKS, Task
from loadtest.driver.errors import UsageError
from loadtest.trace.items import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadtest.trace.arm import Arm
    from loadtest.trace.items import Item
    from loadtest.trace.schedule import Trace

REFERENCE_LAYERS = 24
"""Layers of the model whose layer numbers the benchmark gives (XLM-R large)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What each task of a trace is sent to.

    ``variants``: task -> variant. ``cards``: variant -> what the target says of it.
    ``layers``: task -> {layer asked for: layer sent}. ``deviations``: sentences for the record.
    """

    variants: Mapping[str, str]
    cards: Mapping[str, Mapping[str, Any]]
    layers: Mapping[str, Mapping[int, int]]
    deviations: tuple[str, ...]


def match_arm(trace: Trace, arm: Arm, cards: Iterable[Mapping[str, Any]]) -> Match:
    """Find the variant of each scheduled task.

    Raises:
        UsageError: the arm names no variant for a task, one that the target lacks, one with another
            head, or one whose labels are not the task's.
    """
    by_name = {str(card.get("name")): card for card in cards}
    tasks = scheduled_tasks(trace)
    variants = {task: _variant(task, arm, by_name) for task in tasks}
    layers: dict[str, dict[int, int]] = {}
    deviations: list[str] = []
    for task, variant in variants.items():
        card = by_name[variant]
        deviations += _check_labels(task, variant, card, arm)
        scaled = _scaled_layers(task, card, trace.items.values())
        if scaled:
            layers[task] = scaled
            deviations += _layer_sentences(task, variant, card, scaled)
    used = {variant: by_name[variant] for variant in variants.values()}
    return Match(variants=variants, cards=used, layers=layers, deviations=tuple(deviations))


def scheduled_tasks(trace: Trace) -> list[str]:
    """Return the tasks that a schedule asks for, in the benchmark's order.

    Raises:
        UsageError: an item is of a task that is none of the benchmark's.
    """
    found = {trace.items[arrival.item].task for arrival in trace.arrivals}
    unknown = found - {str(task) for task in Task}
    if unknown:
        raise UsageError(
            f"The trace {trace.folder} has items of {', '.join(sorted(unknown))}, which is no task here."
        )
    return [str(task) for task in Task if task in found]


def _variant(task: str, arm: Arm, by_name: Mapping[str, Mapping[str, Any]]) -> str:
    name = arm.variants.get(task)
    if name is None:
        raise UsageError(f"The trace asks for {task}, but the arm {arm.name!r} names no variant for it.")
    card = by_name.get(name)
    if card is None:
        served = ", ".join(sorted(by_name)) or "none"
        raise UsageError(f"The arm {arm.name!r} sends {task} to {name!r}; the target serves {served}.")
    head = TASKS[Task(task)].head
    if card.get("head") != head:
        raise UsageError(
            f"{task} needs a variant with head {head}; {name!r} has head {card.get('head')}. "
            f"Change the arm {arm.name!r}."
        )
    return name


def _check_labels(task: str, variant: str, card: Mapping[str, Any], arm: Arm) -> list[str]:
    """Return what the variant can never answer; raise where it answers what is no label of the task."""
    known = TASKS[Task(task)].labels
    if not known:
        return []
    served = [str(label) for label in card.get("labels") or ()]
    table = arm.labels.get(task, {})
    strangers = [label for label in table if label not in served]
    if strangers:
        raise UsageError(
            f"[labels.{task}] of the arm {arm.name!r} names {', '.join(strangers)}; "
            f"{variant!r} answers {', '.join(served) or 'no labels'}."
        )
    unmatched = [label for label in served if table.get(label, label) not in known]
    if unmatched or not served:
        raise UsageError(
            f"{variant!r} answers {', '.join(unmatched) or 'no labels'}; {task} has {', '.join(known)}. "
            f"Say what they mean under [labels.{task}] of the arm {arm.name!r}."
        )
    never = [gold for gold in known if gold not in {table.get(label, label) for label in served}]
    return (
        [f"{task}: {variant} has no label for {', '.join(never)}, so it never gives these answers."]
        if never
        else []
    )


def _scaled_layers(task: str, card: Mapping[str, Any], items: Iterable[Item]) -> dict[int, int]:
    """Return the layer to send for each that is deeper than the variant; none where all fit."""
    depth = card.get("num_layers")
    asked = {item.parameters["layer"] for item in items if item.task == task and "layer" in item.parameters}
    if not isinstance(depth, int):
        return {}
    return {layer: math.ceil(layer * depth / REFERENCE_LAYERS) for layer in sorted(asked) if layer > depth}


def _layer_sentences(
    task: str, variant: str, card: Mapping[str, Any], scaled: Mapping[int, int]
) -> list[str]:
    return [
        f"{task}: layer {asked} of {REFERENCE_LAYERS} is past the {card['num_layers']} layers of {variant}; "
        f"layer {sent}, as deep in proportion, was asked for instead."
        for asked, sent in scaled.items()
    ]


def index_items(trace: Trace, task: str) -> list[Item]:
    """Return what must be embedded before queries of a task can be scored, in the order of the file."""
    queried = any(
        trace.items[arrival.item].task == task and trace.items[arrival.item].role is Role.QUERY
        for arrival in trace.arrivals
    )
    return trace.candidates(task) if queried else []
