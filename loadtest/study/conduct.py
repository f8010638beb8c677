"""All runs of a study, in order, each once, against servers that it starts and ends.

First, on a server of their own: each arm unloaded (the reference for answers, tokens and
scores), then the reference's capacity. Then the blocks of the plan, controls first, the
server started afresh wherever the plan says so. A run that is complete is never made again,
so that an interrupted study goes on where it was; a server whose runs are all there is not started.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from loadtest.analysis.design import Design, plan
from loadtest.driver.errors import DriverError
from loadtest.report.records import Summary
from loadtest.study.capacity_search import Swept, Target, plan_of, search
from loadtest.study.cores import parse_cpus
from loadtest.study.made import Made
from loadtest.study.observed import Observed
from loadtest.study.replay import Replay, Wanted, unloaded_name
from loadtest.study.segments import OFFLINE, UNLOADED, Segments
from loadtest.study.server import Server, Starting, Watched, running
from loadtest.study.start_rate import mixed_rate, shares_by_cell
from loadtest.study.study_file import NothingValidError, Study, StudyError
from loadtest.trace.seeds import streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.analysis.design import Block
    from loadtest.driver.run import Show
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
    """Conducts one study.

    ``num_begun`` counts the runs of this sitting and the ones found complete; ``looked_at``: the server that
    was last found to fit every arm.
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

    def conduct(self) -> Made:
        """Make every run that is missing.

        Raises:
            StudyError: a server does not start, or a run cannot be made.
        """
        declared = self.study.declared
        blocks = plan(self._design(), streams(declared.seed).order)
        arms = (declared.reference, *declared.compared)
        with contextlib.ExitStack() as kept:
            server = kept.enter_context(Starting(lambda: self._server("first")))
            unloaded = {arm: self._unloaded(arm, server) for arm in arms}
            at_once = self._at_once(server)
            at_most = self._at_most_per_s(at_once, unloaded[declared.reference])
            capacity_per_s, swept = self._capacity(at_most, server)
            self.total = self.num_begun + len(blocks)
            observed: list[Observed] = []
            if declared.num_restarts == 1:
                observed = [self._block(block, capacity_per_s, server) for block in blocks]
                blocks = ()
        for restart, together in groupby(blocks, key=lambda block: block.restart):
            with Starting(partial(self._server, f"restart-{restart:03d}")) as server:
                observed += [self._block(block, capacity_per_s, server) for block in together]
        return Made(
            unloaded=unloaded,
            capacity_per_s=capacity_per_s,
            swept=swept,
            blocks=tuple(observed),
            at_once=at_once,
        )

    def find_capacity(self) -> Made:
        """Make only what the reference arm's capacity takes.

        Raises:
            StudyError: as ``conduct``.
        """
        reference = self.study.declared.reference
        with Starting(lambda: self._server("first")) as server:
            unloaded = {reference: self._unloaded(reference, server)}
            at_once = self._at_once(server)
            swept = self.sweep((reference,), self._at_most_per_s(at_once, unloaded[reference]), server)
        return Made(
            unloaded=unloaded,
            capacity_per_s=swept.capacity_of(reference, self.target) or 0.0,
            swept=swept,
            blocks=(),
            at_once=at_once,
        )

    def _design(self) -> Design:
        declared = self.study.declared
        design, controls = declared.design, declared.controls
        return Design(
            reference=declared.reference,
            arms=declared.compared,
            num_pairs=design.pairs,
            num_restarts=declared.num_restarts,
            load_ratios=tuple(design.load_ratios),
            control_load_ratio=design.primary_load_ratio,
            num_aa_pairs=controls.aa_pairs,
            control=controls.positive,
            num_control_pairs=0 if controls.positive is None else controls.positive_pairs,
            num_offline_pairs=design.offline_pairs,
        )

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
            raise StudyError(
                f"the server answered nothing of {self.folder.run('all-at-once')}; its summary.json says why"
            )
        return at_once

    def _at_most_per_s(self, at_once: Summary, unloaded: Summary) -> float:
        """Return the rate of all at once, reckoned for the mix that open schedules ask by."""
        rate = at_once.overall.throughput_per_s
        assert rate, "A run without an answer is no rate, and was refused. This is a bug."
        return mixed_rate(rate, unloaded, shares_by_cell(self.segments.base, self.segments.mix))

    def _capacity(self, at_most_per_s: float, server: Starting) -> tuple[float, Swept | None]:
        """Return the reference's capacity in requests a second, and the sweep that it comes from."""
        declared = self.study.declared
        if declared.capacity.method == "offline":
            return at_most_per_s, None
        swept = self.sweep((declared.reference, *declared.compared), at_most_per_s, server)
        found = swept.capacity_of(declared.reference, self.target)
        if swept.invalid:
            raise NothingValidError(f"no capacity under {self.target.text}: {swept.reason}")
        if found is None:
            raise StudyError(
                f"no capacity under {self.target.text}: {swept.reason or 'the sweep did not hold it'}; "
                "declare a looser objective, or capacity.method = 'offline'"
            )
        return found, swept

    def sweep(self, arms: tuple[str, ...], at_most_per_s: float, server: Starting) -> Swept:
        """Search for the first arm's capacity and sweep around it with all of them."""
        table = self.study.declared.capacity
        return search(
            arms,
            plan_of(table, self.target, at_most_per_s * START_RATIO),
            table.max_probes,
            lambda arm, rate, number: self._probe(arm, rate, number, server),
            streams(self.study.declared.seed).bootstrap,
        )

    def _probe(self, arm: str, rate_per_s: float, number: int, server: Starting) -> Summary:
        # Arms may probe at rates of their own; one number is one seed, so that arrivals are stretched.
        trace = self.segments.open_loop(
            f"probe-{number:03d}-{rate_per_s:.6g}",
            rate_per_s,
            _PROBES + number,
            self.study.declared.capacity.replicate_s,
        )
        return self._run(
            Wanted(name=f"probe-{number:03d}-{arm}", arm=arm, trace=trace, replicate=number), server
        )

    def _block(self, block: Block, capacity_per_s: float, server: Starting) -> Observed:
        number = _BLOCKS + block.segment
        rate = None if block.load_ratio is None else block.load_ratio * capacity_per_s
        if rate is None:
            trace = self.segments.once(f"segment-{block.segment:03d}", OFFLINE, number, None)
        else:
            trace = self.segments.open_loop(
                f"segment-{block.segment:03d}", rate, number, self.study.declared.design.replicate_s
            )
        name = f"{block.index:03d}-{block.phase}-{block.arm}"
        summary = self._run(Wanted(name=name, arm=block.arm, trace=trace, replicate=block.pair), server)
        return Observed(block=block, path=f"runs/{name}", rate_per_s=rate, summary=summary)

    def _run(self, wanted: Wanted, server: Starting) -> Summary:
        self.num_begun += 1
        if self.folder.is_complete(wanted.name):
            text = (self.folder.run(wanted.name) / "summary.json").read_text(encoding="utf-8")
            return Summary.model_validate_json(text)
        show = self.watch.begin(wanted.name, self.num_begun, self.total)
        started = server()
        watched = Watched.show(show, started)
        try:
            if started is not self.looked_at:
                self.fits(started.url, watched.waiting)
                self.looked_at = started
            summary = self.replay(wanted, started.url, watched)
        except DriverError as error:
            started.check(wanted.name)
            raise StudyError(f"{wanted.name}: {error}") from error
        if not started.alive():
            self.folder.forget(wanted.name)
        started.check(wanted.name)
        return summary
