"""DCGAN's generator as a `state_dict`, whatever its modules are called: transposed convolutions and batch normalizations in a row.

Format   pytorch/examples/dcgan and its relatives; perhaps one of several sets of weights in a file (netG, generator, netG_state_dict …)
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators.dcgan import Config, Stage
from .checkpoint import Checkpoint
from .reading import AVERAGED, listing, named, reading, under

LAYOUT = "chains of transposed convolutions (DCGAN)"
OPTIONS = ("classes",)


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state, part = named(tree), options.get("part")
    heads = ["", *dict.fromkeys(f"{key.partition('.')[0]}." for key in state if "." in key)]
    found = {head: own for head in heads if _chained(own := under(state, head))}
    if not found:
        return None
    if part is not None and f"{part}." not in found:
        there = ", ".join(head.rstrip(".") or "one without a name" for head in found)
        raise ArtifactError(f"there is no chain {str(part)[:80]!r} in it; there is: {there}")
    prefer = lambda head: head.rstrip(".") not in AVERAGED
    own = found[min(found, key=prefer) if part is None else f"{part}."]
    with reading("a chain of transposed convolutions"):
        config, tensors = dcgan_of(own, int(options.get("classes", 0)))
    notes = (
        ()
        if "classes" in options
        else ("a label cannot be told from z by shapes: options={'classes': n} says how many there are",)
    )
    return Checkpoint(LAYOUT, "dcgan", config, tensors, own, listing(tree), notes)


def _chain(state: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
    """The names of the convolutions' kernels [in out k k] in order, and of the normalizations."""
    convs = sorted((key for key, t in state.items() if t.ndim == 4), key=_position)
    norms = sorted((key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")), key=_position)
    return convs, norms


def _position(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _chained(state: Mapping[str, Tensor]) -> bool:
    convs, norms = _chain(state)
    shapes = [tuple(state[key].shape) for key in convs]
    ends = len(convs) >= 2 and shapes[-1][1] == 3 and len(norms) < len(convs)
    # Kernels of ordinary convolutions are [out in k k], and nets that end in 3 channels by one of those are no such chain.
    return ends and all(a[1] == b[0] for a, b in pairwise(shapes)) and all(s[2] == s[3] > 1 for s in shapes)


def dcgan_of(state: Mapping[str, Tensor], classes: int = 0) -> tuple[Config, dict[str, Tensor]]:
    """Configuration and tensors of such a net. Raises ArtifactError where the tensors are something else."""
    convs, norms = _chain(state)
    stages: list[Stage] = []
    tensors: dict[str, Tensor] = {}
    for i, key in enumerate(convs):
        into, out, size, _ = state[key].shape
        stages.append(Stage(into, out, size, *((1, 0) if i == 0 else (2, size // 2 - 1)), normed=i < len(norms)))
        tensors[f"blocks.{i}.conv.weight"] = state[key]
        tensors[f"blocks.{i}.conv.bias"] = state.get(key.removesuffix("weight") + "bias", torch.zeros(out))
        if i < len(norms):
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"blocks.{i}.norm.{leaf}"] = state[f"{norms[i]}.{leaf}"]
            tensors[f"blocks.{i}.norm.num_batches_tracked"] = torch.tensor(0)
    return Config(tuple(stages), classes), tensors
