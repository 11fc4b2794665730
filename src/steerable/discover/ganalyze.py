"""Directions that raise a score by just so much.

Paper    Goetschalckx, Andonian, Oliva & Isola, GANalyze: Toward Visual Definitions of Cognitive Image Properties, ICCV 2019 (equation 1)
Matches  one w for a score A minimizes (A(G(T(z, α))) − (A(G(z)) + α))², T(z, α) = ‖z‖ (z + αw)/‖z + αw‖, α uniform around 0; Adam at
         0.0002, 4 pictures a step, 100,000 steps
Differs  each code keeps its own length (the authors' PyTorch release takes one length for the whole batch), and gradients are cleared
         between steps (their published runs did not). α goes up to `reach` standard deviations of the score instead of 0.5 of its units,
         so that one setting serves scores of any unit. Outside of z lengths are free: there a path is a straight direction. All scores of
         one discovery learn at once. No w for each class. The step is calibrated at the end, on held-out pictures
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import workers
from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..path import Direction, Path, Paths
from ..score import Scorer
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts, counting
from .fields import Tilt, kept
from .labeled import LEARN
from .moves import held_out, moved, plain, scale
from .supervised import wanted
from .training import PATIENCE, Step, patient, seeded, train


class Walks(nn.Module):
    def __init__(self, names: int, d: int):
        super().__init__()
        self.w = nn.Parameter(0.1 * torch.randn(names, d))


@final
@dataclass(frozen=True, kw_only=True)
class GANalyze(Discoverer):
    """One direction for each score, along which the score rises by the amount that is asked for. The scorer must be differentiable."""

    name: ClassVar = "ganalyze"
    paper: ClassVar = "goetschalckx2019ganalyze"
    tags: ClassVar = frozenset({"supervised"})

    space: str = param("z", "space of the paths: z or w")
    layers: str = param("all", "where the paths act")
    learn: str = param("all", LEARN)
    reach: float = param(1.0, "the largest change that is tried, in standard deviations of the score", ge=0.01)
    size: int | None = param(None, "score previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    n: int = param(256, "held-out pictures: the spread of the scores, and the calibration", ge=8)
    steps: int = param(100_000, "of training", ge=1)
    batch: int = param(4, "pictures a step, for each score", ge=1)
    rate: float = param(2e-4, "of Adam", ge=0.0)
    every: int = param(100, "steps between two looks at the loss", ge=1)
    patience: int = param(0, PATIENCE, ge=0)
    seed: int = param(0, "of training", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where, scorer = plain(self.name, generator, self.space), acts(generator, self.layers), supervision
        if not isinstance(scorer, Scorer):
            raise SettingError("ganalyze learns through a scorer; pass supervision=, such as score('statistics')")
        names = wanted(self.learn, scorer.names)
        columns = [scorer.names.index(name) for name in names]
        unit, keep = scale(generator, self.space), self.space == generator.spaces[0].name
        center = generator.moments(self.space).mean.to(generator.device, generator.dtype)
        walks = seeded(self.seed, lambda: Walks(len(names), space.shape[0]))
        spreads = self._spreads(generator, scorer, columns, names)

        def risen(codes: Latents, i: int, amount: Tensor) -> Float[Tensor, " n"]:
            u, move = (codes.values - center) / unit, (amount / spreads[i])[:, None] * walks.w[i]
            there = center + unit * (kept(u, move) if keep else u + move)
            return self._scores(generator, scorer, moved(generator, codes, there, where))[:, columns[i]]

        def loss(step: Step) -> Float[Tensor, " n"]:
            codes = step.codes(self.space, self.psi)
            before = self._scores(generator, scorer, codes).detach()
            parts = []
            for i, column in enumerate(columns):
                amount = step.uniform(-self.reach, self.reach) * spreads[i]
                error = (risen(codes, i, amount) - before[:, column] - amount) / spreads[i]
                parts.append(torch.where(error.isfinite(), error, 0).square())  # no score, nothing to learn
            return torch.stack(parts).mean(0)

        how = {"steps": self.steps, "batch": self.batch, "rate": self.rate, "every": self.every, "seed": self.seed}
        stop = patient(self.patience)
        trained = train(self, generator, walks, loss, supervision=scorer, stop=stop, progress=progress, **how)
        items, slopes = list[Path](), self._raised(generator, scorer, columns, risen, spreads)
        for i, (name, raised) in enumerate(zip(names, slopes, strict=True)):
            if not raised > 0:
                progress.note(f"ganalyze: no direction was found that raises {name!r}; train longer")
                continue
            w = unit * walks.w[i].detach().double().cpu() / float(spreads[i]) / raised  # one unit of the score
            path = counting(Direction.along(name, w, space, generator, layers=where), float(w.norm()))
            if keep:
                more = {"center": center.float().cpu(), "space": space, "unit": path.unit or 0.0}
                items.append(Tilt(name=name, layers=where, published=path.published, vector=path.vector, **more))
            else:
                items.append(path)
        if not items:
            raise MethodFailed(f"ganalyze: no direction was found that raises {', '.join(names)}; train longer")
        return Paths(tuple(items), {"training": trained.notes(), "raised": dict(zip(names, slopes, strict=True))})

    def _scores(self, generator: Generator, scorer: Scorer, codes: Latents) -> Float[Tensor, "n a"]:
        return scorer(view(generator, codes, self.size))

    @torch.no_grad()
    def _spreads(
        self, generator: Generator, scorer: Scorer, columns: list[int], names: tuple[str, ...]
    ) -> Float[Tensor, " a"]:
        """The standard deviation of each score. Raises SettingError for one that gives no gradient or says the same of all pictures."""
        count = sums = squares = torch.zeros(len(columns), dtype=torch.float64)
        for step in held_out(generator, self.n, self.batch, self.seed):
            codes = step.codes(self.space, self.psi)
            with torch.enable_grad():
                values = codes.values.requires_grad_()
                scores = self._scores(generator, scorer, codes.at(values))[:, columns]
                gives = scores.requires_grad
            if not gives:
                raise SettingError(
                    f"ganalyze follows the gradient of a score, and {scorer.name!r} gives none; learn it with boundary, or pass a "
                    "scorer made of differentiable steps"
                )
            scores = scores.double().cpu().detach()
            known = scores.isfinite()
            scores = torch.where(known, scores, 0)
            count, sums, squares = count + known.sum(0), sums + scores.sum(0), squares + scores.square().sum(0)
        count, sums, squares = (workers.total(x) for x in (count, sums, squares))
        deviations = (squares / count - (sums / count).square()).clamp_min(0).sqrt()
        for name, sd in zip(names, deviations.tolist(), strict=True):
            if not sd > 1e-9:
                raise SettingError(f"ganalyze: {name!r} says the same of all {self.n} pictures; take another score")
        return deviations.to(generator.device, generator.dtype)

    @torch.no_grad()
    def _raised(
        self,
        generator: Generator,
        scorer: Scorer,
        columns: list[int],
        risen: Callable[[Latents, int, Tensor], Tensor],
        spreads: Float[Tensor, " a"],
    ) -> list[float]:
        """By how much each score really rises where 1 was asked for: the slope through 0, on held-out pictures."""
        sums = torch.zeros(len(columns), 2, dtype=torch.float64)
        for step in held_out(generator, self.n, self.batch, self.seed):
            codes, share = step.codes(self.space, self.psi), step.uniform(-self.reach, self.reach)
            before = self._scores(generator, scorer, codes)
            for i, column in enumerate(columns):
                amount = share * float(spreads[i])
                rise = risen(codes, i, amount) - before[:, column]
                known = rise.isfinite()
                rise, amount = rise[known].double(), amount[known].double()
                sums[i] += torch.stack([(rise * amount).sum(), amount.square().sum()]).cpu()
        return [up / max(across, 1e-30) for up, across in workers.total(sums).tolist()]
