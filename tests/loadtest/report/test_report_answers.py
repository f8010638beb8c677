"""Answers of a run as they are scored: one that cannot be read is an empty one, and costs no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from loadtest.report.answers import read_answers

if TYPE_CHECKING:
    from pathlib import Path

LABEL = {"label": "neutral"}


@pytest.mark.parametrize(
    "odd", ["[" * 200_000, '{"a":' * 200_000, '{"label": "neu', "", "3", "[]"], ids=lambda text: text[:12]
)
def test_an_answer_that_cannot_be_read_is_empty_and_costs_no_other(odd: str, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "row": [4, 7, 9],
            "task": ["xnli"] * 3,
            "answered": [True, True, False],
            "answer": [odd, json.dumps(LABEL), json.dumps(LABEL)],
        }
    )
    assert read_answers(tmp_path, frame) == {4: {}, 7: LABEL}
