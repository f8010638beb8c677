"""Variants of true architecture and random weights for the benchmarks: written once, then found again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from models.synthetic import Size, write_checkpoint
from models.variant import HeadKind

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("entailment", "neutral", "contradiction")


def write_catalogue(folder: Path, size: Size, count: int, tokenizer_file: Path | None = None) -> Path:
    """Write a catalogue of ``count`` classifiers, each with weights of its own, and return it."""
    tables, vocabulary = [], ""
    if tokenizer_file is not None:
        vocabulary = "-" + hashlib.sha256(tokenizer_file.read_bytes()).hexdigest()[:8]
    for seed in range(count):
        name = f"v{seed}"
        checkpoint = folder / f"{size.value}-{name}{vocabulary}"
        if not (checkpoint / "config.json").exists():
            write_checkpoint(
                checkpoint,
                head=HeadKind.CLASSIFY,
                labels=LABELS,
                size=size,
                seed=seed,
                tokenizer_file=tokenizer_file,
            )
        tables.append(f'[[variant]]\nname = "{name}"\nhead = "classify"\ncheckpoint = "{checkpoint.name}"\n')
    catalogue = folder / f"{size.value}-{count}{vocabulary}.toml"
    catalogue.write_text("\n".join(tables), encoding="utf-8")
    return catalogue
