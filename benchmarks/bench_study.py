"""A whole study for real: two arms that cost the same, an arm against itself, one that is slower on purpose.

    python benchmarks/bench_study.py [--quick] [--out FOLDER]

Runs ``examples/study/short.toml`` as any user would, server and generator each on cores of their own, and
writes what it found as ``study.json`` and ``study.md``. Interrupted, the same command goes on; a study that
ended is set aside (``study.before``) and made anew, since it says nothing of the code as it is now.
``--quick`` runs the same study with two pairs of a second each, in two minutes, and proves only that it runs.
Weights are synthetic: times are those of the architecture, answers mean nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.study_page import markdown  # noqa: E402 - found once the root is on the path

STUDY = ROOT / "examples" / "study" / "short.toml"
PLAN = ROOT / "examples" / "study" / "plan.toml"
WORK = ROOT / "var" / "benchmarks" / "study"
DOCS = ROOT / "docs" / "benchmarks"
GOAL_S = 480.0
# A pause between two runs that no report or server start explains: the study was interrupted there.
PAUSE_S = 60.0
QUICK = {
    "pairs = 8": "pairs = 2",
    "replicate_s = 8.0": "replicate_s = 1.0",
    "offline_pairs = 4": "offline_pairs = 2",
    "aa_pairs = 6": "aa_pairs = 2",
    "positive_pairs = 3": "positive_pairs = 2",
    'name = "short"': 'name = "short-quick"',
}
INVALID = 5


def main() -> None:
    """Make weights and study, read what was found, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two pairs of a second: proves that it runs")
    parser.add_argument("--out", type=Path, default=None, help="folder of study.md and study.json")
    asked = parser.parse_args()
    work = WORK.with_name("study-quick") if asked.quick else WORK
    out = asked.out or (work if asked.quick else DOCS)
    study = _quick_study(work) if asked.quick else STUDY
    set_aside(work / "study", study)
    _run(study, work)
    found = digest(work / "study") | {"quick": asked.quick}
    out.mkdir(parents=True, exist_ok=True)
    (out / "study.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "study.md").write_text(markdown(found), encoding="utf-8")
    sys.stdout.write(f"{out / 'study.md'}\n")


def set_aside(folder: Path, study: Path) -> bool:
    """Make way for a study where ``folder`` holds one that ended, or one of another file; say if so."""
    try:
        declared = json.loads((folder / "declared.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        declared = {}
    same = declared.get("sha256") == hashlib.sha256(study.read_bytes()).hexdigest()
    if not folder.is_dir() or (same and not (folder / "report.html").is_file()):
        return False
    before = folder.with_name("study.before")
    shutil.rmtree(before, ignore_errors=True)
    folder.rename(before)
    return True


def digest(study: Path) -> dict[str, Any]:
    """Return what a study's folder says, less its single cells: figures of every run, and every verdict."""
    record = json.loads((study / "study.json").read_text(encoding="utf-8"))
    whole = [one for one in record["comparisons"] if one["task"] is one["language"] is None]
    parts = [one for one in record["comparisons"] if one not in whole]
    return {
        "schema": "xlmr-benchmark-study/1",
        "synthetic": any(arm["synthetic"] for arm in record["arms"]),
        "elapsed_s": round(_elapsed_s(study), 1),
        "goal_s": GOAL_S,
        "environment": record["environment"],
        "design": record["design"],
        "valid": record["valid"],
        "reasons": record["reasons"],
        "verdict": record["verdict"],
        "comparisons": whole,
        "num_parts": len(parts),
        "num_parts_marked": sum(one["marked"] for one in parts),
        "aa": record["aa"],
        "positive_control": record["positive_control"],
        "offline": record["offline"],
        "token_fits": [{key: fit[key] for key in fit if key != "points"} for fit in record["token_fits"]],
        "deviations": record["deviations"],
        "runs": [_run_figures(study, run) for run in record["runs"]],
    }


def _run(study: Path, work: Path) -> None:
    if not (work / "models" / "catalogue.toml").is_file():
        _command("models", "synth", "--plan", str(PLAN), "--out", str(work / "models"))
    code = _command("loadtest", "study", str(study), "--out", str(work / "study"), allowed=(0, INVALID))
    if code == INVALID:
        sys.stderr.write("The study is INVALID; the page says why.\n")
    record = json.loads((work / "study" / "study.json").read_text(encoding="utf-8"))
    if not record["comparisons"]:
        raise SystemExit(
            f"The study stopped before its comparisons, and no page is written: {record['reasons'][0]}"
        )


def _command(module: str, *words: str, allowed: tuple[int, ...] = (0,)) -> int:
    code = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=False).returncode
    if code not in allowed:
        raise SystemExit(code)
    return code


def _quick_study(work: Path) -> Path:
    """Write the study with far fewer pairs; its paths become absolute, since it lies elsewhere."""
    text = STUDY.read_text(encoding="utf-8")
    for old, new in QUICK.items():
        if old not in text:
            raise SystemExit(f"{STUDY} no longer says {old!r}; change QUICK in {__file__}")
        text = text.replace(old, new)
    for arm in ("../demo/english-intermediate.toml", "../demo/multilingual-intermediate.toml", "deeper.toml"):
        text = text.replace(f'file = "{arm}"', f'file = "{(STUDY.parent / arm).resolve()}"')
    work.mkdir(parents=True, exist_ok=True)
    path = work / "quick.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _elapsed_s(study: Path) -> float:
    """Return how long the study took until its last run was judged, pauses between two sittings left out."""
    moments = [(study / "declared.json").stat().st_mtime]
    moments += sorted(path.stat().st_mtime for path in study.glob("runs/*/summary.json"))
    steps = [after - before for before, after in itertools.pairwise(moments)]
    return sum(step for step in steps if step < PAUSE_S)


def _run_figures(study: Path, run: dict[str, Any]) -> dict[str, Any]:
    folder = study / run["path"]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    gauges = json.loads((folder / "run.json").read_text(encoding="utf-8")).get("gauges", {})
    overall = summary["overall"]
    # The check's own figure: of this run's requests, however few they were.
    late = next((check["measured"] for check in summary["checks"] if check["name"] == "lateness"), None)
    return {
        **{
            key: run[key]
            for key in ("path", "arm", "phase", "pair", "restart", "rate_per_s", "valid", "reasons")
        },
        "n": overall["n"],
        "num_errors": overall["errors"]["num"],
        "num_censored": overall["num_censored"],
        "latency_s": overall["latency_s"],
        "throughput_per_s": overall["throughput_per_s"],
        "lateness_p99": late,
        "steal_ratio": gauges.get("steal_ratio"),
        "generator_cpu_ratio": gauges.get("generator_cpu_ratio"),
    }


if __name__ == "__main__":
    main()
