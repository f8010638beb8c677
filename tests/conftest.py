"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A pause of a shared machine is no fault of the code: what may hang is bounded by pytest-timeout. Examples
# are the same every time, so that a change is judged by what it changes; `--hypothesis-profile explore` has
# others.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("project", **PATIENT, derandomize=True)  # type: ignore[arg-type]  # a table
settings.register_profile("explore", **PATIENT, max_examples=1000)  # type: ignore[arg-type]  # a table
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def xtreme_r_dir() -> Path:
    """Real XTREME-R inputs beside the checkout, or where XLMR_XTREME_R_DIR says."""
    folder = Path(os.environ.get("XLMR_XTREME_R_DIR", ROOT.parent / "shared" / "xtreme_r"))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no XTREME-R inputs at {folder}; set XLMR_XTREME_R_DIR to try them")
    return folder


@pytest.fixture(scope="session")
def real_tokenizer_file(xtreme_r_dir: Path) -> Path:
    """XLM-R's own tokenizer.json."""
    return xtreme_r_dir / "tokenizer" / "tokenizer.json"
