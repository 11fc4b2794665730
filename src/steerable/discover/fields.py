"""Learned walks that are not straight: curves that are the same for all codes, and steps whose way depends on where one stands.

t counts standard deviations as on straight paths: `unit` is how far along the curve, or how many steps, go as far as one of them.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import LatentEdit
from ..generator import Generator
from ..path import Path
from ..record import Record
from ..space import Latents, Space
from .own import Own, amounts


@dataclass(frozen=True, kw_only=True)
class Curve(Path):
    """What is added to any code, at 2m + 1 even places from -reach to reach (nothing in the middle); straight between and beyond them."""

    knots: Float[Tensor, "m d"]
    reach: float
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Bend":
        return Bend(self.knots, self.reach, self.space, t, self.unit)


@dataclass(frozen=True)
class Bend(LatentEdit):
    knots: Float[Tensor, "m d"]
    reach: float
    space: Space
    t: float | Float[Tensor, " n"]
    unit: float

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        delta = even(self.knots.to(latents.values), amounts(self.t, self.unit, latents), self.reach)
        if latents.space.name != self.space.name:
            delta = generator.carry(delta, self.space.name, latents.space.name, latents.inputs)
        return latents.moved(delta)


def even(knots: Float[Tensor, "m *d"], place: Float[Tensor, " n"], reach: float) -> Float[Tensor, "n *d"]:
    """The piecewise linear function through `knots` at even places from -reach to reach, straight on beyond them."""
    last = len(knots) - 1
    x = (place / reach + 1) * last / 2
    below = x.detach().floor().clamp(0, last - 1).long()
    share = (x - below).reshape(-1, *(1,) * (knots.ndim - 1))
    return knots[below] + share * (knots[below + 1] - knots[below])


@dataclass(frozen=True)
class Field(Record):
    """Says where one step leads from any code."""

    @abstractmethod
    def step(self, codes: Float[Tensor, "n d"], sign: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The codes after one step forth (sign 1) or back (-1)."""


@dataclass(frozen=True, kw_only=True)
class FieldPath(Path):
    """t·unit steps through a field, asking it anew after each; the last one may be a part of a step."""

    field: Field
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "FieldWalk":
        return FieldWalk(self.space, t, self.field, self.unit)


@dataclass(frozen=True)
class FieldWalk(Own):
    field: Field
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        return walked(self.field.step, latents.values, t * self.unit)


def walked(
    step: Callable[[Tensor, Tensor], Tensor], codes: Float[Tensor, "n d"], steps: Float[Tensor, " n"]
) -> Float[Tensor, "n d"]:
    """The codes after so many steps, forth where they are positive and back where negative; `step` is that of a `Field`."""
    left, sign = steps.abs(), torch.where(steps < 0, -1.0, 1.0).to(steps)
    while bool((left > 0).any()):
        codes = torch.lerp(codes, step(codes, sign), left.clamp(0, 1)[:, None])
        left = left - 1
    return codes


