"""All runs of a study, made once each, in the plan's order, resumable; and its capacity search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtest.analysis.capacity import Method
from loadtest.driver.errors import TargetError
from loadtest.study import conduct
from loadtest.study.arms import settle_arms
from loadtest.study.capacity_found import capacities, ratio
from loadtest.study.capacity_search import target_of
from loadtest.study.conduct import Conductor
from loadtest.study.folder import StudyFolder, open_folder
from loadtest.study.segments import Segments, build_base, mix_of
from loadtest.study.study_file import NothingValidError, StudyError
from loadtest.trace.arm import load_arm
from loadtest.trace.schedule import read_schedule
from loadtest.trace.seeds import streams
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.driver.run import Show
    from loadtest.report.records import Summary
    from loadtest.study.replay import Wanted
    from loadtest.study.study_file import Study

DESIGN = """
[design]
pairs = 2
restarts = 1
load_ratios = [0.3, 0.6]
offline_pairs = 2
replicate_s = 1.0
[capacity]
method = "offline"
[controls]
aa_pairs = 2
"""


@dataclass
class Queue:
    """A replay that runs nothing: M/M/1 by its closed form, at the rate of the schedule that it is given."""

    folder: StudyFolder
    mu_per_s: dict[str, float]
    limit_s: float = 0.05
    at_once_per_s: float | None = None  # else as many as it serves
    made: list[str] = field(default_factory=list)
    invalid: tuple[str, ...] = ()
    fails: str | None = None

    def __call__(self, wanted: Wanted, target: str, show: Show | None) -> Summary:  # noqa: ARG002 - of the Protocol
        if wanted.name == self.fails:
            raise TargetError("the target refused the connection")
        self.made.append(wanted.name)
        header, _ = read_schedule(self.folder.trace(wanted.trace) / "schedule.jsonl")
        law, _, rate = header.law.partition(":")
        free = self.mu_per_s[wanted.arm] - (float(rate) if law == "poisson" else 0.0)
        in_time = 0.0 if free <= 0 else 1 - math.exp(-free * self.limit_s)
        reasons = ("late",) if self.invalid and wanted.name.startswith(self.invalid) else ()
        rate_per_s = self.at_once_per_s or self.mu_per_s[wanted.arm]
        seen = group(1 / max(free, 1e-3), inputs_per_s=rate_per_s, in_time=in_time)
        found = summary(seen, reasons=reasons)
        out = self.folder.run(wanted.name)
        out.mkdir(parents=True, exist_ok=True)
        (out / "summary.json").write_text(found.model_dump_json())
        return found


class Blind:
    """Watches nothing."""

    def begin(self, name: str, number: int, total: int | None) -> None:
        """Show nothing."""


def conductor(study: Study, out: Path, mu_per_s: dict[str, float]) -> tuple[Conductor, Queue]:
    folder = open_folder(out, study)
    base = build_base(study, folder, lambda *_: None)
    queue = Queue(folder=folder, mu_per_s=mu_per_s)
    made = Conductor(
        study=study,
        folder=folder,
        replay=queue,
        segments=Segments(study=study, folder=folder, base=base, mix=mix_of(study, base)),
        target=target_of("p95<50ms"),
        watch=Blind(),
        fits=lambda *_: None,
    )
    return made, queue


EQUAL = {"old": 100.0, "new": 100.0}


def test_every_run_of_the_plan_is_made_once_and_pairs_share_a_schedule(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    conducting, queue = conductor(study_of(DESIGN), tmp_path / "out", EQUAL)
    made = conducting.conduct()
    assert queue.made[:3] == ["unloaded-old", "unloaded-new", "all-at-once"]
    assert len(queue.made) == len(set(queue.made)) == 3 + 4 + 2 * 2 * 2 + 4
    assert made.capacity_per_s == 100.0
    rates = {run.block.load_ratio: run.rate_per_s for run in made.blocks}
    assert rates == {0.3: 30.0, 0.6: 60.0, None: None}
    arms: dict[int, set[str]] = {}
    for run in made.blocks:
        arms.setdefault(run.block.segment, set()).add(run.block.side.value)
    assert all(sides == {"reference", "arm"} for sides in arms.values())
    hashes = {
        (tmp_path / "out" / "traces" / f"segment-{n:03d}" / "schedule.jsonl").read_bytes() for n in arms
    }
    assert len(hashes) == len(arms), "two pairs share a schedule"


def test_studies_of_neighbouring_seeds_share_no_arrivals(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    """A study repeated with the next seed is another study: one root seed more is not the next segment's."""
    instants: dict[int, set[tuple[int, ...]]] = {}
    for seed in (11, 12):
        study = study_of(DESIGN)
        study = replace(study, declared=study.declared.model_copy(update={"seed": seed}))
        conducting, _ = conductor(study, tmp_path / str(seed), EQUAL)
        numbers = {run.block.segment for run in conducting.conduct().blocks if run.rate_per_s is not None}
        schedules = [
            read_schedule(tmp_path / str(seed) / "traces" / f"segment-{n:03d}" / "schedule.jsonl")[1]
            for n in numbers
        ]
        instants[seed] = {tuple(arrival.t_us for arrival in arrivals) for arrivals in schedules}
        assert len(instants[seed]) == len(numbers) == 6
    assert not instants[11] & instants[12]


