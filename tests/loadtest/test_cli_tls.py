"""`xlmr-load run` against a target behind TLS whose certificate a file names, and one that nobody trusts."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from pathlib import Path

VALID_OR_NOT = (0, 5)  # a busy machine may make a run invalid; here it matters that it was made


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """The files of a certificate for the loopback, signed by itself, and of its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here; Debian's package of that name brings it")
    made = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-out", made[0], "-keyout", made[1], "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return made


def words(folder: Path, target: str, *more: str) -> list[str]:
    """Return the words of a command that runs twenty arrivals."""
    trace = write_trace(folder / "trace", every(0.02, 20))
    arm = write_arm(folder / "arm.toml", xnli="v.xnli")
    given = ["--trace", str(trace), "--target", target, "--arm", str(arm), "--out", str(folder / "out")]
    return ["run", *given, *more]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_arrival_is_answered_through_tls_whose_certificate_is_named(
    tmp_path: Path, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with null_server(tls=certificate) as world:
        done = CliRunner().invoke(app, words(tmp_path, world.url, "--processes", processes))
    assert done.exit_code in VALID_OR_NOT, done.output
    assert world.url.startswith("https://")
    samples = read_samples(tmp_path / "out")
    assert samples["status"].to_list() == [200] * 20
    assert samples["error"].null_count() == 20


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(
    tmp_path: Path, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with null_server(tls=certificate) as world:
        done = CliRunner().invoke(app, words(tmp_path, world.url, "--ready-timeout", "300"))
    said = " ".join(done.stderr.split())
    assert done.exit_code == 2
    assert f"{world.url} is not trusted: its certificate is not good here (self-signed certificate)" in said
    assert "SSL_CERT_FILE may name certificates to trust" in said
    assert not (tmp_path / "out").exists()