@dataclass(frozen=True)
class Warp(Field):
    """Along the gradient of f(u) = Σ α exp(−γ‖u − s‖²), of length `length`; u = (code − center) / scale."""

    supports: Float[Tensor, "m d"]
    alphas: Float[Tensor, " m"]
    gamma: float
    length: float
    center: Float[Tensor, " d"]
    scale: float

    def step(self, codes: Float[Tensor, "n d"], sign: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        u = (codes - self.center.to(codes)) / self.scale
        gamma = torch.full_like(sign, self.gamma)
        supports = self.supports.to(codes, copy=True).expand(len(u), -1, -1)
        way = gradients(u, supports, self.alphas.to(codes).expand(len(u), -1), gamma)
        return codes + (sign * self.length * self.scale)[:, None] * way


def gradients(
    u: Float[Tensor, "n d"],
    supports: Float[Tensor, "n m d"],
    alphas: Float[Tensor, "n m"],
    gamma: Float[Tensor, " n"],
) -> Float[Tensor, "n d"]:
    """∇f/‖∇f‖ of each row's own f(u) = Σ α exp(−γ‖u − s‖²). The nearest support sets the scale, which the length takes away."""
    away = supports - u[:, None]
    far = away.square().sum(2)
    weights = alphas * (-gamma[:, None] * (far - far.amin(1, keepdim=True).detach())).exp()
    up = torch.einsum("nm,nmd->nd", weights, away)
    return up / up.norm(dim=1, keepdim=True).clamp_min(1e-12)


@dataclass(frozen=True)
class Nets(Field):
    """u ← u + W₂ relu(W₁u + b₁) + b₂, one small net forth [0] and one back [1]; with `keep`, brought back to its length after each step."""

    W1: Float[Tensor, "2 h d"]
    b1: Float[Tensor, "2 h"]
    W2: Float[Tensor, "2 d h"]
    b2: Float[Tensor, "2 d"]
    center: Float[Tensor, " d"]
    scale: float
    keep: bool

    def step(self, codes: Float[Tensor, "n d"], sign: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        u, way = (codes - self.center.to(codes)) / self.scale, (sign < 0).long()
        W1, b1, W2, b2 = (p.to(codes, copy=True)[way] for p in (self.W1, self.b1, self.W2, self.b2))
        hidden = (torch.einsum("nhd,nd->nh", W1, u) + b1).relu()
        move = torch.einsum("ndh,nh->nd", W2, hidden) + b2
        after = kept(u, move) if self.keep else u + move
        return self.center.to(codes) + self.scale * after


@dataclass(frozen=True)
class Pushes(Field):
    """A move of length `length` along W₂ relu(W₁u + b₁) + b₂, u = (code − center) / scale."""

    W1: Float[Tensor, "h d"]
    b1: Float[Tensor, " h"]
    W2: Float[Tensor, "d h"]
    b2: Float[Tensor, " d"]
    length: float
    center: Float[Tensor, " d"]
    scale: float

    def step(self, codes: Float[Tensor, "n d"], sign: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        W1, b1, W2, b2 = (p.to(codes, copy=True) for p in (self.W1, self.b1, self.W2, self.b2))
        u = (codes - self.center.to(codes)) / self.scale
        way = (u @ W1.T + b1).relu() @ W2.T + b2
        return codes + self.length * sign[:, None] * way / way.norm(dim=1, keepdim=True).clamp_min(1e-12)


def per_deviation(field: Field, codes: Float[Tensor, "n d"], cov: Float[Tensor, "d d"]) -> float:
    """How many steps go as far as one standard deviation of the codes (whose covariance is `cov`), at these codes on average."""
    with torch.no_grad():
        moves = (field.step(codes, torch.ones_like(codes[:, 0])) - codes).double().cpu()
    lengths = moves.norm(dim=1).clamp_min(1e-12)
    spreads = torch.einsum("nd,de,ne->n", moves, cov, moves).clamp_min(0).sqrt() / lengths
    return float(spreads.mean() / lengths.mean())


@dataclass(frozen=True, kw_only=True)
class Tilt(Path):
    """A straight move of t·unit along `vector`, after which the code is brought back to its distance from `center`."""

    vector: Float[Tensor, " d"]
    center: Float[Tensor, " d"]
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Tilted":
        return Tilted(self.space, t, self.vector, self.center, self.unit)


@dataclass(frozen=True)
class Tilted(Own):
    vector: Float[Tensor, " d"]
    center: Float[Tensor, " d"]
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        v = latents.values
        center = self.center.to(v)
        return center + kept(v - center, (t * self.unit)[:, None] * self.vector.to(v))


def kept(u: Float[Tensor, "n d"], move: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """u + move with the length of u, row by row."""
    there = u + move
    return there * (u.norm(dim=1, keepdim=True) / there.norm(dim=1, keepdim=True).clamp_min(1e-12))
