"""Predict in front of the framework: what it takes, and that nobody can tell which route answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from service.api.predict_route import variant_of
from service.app import create_app
from service.settings import read_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.service.serving import Served

PREDICT = {"type": "http", "method": "POST", "path": "/v1/variants/v/predict"}


@pytest.mark.parametrize(
    ("changes", "variant"),
    [
        ({}, "v"),
        ({"root_path": ""}, "v"),
        ({"path": "/v1/variants/en.xnli #1/predict"}, "en.xnli #1"),
        ({"fastapi.telemetry": None}, "v"),
        ({"fastapi.telemetry": object()}, None),  # traced
        ({"root_path": "/behind"}, None),
        ({"method": "GET"}, None),
        ({"type": "websocket"}, None),
        ({"path": "/v1/variants/v/predict/"}, None),
        ({"path": "/v1/variants/v/predict\n"}, None),
        ({"path": "/v1/variants/a/b/predict"}, None),
        ({"path": "/v1/variants//predict"}, None),
        ({"path": "/x/v1/variants/v/predict"}, None),
    ],
)
def test_only_an_untraced_post_to_predict_is_taken(changes: dict[str, Any], variant: str | None) -> None:
    assert variant_of(PREDICT | changes) == variant


@pytest.fixture(scope="module")
def apps(server: Served) -> dict[str, FastAPI]:
    """Two apps around the service that runs: as it is, and with FastAPI's own route alone."""
    settings = read_settings(catalogue=Path("none.toml"), max_body_bytes=20_000, max_inputs=3)
    apps = {name: create_app(settings, server.service) for name in ("front", "framework")}
    behind = apps["framework"]
    before = len(behind.user_middleware)
    behind.user_middleware = [one for one in behind.user_middleware if one.kwargs.keys() != {"protocol"}]
    assert len(behind.user_middleware) == before - 1
    return apps


def ask(server: Served, app: FastAPI, path: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
    """Send a request to an app on the loop of the service's own."""

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run_coroutine_threadsafe(send(), server.loop).result(30)


GOOD = json.dumps({"inputs": [{"text": "One thing.", "text_pair": "Another."}]}).encode()
PARTLY = json.dumps({"inputs": [{"text": "One thing."}, {"text": " "}]}).encode()


@pytest.mark.parametrize(
    ("variant", "body", "headers", "status"),
    [
        ("classify", GOOD, {}, 200),
        ("embed", GOOD, {"x-request-timeout-ms": "20000"}, 200),
        ("classify", PARTLY, {}, 200),
        ("classify", b"{", {}, 400),
        ("classify", GOOD, {"content-encoding": "gzip"}, 400),
        ("classify", GOOD, {"content-encoding": ""}, 400),
        ("nobody", GOOD, {}, 404),
        ("classify", b" " * 20_001, {}, 413),
        ("classify", json.dumps({"inputs": [{"text": "a"}] * 4}).encode(), {}, 413),
        ("classify", b'{"inputs": []}', {}, 422),
        ("classify", b'{"inputs": [{"text": " "}]}', {}, 422),
        ("choose", GOOD, {}, 422),
        ("classify", GOOD, {"x-request-timeout-ms": "0"}, 422),
    ],
)
def test_both_routes_answer_alike(
    server: Served, apps: dict[str, FastAPI], variant: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    path = f"/v1/variants/{variant}/predict"
    given = headers | {"x-request-id": "same-for-both"}
    front, framework = (ask(server, apps[name], path, body, given) for name in ("front", "framework"))
    assert front.status_code == framework.status_code == status
    assert front.content == framework.content
    assert timeless(front) == timeless(framework)
    assert front.headers["x-request-id"] == "same-for-both"


def timeless(response: httpx2.Response) -> list[tuple[str, str]]:
    """Return every header in its order, of Server-Timing the name alone."""
    return [
        (name, "" if name == "server-timing" else value) for name, value in response.headers.multi_items()
    ]


def test_the_document_is_that_of_the_framework(apps: dict[str, FastAPI]) -> None:
    assert apps["front"].openapi() == apps["framework"].openapi()
