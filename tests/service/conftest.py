"""Fixtures that the service's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tokenizers

from models.tokenizer import Tokenizer
from tests.service.fake_tokenizer import FakeTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.tasks.tokenizer import Tokenizer as AnyTokenizer
    from tests.service.serving import Served


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


@pytest.fixture(scope="session")
def _library(real_tokenizer_file: Path) -> tokenizers.Tokenizer:
    library: tokenizers.Tokenizer = tokenizers.Tokenizer.from_file(str(real_tokenizer_file))
    return library


@pytest.fixture
def library(_library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """XLM-R's tokenizer in the library's own hands: tests set its truncation as transformers would."""
    _library.no_truncation()
    return _library


@pytest.fixture(scope="session")
def mini_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of mini checkpoints, one a head kind and named after it; see mini_catalogue.py."""
    from tests.service.mini_catalogue import write_catalogue  # noqa: PLC0415 - brings torch, which few tests need

    return write_catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session")
def server(mini_catalogue: Path) -> Iterator[Served]:
    """The service on the mini catalogue, at a real socket."""
    from tests.service.serving import served  # noqa: PLC0415 - brings torch, which few tests need

    with served(mini_catalogue) as running:
        yield running
