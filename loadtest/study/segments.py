"""The schedules of a study: one base trace, and other arrivals over the same items.

Both runs of a pair replay one segment; no two pairs share one. Seeds are hashed from the study's and the
schedule's number, so that studies of neighbouring seeds share no arrivals: one repeats the other. The mix of
tasks and languages is that of open schedules; what is sent all at once or one by one asks each item once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.datasets.library import BUNDLED, open_library
from loadtest.trace.arrivals import parse_law
from loadtest.trace.build import Recipe, build_trace
from loadtest.trace.mix import ITEMS, Mix, Weights, parse_weights
from loadtest.trace.requests import Deviations
from loadtest.trace.reschedule import Schedule, reschedule
from loadtest.trace.sampling import DEFAULT_MAX_CANDIDATES
from loadtest.trace.schedule import load_trace
from loadtest.trace.selection import parse_languages, parse_tasks, select

if TYPE_CHECKING:
    from loadtest.study.folder import StudyFolder
    from loadtest.study.study_file import Study
    from loadtest.trace.build import Progress
    from loadtest.trace.schedule import Trace

OFFLINE = "offline"
UNLOADED = "closed:1"
_SEED_BITS = 53  # a whole number that every reader of JSON holds exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Makes the schedules of one study, each once."""

    study: Study
    folder: StudyFolder
    base: Trace
    mix: Mix

    def open_loop(self, name: str, rate_per_s: float, number: int, duration_s: float) -> str:
        """Return the name of a schedule at a rate, from a seed of its own."""
        law = self.study.declared.design.law.format(rate=f"{rate_per_s:.6g}")
        return self._make(name, law, number, duration_s)

    def once(self, name: str, law: str, number: int, max_arrivals: int | None) -> str:
        """Return the name of a schedule that asks for each item once (``offline`` or ``closed:N``)."""
        return self._make(name, law, number, 1.0, max_arrivals)

    def _make(
        self, name: str, law: str, number: int, duration_s: float, max_arrivals: int | None = None
    ) -> str:
        folder = self.folder.trace(name)
        if not folder.is_dir():
            wanted = Schedule(
                name=f"{self.study.declared.name}-{name}",
                law=parse_law(law),
                law_text=law,
                duration_s=duration_s,
                seed=seed_of(self.study.declared.seed, number),
                max_arrivals=max_arrivals,
                mix=self.mix,
            )
            reschedule(self.base, wanted, folder)
        return name


def seed_of(study_seed: int, number: int) -> int:
    """Return the root seed of a study's schedule by its number."""
    words = np.random.SeedSequence((study_seed, number)).generate_state(1, np.uint64)
    return int(words[0]) >> (64 - _SEED_BITS)


def mix_of(study: Study, base: Trace) -> Mix:
    """Return the declared mix.

    Raises:
        TraceError: it names what the trace does not have.
    """
    wanted, items = study.declared.trace, base.items.values()
    return Mix(
        tasks=parse_weights(wanted.task_mix, sorted({item.task for item in items}), "task"),
        languages=parse_weights(wanted.language_mix, sorted({item.language for item in items}), "language"),
    )


def build_base(study: Study, folder: StudyFolder, told: Progress) -> Trace:
    """Return the study's items and gold, built on the first call.

    Raises:
        DataError, TraceError: the data are missing or damaged, or the file asks for what is not there.
    """
    if not folder.base_trace.is_dir():
        wanted = study.declared.trace
        data = wanted.data if wanted.data == BUNDLED else str(study.resolve(wanted.data))
        library = open_library(data)
        every = Weights(text=ITEMS)
        recipe = Recipe(
            name=f"{study.declared.name}-base",
            selection=select(library, parse_tasks(wanted.tasks), parse_languages(wanted.languages)),
            limit=wanted.limit,
            max_candidates=wanted.candidates or DEFAULT_MAX_CANDIDATES,
            law=parse_law(OFFLINE),
            law_text=OFFLINE,
            duration_s=1.0,
            seed=study.declared.seed,
            mix=Mix(tasks=every, languages=every),
            deviations=Deviations(),
        )
        build_trace(library, recipe, folder.base_trace, progress=told)
    return load_trace(folder.base_trace)
