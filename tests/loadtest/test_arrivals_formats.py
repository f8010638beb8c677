"""Recorded arrivals: lines in the formats that their publishers document, and lines that are none."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from loadtest.trace.arrivals import LawError, Replay, parse_timestamps
from loadtest.trace.arrivals_file import load_law, read_timestamps

if TYPE_CHECKING:
    from pathlib import Path

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.0319600,110,27
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118.25,GPT-4,417,276,693,"API log"
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 0, "input_length": 7319, "output_length": 490, "hash_ids": [0, 14]}
{"timestamp": 3052, "input_length": 7234, "output_length": 794, "hash_ids": [0, 28]}
"""
COMMON = """127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326
127.0.0.1 - frank [10/Oct/2000:22:55:38 +0200] "GET /later HTTP/1.0" 200 2326
"""
COMBINED = """10.0.0.9 - - [01/Mar/2024:00:00:00 +0000] "POST /v1 HTTP/1.1" 200 12 "-" "curl/8.5"
::1 - - [29/Feb/2024:23:59:59 +0000] "GET /a [b] HTTP/1.1" 404 0 "http://x/" "Mozilla/5.0 (X11)"
"""


@pytest.mark.parametrize(
    ("text", "name", "offsets_us", "lengths"),
    [
        (AZURE_2023, "azure", [0, 52_000, 52_000], [4808, 3180, 110]),
        (AZURE_2024, "azure", [0, 7_405], [2162, 2399]),
        (BURSTGPT, "burstgpt", [0, 40_000_000, 113_250_000], [472, 1087, 417]),
        (MOONCAKE, "mooncake", [0, 0, 3_052_000], [6755, 7319, 7234]),
        (COMMON, "access-log", [0, 2_000_000], None),
        (COMBINED, "access-log", [0, 1_000_000], None),
    ],
)
def test_a_known_format_gives_offsets_and_lengths(
    text: str, name: str, offsets_us: list[int], lengths: list[int] | None
) -> None:
    found = parse_timestamps(text.splitlines(), source="trace")
    assert found.format == name
    assert found.offsets_us.tolist() == offsets_us
    assert (None if found.lengths_tokens is None else found.lengths_tokens.tolist()) == lengths


def test_lines_out_of_order_are_sorted_with_their_lengths() -> None:
    lines = ["\ufeffTimestamp,Request tokens", "9,90", "", "3,30", "6,60"]
    found = parse_timestamps(lines, source="trace")
    assert found.offsets_us.tolist() == [0, 3_000_000, 6_000_000]
    assert found.lengths_tokens is not None
    assert found.lengths_tokens.tolist() == [30, 60, 90]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("hello,world\n1,2\n", "no known format"),
        ("TIMESTAMP,Tokens\n", "no column 'ContextTokens'"),
        ("Timestamp,Request tokens\n", "no rows"),
        (BURSTGPT + "x,ChatGPT,1,2,3,l\n", "line 5 cannot be read"),
        (BURSTGPT + "7\n", "line 5 cannot be read"),
        (BURSTGPT + "inf,ChatGPT,1,2,3,l\n", "line 5 cannot be read"),
        (AZURE_2023 + "yesterday,1,2\n", "line 5 cannot be read"),
        (MOONCAKE + "[1]\n", "line 4 cannot be read"),
        (MOONCAKE + '{"input_length": 3}\n', "line 4 cannot be read"),
        (MOONCAKE + '{"timestamp": 30', "line 4 cannot be read"),
        (COMMON + "junk\n", "line 3 cannot be read"),
        (COMMON.replace("Oct", "Foo", 2), "line 1 cannot be read"),
    ],
)
def test_a_trace_that_cannot_be_read_says_where(text: str, says: str) -> None:
    with pytest.raises(LawError, match=says):
        parse_timestamps(text.splitlines(), source="trace.csv")


def test_a_law_is_loaded_from_its_file_plain_or_packed(tmp_path: Path) -> None:
    (tmp_path / "burst.csv").write_text(BURSTGPT, encoding="utf-8")
    (tmp_path / "burst.csv.gz").write_bytes(gzip.compress(BURSTGPT.encode()))
    law = load_law("replay:burst.csv:10", folder=tmp_path)
    assert isinstance(law, Replay)
    assert law.recorded_us == (0, 40_000_000, 113_250_000)
    assert law.expected_count(5.0) == 2
    packed = read_timestamps(tmp_path / "burst.csv.gz")
    assert packed.offsets_us.tolist() == list(law.recorded_us)
    assert load_law("poisson:3").text == "poisson:3.0"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LawError, match=r"none\.csv cannot be read"):
        load_law("replay:none.csv", folder=tmp_path)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LawError, match="not UTF-8"):
        load_law("replay:bytes.csv", folder=tmp_path)
    (tmp_path / "broken.gz").write_bytes(gzip.compress(BURSTGPT.encode())[:40])
    with pytest.raises(LawError, match=r"broken\.gz cannot be read"):
        load_law("replay:broken.gz", folder=tmp_path)
