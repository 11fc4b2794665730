"""Directions each of which changes all pictures in one way, and differently from the others: contrastive learning on feature changes.

Paper    Yüksel, Simsar, Er & Yanardag, LatentCLR: A Contrastive Learning Approach for Unsupervised Discovery of Interpretable Directions,
         ICCV 2021 (equations 1-4)
Matches  K moves Δ(z) of length α, the same for all codes (global) or from a small net (nonlinear); features f of one layer; h = f(z +
         Δₖ(z)) − f(z) of length 1; the loss −log of the sum of exp(sim/τ) over changes by the same move, over that of the other moves;
         |sim| and τ = 2 as in the authors' release; Adam at 0.001, weight decay 0.001, a fifth of the rate after 1,000 and 5,000 steps
Differs  sums are means, so that the loss does not depend on the batch. Lengths count in the codes' root mean square deviation (1 in z).
         The variant whose moves are linear in z is left out
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Path, Paths
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts, counting
from .fields import FieldPath, Pushes, per_deviation
from .moves import moved, plain, scale
from .nets import still
from .training import PATIENCE, Step, patient, seeded, train


class Moves(nn.Module):
    """Ways of length 1, k for each code."""

    def __init__(self, k: int, d: int, kind: str):
        super().__init__()
        if kind == "global":
            self.ways = nn.Parameter(torch.randn(k, d))
        else:
            self.W1, self.b1 = nn.Parameter(torch.randn(k, d, d) / math.sqrt(d)), nn.Parameter(torch.zeros(k, d))
            self.W2, self.b2 = nn.Parameter(torch.randn(k, d, d) / math.sqrt(d)), nn.Parameter(torch.zeros(k, d))
        self.kind, self.k = kind, k

    def forward(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "k n d"]:
        if self.kind == "global":
            return F.normalize(self.ways, dim=1)[:, None].expand(-1, len(u), -1)
        hidden = (torch.einsum("khd,nd->knh", self.W1, u) + self.b1[:, None]).relu()
        return F.normalize(torch.einsum("kdh,knh->knd", self.W2, hidden) + self.b2[:, None], dim=2)


@final
@dataclass(frozen=True, kw_only=True)
class LatentCLR(Discoverer):
    """Moves that leave their own mark on the features of a layer, whatever the picture; no labels."""

    name: ClassVar = "latentclr"
    paper: ClassVar = "yuksel2021latentclr"
    tags: ClassVar = frozenset({"unsupervised", "self-supervised", "non-linear"})

    space: str = param("w", "space of the paths: w or z")
    layers: str = param("all", "where the paths act")
    k: int = param(100, "paths", ge=2)
    kind: str = param("global", "the same move for all codes, or one from a net", choices=("global", "nonlinear"))
    feature: str | None = param(None, "layer whose features are compared; if left out, the one in the middle")
    reach: float = param(3.0, "length of a move, in deviations of the codes", ge=1e-3)
    temperature: float = param(2.0, "divides the similarity", ge=0.01)
    psi: float = param(1.0, "truncation of the codes")
    steps: int = param(10_000, "of training", ge=1)
    batch: int = param(8, "codes a step; each is moved in all k ways", ge=2)
    rate: float = param(1e-3, "of Adam", ge=0.0)
    every: int = param(500, "steps between two looks at the loss", ge=1)
    patience: int = param(0, PATIENCE, ge=0)
    seed: int = param(0, "of training", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = plain(self.name, generator, self.space), acts(generator, self.layers)
        until = self._until(generator)
        unit, mean = scale(generator, self.space), generator.moments(self.space).mean.float()
        moves = seeded(self.seed, lambda: Moves(self.k, space.shape[0], self.kind))

        def changes(step: Step) -> Float[Tensor, "n k f"]:
            codes = step.codes(self.space, self.psi)
            ways = moves((codes.values - mean.to(codes.values)) / unit)
            before, found = self._features(generator, codes, until).detach(), []
            for way in ways:
                there = moved(generator, codes, codes.values + unit * self.reach * way, where)
                found.append(F.normalize(self._features(generator, there, until) - before, dim=1))
            return torch.stack(found, 1)

        def loss(step: Step) -> Float[Tensor, " n"]:
            mine = changes(step)
            return contrast(mine, step.everyone(mine), step.mine(torch.arange(self.batch)), self.temperature)

        trained = train(
            self,
            generator,
            moves,
            loss,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            decay=lambda step: 0.2 ** ((step >= 1000) + (step >= 5000)),
            weight_decay=1e-3,
            every=self.every,
            stop=patient(self.patience),
            seed=self.seed,
            progress=progress,
        )
        codes = generator.lift(generator.sample(64, seed=self.seed), self.space).values
        paths = tuple(self._path(generator, moves, i, mean, unit, where, codes) for i in range(self.k))
        return Paths(paths, {"feature": generator.layers[until - 1].name, "training": trained.notes()})

    def _until(self, generator: Generator) -> int:
        if self.feature is None:
            bodies = [i for i, layer in enumerate(generator.layers) if not layer.head]
            return bodies[len(bodies) // 2] + 1
        chosen = generator.pick(self.feature)
        if len(chosen) != 1:
            raise SettingError(f"latentclr: feature={self.feature!r} names {len(chosen)} layers; name one")
        return chosen[0] + 1

    def _features(self, generator: Generator, codes: Latents, until: int) -> Float[Tensor, "n f"]:
        *_, (_, state) = generator.states(codes, until=until, grad=True)
        return F.normalize(state.x.flatten(1), dim=1)

    def _path(
        self, generator: Generator, moves: Moves, i: int, mean: Tensor, unit: float, where: str | None, codes: Tensor
    ) -> Path:
        """The published number 1 is one move."""
        name, space, length = f"latentclr-{i}", generator.space(self.space), unit * self.reach
        if self.kind == "global":
            return counting(Direction.along(name, still(moves.ways[i]), space, generator, layers=where), length)
        W1, b1, W2, b2 = (still(p[i]) for p in (moves.W1, moves.b1, moves.W2, moves.b2))
        field = Pushes(W1, b1, W2, b2, length, mean, unit)
        per_sd = per_deviation(field, codes, generator.moments(self.space).cov)
        return FieldPath(name=name, layers=where, published=1 / per_sd, field=field, space=space, unit=per_sd)


def contrast(
    mine: Float[Tensor, "n k f"], everyone: Float[Tensor, "m k f"], places: Tensor, temperature: float
) -> Float[Tensor, " n"]:
    """−log(mean over the same move of other codes of exp(|sim|/τ) / mean over other moves), averaged over moves, for each code of `mine`,
    which stand at `places` among everyone."""
    alike = (torch.einsum("nkf,mjf->nkmj", mine, everyone).abs() / temperature).exp()
    n, k, m = mine.shape[0], mine.shape[1], everyone.shape[0]
    same = torch.eye(k, device=mine.device)[None, :, None].expand(n, k, m, k)
    other = (places[:, None] != torch.arange(m, device=mine.device)).to(mine)[:, None, :, None]
    near = (alike * same * other).sum((2, 3)) / max(m - 1, 1)
    far = (alike * (1 - same)).sum((2, 3)) / max(m * (k - 1), 1)
    return -(near / far).log().mean(1)
