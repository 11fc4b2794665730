"""Who shares the work: this process alone, or all of a torchrun / Lightning Fabric launch.

Work is cut into blocks with a seed each, so a result does not depend on how many processes made it.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mine(blocks: Iterable[T]) -> Iterator[T]:
    """Every world-th block, beginning with this process's own."""
    for i, block in enumerate(blocks):
        if i % world() == rank():
            yield block


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if world() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def gathered(blocks: dict[int, Tensor]) -> list[Tensor]:
    """Numbered blocks of all processes, in their order."""
    if world() == 1:
        return [blocks[i] for i in sorted(blocks)]
    everyone: list[dict[int, Tensor]] = [{} for _ in range(world())]
    dist.all_gather_object(everyone, blocks)
    joined = {i: block for part in everyone for i, block in part.items()}
    return [joined[i] for i in sorted(joined)]


def generator(seed: int, block: int = 0) -> torch.Generator:
    """The random source of one block. Seeds of different blocks do not overlap for any realistic number of blocks."""
    return torch.Generator().manual_seed((seed * 0x9E3779B1 + block * 0x85EBCA77 + 1) % (1 << 63))
