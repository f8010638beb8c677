"""Measurements of service and peers into a JSON document, and that into a page.

Rules: nothing here is typed in: each figure of the page comes from the document. A goal that was missed, and
a cell that is missing, is said to be so.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import markdown, reasons
from benchmarks.peers_contest import Contest
from benchmarks.peers_goals import Figure
from benchmarks.peers_grid import Grid, Load
from benchmarks.peers_results import agreements, cells_of
from benchmarks.peers_said import cautions, goal_words, where
from benchmarks.peers_tables import (
    agreement_lines,
    figure_lines,
    goal_lines,
    left_lines,
    open_lines,
    rates,
    system_lines,
    trial_lines,
)
from benchmarks.peers_verdicts import missing, verdicts_of
from benchmarks.peers_why import BATCHES, batch_lines, forward_lines, why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers_settings import Trials
    from benchmarks.peers_store import Store
    from benchmarks.peers_systems import System


def contest_of(store: Store, grid: Grid, systems: Sequence[System]) -> Contest:
    """Return who is asked for what, by what is kept."""
    return Contest(
        grid=grid,
        own=[system.name for system in systems if system.is_own],
        peers=[system.name for system in systems if system.is_peer],
        records=cells_of(store),
        capacity_of={" ".join(one["key"][1:]): one["peer"] for one in store.under("capacity")},
    )


def record_of(store: Store, trials: Trials, grid: Grid, systems: Sequence[System]) -> dict[str, Any]:
    """Return everything that was seen but the answers themselves, as plain values."""
    names = [system.name for system in systems if not system.is_extra or store.under("cell", system.name)]
    contest = contest_of(store, grid, systems)
    return {
        "grid": grid.name,
        "setup": _bare(store.get("setup")),
        "sessions": [{"at": one["key"][1], **_bare(one)} for one in store.under("session")],
        "capacities": {
            " ".join(one["key"][1:]): {"peer": one["peer"], "per_s": one["per_s"]}
            for one in store.under("capacity")
        },
        "left_out": [asdict(one) for one in contest.left_out()],
        "forward": [{"round": int(one["key"][1]), **_bare(one)} for one in store.under("forward")],
        "systems": {
            system.name: {
                "title": system.title,
                "is_own": system.is_own,
                "is_peer": system.is_peer,
                "switches": dict(system.switches),
                "settings": trials.settings(system),
                "candidates": list(system.candidates),
                "trials": [_bare(one) for one in trials.of(system)],
                "versions": _bare(store.get("versions", system.name)).get("versions", {}),
                "visits": [_bare(one) for one in store.under("visit", system.name)],
                "failed": _bare(store.get("failed", system.name)).get("why"),
            }
            for system in systems
        },
        "agreements": [asdict(one) for one in agreements(store, names)],
        "missing": missing(contest, names),
        "cells": [{name: _rounded(value) for name, value in one.items()} for one in contest.records],
    }


def page(record: dict[str, Any], grid: Grid) -> str:
    """Return the page."""
    cells, measured = record["cells"], {cell["system"] for cell in record["cells"]}
    systems = record["systems"]
    shown = {name: one["title"] for name, one in systems.items() if name in measured}
    contest = Contest(
        grid=grid,
        own=[name for name, one in systems.items() if one["is_own"]],
        peers=[name for name, one in systems.items() if one["is_peer"]],
        records=cells,
        capacity_of={group: one["peer"] for group, one in record["capacities"].items()},
    )
    parts = ["# The service beside its peers", where(record, grid), *cautions(record)]
    goals = markdown(goal_lines(verdicts_of(contest), contest, shown))
    parts += ["## Goals", goals, *reasons([goals], "beside-the-best-peer"), goal_words(grid)]
    closed = [cell for cell in grid.cells if cell.load is Load.CLOSED]
    opened = [cell for cell in grid.cells if cell.load is Load.OPEN]
    if record["forward"]:
        parts += ["## What the forward passes alone do", why(record), markdown(forward_lines(record))]
    for title, figure in (("Throughput, requests/s", Figure.THROUGHPUT), ("p50, ms", Figure.P50)):
        parts += [f"## {title}", markdown(figure_lines(contest, closed, figure, shown))]
    if len(left := left_lines(record, shown)) > 1:
        parts += ["### Who was not asked again", _LEFT, markdown(left)]
    parts += ["## Open loop", rates(record), markdown(open_lines(cells, opened, shown))]
    if len(batches := batch_lines(record, shown)) > 1:
        parts += ["## The service's batches", BATCHES, markdown(batches)]
    parts += ["## Answers", _ANSWERS, markdown(agreement_lines(record))]
    parts += ["## Servers", _SERVERS, markdown(system_lines(record, shown))]
    if len(trials := trial_lines(record)) > 1:
        parts += ["### Settings that were tried", _TRIALS, markdown(trials)]
    absent = [f"- {one['title']}: {one['failed']}" for one in systems.values() if one["failed"]]
    if absent:
        parts += ["## What could not be run", "\n".join(absent)]
    if record["missing"]:
        parts += ["## Not measured", "\n".join(f"- {one}" for one in record["missing"])]
    return "\n\n".join(parts) + "\n"


_LEFT = (
    "A later round asks a peer again only where its median so far is within the bar of the best peer's; who "
    "was left out of a cell is not the best peer in it."
)
_ANSWERS = (
    "Beside the service's own in float32: the largest difference of a probability or of a vector's "
    "component, and the share of texts with the same label, or the least cosine of two vectors. The weights "
    "are random, so that labels are closer to each other than those of a trained checkpoint."
)
_SERVERS = (
    "All have the same checkpoints, tokenizer and client and run alone, on the same cores as the client. "
    "Peers get the service's wait policy of OpenMP threads (GOMP_SPINCOUNT); the service runs with its "
    "defaults. Memory: all processes with both checkpoints loaded, shared pages once; the service's "
    "holds pages of the checkpoints' files that were read once, to be packed, which the kernel takes back "
    "when it needs room. Start: until both answer. CPU: of labels of XNLI's pairs with 16 requests under way."
)
_TRIALS = (
    "Labels at 16 requests under way; a peer gets the settings with the best geometric mean of both. They "
    "are tried by `--tune` and recorded with the project; a quick run takes them from there."
)


def _bare(record: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (record or {}).items() if name != "key"}


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
