"""Curved walks through a space: steps of an affine map, and circles (Spingarn-Eliezer, Banner & Michaeli, ICLR 2021).

t counts standard deviations as on straight paths: `unit` is how many steps, or which angle, go as far as one of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import LatentEdit
from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..path import Path
from ..space import Latents, Space


@dataclass(frozen=True, kw_only=True)
class Neumann(Path):
    """The walk z ← Mz + q around `center`, forth [0] or back [1]; t·unit steps, straight between two of them."""

    M: Float[Tensor, "2 d d"]
    q: Float[Tensor, "2 d"]
    center: Float[Tensor, " d"]
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "NeumannWalk":
        return NeumannWalk(self.M, self.q, self.center, self.space, t, self.unit)


@dataclass(frozen=True, kw_only=True)
class Circle(Path):
    """The way along a circle around `center`, in the plane of `vector` and either the rest of the code (a great circle, which ends where
    nothing but the vector is left) or `reference` (a small circle). t·unit is the angle."""

    vector: Float[Tensor, " d"]
    reference: Float[Tensor, " d"] | None
    center: Float[Tensor, " d"]
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "CircleWalk":
        return CircleWalk(self.vector, self.reference, self.center, self.space, t, self.unit)


@dataclass(frozen=True)
class NeumannWalk(LatentEdit):
    M: Float[Tensor, "2 d d"]
    q: Float[Tensor, "2 d"]
    center: Float[Tensor, " d"]
    space: Space
    t: float | Float[Tensor, " n"]
    unit: float

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        z, steps = _centered(self, latents, generator)
        M, q = self.M.to(z, copy=True), self.q.to(z)  # a file's tensors lie anywhere in memory, which changes last bits
        way = (steps < 0).long()
        left, moved = steps.abs(), z
        while bool((left > 0).any()):
            after = torch.einsum("nij,nj->ni", M[way], moved) + q[way]
            moved = torch.lerp(moved, after, left.clamp(0, 1)[:, None])
            left = left - 1
        return latents.at(torch.where((steps == 0)[:, None], latents.values, moved + self.center.to(z)))


@dataclass(frozen=True)
class CircleWalk(LatentEdit):
    vector: Float[Tensor, " d"]
    reference: Float[Tensor, " d"] | None
    center: Float[Tensor, " d"]
    space: Space
    t: float | Float[Tensor, " n"]
    unit: float

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        z, angle = _centered(self, latents, generator)
        v = self.vector.to(z)
        along = (z * v).sum(1)
        if self.reference is None:
            other = z - along[:, None] * v
            u = other / other.norm(dim=1, keepdim=True).clamp_min(1e-12)
        else:
            u = self.reference.to(z).expand_as(z)
        across = (z * u).sum(1)
        radius, begin = torch.hypot(along, across), torch.atan2(along, across)
        end = begin + angle
        if self.reference is None:  # a great circle ends at its pole
            end = torch.where(angle > 0, end.clamp(max=math.pi / 2), end.clamp(min=-math.pi / 2))
        moved = (z - along[:, None] * v - across[:, None] * u) + radius[:, None] * (
            torch.sin(end)[:, None] * v + torch.cos(end)[:, None] * u
        )
        return latents.at(torch.where((angle == 0)[:, None], latents.values, moved + self.center.to(z)))


def _centered(walk: NeumannWalk | CircleWalk, latents: Latents, generator: Generator) -> tuple[Tensor, Tensor]:
    """Codes around the center, and t·unit for each."""
    if latents.space.name != walk.space.name:
        raise SpaceError(
            f"a walk through {walk.space.name!r} is curved, so it cannot be made on {latents.space.name!r} codes; apply it to "
            f"{walk.space.name!r} codes"
        )
    z = latents.values - walk.center.to(latents.values)
    t = torch.as_tensor(walk.t, device=z.device, dtype=z.dtype) * walk.unit
    if t.ndim and len(t) != len(latents):
        raise SettingError(f"t has {len(t)} values for {len(latents)} samples; give one number, or one for each")
    return z, t.expand(len(z))
