"""Settings: from arguments, else from the environment, else by default; refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.errors import StartupError
from service.settings import read_settings


def test_arguments_go_before_the_environment_and_that_before_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLMR_PORT", "1234")
    monkeypatch.setenv("XLMR_HOST", "::1")
    monkeypatch.setenv("XLMR_CATALOGUE", "env.toml")
    settings = read_settings(catalogue="arg.toml", host=None, port="4321")
    assert (settings.catalogue, settings.port, settings.host) == (Path("arg.toml"), 4321, "::1")
    assert settings.max_inputs == 256


def test_variants_are_names_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(catalogue="c").variants is None
    assert read_settings(catalogue="c", variants="a, b,c").variants == ("a", "b", "c")
    monkeypatch.setenv("XLMR_VARIANTS", "x,y")
    assert read_settings(catalogue="c").variants == ("x", "y")


@pytest.mark.parametrize(("host", "in_url"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("box", "box")])
def test_the_host_as_it_stands_in_a_url(host: str, in_url: str) -> None:
    assert read_settings(catalogue="c", host=host).url_host == in_url


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "--catalogue"),
        ({"port": "65536"}, "--port"),
        ({"port": "eighty"}, "--port"),
        ({"device": "tpu"}, "--device"),
        ({"dtype": "int4"}, "--dtype"),
        ({"variants": "a,,b"}, "--variants"),
        ({"variants": ""}, "--variants"),
        ({"timeout_s": "nan"}, "--timeout-s"),
        ({"timeout_s": "0"}, "--timeout-s"),
        ({"timeout_s": "7200"}, "max_timeout_s"),
        ({"max_body_bytes": "-1"}, "--max-body-bytes"),
        ({"log_level": "loud"}, "--log-level"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_in_one_line(given: dict[str, Any], names: str) -> None:
    with pytest.raises(StartupError) as refusal:
        read_settings(**({"catalogue": "c"} | given if given else {}))
    assert names in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")
