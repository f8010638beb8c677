"""The OpenAPI document where FastAPI cannot derive it.

The body of predict depends on the variant and not on the path, so it is read by hand and
described here; errors are problem+json, which FastAPI would call plain JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.api.headers import REQUEST_ID, SERVER_TIMING, TIMEOUT
from service.api.native_request import REQUESTS
from service.api.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from fastapi import FastAPI
    from pydantic import BaseModel

_REF: Final = "#/components/schemas/{model}"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


PROBLEM: Final[dict[str, Any]] = {
    "description": (
        "Refused or failed: 400 not JSON, 404 no such variant, 413 too large, 422 wrong shape, "
        "429 queue full, 503 starting or draining, 504 deadline passed, 500 a failure of the service."
    ),
    "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
}
PREDICT_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [_ref(model.__name__) for model in REQUESTS.values()]}}
    },
}
ANSWER_HEADERS: Final[dict[str, Any]] = {
    SERVER_TIMING: {
        "description": "tokenize, queue, infer, decode and total, in ms; the parts add up to the total.",
        "schema": {"type": "string"},
    },
    REQUEST_ID: {
        "description": "The request's own if it was valid, else a new one.",
        "schema": {"type": "string"},
    },
}
REQUEST_HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": TIMEOUT,
        "in": "header",
        "required": False,
        "description": "Milliseconds within which the answer must be ready; 504 after that.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": REQUEST_ID,
        "in": "header",
        "required": False,
        "description": "A name for the request: 1 to 128 letters, digits and ._:/+=@-.",
        "schema": {"type": "string"},
    },
]


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the function that describes an app, for the app to call when it is asked."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            models: list[tuple[type[BaseModel], Literal["validation"]]] = [
                (model, "validation") for model in (*REQUESTS.values(), Problem)
            ]
            components.update(models_json_schema(models, ref_template=_REF)[1]["$defs"])
            app.openapi_schema = schema
        return app.openapi_schema

    return describe
