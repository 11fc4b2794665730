"""Curved walks through a space: steps of an affine map, and circles (Spingarn-Eliezer, Banner & Michaeli, ICLR 2021).

t counts standard deviations as on straight paths: `unit` is how many steps, or which angle, go as far as one of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..generator import Generator
from ..path import Path
from ..space import Latents, Space
from .fields import walked
from .own import Own


@dataclass(frozen=True, kw_only=True)
class Neumann(Path):
    """The walk z ← Mz + q around `center`, forth [0] or back [1]; t·unit steps, straight between two of them."""

    M: Float[Tensor, "2 d d"]
    q: Float[Tensor, "2 d"]
    center: Float[Tensor, " d"]
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "NeumannWalk":
        return NeumannWalk(self.space, t, self.M, self.q, self.center, self.unit)


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
        return CircleWalk(self.space, t, self.vector, self.reference, self.center, self.unit)


@dataclass(frozen=True)
class NeumannWalk(Own):
    M: Float[Tensor, "2 d d"]
    q: Float[Tensor, "2 d"]
    center: Float[Tensor, " d"]
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        center = self.center.to(latents.values)
        z = latents.values - center
        M, q = self.M.to(z, copy=True), self.q.to(z)  # a file's tensors lie anywhere in memory, which changes last bits

        def step(z: Tensor, sign: Tensor) -> Tensor:
            way = (sign < 0).long()
            return torch.einsum("nij,nj->ni", M[way], z) + q[way]

        return walked(step, z, t * self.unit) + center


@dataclass(frozen=True)
class CircleWalk(Own):
    vector: Float[Tensor, " d"]
    reference: Float[Tensor, " d"] | None
    center: Float[Tensor, " d"]
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        center = self.center.to(latents.values)
        z, angle, v = latents.values - center, t * self.unit, self.vector.to(center)
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
        return moved + center
