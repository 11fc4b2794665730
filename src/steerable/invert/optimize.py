"""Inversion by descent: one loop whose settings are the published systems (`presets.toml` names them).

Paper    Zhu, Krähenbühl, Shechtman, Efros, Generative Visual Manipulation on the Natural Image Manifold, ECCV 2016 (the optimization), and
         those that the presets name
Matches  each preset says what it takes from its paper
Differs  coarse to fine: losses look at previews that cost a fraction first and at the full picture last; the best codes seen are kept, not
         the last ones; everything that is searched (codes, noise) is stored, so that the picture can be made again bit by bit
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import Inversion
from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..space import Latents
from . import charts, starts
from .descent import Descent, Found, Settings
from .inverter import Observed, labeled, target
from .observe import Operator
from .views import Stage, View, staged


@final
@dataclass(frozen=True, kw_only=True)
class Optimize(Settings):
    """Searches codes (and noise) by descent on the difference of pictures."""

    name: ClassVar = "optimize"
    paper: ClassVar = "zhu2016generative"
    tags: ClassVar = frozenset({"optimization"})

    label: int | None = param(None, "class of the pictures, for generators with classes", ge=0)

    start: str = param("mean", "where the search begins", choices=starts.STARTS)
    samples: int = param(64, "samples that `best` chooses from, or `regression` learns from", ge=1)
    deep: bool = param(False, "compare samples by features of AlexNet too, not by thumbnails alone")
    restarts: int = param(1, "searches, of which the best is kept; they begin at other samples", ge=1)
    generations: int = param(30, "of the start `basin`", ge=1)
    population: int = param(18, "codes in a generation of the start `basin`", ge=4)
    inner: int = param(30, "steps down from each code of a generation", ge=0)
    seed: int = param(0, "of everything that is drawn", ge=0)

    steps: int = param(250, "steps in all", ge=1)
    coarse: str = param("64:0.45,128:0.4", "previews to look at first, with their shares of the steps: 64:0.4,128:0.3")
    batch: int = param(1, "pictures that are searched together", ge=1)

    def invert(
        self,
        generator: Generator,
        images: Float[Tensor, "n 3 h w"],
        *,
        observe: Observed = None,
        progress: Progress = quiet,
    ) -> Inversion:
        generator.space(self.space)
        wanted, operator = target(generator, images, observe)
        labeled(generator, 1, self.label)
        stages = self.plan(generator, wanted, operator, progress)
        found: list[Found] = []
        for i in range(0, len(wanted), self.batch):
            rows = slice(i, i + self.batch)
            mine = [(Stage(s.view, s.target[rows], s.operator), steps) for s, steps in stages]
            told = f"picture {i + 1} of {len(wanted)}" if len(wanted) > self.batch else ""
            found.append(self._searched(generator, mine, operator, wanted[rows], told, progress))
            if found[-1].interrupted:
                break
        return self._inversion(found)

    def plan(
        self, generator: Generator, wanted: Float[Tensor, "n 3 h w"], operator: Operator, progress: Progress = quiet
    ) -> list[tuple[Stage, int]]:
        """The views, each with its number of steps; the full one is the last. Sizes that are not below the picture's are left out."""
        shares = _shares(self.coarse)
        full = Stage(View(generator, generator.size[0], None), wanted, operator)
        previews = staged(generator, list(shares), wanted, operator, progress.note)
        plan = [(p, round(self.steps * share)) for p, share in zip(previews, shares.values(), strict=True) if p]
        return [*plan, (full, self.steps - sum(steps for _, steps in plan))]

    def _searched(
        self,
        generator: Generator,
        stages: list[tuple[Stage, int]],
        operator: Operator,
        wanted: Float[Tensor, "n 3 h w"],
        told: str,
        progress: Progress,
    ) -> Found:
        """The best of the searches for these pictures."""
        best: Found | None = None
        for at, start in enumerate(self._starts(generator, stages, operator, wanted, progress)):
            descent = Descent(self, generator, start, self.seed + at)
            title = " ".join(
                part for part in (told, f"start {at + 1} of {self.restarts}" if self.restarts > 1 else "") if part
            )
            found = descent.run(stages, title, progress)
            best = found if best is None else best.better(found)
            if found.interrupted or (self.enough is not None and bool((best.loss <= self.enough).all())):
                break
        assert best is not None
        return best

    def _starts(
        self, g: Generator, stages: list[tuple[Stage, int]], operator: Operator, wanted: Tensor, progress: Progress
    ) -> list[Latents]:
        n, inputs = len(wanted), labeled(g, len(wanted), self.label)
        draw = lambda count, seed: starts.samples(g, count, seed, inputs)
        look = starts.Look(g, operator, self.deep)
        match self.start:
            case "best":
                found = starts.best(look, wanted, draw(self.samples, self.seed), self.restarts, progress)
            case "regression":
                where = charts.root(g, self.space)
                fitted = starts.guess(look, where, self.samples, inputs, progress)
                found = [starts.guessed(fitted, look, wanted, where, inputs)]
            case "basin":
                found = [self._basin(g, stages[0][0], inputs, progress)]
            case "random":
                found = []
            case _:
                found = [starts.mean(g, n, self.space, inputs)]
        more = [draw(n, self.seed + i) for i in range(len(found), self.restarts)]
        return [g.lift(latents, self.space) for latents in (*found, *more)]

    def _basin(self, g: Generator, stage: Stage, inputs: dict[str, Tensor], progress: Progress) -> Latents:
        """A code of the first space, by BasinCMA on the first view. Descents of one generation run as one batch."""
        (first,) = g.spaces[0].shape
        if len(stage.target) != 1:
            raise SettingError("optimize: the start 'basin' takes one picture at a time; set batch=1")

        def descend(z: Tensor) -> Tensor:
            given = {k: v.expand(len(z), *v.shape[1:]) for k, v in inputs.items()}
            latents = g.lift(Latents(z.to(g.device, g.dtype), g.spaces[0], given), self.space)
            many = Stage(stage.view, stage.target.expand(len(z), -1, -1, -1), stage.operator)
            return Descent(self, g, latents, self.seed).short(many, self.inner)

        kept = torch.zeros(first)
        search = starts.basin(first, descend, self.generations, self.population, self.seed)
        for kept in progress.over(search, "generations", self.generations):  # noqa: B007
            pass
        return Latents(kept[None].to(g.device, g.dtype), g.spaces[0], inputs)

    def _inversion(self, found: list[Found]) -> Inversion:
        told: dict[str, Tensor | str | float | int | None] = {
            "inverter": self.name,
            "loss": torch.cat([f.loss for f in found]),
            "steps": sum(f.steps for f in found),
        }
        if found[-1].interrupted:
            rows = sum(len(f.loss) for f in found)
            told["interrupted"] = (
                f"after {found[-1].steps} of {self.steps} steps of picture {rows}; later pictures are not here"
            )
        return Inversion(Latents.cat([f.latents for f in found]), notes=told)


def _shares(text: str) -> dict[int, float]:
    """Sizes and shares, from coarse to fine: "64:0.4,128:0.3"."""
    try:
        pairs = [part.split(":") for part in text.split(",")] if text.strip() else []
        found = {int(size): float(share) for size, share in pairs}
    except ValueError:
        found = {-1: 0.0}
    ordered = list(found) == sorted(found)
    if (
        not ordered
        or any(size < 1 or not 0 < share < 1 or not math.isfinite(share) for size, share in found.items())
        or sum(found.values()) >= 1
    ):
        raise SettingError(
            f"coarse={text!r}: write sizes and shares of the steps, below 1 in all, from small to large: 64:0.4,128:0.3"
        )
    return found
