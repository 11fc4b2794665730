"""Paths that are easy to tell apart: a net looks at two pictures and says which of k paths was walked, and how far (Voynov & Babenko,
ICML 2020, section 3.1); paths and net learn together.

The net differs from the published ones in its normalization: groups of channels instead of batches, so that a row's answer is its own.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .. import workers
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param
from ..space import Latents
from .discoverer import Discoverer
from .moves import held_out
from .training import PATIENCE, Step, patient, seeded, train

Pair = tuple[Tensor, Tensor, Tensor, Tensor]  # plain and moved pictures [n 3 h w], number of the path [n], how far [n]
WIDTHS = (64, 128, 256, 512)  # of ResNet-18


def grouped(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class Block(nn.Module):
    """Two 3 × 3 convolutions and a way around them (He et al. 2016)."""

    def __init__(self, into: int, out: int, stride: int):
        super().__init__()
        self.a, self.b = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm_a, self.norm_b = grouped(out), grouped(out)
        self.around = nn.Identity() if into == out else nn.Conv2d(into, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_b(self.b(self.norm_a(self.a(x)).relu()))
        return (y + self.around(x)).relu()


def resnet(width: int) -> nn.Module:
    """ResNet-18 over six channels; `width` 64 is the published one."""
    widths = [c * width // 64 for c in WIDTHS]
    stem = [nn.Conv2d(6, widths[0], 7, 2, 3, bias=False), grouped(widths[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [
        Block(a, b, 1 if i == 0 or a == b else 2)
        for i, c in enumerate(widths)
        for a, b in ((widths[max(i - 1, 0)], c), (c, c))
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lenet(width: int) -> nn.Module:
    """Two 5 × 5 convolutions with pooling, and two linear layers, over six channels."""
    return nn.Sequential(
        nn.Conv2d(6, width // 2, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width // 2, width, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * width, 2 * width),
        nn.ReLU(),
    )


class Reconstructor(nn.Module):
    """Plain and moved pictures → logits of the path [n k], and how far [n]. `kind` is resnet or lenet, `width` their breadth."""

    def __init__(self, k: int, kind: str = "resnet", width: int = 64):
        super().__init__()
        self.body = resnet(width) if kind == "resnet" else lenet(width)
        features = WIDTHS[-1] * width // 64 if kind == "resnet" else 2 * width
        self.path, self.amount = nn.Linear(features, k), nn.Linear(features, 1)

    def forward(self, plain: Float[Tensor, "n 3 h w"], moved: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor]:
        found = self.body(torch.cat([plain, moved], 1))
        return self.path(found), self.amount(found)[:, 0]


def signed(step: Step, low: float, high: float) -> Float[Tensor, " n"]:
    """How far to go: uniform in ±[low, high]."""
    return step.uniform(low, high) * (2 * step.integers(2).to(step.generator.dtype) - 1)


def misread(
    net: Reconstructor,
    plain: Float[Tensor, "n 3 h w"],
    moved: Float[Tensor, "n 3 h w"],
    which: Int[Tensor, " n"],
    far: Float[Tensor, " n"],
    weight: float,
) -> Float[Tensor, " n"]:
    """Cross-entropy of the path's number plus `weight` times the absolute error of how far (equation 2), for each row."""
    logits, amount = net(plain, moved)
    return F.cross_entropy(logits, which, reduction="none") + weight * (amount - far).abs()


@torch.no_grad()
def accuracy(net: Reconstructor, pair: Callable[[Step], Pair], steps: Iterable[Step]) -> float:
    """The share of held-out pairs whose path is named rightly (RCA), over all processes."""
    right = torch.zeros(2, dtype=torch.float64)
    for step in steps:
        plain, moved, which, _ = pair(step)
        right += torch.tensor([float((net(plain, moved)[0].argmax(1) == which).sum()), len(which)])
    hits, n = workers.total(right).tolist()
    return hits / n


class Both(nn.Module):
    """What moves the codes, and what tells its moves apart."""

    def __init__(self, mover: nn.Module, reader: Reconstructor):
        super().__init__()
        self.mover, self.reader = mover, reader


@dataclass(frozen=True, kw_only=True)
class ToldApart(Discoverer):
    """Methods that train paths with a reconstructor. They say how codes are moved."""

    space: str = param("w", "space of the paths: w or z")
    layers: str = param("all", "where the paths act")
    weight: float = param(0.25, "of the error of how far, beside that of which", ge=0.0)
    net: str = param("resnet", "reconstructor", choices=("resnet", "lenet"))
    width: int = param(64, "channels of its first block; 64 is ResNet-18", ge=2)
    size: int | None = param(None, "look at previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    steps: int = param(100_000, "of training", ge=1)
    batch: int = param(32, "pairs a step", ge=1)
    rate: float = param(1e-4, "of Adam", ge=0.0)
    every: int = param(1000, "steps between two looks at held-out pairs", ge=1)
    patience: int = param(0, PATIENCE, ge=0)
    n: int = param(3200, "held-out pairs for the accuracy", ge=1)
    seed: int = param(0, "of training", ge=0)

    def learned(
        self,
        generator: Generator,
        mover: nn.Module,
        k: int,
        far: Callable[[Step], Tensor],
        move: Callable[[Latents, Tensor, Tensor], Latents],
        progress: Progress,
    ) -> dict[str, Any]:
        """Train `mover` in place; how well its paths were told apart. `far` draws lengths, `move` takes codes, paths and lengths."""
        reader = seeded(self.seed + 1, lambda: Reconstructor(k, self.net, self.width))

        def pair(step: Step) -> Pair:
            codes, which, amount = step.codes(self.space, self.psi), step.integers(k), far(step)
            there = move(codes, which, amount)
            return view(generator, codes, self.size).detach(), view(generator, there, self.size), which, amount

        trained = train(
            self,
            generator,
            Both(mover, reader),
            lambda step: misread(reader, *pair(step), self.weight),
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            seed=self.seed,
            every=self.every,
            look=lambda: accuracy(reader, pair, held_out(generator, self.n, self.batch, self.seed)),
            stop=patient(self.patience, higher=True),
            progress=progress,
        )
        return {"reconstructor accuracy": trained.history[-1], "chance": 1 / k, "training": trained.notes()}