def test_a_search_draws_its_order_from_no_stream_of_another_purpose(
    study_of: Callable[[str], Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.random.Generator] = []

    def search(*given: object) -> None:
        seen.extend(one for one in given if isinstance(one, np.random.Generator))
        raise StudyError("that is all that was to be seen")

    monkeypatch.setattr(conduct, "search", search)
    study = study_of(DESIGN)
    with pytest.raises(StudyError, match="that is all"):
        conductor(study, tmp_path / "out", EQUAL)[0].find_capacity()
    fresh = streams(study.declared.seed)
    used = (fresh.arrivals, fresh.items, fresh.order, fresh.bootstrap)
    (drawn,) = seen
    assert drawn.bit_generator.state not in [generator.bit_generator.state for generator in used]


def test_an_interrupted_study_goes_on_where_it_was(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of(DESIGN)
    conducting, queue = conductor(study, tmp_path / "out", EQUAL)
    queue.fails = "003-aa-old"
    with pytest.raises(StudyError, match="003-aa-old: the target refused the connection"):
        conducting.conduct()
    first = list(queue.made)
    again, queue = conductor(study, tmp_path / "out", EQUAL)
    made = again.conduct()
    assert not set(first) & set(queue.made)
    whole, straight = conductor(study, tmp_path / "whole", EQUAL)
    assert made == whole.conduct()
    assert first + queue.made == straight.made


def test_capacity_is_that_of_the_closed_form(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of(
        DESIGN.replace('method = "offline"', 'objective = "p95<50ms"\nreplicates = 2\nreplicate_s = 1.0')
    )
    conducting, queue = conductor(study, tmp_path / "out", {"old": 100.0, "new": 97.0})
    made = conducting.conduct()
    # M/M/1: P(sojourn <= L) = 1 - exp(-(mu - lambda) L), which is 0.95 at lambda = mu - ln(20) / L.
    exact = 100.0 - math.log(20) / 0.05
    assert made.capacity_per_s == pytest.approx(exact, rel=0.01)
    assert made.swept is not None
    target = target_of("p95<50ms")
    found = {c.arm: c for c in capacities(made.swept, target)}
    assert found["old"].method == Method.LOGISTIC.value
    assert found["new"].rate_per_s == pytest.approx(exact - 3, rel=0.01)
    compared = ratio(made.swept, target, study.declared, "new")
    assert compared is not None
    assert compared.log_ratio == pytest.approx(math.log((exact - 3) / exact), abs=0.01)
    assert compared.word.value == "slower"
    assert all(name.startswith("probe-") for name in queue.made[3:-16])


@pytest.mark.parametrize(
    "text", ["goodput>=35/s", "latency{task=xnli} p95<200ms", "p95<200ms, p99<1s", "p95>200ms"]
)
def test_a_capacity_needs_one_latency_percentile(text: str) -> None:
    with pytest.raises(StudyError, match="write one latency percentile"):
        target_of(text)


def test_a_damaged_file_of_the_folder_is_named(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of("")
    open_folder(tmp_path / "out", study)
    (tmp_path / "out" / "declared.json").write_text("{")
    with pytest.raises(StudyError, match=r"declared\.json cannot be read"):
        open_folder(tmp_path / "out", study)


SEARCHED = DESIGN.replace('method = "offline"', 'objective = "p95<50ms"\nreplicates = 2\nreplicate_s = 1.0')


def test_a_probe_that_is_not_valid_is_made_again(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of(SEARCHED)
    straight, first = conductor(study, tmp_path / "straight", EQUAL)
    disturbed, second = conductor(study, tmp_path / "disturbed", EQUAL)
    second.invalid = ("probe-001-", "probe-002-")
    found, again = straight.conduct(), disturbed.conduct()
    assert again.capacity_per_s == pytest.approx(found.capacity_per_s, rel=0.01)
    probes = [[n for n in queue.made if n.startswith("probe-")] for queue in (first, second)]
    assert len(probes[1]) == len(probes[0]) + 2


def test_a_search_whose_probes_are_never_valid_ends(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    conducting, queue = conductor(study_of(SEARCHED), tmp_path / "out", EQUAL)
    queue.invalid = ("probe-",)
    with pytest.raises(NothingValidError, match=r"5 probes in a row at .* were not valid: late"):
        conducting.conduct()
    assert len([name for name in queue.made if name.startswith("probe-")]) == 5


def test_the_mix_is_that_of_open_schedules(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    text = DESIGN.replace("replicate_s = 1.0", "replicate_s = 40.0")
    study = study_of(text)
    wanted = study.declared.trace.model_copy(update={"language_mix": "en=1,*=0"})
    study = replace(study, declared=study.declared.model_copy(update={"trace": wanted}))
    conducting, _ = conductor(study, tmp_path / "out", EQUAL)
    conducting.conduct()
    traces = tmp_path / "out" / "traces"
    header, arrivals = read_schedule(traces / "segment-000" / "schedule.jsonl")
    assert header.law.startswith("poisson:")
    assert {arrival.item.split("/")[1] for arrival in arrivals} == {"en"}
    _, once = read_schedule(traces / "all-at-once" / "schedule.jsonl")
    assert {arrival.item.split("/")[1] for arrival in once} == {"en", "sw"}


def test_arms_are_settled_under_the_studys_names(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of("")
    (tmp_path / "old.toml").write_text(
        'name = "x"\n[variants]\nxnli = "a.xnli"\n[labels.xnli]\nLABEL_0 = "entailment"\n'
    )
    (tmp_path / "new.toml").write_text('name = "x"\n[variants]\nxnli = "b \\"q\\" é𝄞.xnli"\n')
    folder = open_folder(tmp_path / "out", study)
    arms = {name: load_arm(path) for name, path in settle_arms(study, folder).items()}
    assert {name: arm.name for name, arm in arms.items()} == {"old": "old", "new": "new"}
    assert arms["old"].labels == {"xnli": {"LABEL_0": "entailment"}}
    assert arms["new"].variants == {"xnli": 'b "q" é𝄞.xnli'}
    settle_arms(study, folder)
    (tmp_path / "new.toml").write_text('name = "x"\n[variants]\nxnli = "c.xnli"\n')
    with pytest.raises(StudyError, match="has changed since this study began"):
        settle_arms(study, folder)
