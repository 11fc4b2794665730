"""Moves of codes that discoverers try out: their natural length, and where they act."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..errors import SpaceError
from ..generator import Generator
from ..space import Latents, Space
from .training import Step


def plain(method: str, generator: Generator, name: str) -> Space:
    """The space of plain codes [d] of this name. Raises SpaceError for w+ and s, where codes are matrices or images of others."""
    space = generator.space(name)
    if len(space.shape) != 1 or space.affine:
        raise SpaceError(f"{method} moves plain codes, not {name!r}; use w or z")
    return space


def scale(generator: Generator, space: str) -> float:
    """The root mean square over coordinates of the standard deviation of the generator's codes: 1 in a normal z."""
    cov = generator.moments(space).cov
    return math.sqrt(float(cov.trace()) / len(cov))


def population(
    generator: Generator, n: int, *, seed: int, psi: float
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and variance (over n, in float64) of each channel of s, streamed over n codes truncated by psi."""
    sums = torch.zeros(3, *generator.space("s").shape, dtype=torch.float64)
    for _, z in generator.blocks(n, seed=seed):
        s = generator.lift(generator.truncate(z, psi), "s").values.double().cpu()
        sums += torch.stack([torch.full_like(s[0], len(s)), s.sum(0), s.square().sum(0)])
    count, total, square = workers.total(sums)
    mean = total / count
    return mean, (square / count - mean.square()).clamp_min(0)


def moved(generator: Generator, latents: Latents, values: Tensor, layers: str | None = None) -> Latents:
    """The samples with other codes; with `layers`, in these rows of w+ only, plain elsewhere."""
    there = latents.at(values)
    if layers is None:
        return there
    there, here = generator.lift(there, "w+"), generator.lift(latents, "w+")
    keep = generator._where("w+", layers).to(here.values.device)
    return here.at(torch.where(keep, there.values, here.values))


def held_out(generator: Generator, n: int, batch: int, seed: int) -> list[Step]:
    """Steps of `n` rows in all that no training with this seed draws; each process gets its rows of each."""
    count = max(1, -(-n // batch))
    return [Step(b, batch, workers.generator(seed, -1 - b), generator) for b in range(count)]
