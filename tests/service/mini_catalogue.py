"""A small catalogue of true checkpoints; it needs nothing of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.synthetic import write_checkpoint
from models.variant import HeadKind

if TYPE_CHECKING:
    from pathlib import Path

XNLI = ("entailment", "neutral", "contradiction")
PANX = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
HEADS = ("classify", "choose", "tag", "span", "embed")


def write_catalogue(folder: Path) -> Path:
    """Write a mini checkpoint of each head kind, named after it, and "low", which embeds at layer 2."""
    tables = []
    for seed, head in enumerate(HeadKind):
        labels = {HeadKind.CLASSIFY: XNLI, HeadKind.TAG: PANX}.get(head, ())
        write_checkpoint(folder / head.value, head=head, labels=labels, seed=seed)
        lineage = 'lineage = {system = "english-intermediate", tasks = ["mnli"], languages = ["en"]}'
        tables.append(_table(head.value, head.value, head.value, lineage))
    tables.append(_table("low", "embed", "embed", "layer = 2\nnormalize = true"))
    catalogue = folder / "catalogue.toml"
    catalogue.write_text("\n".join(tables), encoding="utf-8")
    return catalogue


def _table(name: str, head: str, checkpoint: str, more: str) -> str:
    return f'[[variant]]\nname = "{name}"\nhead = "{head}"\ncheckpoint = "{checkpoint}"\n{more}\n'
