"""The Dockerfile: linted, multi-stage, and made of files that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.service_options import HEALTH_ROUTES, given_options

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "Dockerfile"
TEXT = FILE.read_text(encoding="utf-8")
REQUIREMENTS = ROOT / "scripts" / "image_requirements.py"


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("hadolint")), "--format", "json", str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_hadolint_finds_nothing() -> None:
    result = hadolint(FILE)
    assert json.loads(result.stdout) == []
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("rule", "found", "put"),
    [
        (
            "DL3007",
            "python:3.11.14-slim-bookworm\n\nFROM ${PYTHON_IMAGE} AS build",
            "x\n\nFROM python:latest AS build",
        ),
        ("DL3025", 'ENTRYPOINT ["xlmr-serve"]', "ENTRYPOINT xlmr-serve"),
        ("DL3000", "WORKDIR /work", "WORKDIR work"),
    ],
)
def test_hadolint_finds_out_what_is_wrong(rule: str, found: str, put: str, tmp_path: Path) -> None:
    assert found in TEXT
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(TEXT.replace(found, put))
    assert rule in {finding["code"] for finding in json.loads(hadolint(wrong).stdout)}


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", ["service", "loadtest"])
def test_an_image_runs_as_nobody_and_has_no_build_tools(name: str) -> None:
    stage = stages()[name]
    assert "USER 10001:10001" in stage
    assert stage.index("USER") < stage.index("ENTRYPOINT")
    assert "pip" not in stage
    assert f"COPY --from=build-{name} /opt/venv /opt/venv" in stage


def test_the_last_stage_is_the_service() -> None:
    assert list(stages())[-1] == "service"


def test_the_service_starts_with_options_that_it_has_and_is_asked_where_it_answers() -> None:
    stage = stages()["service"]
    command = json.loads(re.findall(r"^CMD (\[.+\])$", stage, re.MULTILINE)[0])
    options = given_options(command)
    assert f"EXPOSE {options['port']}" in stage
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", stage)
    assert url[0] == options["port"]
    assert url[1] in HEALTH_ROUTES


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = {
        source.removeprefix("./")
        for arguments in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
        for source in arguments.split()[:-1]
    }
    for path in copied:
        assert (ROOT / path).exists()
        assert any(path == entry or path.startswith(f"{entry}/") for entry in allowed), path
    assert {entry for entry in allowed if not any(path.startswith(entry) for path in copied)} == set()


def requirements(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REQUIREMENTS), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_requirements_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert requirements().stdout.splitlines() == project["dependencies"]
    load = requirements(
        "--extra", "load", "--without", "torch", "--without", "transformers"
    ).stdout.splitlines()
    everything = project["dependencies"] + project["optional-dependencies"]["load"]
    assert len(load) == len(everything) - 2
    assert [line for line in everything if line not in load] == [
        line for line in project["dependencies"] if re.match(r"(torch|transformers)\b", line)
    ]


def test_requirements_that_are_not_there_are_refused() -> None:
    for options, complaint in (
        (("--extra", "lod"), "no extra 'lod'; it has load, "),
        (("--without", "tensorflow"), "does not ask for tensorflow"),
    ):
        result = requirements(*options)
        assert result.returncode == 2
        assert complaint in result.stderr
        assert "Traceback" not in result.stderr
