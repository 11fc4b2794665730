"""Curved paths that are easy to tell apart: each follows the gradient of a sum of radial basis functions.

Paper    Tzelepis, Tzimiropoulos & Patras, WarpedGANSpace: Finding non-linear RBF paths in GAN latent space, ICCV 2021 (equations 4-6)
Matches  K functions f(z) = Σ α exp(−γ‖z − s‖²) with supports in antipodal pairs, α = ±1 fixed, one γ for each function, begun at 1/d and
         learned as a logarithm, supports begun on spheres of radius 1 to 4; a move is ε∇f/‖∇f‖; the reconstructor and its loss are those
         of Voynov & Babenko; Adam at 0.0001; paths are walked by small steps, asking for the gradient after each
Differs  ε is uniform in ±[0.1, 0.2], as the paper says (the authors' release draws from a pool with weights that favor the far end); γ is
         where the paper has it in the gradient (unit length removes it). The reconstructor normalizes over groups of channels instead of
         the batch. Codes are centered and divided by their root mean square deviation, which changes nothing in z
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Paths
from ..space import Latents
from .discoverer import Supervision, acts
from .fields import FieldPath, Warp, gradients, per_deviation
from .moves import moved, plain, scale
from .nets import still
from .reconstructor import ToldApart, signed
from .training import seeded


class Warps(nn.Module):
    """K functions of m antipodal pairs of supports each."""

    alphas: Tensor

    def __init__(self, k: int, pairs: int, d: int):
        super().__init__()
        ways = torch.randn(k, pairs, d)
        ways = ways / ways.norm(dim=2, keepdim=True) * torch.linspace(1, 4, k)[:, None, None]
        self.supports = nn.Parameter(torch.stack([ways, -ways], 2).flatten(1, 2))  # [k 2m d]
        self.register_buffer("alphas", torch.tensor([1.0, -1.0]).repeat(k, pairs))
        self.log_gamma = nn.Parameter(torch.full((k,), -math.log(d)))

    def forward(self, u: Float[Tensor, "n d"], which: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        return gradients(u, self.supports[which], self.alphas[which], self.log_gamma.exp()[which])


@final
@dataclass(frozen=True, kw_only=True)
class WarpedGANSpace(ToldApart):
    """Paths that bend with the place where one stands, and a net that names them from pairs of pictures; no labels."""

    name: ClassVar = "warpedganspace"
    paper: ClassVar = "tzelepis2021warpedganspace"
    tags: ClassVar = frozenset({"unsupervised", "non-linear"})

    k: int = param(200, "paths", ge=2)
    dipoles: int = param(512, "pairs of supports for each", ge=1)
    least: float = param(0.1, "the shortest move, in deviations of the codes", ge=0.0)
    reach: float = param(0.2, "the longest, and the length of a step when a path is walked", ge=1e-3)
    steps: int = param(150_000, "of training", ge=1)
    batch: int = param(12, "pairs a step", ge=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = plain(self.name, generator, self.space), acts(generator, self.layers)
        if self.least > self.reach:
            raise SettingError(
                f"warpedganspace: the shortest move, {self.least:g}, is longer than the longest, {self.reach:g}"
            )
        unit, mean = scale(generator, self.space), generator.moments(self.space).mean.float()
        f = seeded(self.seed, lambda: Warps(self.k, self.dipoles, space.shape[0]))

        def move(codes: Latents, which: Tensor, far: Tensor) -> Latents:
            way = f((codes.values - mean.to(codes.values)) / unit, which)
            return moved(generator, codes, codes.values + unit * far[:, None] * way, where)

        notes = self.learned(generator, f, self.k, lambda step: signed(step, self.least, self.reach), move, progress)
        codes = generator.lift(generator.sample(64, seed=self.seed), self.space).values
        paths = []
        for i in range(self.k):
            gamma = float(f.log_gamma[i].exp())
            field = Warp(still(f.supports[i]), still(f.alphas[i]), gamma, self.reach, mean, unit)
            steps = per_deviation(field, codes, generator.moments(self.space).cov)
            paths.append(FieldPath(name=f"warp-{i}", layers=where, field=field, space=space, unit=steps))
        return Paths(tuple(paths), notes)
