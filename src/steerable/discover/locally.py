"""Paths that move each sample in a way of its own: up the gradient of a net, or as far as a net says. And how long such moves are."""

import math
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..path import Path
from ..space import Latents, Space
from .nets import Net
from .own import Own

STRIDE = 0.25  # standard deviations that a gradient is followed before it is taken anew
FEW = 32  # moves by which the length of a path is told


# -- up a gradient ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ascent(Path):
    """Up the gradient of one output of a net, along which others (`held`) do not change. `unit` is the length of one standard deviation."""

    net: Net
    column: int
    held: tuple[int, ...]
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Ascending":
        return Ascending(self.space, t, self.net, self.column, self.held, self.unit)


@dataclass(frozen=True)
class Ascending(Own):
    net: Net
    column: int
    held: tuple[int, ...]
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        codes, left = latents.values.flatten(1), t.abs()
        while bool((left > 0).any()):
            stride = left.clamp(max=STRIDE) * t.sign() * self.unit
            codes = codes + stride[:, None] * steepest(self.net, codes, self.column, self.held)
            left = left - left.clamp(max=STRIDE)
        return codes


def steepest(net: Net, codes: Float[Tensor, "n d"], column: int, held: tuple[int, ...]) -> Float[Tensor, "n d"]:
    """Unit vectors along which an output grows most, of those along which the held outputs stay."""
    found = net.gradients(codes, (column, *held))
    up, others = found[:, 0], found[:, 1:]
    basis: list[Tensor] = []
    for i in range(others.shape[1]):
        rest = others[:, i]
        for b in basis:
            rest = rest - (rest * b).sum(1, keepdim=True) * b
        basis.append(rest / rest.norm(dim=1, keepdim=True).clamp_min(1e-12))
    for b in basis:
        up = up - (up * b).sum(1, keepdim=True) * b
    return up / up.norm(dim=1, keepdim=True).clamp_min(1e-12)


# -- as a net says ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Told(Path):
    """By t·unit times what a net says for each code: its outputs from `first` on, as many as the code has entries."""

    net: Net
    first: int
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Telling":
        return Telling(self.space, t, self.net, self.first, self.unit)


@dataclass(frozen=True)
class Telling(Own):
    net: Net
    first: int
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        codes = latents.values.flatten(1)
        way = self.net(codes)[:, self.first : self.first + prod(self.space.shape)]
        return codes + (t * self.unit)[:, None] * way


def spread(moves: Float[Tensor, "n d"], space: Space, generator: Generator) -> float:
    """The standard deviation of the generator's own codes along moves, in the root mean square over the first few of them."""
    each = [generator.spread(move.reshape(space.shape), space.name) for move in moves[:FEW] if float(move.norm()) > 0]
    if not each:
        raise SettingError("a path that moves no sample has no length")
    return math.sqrt(sum(s * s for s in each) / len(each))


def deviation(moves: Float[Tensor, "n d"], space: Space, generator: Generator) -> float:
    """What to multiply moves with so that, in the root mean square, they are one standard deviation of the codes long."""
    return spread(moves, space, generator) / float(moves[:FEW].double().square().sum(1).mean().sqrt())


class Typical:
    """The squared Mahalanobis distance of codes from the mean of the generator's own, over their entries: 1 on average; mean over rows of
    w+. Raises SpaceError for s."""

    def __init__(self, generator: Generator, space: Space):
        if space.affine and space.name != "w+":
            raise SpaceError(f"how typical a code is can be told in z, w and w+, not in {space.name!r}")
        moments = generator.moments("w" if space.name == "w+" else space.name)
        cov = moments.cov + 1e-6 * moments.cov.diagonal().mean() * torch.eye(len(moments.cov), dtype=moments.cov.dtype)
        to = lambda t: t.to(generator.device, generator.dtype)
        self.mean, self.precision = to(moments.mean.flatten()), to(torch.linalg.inv(cov))

    def __call__(self, values: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        x = values.reshape(len(values), -1, len(self.mean)) - self.mean
        return self.form(x, x)

    def form(self, x: Float[Tensor, "n r d"], y: Float[Tensor, "n r d"]) -> Float[Tensor, " n"]:
        return ((x @ self.precision) * y).sum(2).mean(1) / len(self.mean)

    def span(self, values: Float[Tensor, "1 *shape"], step: Float[Tensor, "1 *shape"]) -> tuple[float, float]:
        """Between which t the codes values + t·step are as typical as all but one in a thousand, or nearly as typical as values is (a tenth
        less, so that codes which are not typical can move to both sides)."""
        d = len(self.mean)
        x, v = values.reshape(1, -1, d) - self.mean, step.reshape(1, -1, d)
        now, both, long = (float(self.form(*pair)) for pair in ((x, x), (x, v), (v, v)))
        most = max(
            1.1 * now, (1 - 2 / (9 * d) + 3.09 * math.sqrt(2 / (9 * d))) ** 3
        )  # Wilson and Hilferty's quantile of χ²
        root = math.sqrt(max(0.0, both**2 + long * (most - now)))
        return (-both - root) / long, (-both + root) / long
