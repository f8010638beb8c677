"""Fixtures that the service's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.tokenizer import Tokenizer
from tests.service.fake_tokenizer import FakeTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from service.tasks.tokenizer import Tokenizer as AnyTokenizer


@pytest.fixture
def fake_tokenizer() -> FakeTokenizer:
    return FakeTokenizer()


@pytest.fixture(scope="session")
def real_tokenizer(real_tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.from_file(real_tokenizer_file)


@pytest.fixture(scope="session", params=["fake", "bundled", "real"])
def any_tokenizer(request: pytest.FixtureRequest) -> AnyTokenizer:
    match request.param:
        case "fake":
            return FakeTokenizer()
        case "bundled":
            return Tokenizer.bundled()
        case _:
            tokenizer: Tokenizer = request.getfixturevalue("real_tokenizer")
            return tokenizer
