"""Our own files: safetensors with the family, its configuration and where the weights came from; what `steerable convert` writes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import artifact, generators
from ..errors import ArtifactError, SettingError
from ..generators.opening import first_line
from ..record import Record
from .checkpoint import Checkpoint

LAYOUT = "steerable"
FAMILIES = tuple(name for name in generators.FAMILIES if name != "mobilestylegan")  # which is of the catalogue alone
REPEATED = ("depth", "num_layers")  # settings that count parts of a net, each of which has tensors


@dataclass(frozen=True)
class StoredGenerator(Record):
    """A generator as tensors under our own names. `source` is the fingerprint of the file that it came from."""

    family: str
    config: Mapping[str, Any]
    layout: str
    source: str
    notes: tuple[str, ...]
    weights: Mapping[str, Tensor]


def saved(found: Checkpoint, file: str | Path, name: str) -> Path:
    """Write a checkpoint of any layout as one of our files. Raises ArtifactError if it cannot be written."""
    stored = StoredGenerator(
        found.family, asdict(found.config), found.layout, found.fingerprint, tuple(found.notes), dict(found.tensors)
    )
    return artifact.save(stored, file, notes={"converted from": name})


def ours(file: str | Path) -> bool:
    """Is this a file that `saved` wrote, by its header?"""
    try:
        return artifact.header(file).get("kind") == StoredGenerator.kind
    except ArtifactError:
        return False


def opened(file: str | Path, part: str | None = None) -> Checkpoint:
    """The checkpoint in one of our files. Raises ArtifactError."""
    stored, name = artifact.load(file), Path(file).name
    if part is not None:
        raise ArtifactError(f"{name} holds one generator; there is no part {part[:80]!r} in it")
    if not isinstance(stored, StoredGenerator) or stored.family not in FAMILIES:
        raise ArtifactError(f"{name} holds no generator of a family that is known here: {', '.join(FAMILIES)}")
    weights = stored.weights
    if not all(isinstance(t, Tensor) for t in weights.values()):
        raise ArtifactError(f"{name} is damaged: some of its weights are no tensors")
    try:
        config = import_module(f"..generators.{stored.family}", __package__).Config(**stored.config)
        if any(getattr(config, key, 0) > len(weights) for key in REPEATED):
            raise SettingError(f"more parts than tensors: {config}")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{name} is damaged: its configuration makes no sense: {first_line(error)}") from error
    held, notes = (f"converted from a file of {stored.layout}",), stored.notes
    return Checkpoint(LAYOUT, stored.family, config, weights, weights, held, notes, mark=stored.source)
