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

_FILES = ("config.json", "tokenizer.json", "model*.safetensors", "model.safetensors.index.json")
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
    folder = _fetch(variant, _FILES)
    if variant.allow_bin and not any(folder.glob("model*.safetensors")):
        folder = _fetch(variant, (*_FILES, *_BIN_FILES))
    return folder


def _fetch(variant: Variant, patterns: tuple[str, ...]) -> Path:
    repository, revision = variant.checkpoint, variant.revision
    named = f"{repository}, revision {revision}," if revision else repository
    where = f"variant {variant.name!r}: the checkpoint {named}"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except RevisionNotFoundError as error:
        raise HubError(f"{where} is not on the hub: there is no such revision.") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{where} is neither a directory beside the catalogue nor a repository that the hub shows you; "
            "check the spelling, or log in to the hub if it is private."
        ) from error
    except LocalEntryNotFoundError as error:
        raise HubError(
            f"{where} is not a directory beside the catalogue, not in the hub's cache, and the hub cannot be "
            "reached from here; fetch it where it can be, and give the directory."
        ) from error
    except Exception as error:  # the hub's client raises from many families
        raise HubError(f"{where} cannot be fetched: {str(error).splitlines()[0]}") from error
