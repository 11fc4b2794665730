"""What families share when their weights come out of a file."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import ArtifactError

N = TypeVar("N", bound=nn.Module)
C = TypeVar("C")


def made(name: str, net: Callable[[C], N], config: C) -> N:
    """The net of a configuration, without memory for its weights. Raises ArtifactError for one that is too large, or none at all."""
    try:
        with torch.device("meta"):
            return net(config)
    except (RuntimeError, MemoryError, OverflowError, TypeError, ValueError) as error:
        raise ArtifactError(f"{name}: it describes a net that cannot be made: {config}"[:300]) from error


def filled(name: str, net: N, tensors: Mapping[str, Tensor], optional: Collection[str] = ()) -> N:
    """The net with `tensors` for its weights, which share their memory where they are float32 and in order.

    A buffer that is `optional` becomes None where there is no tensor for it. Raises ArtifactError that names the first tensor that is
    missing, left over, or of another shape.
    """
    wanted = net.state_dict()
    given: dict[str, Tensor] = {}
    for key, tensor in wanted.items():
        if key in optional and key not in tensors:
            part, _, leaf = key.rpartition(".")
            setattr(net.get_submodule(part), leaf, None)
            continue
        if key not in tensors:
            raise ArtifactError(f"{name}: {key} is missing, of the shape {tuple(tensor.shape)}")
        found = tensors[key]
        if found.shape != tensor.shape:
            raise ArtifactError(
                f"{name}: {key} should have the shape {tuple(tensor.shape)}; it has {tuple(found.shape)}"
            )
        given[key] = (found.float() if tensor.is_floating_point() else found).contiguous()
    if over := sorted(tensors.keys() - wanted.keys()):
        raise ArtifactError(f"{name}: {len(over)} tensors belong to nothing, the first is {over[0][:80]!r}")
    net.load_state_dict(given, assign=True)
    return net


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def counted(tensors: Mapping[str, Any], name: Callable[[int], str]) -> int:
    """How many of name(0), name(1) … there are."""
    n = 0
    while name(n) in tensors:
        n += 1
    return n
