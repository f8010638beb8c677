"""Train the small tokenizer that comes with the project, and write its tokenizer.json.

Rules: the text was written for this project (``bundled_tokenizer_texts.tsv`` beside this file);
the same text gives the same bytes; special tokens have XLM-R's ids, words get XLM-R's mark,
and what the vocabulary does not know falls back to bytes, so that no text of any language
becomes ``<unk>``.

    python scripts/train_bundled_tokenizer.py            writes models/bundled/tokenizer.json
    python scripts/train_bundled_tokenizer.py --check    fails if that file is not what it would write
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import unicodedata
from pathlib import Path

# The sums of the training depend on the number of threads in their last digits.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
TEXTS = HERE / "bundled_tokenizer_texts.tsv"
OUTPUT = HERE.parent / "models" / "bundled" / "tokenizer.json"

VOCAB_SIZE = 8000  # at most; the text may not give so many
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))

# Scripts of the fifty languages whose letters all get a piece of their own: (first, last) code points.
LETTERS = (
    (0x0021, 0x007E),  # ASCII
    (0x00A1, 0x017F),  # Latin of western and central Europe
    (0x01A0, 0x01B0),  # Vietnamese o and u with horn
    (0x0218, 0x021B),  # Romanian
    (0x0259, 0x0259),  # Azerbaijani
    (0x0300, 0x0304),  # combining accents
    (0x0323, 0x0331),  # combining dots below, Yoruba
    (0x0384, 0x03CE),  # Greek
    (0x0400, 0x045F),  # Cyrillic
    (0x0490, 0x04E9),  # Cyrillic of Ukrainian and Kazakh
    (0x05D0, 0x05EA),  # Hebrew
    (0x060C, 0x0652),  # Arabic
    (0x0660, 0x06D5),  # Arabic of Persian and Urdu, digits
    (0x06F0, 0x06F9),  # Persian digits
    (0x0901, 0x096F),  # Devanagari
    (0x0981, 0x09EF),  # Bengali
    (0x0A01, 0x0A74),  # Gurmukhi
    (0x0A81, 0x0AEF),  # Gujarati
    (0x0B82, 0x0BEF),  # Tamil
    (0x0C01, 0x0C6F),  # Telugu
    (0x0D02, 0x0D7F),  # Malayalam
    (0x0E01, 0x0E5B),  # Thai
    (0x1000, 0x104F),  # Burmese
    (0x10D0, 0x10FA),  # Georgian
    (0x1E00, 0x1EF9),  # Latin with dots below, Vietnamese
    (0x2010, 0x2026),  # dashes and quotation marks
    (0x3001, 0x3011),  # punctuation of Chinese and Japanese
    (0x3041, 0x3096),  # Hiragana
    (0x30A1, 0x30FC),  # Katakana
)
# Row and cell ranges of the levels of common characters in two national standards.
GB2312_LEVEL_1 = (0xB0, 0xD7)
JIS_LEVEL_1 = (0xB0, 0xCF)


def main() -> int:
    """Write the file, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file that is there")
    check: bool = parser.parse_args().check
    content = as_file(train(read_texts(TEXTS)))
    if not check:
        OUTPUT.parent.mkdir(parents=True, exist_ok=True)
        OUTPUT.write_text(content, encoding="utf-8")
        print(f"{OUTPUT}: {len(content.encode()):,} bytes")
        return 0
    if OUTPUT.read_text(encoding="utf-8") == content:
        print(f"{OUTPUT} is up to date")
        return 0
    print(f"{OUTPUT} is not what the text gives; run this script without --check", file=sys.stderr)
    return 1


def read_texts(file: Path) -> list[str]:
    """Return the sentences of a file of ``language TAB sentence`` lines."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split("\t", 1)[1] for line in lines if line and not line.startswith("#")]


def train(texts: list[str]) -> Tokenizer:
    """Train a Unigram model on the texts and put XLM-R's ids around it."""
    tokenizer = Tokenizer(models.Unigram())
    _dress(tokenizer)
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCAB_SIZE - len(BYTES) - 1,  # without the bytes and the mask
        special_tokens=list(FIRST),
        unk_token="<unk>",  # noqa: S106 - a token of a vocabulary, not a secret
        initial_alphabet=alphabet(),
        max_piece_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pieces = _settle(json.loads(tokenizer.to_str())["model"]["vocab"][len(FIRST) :])
    lowest = min(score for _, score in pieces)
    vocab = [
        *((token, 0.0) for token in FIRST),
        *pieces,
        *((byte, lowest - 1) for byte in BYTES),
        (MASK, 0.0),
    ]
    final = Tokenizer(models.Unigram(vocab, unk_id=FIRST.index("<unk>"), byte_fallback=True))
    _dress(final)
    final.add_special_tokens(
        [*(AddedToken(token, special=True) for token in FIRST), AddedToken(MASK, lstrip=True)]
    )
    return final


def _settle(trained: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Free scores and order of what changes from run to run.

    The trainer gives letters that it had no use for the lowest score plus a ten-thousandth each,
    in an order of its own; here they all get the lowest score. Sums are cut to four digits.
    """
    singles = sum(len(token) == 1 for token, _ in trained)
    floor = min(score for token, score in trained if len(token) > 1)
    filled = floor + 1e-4 * singles
    settled = [
        (token, round(floor if len(token) == 1 and score <= filled else score, 4)) for token, score in trained
    ]
    return sorted(settled, key=lambda entry: (-entry[1], entry[0]))


def _dress(tokenizer: Tokenizer) -> None:
    """Give a tokenizer XLM-R's way with characters, spaces and sequences."""
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace()])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", FIRST.index("<s>")), ("</s>", FIRST.index("</s>"))],
    )


def alphabet() -> list[str]:
    """Return every character that gets a piece of its own, whether the texts have it or not."""
    letters = {chr(point) for first, last in LETTERS for point in range(first, last + 1)}
    common = _standard("gb2312", *GB2312_LEVEL_1) & _standard("euc_jp", *JIS_LEVEL_1)
    assigned = {
        letter for letter in letters | common if unicodedata.category(letter) not in ("Cn", "Cc", "Zs")
    }
    return sorted({unicodedata.normalize("NFKC", letter) for letter in assigned} & assigned)


def _standard(encoding: str, first_row: int, last_row: int) -> set[str]:
    """Return the characters of some rows of a two-byte standard."""
    cells = (bytes([row, cell]) for row in range(first_row, last_row + 1) for cell in range(0xA1, 0xFF))
    return {cell.decode(encoding, errors="ignore") for cell in cells} - {""}


def as_file(tokenizer: Tokenizer) -> str:
    """Return a tokenizer.json with a piece a line, so that a change can be read."""
    content = json.loads(tokenizer.to_str())
    vocab = content["model"].pop("vocab")
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in vocab)
    whole = json.dumps(content, indent=1, ensure_ascii=False)
    closing = '\n  "byte_fallback": true'
    if whole.count(closing) != 1:
        raise RuntimeError("The library writes tokenizer.json in another way now; adapt as_file.")
    return whole.replace(closing, f'{closing},\n  "vocab": [\n{lines}\n]') + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
