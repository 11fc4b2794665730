"""Enjoy your editing (latent2im): moves for several attributes at once, learned through a regressor, held by content and realism.

Paper    Zhuang, Koyejo & Schwing, Enjoy Your Editing: Controllable GANs for Image Editing via Latent Space Navigation, ICLR 2021
Matches  the authors' release (KelestZ/Latent2im): all attributes are learned together, each with a target of its own in every step, and
         codes move by Σ (target − present score) · move, scores as the frozen regressor reads them, so that moves are calibrated; the
         loss is 10 · regression + 0.05 · content + 0.05 · realism. One move for all samples (global, in w+ one for each row, begun at
         N(0, 0.02)), or one for each sample (local) told by three linear layers, the inner ones twice as wide as a code of 512.
         Content is the mean over conv1_1, conv1_2, conv2_1, conv2_2 of VGG, before their ReLU, of the mean square difference; realism
         is softplus(−D) of the generator's own frozen critic; 4 pictures to a step
Differs  scores are standardized and compared by squares, for they have units and no bounds here, where the release takes cross-entropy
         of numbers in [0, 1]; targets are even in ±2 SD, one for each sample, there even in [0, 1], one for the batch. The regressor is
         the scorer where gradients pass through it, else a small net fitted on its labels; there a ResNet-50. VGG-16 for VGG-19. Without
         a critic realism is how typical the codes stay. Adam's usual betas and a falling rate of 1e-3 in 4,000 steps, for (.5, .99) and
         1e-4 in 50,000. SiLU for LeakyReLU. t counts standard deviations of the codes; unit="published" raises the score by one of its
         own
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
from .discoverer import Supervision, acts
from .labeled import Knowledge, Known
from .locally import Told, Typical, deviation
from .moves import moved
from .nets import Layers, widths
from .taught import Taught
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
class Latent2im(Taught):
    """One path for each attribute, learned together."""

    name: ClassVar = "latent2im"
    paper: ClassVar = "zhuang2021enjoy"
    tags: ClassVar = frozenset({"supervised", "non-linear", "local"})

    space: str = param("w+", "space of the paths: z, w or w+")
    layers: str = param("all", "where the paths act")
    kind: str = param("global", "one move for all samples, or one for each", choices=("global", "local"))
    content: str = param("vgg", "what keeps the picture: vgg features, or pixels", choices=("vgg", "pixels"))
    regression_weight: float = param(10.0, "of the regression loss", ge=0)
    content_weight: float = param(0.05, "of the content loss", ge=0)
    realism_weight: float = param(0.05, "of the realism loss", ge=0)
    hidden: str = param("1024,1024", "widths of the hidden layers of the net that tells local moves")
    steps: int = param(4000, "of training; the authors take 50,000", ge=1)
    batch: int = param(4, "pictures to a step", ge=1)
    rate: float = param(1e-3, "of learning; the authors take 1e-4", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        if space.affine and space.name != "w+":
            raise SpaceError(f"latent2im moves codes of z, w or w+, not of {space.name!r}")
        data, eye = self.taught(generator, supervision, self.space, progress)
        a, d = len(data.names), prod(space.shape)
        make = lambda: (
            Everywhere(a, d) if self.kind == "global" else Layers(data.codes, widths(self.hidden), a * d, last=BEGIN)
        )
        moves = seeded(self.seed, make)
        trained = train(
            self, generator, moves, self._loss(generator, space, where, moves, eye, a), steps=self.steps, batch=self.batch,
            rate=self.rate, seed=self.seed, supervision=supervision, decay=lambda s: 1 - s / self.steps, progress=progress,
        )  # fmt: skip
        items = tuple(self._paths(generator, data, moves, space, where))
        return Paths(items, {**data.notes(), "regressor": eye.about, "training": trained.notes()})

    def _loss(
        self, generator: Generator, space: Space, where: str | None, moves: nn.Module, eye: Knowledge, a: int
    ) -> Any:
        critic = generator.critic if "label" not in generator.inputs else None
        size = None if critic is not None else eye.size
        vgg = LPIPS("vgg").to(generator.device) if self.content == "vgg" else None
        typical = Typical(generator, space)

        def loss(step: Step) -> Tensor:
            latents = step.codes(space.name, self.psi)
            target = step.uniform(-FAR, FAR, a)
            with torch.no_grad():
                before = view(generator, latents, size).detach()
                now = eye.read(before)
            codes = latents.values.flatten(1)
            way = torch.einsum("na,nad->nd", target - now, moves(codes).reshape(len(codes), a, -1))
            there = latents.values + way.reshape(latents.values.shape)
            after = view(generator, moved(generator, latents, there, where), size)
            regression = (eye.read(after) - target).square().mean(1)
            if critic is not None:
                realism = F.softplus(-critic(after))
            else:
                realism = (typical(there) - typical(latents.values)).clamp_min(0)
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
    """The mean square difference of what VGG's first four convolutions say, or of the pixels."""
    if vgg is None:
        return (a - b).square().mean((1, 2, 3))
    pairs = zip(early(vgg, a), early(vgg, b), strict=True)
    return torch.stack([(u - v).square().mean((1, 2, 3)) for u, v in pairs]).mean(0)


def early(vgg: LPIPS, images: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
    """conv1_1, conv1_2, conv2_1 and conv2_2, before their ReLU."""
    one = vgg.convs[0]((images - vgg.shift) / vgg.scale)
    two = vgg.convs[1](one.relu())
    three = vgg.convs[2](F.max_pool2d(two.relu(), 2))
    return [one, two, three, vgg.convs[3](three.relu())]
