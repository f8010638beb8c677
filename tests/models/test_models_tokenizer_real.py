"""XLM-R's own tokenizer.json, against published encodings, counts, and transformers."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# Published in fairseq's README of XLM-R; ids with <s> and </s>.
GOLDEN = {
    "Hello world!": [0, 35378, 8999, 38, 2],
    "你好\uff0c世界": [0, 6, 124084, 4, 3221, 2],
    "नमस्ते दुनिया": [0, 68700, 97883, 29405, 2],
    "مرحبا بالعالم": [0, 665, 193478, 258, 1705, 77796, 2],
    "Bonjour le monde": [0, 84602, 95, 11146, 2],
}
# XQuAD, all 1,190 questions of a language with their contexts, special tokens included:
# mean, 95th percentile, and percent over 384 tokens.
XQUAD = {
    "en": (205, 331, 3.6),
    "zh": (192, 340, 3.4),
    "tr": (212, 352, 3.9),
    "de": (234, 389, 5.1),
    "es": (233, 399, 5.8),
    "vi": (235, 398, 6.0),
    "th": (233, 422, 6.5),
    "ru": (239, 402, 7.1),
    "ro": (248, 432, 7.2),
    "ar": (235, 412, 7.2),
    "hi": (250, 420, 11.0),
    "el": (287, 502, 15.5),
}


@pytest.fixture(scope="module")
def tokenizer(real_tokenizer_file: Path) -> Tokenizer:
    return Tokenizer.from_file(real_tokenizer_file)


@pytest.fixture(scope="module")
def theirs(real_tokenizer_file: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(real_tokenizer_file))  # type: ignore[no-untyped-call]  # transformers leaves it so


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    return [tokenizer.bos_id, *tokenizer.encode([text])[0].ids.tolist(), tokenizer.eos_id]


@pytest.mark.parametrize(("text", "ids"), GOLDEN.items())
def test_published_encodings(text: str, ids: list[int], tokenizer: Tokenizer) -> None:
    assert whole(tokenizer, text) == ids
    assert tokenizer.vocab_size == 250_002


def words_of(file: Path) -> list[list[str]]:
    sentences: list[list[str]] = [[]]
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            sentences[-1].append(line.split("\t")[0])
        elif sentences[-1]:
            sentences.append([])
    return [words for words in sentences if words]


def pairs_of(file: Path) -> list[tuple[str, str]]:
    paragraphs = (p for article in json.loads(file.read_bytes())["data"] for p in article["paragraphs"])
    return [(question["question"], p["context"]) for p in paragraphs for question in p["qas"]]


def pair_lengths(tokenizer: Tokenizer, pairs: list[tuple[str, str]]) -> NDArray[np.int64]:
    single = [len(pieces) for pieces in tokenizer.encode([text for pair in pairs for text in pair])]
    pairs_by_two: NDArray[np.int64] = np.array(single).reshape(-1, 2)
    # <s> a </s></s> b </s>
    lengths: NDArray[np.int64] = pairs_by_two.sum(axis=1) + 4
    return lengths


def token_stats(folder: Path) -> Iterator[dict[str, str]]:
    header, *lines = (folder / "token_stats.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines:
        yield dict(zip(header.split("\t"), line.split("\t"), strict=True))


def lengths_of(tokenizer: Tokenizer, folder: Path, task: str, language: str) -> NDArray[np.int64] | None:
    """Return the length of every record of a file, special tokens included; None where it is not there."""
    match task:
        case "XNLI":
            file = folder / "xnli" / f"test-{language}.tsv"
        case "UDPOS" | "WikiANN-NER":
            file = folder / {"UDPOS": "udpos", "WikiANN-NER": "panx"}[task] / f"test-{language}.tsv"
        case "XQuAD":
            file = folder / "xquad" / f"xquad.{language}.json"
        case "TyDiQA-GoldP":
            file = folder / "tydiqa" / "tydiqa-goldp-v1.1-dev" / f"tydiqa.goldp.{language}.dev.json"
        case "Tatoeba":
            file = folder / "tatoeba" / f"tatoeba.{language}-eng.{language}"
        case _:
            return None
    if not file.is_file():
        return None
    match task:
        case "XNLI":
            lines = file.read_text(encoding="utf-8").split("\n")
            return pair_lengths(
                tokenizer, [(one, two) for one, two in (line.split("\t") for line in lines if line)]
            )
        case "UDPOS" | "WikiANN-NER":
            return np.array([len(tokenizer.encode_words(words)) + 2 for words in words_of(file)])
        case "Tatoeba":
            lines = file.read_text(encoding="utf-8").splitlines()
            return np.array([len(pieces) + 2 for pieces in tokenizer.encode(lines)])
        case _:
            return pair_lengths(tokenizer, pairs_of(file))


def test_counts_where_every_record_was_counted(tokenizer: Tokenizer, xtreme_r_dir: Path) -> None:
    compared = 0
    for row in token_stats(xtreme_r_dir):
        if int(row["sampled"]) < int(row["records"]) or row["task"] == "XCOPA":
            continue
        lengths = lengths_of(tokenizer, xtreme_r_dir, row["task"], row["lang"])
        if lengths is None or len(lengths) != int(row["records"]):
            continue
        compared += 1
        capped = np.sort(np.minimum(lengths, int(row["cap"])))
        where = (row["task"], row["lang"])
        assert (where, round(float(capped.mean()), 1)) == (where, float(row["mean"]))
        percentiles = [int(capped[int(share * len(capped))]) for share in (0.5, 0.9, 0.99)]
        assert (where, percentiles) == (where, [int(row[name]) for name in ("p50", "p90", "p99")])
        assert (where, int(lengths.max())) == (where, int(row["max_uncapped"]))
        over = float((lengths > int(row["cap"])).mean())
        assert over == pytest.approx(float(row["share_over_cap"]), abs=5e-5)
    assert compared >= 10


def test_counts_where_300_records_were_sampled(tokenizer: Tokenizer, xtreme_r_dir: Path) -> None:
    """Which 300 is not known, so a mean may be off by its sampling error, and by nothing more."""
    compared = 0
    for row in token_stats(xtreme_r_dir):
        if row["lang"] not in SAMPLED.get(row["task"], ()):
            continue
        lengths = lengths_of(tokenizer, xtreme_r_dir, row["task"], row["lang"])
        if lengths is None or len(lengths) != int(row["records"]):
            continue
        compared += 1
        capped = np.minimum(lengths, int(row["cap"]))
        sampled = int(row["sampled"])
        error = capped.std() * np.sqrt((1 - sampled / len(capped)) / sampled)
        assert abs(float(capped.mean()) - float(row["mean"])) <= 4 * error + 0.05, row
        assert int(row["max_uncapped"]) <= int(lengths.max()), row
    assert compared >= 8


# A few scripts of each kind; all of them would take minutes.
SAMPLED = {
    "XNLI": {"th", "zh"},
    "Tatoeba": {"cmn", "ara", "hin", "jpn", "kor", "tam", "ell", "fin"},
}


@pytest.mark.parametrize("language", ["en", "zh", "ar", "el", "hi"])
def test_xquad_lengths_of_all_records(language: str, tokenizer: Tokenizer, xtreme_r_dir: Path) -> None:
    mean, p95, percent_over = XQUAD[language]
    lengths = pair_lengths(tokenizer, pairs_of(xtreme_r_dir / "xquad" / f"xquad.{language}.json"))
    assert len(lengths) == 1190
    assert round(float(lengths.mean())) == mean
    assert round(float(np.percentile(lengths, 95))) == pytest.approx(p95, abs=1)
    assert round(100 * float((lengths > 384).mean()), 1) == percent_over


@pytest.mark.parametrize("language", ["th", "zh", "ar", "hi", "ja", "ta", "ko", "yo"])
def test_pre_split_words_equal_transformers(
    language: str, tokenizer: Tokenizer, theirs: PreTrainedTokenizerFast, xtreme_r_dir: Path
) -> None:
    file = xtreme_r_dir / "panx" / f"test-{language}.tsv"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the files here")
    for words in words_of(file)[:200]:
        ours = tokenizer.encode_words(words)
        wanted = theirs(
            words, is_split_into_words=True, add_special_tokens=False, return_offsets_mapping=True
        )
        # Transformers leaves out words of which nothing is left; here, as in XTREME, they are <unk>.
        left = [index for index, word in enumerate(words) if tokenizer.encode([word])[0].ids.size]
        kept = np.isin(ours.words, left)
        assert ours.ids[kept].tolist() == wanted["input_ids"]
        assert ours.words[kept].tolist() == wanted.word_ids()


@pytest.mark.parametrize("language", ["th", "zh", "ar", "hi", "ru", "tr"])
def test_running_text_and_its_places_equal_transformers(
    language: str, tokenizer: Tokenizer, theirs: PreTrainedTokenizerFast, xtreme_r_dir: Path
) -> None:
    file = xtreme_r_dir / "xnli" / f"test-{language}.tsv"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the files here")
    texts = [text for line in file.read_text(encoding="utf-8").split("\n")[:150] for text in line.split("\t")]
    wanted = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    for index, (text, ours) in enumerate(zip(texts, tokenizer.encode(texts), strict=True)):
        assert ours.ids.tolist() == wanted["input_ids"][index]
        if not unicodedata.is_normalized("NFC", text):
            continue  # there, places are better here: see the next test
        places = list(zip(ours.starts.tolist(), ours.ends.tolist(), strict=True))
        assert places == [tuple(place) for place in wanted["offset_mapping"][index]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("สวัสดีชาวโลก", ["ส", "สว", "ัส", "ดี", "ชาว", "โลก"]),
        ("cafe\u0301 x", ["cafe\u0301", "x"]),
        ("ﬁne", ["ﬁne"]),
        ("👍🏽 ok", ["👍", "👍", "🏽", "ok"]),
    ],
)
def test_places_by_hand(text: str, pieces: list[str], tokenizer: Tokenizer) -> None:
    ours = tokenizer.encode([text])[0]
    assert [text[start:end] for start, end in zip(ours.starts, ours.ends, strict=True)] == pieces


def test_special_tokens_written_out_in_a_text_are_read_as_transformers_reads_them(
    tokenizer: Tokenizer, theirs: PreTrainedTokenizerFast
) -> None:
    text = "a </s> b <mask>c<unk>"
    assert tokenizer.encode([text])[0].ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.eos_id in tokenizer.encode([text])[0].ids
