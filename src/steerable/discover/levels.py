"""Paths that know the value of what they change: they go to where it is so much more, or to where it is just so."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import LatentEdit, finite
from ..generator import Generator
from ..path import Path
from ..record import Record
from ..space import Latents, Space
from .fields import even
from .own import amounts, only_in


@dataclass(frozen=True)
class Level(Record):
    """value = g(p), p = gain·⟨vector, code − center⟩. g rises through `values` at even places from -reach to reach, straight between
    them and beyond."""

    vector: Float[Tensor, " d"]
    center: Float[Tensor, " d"]
    gain: float
    values: Float[Tensor, " m"]
    reach: float

    def place(self, codes: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return (codes - self.center.to(codes)) @ self.vector.to(codes, copy=True) * self.gain

    def at(self, place: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return even(self.values.to(place), place, self.reach)

    def where(self, value: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The place of a value."""
        values = self.values.to(value)
        last = len(values) - 1
        below = (torch.searchsorted(values, value.contiguous()) - 1).clamp(0, last - 1)
        x = below + (value - values[below]) / (values[below + 1] - values[below])
        return (2 * x / last - 1) * self.reach


@dataclass(frozen=True, kw_only=True)
class Controlled(Path):
    """A straight way walked at such a speed that the value grows evenly: t·unit more than it was."""

    level: Level
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "ToLevel":
        return ToLevel(self.level, self.space, t, self.unit)

    def put(self, value: float | Float[Tensor, " n"]) -> "ToLevel":
        """The edit that gives all samples this value. Raises SettingError for one that is not finite."""
        finite(value)
        return ToLevel(self.level, self.space, value, None)

    def value(self, latents: Latents, generator: Generator) -> Float[Tensor, " n"]:
        """The value of each sample."""
        codes = generator.lift(latents, self.space.name).values
        return self.level.at(self.level.place(codes))


@dataclass(frozen=True)
class ToLevel(LatentEdit):
    """To a value that is t·unit more; without a unit, to the value t."""

    level: Level
    space: Space
    t: float | Float[Tensor, " n"]
    unit: float | None

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        only_in(self.space, latents)
        codes, level = latents.values, self.level
        here = level.place(codes)
        amount = amounts(self.t, 1.0 if self.unit is None else self.unit, latents)
        there = level.where(amount if self.unit is None else level.at(here) + amount)
        moved = codes + ((there - here) / level.gain)[:, None] * level.vector.to(codes)
        still = (amount == 0) & torch.tensor(self.unit is not None, device=codes.device)
        return latents.at(torch.where(still[:, None], codes, moved))
