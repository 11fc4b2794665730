"""Perceptual path length: how much pictures change for a small step along a way through a latent space.

Paper    Karras, Laine, Aila, CVPR 2019 (arXiv:1812.04948), section 4.1
Matches  d(G(t), G(t + ε)) / ε² with ε = 1e-4; slerp in z, lerp elsewhere; ends only, or anywhere between; the mean of what lies within the
         1st and the 99th percentile
Differs  any distance can be given. With LPIPS values are not those of the paper, which used VGG features with weights of its own and cut
         faces out; compare within one protocol only
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..edit import Edit
from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, quiet
from ..path import Path
from ..record import Record
from ..render import render
from ..score.labels import batches, truncation
from ..space import Latents
from .effects import interval

# Two batches of pictures -> [n], growing with the square of a small difference.
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Length(Record):
    """The mean, its interval of 95 % over ways, how many ways were used, and how they were walked."""

    mean: float
    low: float
    high: float
    n: int
    space: str
    where: str
    psi: float
    epsilon: float


def path_length(
    generator: Generator,
    distance: Distance,
    *,
    space: str = "w",
    where: str = "full",
    n: int = 200,
    epsilon: float = 1e-4,
    psi: float = 1.0,
    seed: int = 4_000_000,
    progress: Progress = quiet,
) -> Length:
    """Over n ways between two samples. `where`: "full" (t anywhere in 0 … 1) or "end" (t = 0).

    Differences of order ε are taken in the generator's own precision: float64 (`generator.to(dtype=torch.float64)`) is safe.
    Raises SettingError for another `where`, or fewer than 10 ways; SpaceError for a space that the generator lacks.
    """
    if where not in ("full", "end") or n < 10:
        raise SettingError(f"where is full or end, and n at least 10; got {where!r} and {n}")
    here = generator.space(space)
    start, stop = generator.sample(n, seed=seed), generator.sample(n, seed=seed + n)
    drawn = torch.rand(n, generator=workers.generator(seed), dtype=torch.float64)
    t = drawn.to(generator.dtype) if where == "full" else torch.zeros(n, dtype=generator.dtype)
    between = slerp if here == generator.spaces[0] else torch.lerp
    first, found, parts = truncation(psi), [], list(batches(generator, n))
    for rows in progress.over(parts, "Walking", len(parts)):
        a, b = generator.lift(start[rows], space), generator.lift(stop[rows], space)
        at = t[rows].reshape(-1, *(1,) * len(here.shape)).to(a.values)
        pictures = [render(generator, a.at(between(a.values, b.values, v)), first) for v in (at, at + epsilon)]
        found.append(distance(pictures[0], pictures[1]).double().cpu() / epsilon**2)
    mean, low, high = interval(inner(torch.cat(found)))
    return Length(mean, low, high, n, space, where, float(psi), epsilon)


def profile(
    generator: Generator,
    path: Path,
    distance: Distance,
    people: Latents,
    t: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    *,
    first: Sequence[Edit] = (),
    epsilon: float = 1e-2,
) -> Float[Tensor, "n t"]:
    """The length of one path at each t, for each person: distance over a step of ε standard deviations, over ε². A kink tells where a
    path leaves what the generator knows."""
    rows = []
    for v in t:
        pictures = [render(generator, people, [*first, path.at(at)]) for at in (v, v + epsilon)]
        rows.append(distance(pictures[0], pictures[1]).double().cpu() / epsilon**2)
    return torch.stack(rows, 1)


def inner(values: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """Those between the 1st and the 99th percentile, as the paper leaves out the others."""
    order = values.sort().values
    low, high = int(0.01 * (len(values) - 1)), -int(-0.99 * (len(values) - 1) // 1)
    return order[low : high + 1]


def slerp(a: Float[Tensor, "n *s"], b: Float[Tensor, "n *s"], t: Tensor) -> Float[Tensor, "n *s"]:
    """Along the great circle between the codes' directions, on the unit sphere (as the mapping normalizes z)."""
    unit = lambda v: v / v.flatten(1).norm(dim=1).reshape(-1, *(1,) * (v.ndim - 1))
    a, b = unit(a), unit(b)
    cosine = (a * b).flatten(1).sum(1).clamp(-1, 1).reshape(t.shape)
    across = unit(b - cosine * a)
    angle = t * cosine.acos()
    return a * angle.cos() + across * angle.sin()
