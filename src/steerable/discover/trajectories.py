"""Walks that follow a singular vector of the generator's derivative from wherever they are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..generator import Generator
from ..geometry import Derivative, around, top
from ..path import Path
from ..space import Latents, Space
from .own import Own


def singular(
    generator: Generator, code: Latents, k: int, layers: str | None = None, size: int | None = None
) -> Float[Tensor, "k d"]:
    """The k leading right singular vectors of the derivative of one picture by its code, in float64, strongest first."""
    J = Derivative(around(generator, code, layers=layers, size=size), code.values[0])
    return top(J.gram(), J.at.numel(), k, block=2 * k)[1]


@dataclass(frozen=True, kw_only=True)
class Trajectory(Path):
    """t·unit steps of `length` along singular vector `number` (0 is the strongest). At the start it is turned to the side of `reference`,
    then to that of the step before. Every step costs a few derivatives of each picture."""

    number: int
    reference: Float[Tensor, " d"]
    length: float
    size: int | None
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Following":
        return Following(self.space, t, self.number, self.reference, self.length, self.size, self.unit, self.layers)


@dataclass(frozen=True)
class Following(Own):
    number: int
    reference: Float[Tensor, " d"]
    length: float
    size: int | None
    unit: float
    seen: str | None = None

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        return torch.cat([self._from(latents[i], float(s), generator) for i, s in enumerate(t * self.unit)])

    def _from(self, code: Latents, steps: float, generator: Generator) -> Float[Tensor, "1 d"]:
        code, side, left = code.at(code.values.detach()), self.reference.to(code.values, copy=True), abs(steps)
        while left > 0:
            way = singular(generator, code, self.number + 1, self.seen, self.size)[self.number].to(side)
            side = way if float(way @ side) >= 0 else -way
            code = code.moved((1 if steps > 0 else -1) * min(left, 1.0) * self.length * side[None])
            left -= 1
        return code.values
