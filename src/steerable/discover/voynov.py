"""Directions that are easy to tell apart by what they do to a picture.

Paper    Voynov & Babenko, Unsupervised Discovery of Interpretable Directions in the GAN Latent Space, ICML 2020 (equation 2)
Matches  a matrix A and a reconstructor R, trained together: R sees G(z) and G(z + A(ε e_k)) and tells k (cross-entropy) and ε (absolute
         error, weight 0.25); k uniform, ε uniform in [-6, 6] but at least 0.5 from 0; A orthonormal (the exponential of a skew matrix) or
         with columns of length 1; ResNet-18 or LeNet; Adam at 0.0001 for both, 32 pairs a step; as many columns as the space has
         dimensions. The residual net of the authors' release, whose paths are curves
Differs  the reconstructor normalizes over groups of channels instead of the batch. Lengths are counted in the root mean square deviation
         of the codes, which is 1 in z, so that one setting serves all spaces
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from ..space import Latents
from .discoverer import Supervision, acts, counting, fits
from .fields import Curve
from .moves import moved, plain, scale
from .reconstructor import ToldApart
from .training import Step, seeded

KNOTS = 33  # of a curve


class Matrix(nn.Module):
    """A(ε e_k), in units of the codes' scale."""

    def __init__(self, d: int, k: int, kind: str, random: bool):
        super().__init__()
        self.kind, self.d, self.k = kind, d, k
        if kind == "residual":
            self.net = nn.Sequential(nn.Linear(k, 1024), nn.ELU(), nn.Linear(1024, 1024), nn.ELU(), nn.Linear(1024, d))
        else:
            size = (d, d) if kind == "orthonormal" else (d, k)
            near = torch.zeros(size) if kind == "orthonormal" else torch.eye(*size)
            self.weights = nn.Parameter(torch.randn(size) if random else near + 0.001 * torch.randn(size))

    def columns(self) -> Float[Tensor, "d k"]:
        if self.kind == "orthonormal":
            return torch.linalg.matrix_exp(self.weights - self.weights.T)[:, : self.k]
        return self.weights / self.weights.norm(dim=0)

    def forward(self, which: Int[Tensor, " n"], far: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        if self.kind != "residual":
            return far[:, None] * self.columns().T[which]
        x = far[:, None] * nn.functional.one_hot(which, self.k).to(far)
        return x @ torch.eye(self.k, self.d).to(far) + self.net(x) - self.net(torch.zeros_like(x))


@final
@dataclass(frozen=True, kw_only=True)
class Voynov(ToldApart):
    """Directions and a net that names them from pairs of pictures, learned together; no labels. The published number 1 is ε = 1."""

    name: ClassVar = "voynov"
    paper: ClassVar = "voynov2020unsupervised"
    tags: ClassVar = frozenset({"unsupervised", "non-linear"})

    k: int | None = param(None, "paths; as many as the space has dimensions if left out", ge=2)
    matrix: str = param(
        "orthonormal", "orthonormal, unit columns, or a residual net", choices=("orthonormal", "unit", "residual")
    )
    random: bool = param(False, "begin with a random matrix, not near the axes")
    reach: float = param(6.0, "the longest move, in deviations of the codes", ge=0.01)
    least: float = param(0.5, "the shortest", ge=0.0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = plain(self.name, generator, self.space), acts(generator, self.layers)
        k = self.k or space.shape[0]
        fits(self.name, k, space)
        if self.least > self.reach:
            raise SettingError(f"voynov: the shortest move, {self.least:g}, is longer than the longest, {self.reach:g}")
        unit = scale(generator, self.space)
        matrix = seeded(self.seed, lambda: Matrix(space.shape[0], k, self.matrix, self.random))

        def far(step: Step) -> Float[Tensor, " n"]:
            drawn = step.uniform(-self.reach, self.reach)
            return torch.where(drawn < 0, -1.0, 1.0) * drawn.abs().clamp_min(self.least)

        def move(codes: Latents, which: Tensor, amount: Tensor) -> Latents:
            return moved(generator, codes, codes.values + unit * matrix(which, amount), where)

        notes = self.learned(generator, matrix, k, far, move, progress)
        if self.matrix == "residual":
            return Paths(tuple(self._curve(generator, matrix, i, unit, where) for i in range(k)), notes)
        moves = (unit * (self.reach * matrix.columns())).T.float().cpu()
        straight = [Direction.along(f"voynov-{i}", v, space, generator, layers=where) for i, v in enumerate(moves)]
        return Paths(tuple(counting(path, unit) for path in straight), notes)

    @torch.no_grad()
    def _curve(self, generator: Generator, matrix: Matrix, i: int, unit: float, where: str | None) -> Curve:
        name, space = f"voynov-{i}", generator.space(self.space)
        far = torch.linspace(-self.reach, self.reach, KNOTS, device=generator.device)
        knots = unit * matrix(torch.full_like(far, i, dtype=torch.long), far).float().cpu()
        knots[KNOTS // 2] = 0
        pace = (knots[KNOTS // 2 + 1] - knots[KNOTS // 2 - 1]) * (KNOTS - 1) / (4 * self.reach)  # per ε, at 0
        per_sd = generator.spread(pace, self.space) / float(pace.norm())
        return Curve(
            name=name, layers=where, published=1 / per_sd, knots=knots, reach=self.reach, space=space, unit=per_sd
        )
