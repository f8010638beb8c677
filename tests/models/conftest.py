"""Small checkpoints and real multilingual sequences for the tests of this room."""

from __future__ import annotations

import itertools
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from transformers import XLMRobertaConfig

from models.synthetic import Shape, write_checkpoint
from models.tokenizer import Tokenizer
from models.variant import HeadKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from models.model import Model

SMALL = Shape(num_layers=2, hidden_size=32, num_heads=2, intermediate_size=64)
LABELS = {
    HeadKind.CLASSIFY: ("contradiction", "entailment", "neutral"),
    HeadKind.TAG: ("B-LOC", "I-LOC", "O"),
}


REFERENCE_CLASSES = {
    HeadKind.CLASSIFY: "XLMRobertaForSequenceClassification",
    HeadKind.CHOOSE: "XLMRobertaForMultipleChoice",
    HeadKind.TAG: "XLMRobertaForTokenClassification",
    HeadKind.SPAN: "XLMRobertaForQuestionAnswering",
    HeadKind.EMBED: "XLMRobertaModel",
}


def random_everywhere(model: torch.nn.Module, *, seed: int) -> None:
    """Give every parameter, biases and norms included, values that cannot be swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("LayerNorm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise if "embeddings" in name else noise * parameter.shape[-1] ** -0.5)


def right_positions(sequences: Sequence[Sequence[int]]) -> list[int]:
    return [2 + index for sequence in sequences for index in range(len(sequence))]


def run_packed(
    model: Model,
    sequences: Sequence[Sequence[int]],
    *,
    positions: Callable[[Sequence[Sequence[int]]], list[int]] = right_positions,
    **how: Any,
) -> Tensor:
    """Run sequences packed together, in int32 as they come from the service."""
    lengths = [len(sequence) for sequence in sequences]
    tokens = [token for sequence in sequences for token in sequence]
    input_ids, position_ids, cu_seqlens = (
        torch.tensor(values, dtype=torch.int32, device=model.device)
        for values in (tokens, positions(sequences), [0, *accumulate(lengths)])
    )
    return model.forward(input_ids, position_ids, cu_seqlens, max(lengths), **how)


@torch.inference_mode()
def expected_alone(kind: HeadKind, reference: Any, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return transformers' answers, each sequence alone and unpadded, packed one after another."""
    answers = []
    for sequence in sequences:
        ids = torch.tensor([sequence])
        match kind:
            case HeadKind.CLASSIFY:
                answers.append(reference(ids).logits)
            case HeadKind.CHOOSE:
                answers.append(reference(ids[None]).logits.reshape(1, 1))
            case HeadKind.TAG:
                answers.append(reference(ids).logits[0])
            case HeadKind.SPAN:
                output = reference(ids)
                answers.append(torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1))
            case HeadKind.EMBED:
                answers.append(reference(ids).last_hidden_state.mean(dim=1))
    return torch.cat(answers)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Two cores are shared; more threads make small matrices slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bundled() -> Tokenizer:
    return Tokenizer.bundled()


@pytest.fixture(scope="session")
def sentences(project_root: Path) -> list[tuple[str, str]]:
    """Language and sentence, of all fifty languages; written for the project."""
    lines = (
        (project_root / "scripts" / "bundled_tokenizer_texts.tsv").read_text(encoding="utf-8").splitlines()
    )
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(language, sentence) for language, sentence in pairs]


@pytest.fixture(scope="session")
def sequences(bundled: Tokenizer, sentences: list[tuple[str, str]]) -> list[list[int]]:
    """Forty sequences of real text in fifty languages, 1 to 512 tokens, in no order of length."""
    stream = itertools.cycle(
        piece for pieces in bundled.encode([text for _, text in sentences]) for piece in pieces.ids
    )
    lengths = [512, 1, 2, 3, 17, 3, 250, 511, 17, 64, *(5 + 7 * index % 113 for index in range(30))]
    return [
        [
            bundled.bos_id,
            *(int(piece) for piece in itertools.islice(stream, max(length - 2, 0))),
            bundled.eos_id,
        ]
        if length > 1
        else [bundled.bos_id]
        for length in lengths
    ]


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, bundled: Tokenizer
) -> Callable[[HeadKind], tuple[Path, Any]]:
    """Transformers' own class of a head kind, every parameter random, and where it saved itself."""
    made: dict[HeadKind, tuple[Path, Any]] = {}

    def make(kind: HeadKind) -> tuple[Path, Any]:
        if kind not in made:
            labels = dict(enumerate(LABELS.get(kind, ("LABEL_0", "LABEL_1"))))
            config = XLMRobertaConfig(
                vocab_size=bundled.vocab_size,
                hidden_size=96,
                num_hidden_layers=4,
                num_attention_heads=4,
                intermediate_size=200,
                max_position_embeddings=514,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                id2label=labels,
                label2id={label: index for index, label in labels.items()},
            )
            # Not the function that the encoder here calls too.
            config._attn_implementation = "eager"
            model = getattr(transformers, REFERENCE_CLASSES[kind])(config).eval()
            random_everywhere(model, seed=3)
            folder = tmp_path_factory.mktemp(f"reference-{kind.value}")
            model.save_pretrained(folder)
            made[kind] = folder, model
        return made[kind]

    return make


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Callable[[HeadKind], Path]:
    """A small synthetic checkpoint of a head kind, written once; do not change it."""
    made: dict[HeadKind, Path] = {}

    def make(kind: HeadKind) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp(f"synthetic-{kind.value}")
            made[kind] = write_checkpoint(folder, head=kind, labels=LABELS.get(kind, ()), size=SMALL, seed=1)
        return made[kind]

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., Tensor]:
    """``run(model, sequences, positions=..., layer=..., pooling=...)``: packed together, no padding."""
    return run_packed


@pytest.fixture(scope="session")
def expected() -> Callable[[HeadKind, Any, Sequence[Sequence[int]]], Tensor]:
    """``expected(kind, reference, sequences)``: transformers' answers, each sequence alone."""
    return expected_alone


@pytest.fixture(scope="session")
def reference_class() -> Callable[[HeadKind], Any]:
    """Transformers' own class of a head kind."""
    return lambda kind: getattr(transformers, REFERENCE_CLASSES[kind])
