"""Enjoy your editing (latent2im): moves for several attributes at once, learned through a regressor, held by content and realism.

Paper    Zhuang, Koyejo & Schwing, Enjoy Your Editing: Controllable GANs for Image Editing via Latent Space Navigation, ICLR 2021
Matches  all attributes are learned together, and changed together while they are; the step is target − current score, as the
         regressor reads it, so that it is calibrated; three losses with the paper's weights: 10 · regression, 0.05 · content,
         0.05 · realism; one move for all samples (global), or one for each, told by a net (local)
Differs  scores are standardized and compared by squares, where the paper has probabilities and cross-entropy. The regressor is the scorer
         where gradients pass through it, else a small net fitted on its labels. Realism is the generator's own critic where there is one,
         else how typical the codes stay. Content by pixels needs no download. A step is one standard deviation of the codes;
         unit="published" raises the score by one of its own
"""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SpaceError
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..nn.perceptual import LPIPS
from ..path import Direction, Path, Paths
from ..space import Space
from .discoverer import Discoverer, Supervision, acts
from .labeled import LEARN, REGRESSOR, Knowledge, Known, knowledge, known
from .locally import Told, Typical, deviation
from .nets import Layers, widths
from .training import Step, seeded, train

FAR = 2.0  # standard deviations within which target scores are drawn
BEGIN = 0.02  # size of the first moves, as in the paper


class Everywhere(nn.Module):
    """The same moves for all codes: [a, *space]."""

    def __init__(self, a: int, d: int):
        super().__init__()
        self.moves = nn.Parameter(BEGIN * torch.randn(a * d))

    def forward(self, codes: Float[Tensor, "n d"]) -> Float[Tensor, "n ad"]:
        return self.moves.expand(len(codes), -1)


@final
@dataclass(frozen=True, kw_only=True)
class Latent2im(Discoverer):
    """One path for each attribute, learned together."""

    name: ClassVar = "latent2im"
    paper: ClassVar = "zhuang2021enjoy"
    tags: ClassVar = frozenset({"supervised", "non-linear", "local"})

    space: str = param("w", "space of the paths: z, w or w+")
    layers: str = param("all", "where the paths act")
    kind: str = param("local", "a move for each sample, or one for all", choices=("local", "global"))
    n: int = param(2000, "labeled pictures, for the spread of scores and for the regressor", ge=20)
    psi: float = param(1.0, "truncation of all pictures")
    seed: int = param(0, "of the first labeled picture, and of training", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    regressor: str = param("auto", REGRESSOR, choices=("auto", "scorer", "net"))
    reading: int = param(2000, "steps in which that net is fitted", ge=1)
    content: str = param("vgg", "what keeps the picture: vgg features, or pixels", choices=("vgg", "pixels"))
    regression_weight: float = param(10.0, "of the regression loss", ge=0)
    content_weight: float = param(0.05, "of the content loss", ge=0)
    realism_weight: float = param(0.05, "of the realism loss", ge=0)
    hidden: str = param("256", "widths of the hidden layers of the net that tells local moves")
    steps: int = param(4000, "of training; the paper takes 50,000", ge=1)
    batch: int = param(4, "pictures to a step", ge=1)
    rate: float = param(1e-3, "of learning; the paper takes 1e-4", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        if space.affine and space.name != "w+":
            raise SpaceError(f"latent2im moves codes of z, w or w+, not of {space.name!r}")
        data = known(self, generator, supervision, self.space, progress)
        eye = knowledge(self, generator, supervision, data, self.regressor, self.reading, progress)
        a, d = len(data.names), prod(space.shape)
        make = lambda: (
            Everywhere(a, d) if self.kind == "global" else Layers(data.codes, widths(self.hidden), a * d, last=BEGIN)
        )
        moves = seeded(self.seed, make)
        trained = train(
            self, generator, moves, self._loss(generator, space, moves, eye, a), steps=self.steps, batch=self.batch,
            rate=self.rate, seed=self.seed, supervision=supervision, decay=lambda s: 1 - s / self.steps, progress=progress,
        )  # fmt: skip
        items = tuple(self._paths(generator, data, moves, space, where))
        return Paths(items, {**data.notes(), "regressor": eye.about, "training": trained.notes()})

    def _loss(self, generator: Generator, space: Space, moves: nn.Module, eye: Knowledge, a: int) -> Any:
        critic = generator.critic if "label" not in generator.inputs else None
        size = None if critic is not None else eye.size
        vgg = LPIPS("vgg").to(generator.device) if self.content == "vgg" else None
        typical = Typical(generator, space)

        def loss(step: Step) -> Tensor:
            latents = step.codes(space.name, self.psi)
            chosen, target = step.uniform(0, 1, a) < 0.5, step.uniform(-FAR, FAR, a)
            with torch.no_grad():
                before = view(generator, latents, size).detach()
                now = eye.read(before)
            target = torch.where(chosen, target, now)
            codes = latents.values.flatten(1)
            way = torch.einsum("na,nad->nd", target - now, moves(codes).reshape(len(codes), a, -1))
            there = latents.moved(way.reshape(latents.values.shape))
            after = view(generator, there, size)
            regression = (eye.read(after) - target).square().mean(1)
            if critic is not None:
                realism = F.softplus(-critic(after))
            else:
                realism = (typical(there.values) - typical(latents.values)).clamp_min(0)
            alike = content(vgg, before, after)
            return self.regression_weight * regression + self.content_weight * alike + self.realism_weight * realism

        return loss

    def _paths(self, generator: Generator, data: Known, moves: nn.Module, space: Space, where: str | None) -> Any:
        d = prod(space.shape)
        for i, name in enumerate(data.names):
            path: Path
            if isinstance(moves, Everywhere):
                vector = moves.moves.detach()[i * d : (i + 1) * d].reshape(space.shape).cpu()
                made = Direction.along(name, vector, space, generator, layers=where)
                assert made.unit is not None
                path = Direction.along(
                    name, vector, space, generator, layers=where, published=float(vector.norm()) / made.unit
                )
            else:
                assert isinstance(moves, Layers)
                net = moves.record()
                told = net(data.codes[:500])[:, i * d : (i + 1) * d]
                unit = deviation(told, space, generator)
                path = Told(name=name, layers=where, published=1 / unit, net=net, first=i * d, space=space, unit=unit)
            yield path


def content(vgg: LPIPS | None, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """The mean square difference of the first four stages of VGG, or of the pixels."""
    if vgg is None:
        return (a - b).square().mean((1, 2, 3))
    stages = list(zip(vgg.features(a)[:4], vgg.features(b)[:4], strict=True))
    return torch.stack([(u - v).square().mean((1, 2, 3)) for u, v in stages]).mean(0)
