"""Where a checkpoint lies on this machine: its own directory, or the hub's cache.

Rules: only what is needed is fetched (configuration, tokenizer, weights); what the cache
holds is used when the hub cannot be reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

if TYPE_CHECKING:
    from models.variant import Variant

_TOKENIZER = "tokenizer.json"
_FILES = ("config.json", _TOKENIZER, "model*.safetensors", "model.safetensors.index.json")
_BIN_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


class HubError(Exception):
    """A checkpoint cannot be brought here; ``str(error)`` is one line for a user's eyes."""


def checkpoint_folder(variant: Variant) -> Path:
    """Return the directory of a variant's checkpoint, fetching it from the hub where it must be.

    Raises:
        HubError: there is no checkpoint yet, no such repository or revision, or no way there.
    """
    if not variant.available:
        raise HubError(
            f"variant {variant.name!r} has no public checkpoint yet; "
            "give it one in the catalogue, or leave it out of the variants that are loaded."
        )
    if variant.is_local:
        return Path(variant.checkpoint)
    where = f"variant {variant.name!r}: the checkpoint"
    folder = _fetch(variant.checkpoint, variant.revision, _FILES, where)
    if variant.allow_bin and not any(folder.glob("model*.safetensors")):
        folder = _fetch(variant.checkpoint, variant.revision, (*_FILES, *_BIN_FILES), where)
    return folder


def tokenizer_file(variant: Variant, folder: Path) -> Path | None:
    """Return a variant's tokenizer.json, or None where neither it nor its checkpoint has one.

    ``folder``: of the checkpoint. Many published checkpoints hold only a SentencePiece model;
    the catalogue can then name a repository that has XLM-R's tokenizer.json.

    Raises:
        HubError: the repository that the catalogue names has none, or cannot be reached.
    """
    if variant.tokenizer is None:
        file = folder / _TOKENIZER
        return file if file.is_file() else None
    if Path(variant.tokenizer).is_absolute():
        return Path(variant.tokenizer)
    where = f"variant {variant.name!r}: the tokenizer"
    file = _fetch(variant.tokenizer, None, (_TOKENIZER,), where) / _TOKENIZER
    if not file.is_file():
        raise HubError(
            f"{where} {variant.tokenizer} has no {_TOKENIZER}; name another repository, or a file."
        )
    return file


def _fetch(repository: str, revision: str | None, patterns: tuple[str, ...], where: str) -> Path:
    """Bring the files of a repository that match into the hub's cache; return their directory."""
    named = f"{where} {repository}" + (f", revision {revision}," if revision else "")
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except RevisionNotFoundError as error:
        raise HubError(f"{named} is not on the hub: there is no such revision.") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{named} is neither beside the catalogue nor a repository that the hub shows you; "
            "check the spelling, or log in to the hub if it is private."
        ) from error
    except LocalEntryNotFoundError as error:
        raise HubError(
            f"{named} is neither beside the catalogue nor in the hub's cache, and the hub cannot be "
            "reached from here; fetch it where it can be, and give the directory."
        ) from error
    except Exception as error:  # the hub's client raises from many families
        raise HubError(f"{named} cannot be fetched: {str(error).splitlines()[0]}") from error
