"""Edits that move each sample in a way of its own, since where they lead depends on where one stands. t counts standard deviations.

A move depends on its own sample alone, never on those beside it. At t = 0 codes come back bit by bit.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import LatentEdit
from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..space import Latents, Space


@dataclass(frozen=True)
class Own(LatentEdit):
    """Moves codes of one space by what `move` says."""

    space: Space
    t: float | Float[Tensor, " n"]

    @abstractmethod
    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        """The moved codes, flat."""

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        only_in(self.space, latents)
        t = amounts(self.t, 1.0, latents)
        moved = torch.where((t == 0)[:, None], latents.values.flatten(1), self.move(latents, t, generator))
        return latents.at(moved.reshape(latents.values.shape))


def amounts(t: float | Tensor, unit: float, latents: Latents) -> Float[Tensor, " n"]:
    """t·unit for each sample. Raises SettingError for another number of samples."""
    v = latents.values
    t = torch.as_tensor(t, device=v.device, dtype=v.dtype) * unit
    if t.ndim and len(t) != len(v):
        raise SettingError(f"t has {len(t)} values for {len(v)} samples; give one number, or one for each")
    return t.expand(len(v))


def only_in(space: Space, latents: Latents) -> None:
    """Raises SpaceError for codes of another space, or of another shape."""
    here = space.name
    if latents.space.name != here:
        raise SpaceError(
            f"a walk through {here!r} is curved, its way another one for each {here!r} code, so it cannot be made on "
            f"{latents.space.name!r} codes; apply it to {here!r} codes"
        )
    if tuple(latents.space.shape) != tuple(space.shape):
        have, want = tuple(space.shape), tuple(latents.space.shape)
        raise SpaceError(f"the path was made for {here!r} codes of shape {have}; these have {want}")
