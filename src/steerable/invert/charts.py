"""Coordinates in which codes are searched: plain, bounded, whitened, and the spaces P and P_N.

Paper  Zhu, Abdal, Qin, Femiani, Wonka, Improved StyleGAN Embedding: Where are the Good Latents? 2020 (arXiv:2012.09036), section 3

P undoes the last leaky ReLU of a mapping net, x = LeakyReLU₅(w); there codes are nearly normally distributed. P_N is P with unit
covariance. Its covariance is nearly rank-deficient, so that variances below `floor` times the largest count as that.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .. import cache
from ..errors import SettingError
from ..generator import Generator
from ..moments import Moments, streamed

COORDINATES = ("plain", "tanh", "whitened", "p", "pn")
SLOPE = 0.2  # of the mapping nets' last leaky ReLU
SAMPLES = 20_000  # from which the moments of P are taken


class Chart(ABC):
    """Coordinates of codes [n *shape]. In w+ each row has its own, in the same way."""

    @abstractmethod
    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]: ...

    @abstractmethod
    def coordinates(self, codes: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Undoes `codes`."""


class Plain(Chart):
    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return u

    def coordinates(self, codes: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return codes


@dataclass(frozen=True)
class Tanh(Chart):
    """Codes within (-limit, limit)."""

    limit: float

    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return u.tanh() * self.limit

    def coordinates(self, codes: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return (codes / self.limit).clamp(-0.999, 0.999).atanh()


class P(Chart):
    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return F.leaky_relu(u, SLOPE)

    def coordinates(self, codes: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return F.leaky_relu(codes, 1 / SLOPE)


class Whitened(Chart):
    """u = Λ^(-1/2) Vᵀ (x − mean), where x are the codes in `under`."""

    def __init__(self, moments: Moments, floor: float, like: Tensor, under: Chart):
        values, vectors = torch.linalg.eigh(moments.cov)
        root = values.clamp_min(floor * float(values.max())).sqrt()
        to = lambda t: t.to(like.device, like.dtype)
        self.mean, self.under = to(moments.mean), under
        self._out, self._in = to((vectors * root).T), to(vectors / root)

    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return self.under.codes(u @ self._out + self.mean)

    def coordinates(self, codes: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return (self.under.coordinates(codes) - self.mean) @ self._in


def root(generator: Generator, space: str) -> str:
    """The last space up to `space` that is not reached by an affine step: w for w+ and s."""
    at = generator.spaces.index(generator.space(space))
    while generator.spaces[at].affine:
        at -= 1
    return generator.spaces[at].name


def chart(generator: Generator, space: str, coordinates: str, *, floor: float = 1e-3, limit: float = 1.0) -> Chart:
    """Raises SettingError for coordinates that the space does not have."""
    if coordinates == "plain":
        return Plain()
    if coordinates == "tanh":
        return Tanh(limit)
    where = root(generator, space)
    if generator.space(space).shape[-1:] != generator.space(where).shape or len(generator.space(where).shape) != 1:
        raise SettingError(
            f"codes in {space!r} are searched in plain coordinates; {coordinates!r} needs rows like those of {where!r}"
        )
    if coordinates == "whitened":
        return whitened(generator, space, floor)
    if where != "w":
        raise SettingError(f"P belongs to codes behind a mapping net (w, w+), not to {space!r}; use whitened or plain")
    like = next(generator.net.parameters())
    return P() if coordinates == "p" else Whitened(moments_of_p(generator), floor, like, P())


def whitened(generator: Generator, space: str, floor: float) -> Whitened:
    """Whitened coordinates of a space of plain codes, or of the rows of w+."""
    return Whitened(generator.moments(root(generator, space)), floor, next(generator.net.parameters()), Plain())


def moments_of_p(generator: Generator) -> Moments:
    """Mean and covariance of P, from 20,000 samples; cached by fingerprint."""
    make = lambda: streamed(
        P().coordinates(generator.lift(z, "w").values) for _, z in generator.blocks(SAMPLES, seed=1)
    )
    return cache.remembered(Moments, "moments-p", f"{generator.fingerprint}-{SAMPLES}", make)


def spread(generator: Generator, space: str, coordinates: str) -> float:
    """sqrt(E‖x − mean‖²) of the generator's own codes in these coordinates: how far apart codes are."""
    if coordinates in ("whitened", "pn", "tanh"):
        return float(generator.space(space).shape[-1]) ** 0.5
    where = root(generator, space)
    if generator.space(space).shape[-1:] != generator.space(where).shape:
        raise SettingError(f"codes in {space!r} have no common spread; set explore=0")
    moments = moments_of_p(generator) if coordinates == "p" else generator.moments(where)
    return float(moments.cov.trace().sqrt())


Distance = Callable[[Float[Tensor, "n *shape"]], Float[Tensor, "n"]]


def manifold(generator: Generator, space: str, floor: float) -> Distance:
    """How far codes are from the generator's own: their squared Mahalanobis distance over d, about 1 for its own samples.

    In w+ the mean over rows. Raises SettingError in s, whose codes have no covariance of their own.
    """
    where = root(generator, space)
    if generator.space(space).shape[-1:] != generator.space(where).shape:
        raise SettingError(
            f"codes in {space!r} have no covariance of their own; leave manifold out, or search in w or w+"
        )
    around = whitened(generator, space, floor)
    return lambda codes: around.coordinates(codes).square().flatten(1).mean(1)


__all__ = ["COORDINATES", "Chart", "chart", "manifold", "moments_of_p", "root", "spread"]
