"""Measurements of service and peers into a JSON document, and that into a page.

Rules: nothing here is typed in: each figure of the page comes from the document. A goal that was missed, and
a cell that is missing, is said to be so.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import QUIET_RATIO, markdown
from benchmarks.peers_goals import Figure
from benchmarks.peers_grid import Grid, Load
from benchmarks.peers_results import agreements, cells_of, chosen_settings, missing, verdicts_of
from benchmarks.peers_tables import (
    agreement_lines,
    figure_lines,
    goal_lines,
    open_lines,
    rates,
    system_lines,
    trial_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers_store import Store
    from benchmarks.peers_systems import System


def record_of(store: Store, tuning: Store, grid: Grid, systems: Sequence[System]) -> dict[str, Any]:
    """Return everything that was seen but the answers themselves, as plain values."""
    names = [system.name for system in systems if not system.is_extra or store.under("cell", system.name)]
    return {
        "grid": grid.name,
        "setup": _bare(store.get("setup")),
        "sessions": [{"at": one["key"][1], **_bare(one)} for one in store.under("session")],
        "capacity_per_s": {" ".join(one["key"][1:]): one["per_s"] for one in store.under("capacity")},
        "systems": {
            system.name: {
                "title": system.title,
                "is_own": system.is_own,
                "is_peer": system.is_peer,
                "switches": dict(system.switches),
                "settings": chosen_settings(tuning.under("trial", system.name), system.candidates),
                "candidates": list(system.candidates),
                "trials": [_bare(one) for one in tuning.under("trial", system.name)],
                "versions": _bare(store.get("versions", system.name)).get("versions", {}),
                "visits": [_bare(one) for one in store.under("visit", system.name)],
                "failed": _bare(store.get("failed", system.name)).get("why"),
            }
            for system in systems
        },
        "agreements": [asdict(one) for one in agreements(store, names)],
        "missing": missing(store, grid, names),
        "cells": [{name: _rounded(value) for name, value in one.items()} for one in cells_of(store)],
    }


def page(record: dict[str, Any], grid: Grid) -> str:
    """Return the page."""
    cells, measured = record["cells"], {cell["system"] for cell in record["cells"]}
    shown = {name: one["title"] for name, one in record["systems"].items() if name in measured}
    peers = [name for name, one in record["systems"].items() if one["is_peer"]]
    parts = ["# The service beside its peers", _where(record, grid), *_cautions(record)]
    parts += ["## Goals", markdown(goal_lines(verdicts_of(cells, grid, peers), shown))]
    closed = [cell for cell in grid.cells if cell.load is Load.CLOSED]
    opened = [cell for cell in grid.cells if cell.load is Load.OPEN]
    for title, figure in (("Throughput, requests/s", Figure.THROUGHPUT), ("p50, ms", Figure.P50)):
        parts += [f"## {title}", markdown(figure_lines(cells, closed, figure, shown, peers))]
    parts += ["## Open loop", rates(record), markdown(open_lines(cells, opened, shown))]
    parts += ["## Answers", _ANSWERS, markdown(agreement_lines(record))]
    parts += ["## Servers", _SERVERS, markdown(system_lines(record, shown))]
    if len(trials := trial_lines(record)) > 1:
        parts += ["### Settings that were tried", _TRIALS, markdown(trials)]
    absent = [f"- {one['title']}: {one['failed']}" for one in record["systems"].values() if one["failed"]]
    if absent:
        parts += ["## What could not be run", "\n".join(absent)]
    if record["missing"]:
        parts += ["## Not measured", "\n".join(f"- {one}" for one in record["missing"])]
    return "\n\n".join(parts) + "\n"


_ANSWERS = (
    "Beside the service's own in float32: the largest difference of a probability or of a vector's "
    "component, and the share of texts with the same label, or the least cosine of two vectors. The weights "
    "are random, so that labels are closer to each other than those of a trained checkpoint."
)
_SERVERS = (
    "All have the same checkpoints, tokenizer and client and run alone, on the same cores as the client. "
    "Peers get the service's wait policy of OpenMP threads (GOMP_SPINCOUNT); the service runs with its "
    "defaults. Memory: all processes with both checkpoints loaded, shared pages once. Start: until both "
    "answer. CPU: of labels of XNLI's pairs with 16 requests under way."
)
_TRIALS = "Labels at 16 requests under way; a peer gets the settings with the best geometric mean of both."


def _bare(record: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (record or {}).items() if name != "key"}


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _where(record: dict[str, Any], grid: Grid) -> str:
    sessions, setup = record["sessions"], record["setup"]
    last = sessions[-1]["environment"] if sessions else {}
    commits = list(dict.fromkeys(_commit(one["environment"]) for one in sessions))
    lengths = "; ".join(
        f"{mix}: {one['items']} texts of {one['mean_tokens']:g} tokens on average (p95 {one['p95_tokens']})"
        for mix, one in setup["lengths"].items()
    )
    when = f"{sessions[0]['at']} to {sessions[-1]['at']}" if sessions else "not measured yet"
    return (
        f"XLM-R {setup['size']} (random weights, {setup['vocab_size']:,} ids), one text or pair a request, "
        f"float32 but where said otherwise. {when}, commit {', '.join(commits)}; {last.get('cpu_model')}, "
        f"{last.get('num_cores')} cores. Grid {grid.name}: {grid.num_rounds} rounds, servers in another "
        f"order in each, seed {setup['seed']}. Texts: {setup['texts']}; {lengths}. Tokenizer: "
        f"{setup['tokenizer']}. Medians over rounds, with the range in brackets; a ratio is taken within a "
        "round. Every latency of every round is in the JSON file beside this one."
    )


def _commit(environment: dict[str, Any]) -> str:
    changed = " with changes" if environment.get("dirty") else ""
    return f"{str(environment.get('commit'))[:12]}{changed}"


def _cautions(record: dict[str, Any]) -> list[str]:
    cells = [cell for cell in record["cells"] if "others_ratio" in cell]
    crowded = [cell for cell in cells if cell["others_ratio"] > QUIET_RATIO]
    failed = [cell for cell in record["cells"] if cell["num_failed"]]
    said = []
    if record["missing"]:
        said.append(
            f"**Not all is measured yet: {len(record['missing'])} visits are missing (listed below).**"
        )
    if record["grid"] == "quick":
        said.append("**The quick grid: few rounds of short cells. A p99 of some hundred requests is rough.**")
    if crowded:
        most = max(cell["others_ratio"] for cell in crowded)
        said.append(
            f"**Not quiet: in {len(crowded)} of {len(cells)} cells other processes had more than "
            f"{QUIET_RATIO:.0%} of the cores (up to {most:.0%}).**"
        )
    if failed:
        named = ", ".join(f"{cell['system']} {cell['cell']}: {cell['num_failed']}" for cell in failed)
        said.append(f"**Failed requests, whose cells count in no figure: {named}.**")
    return said
