"""All runs of a study, in order, each once, against servers that it starts and ends.

First, on a server of their own: each arm unloaded (the reference for answers, tokens and
scores), then the reference's capacity. Then the blocks of the plan, controls first, the
server started afresh wherever the plan says so. A run that is complete is never made again,
so that an interrupted study goes on where it was; a server whose runs are all there is not started.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from loadtest.analysis.design import plan
from loadtest.driver.errors import DriverError, NotReadyError, UsageError
from loadtest.report.summary import read_summary
from loadtest.study.capacity_search import Swept, Target, plan_of, search
from loadtest.study.cores import parse_cpus
from loadtest.study.declared_design import design_of
from loadtest.study.made import Made, Probed
from loadtest.study.no_capacity import given_up, no_capacity
from loadtest.study.observed import Observed
from loadtest.study.replay import Replay, Wanted, unloaded_name
from loadtest.study.segments import OFFLINE, UNLOADED, Segments
from loadtest.study.server import Server, Starting, Watched, running
from loadtest.study.start_rate import mixed_rate, shares_by_cell
from loadtest.study.study_file import StoppedError, Study, StudyError
from loadtest.trace.seeds import streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loadtest.analysis.design import Block
    from loadtest.driver.run import Show
    from loadtest.report.records import Summary
    from loadtest.study.fitting import Fits
    from loadtest.study.folder import StudyFolder

# A search starts below what all at once gives, since a queue of everything hides no idle moment.
START_RATIO = 0.5
# Numbers of schedules, so that no two kinds share a seed.
_PROBES, _BLOCKS = 100_000, 200_000


class Watch(Protocol):
    """Is told which run begins."""

    def begin(self, name: str, number: int, total: int | None) -> Show | None:
        """A run begins, the ``number``-th of ``total`` where that is known; return who shows it."""
        ...


@dataclass(slots=True, kw_only=True)
class Conductor:
    """Conducts one study, once.

    ``num_begun`` counts the runs of this sitting and the ones found complete; ``fresh``: those that this
    sitting made; ``looked_at``: the server that was last found to fit every arm. What ``Made`` holds gathers
    in the fields of its names.
    """

    study: Study
    folder: StudyFolder
    replay: Replay
    segments: Segments
    target: Target
    watch: Watch
    fits: Fits
    num_begun: int = 0
    looked_at: Server | None = None
    total: int | None = None
    fresh: set[str] = field(default_factory=set)
    unloaded: dict[str, Summary] = field(default_factory=dict)
    at_once: Summary | None = None
    capacity_per_s: float = 0.0
    swept: Swept | None = None
    probed: list[Probed] = field(default_factory=list)
    blocks: list[Observed] = field(default_factory=list)

    def conduct(self) -> Made:
        """Make every run that is missing.

        Raises:
            StoppedError: the plan cannot be gone on with; it tells what was made.
            StudyError: a server does not start, or a run cannot be made as declared.
        """
        with self._telling():
            self._conduct()
        return self._so_far()

    def find_capacity(self) -> Made:
        """Make only what the reference arm's capacity takes.

        Raises:
            StudyError: as ``conduct``.
        """
        arms = (self.study.declared.reference,)
        with self._telling(), Starting(lambda: self._server("first")) as server:
            self._find_capacity(arms, self._first(arms, server), server)
        return self._so_far()

    def _conduct(self) -> None:
        declared = self.study.declared
        blocks = plan(design_of(declared), streams(declared.seed).order)
        arms = (declared.reference, *declared.compared)
        with Starting(lambda: self._server("first")) as server:
            at_most = self._first(arms, server)
            if declared.capacity.method == "offline":
                self.capacity_per_s = at_most
            else:
                self._find_capacity(arms, at_most, server)
            self.total = self.num_begun + len(blocks)
            if declared.num_restarts == 1:
                self._make(blocks, server)
                return
        for restart, together in groupby(blocks, key=lambda block: block.restart):
            with Starting(partial(self._server, f"restart-{restart:03d}")) as server:
                self._make(together, server)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Give an error that stops the plan what was made before it, once that is enough for a page."""
        try:
            yield
        except StoppedError as stopped:
            stopped.made = None if self.at_once is None else self._so_far()
            raise

    def _so_far(self) -> Made:
        return Made(
            unloaded=self.unloaded,
            capacity_per_s=self.capacity_per_s,
            swept=self.swept,
            blocks=tuple(self.blocks),
            at_once=self.at_once,
            probed=tuple(self.probed),
        )

    def _first(self, arms: tuple[str, ...], server: Starting) -> float:
        """Make the runs before all others, and return at most how many requests a second are answered."""
        for arm in arms:
            self.unloaded[arm] = self._unloaded(arm, server)
        self.at_once = self._at_once(server)
        return self._at_most_per_s(self.at_once, self.unloaded[arms[0]])

    def _make(self, blocks: Iterable[Block], server: Starting) -> None:
        for block in blocks:
            self.blocks.append(self._block(block, server))

    @contextlib.contextmanager
    def _server(self, name: str) -> Iterator[Server]:
        table = self.study.declared.server
        if table.command is None:
            assert table.target is not None, "The file has a command or a target. This is a bug."
            yield Server(url=table.target)
            return
        with running(
            table.command,
            here=self.study.path.parent,
            out=self.folder.root,
            cpus=None if table.cpus is None else parse_cpus(table.cpus),
            log=self.folder.log(name),
        ) as server:
            yield server

    def _unloaded(self, arm: str, server: Starting) -> Summary:
        trace = self.segments.once("unloaded", UNLOADED, 0, self.study.declared.design.unloaded_items)
        return self._run(Wanted(name=unloaded_name(arm), arm=arm, trace=trace), server)

    def _at_once(self, server: Starting) -> Summary:
        """Return the reference's run in which all is sent at once."""
        trace = self.segments.once("all-at-once", OFFLINE, 1, None)
        wanted = Wanted(name="all-at-once", arm=self.study.declared.reference, trace=trace)
        at_once = self._run(wanted, server)
        if not at_once.overall.throughput_per_s:
            raise StoppedError(
                f"the server answered nothing of {self.folder.run('all-at-once')}; its summary.json says why"
            )
        return at_once

    def _at_most_per_s(self, at_once: Summary, unloaded: Summary) -> float:
        """Return the rate of all at once, reckoned for the mix that open schedules ask by."""
        rate = at_once.overall.throughput_per_s
        assert rate, "A run without an answer is no rate, and was refused. This is a bug."
        return mixed_rate(rate, unloaded, shares_by_cell(self.segments.base, self.segments.mix))

    def _find_capacity(self, arms: tuple[str, ...], at_most_per_s: float, server: Starting) -> None:
        """Find the first arm's capacity in requests a second, in a sweep with all of them.

        Where an earlier sitting gave up since its probes were not valid, those are made again: the machine
        may be quieter now.
        """
        swept = self._sweep(arms, at_most_per_s, server)
        stale = given_up(self.probed)
        if swept.invalid and self.fresh.isdisjoint(stale):
            for name in stale:
                self.folder.forget(name)
            swept = self._sweep(arms, at_most_per_s, server)
        if swept.blocks:
            self.swept = swept
        found = swept.capacity_of(arms[0], self.target)
        if found is None:
            raise no_capacity(swept, self.probed, self.target)
        self.capacity_per_s = found

    def _sweep(self, arms: tuple[str, ...], at_most_per_s: float, server: Starting) -> Swept:
        """Search for each arm's capacity and sweep around it with all of them."""
        self.probed.clear()
        table = self.study.declared.capacity
        return search(
            arms,
            plan_of(table, self.target, at_most_per_s * START_RATIO),
            table.max_probes,
            lambda arm, rate, number: self._probe(arm, rate, number, server),
            # Of the stream of orders a branch of its own: the plan draws from the stem.
            streams(self.study.declared.seed).order.spawn(1)[0],
        )

    def _probe(self, arm: str, rate_per_s: float, number: int, server: Starting) -> Summary:
        # Arms may probe at rates of their own; one number is one seed, so that arrivals are stretched.
        trace = self.segments.open_loop(
            f"probe-{number:03d}-{rate_per_s:.6g}",
            rate_per_s,
            _PROBES + number,
            self.study.declared.capacity.replicate_s,
        )
        wanted = Wanted(name=f"probe-{number:03d}-{arm}", arm=arm, trace=trace, replicate=number)
        summary = self._run(wanted, server)
        self.probed.append(Probed(name=wanted.name, arm=arm, rate_per_s=rate_per_s, summary=summary))
        return summary

    def _block(self, block: Block, server: Starting) -> Observed:
        number = _BLOCKS + block.segment
        rate = None if block.load_ratio is None else block.load_ratio * self.capacity_per_s
        if rate is None:
            trace = self.segments.once(f"segment-{block.segment:03d}", OFFLINE, number, None)
        else:
            trace = self.segments.open_loop(
                f"segment-{block.segment:03d}", rate, number, self.study.declared.design.replicate_s
            )
        name = f"{block.index:03d}-{block.phase}-{block.arm}"
        summary = self._run(Wanted(name=name, arm=block.arm, trace=trace, replicate=block.pair), server)
        return Observed(block=block, path=f"runs/{name}", rate_per_s=rate, summary=summary)

    def _look_at(self, started: Server, show: Show) -> None:
        """Ask a server that is new here whether it fits every arm, before anything is measured."""
        if started is self.looked_at:
            return
        try:
            self.fits(started.url, show.waiting)
        except UsageError as error:
            raise StudyError(str(error)) from error
        self.looked_at = started

    def _run(self, wanted: Wanted, server: Starting) -> Summary:
        self.num_begun += 1
        if self.folder.is_complete(wanted.name):
            return read_summary(self.folder.run(wanted.name))
        self.fresh.add(wanted.name)
        show = self.watch.begin(wanted.name, self.num_begun, self.total)
        started = server()
        watched = Watched.show(show, started)
        try:
            self._look_at(started, watched)
            summary = self.replay(wanted, started.url, watched)
        except NotReadyError as error:
            started.check(wanted.name)
            raise started.not_ready(error.what) from error
        except UsageError as error:
            raise StudyError(f"{wanted.name}: {error}") from error
        except DriverError as error:
            started.check(wanted.name)
            raise StoppedError(f"{wanted.name}: {error}") from error
        if not started.alive():
            self.folder.forget(wanted.name)
        started.check(wanted.name)
        return summary
