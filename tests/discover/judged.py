"""How the paths of the planted generator are judged: what they do to its factors, on samples that nothing was learned from."""

import torch
from torch import Tensor

from planted import FACTORS, Factors, Planted, patterns
from steerable.render import render
from steerable.score import Scorer


class Smooth(Factors):
    """The factors, with gradients."""

    def read(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,fchw->nf", images, patterns()) / patterns().square().sum((1, 2, 3)) * 10


class Blind(Factors):
    """The factors, from which no gradient comes back."""

    def read(self, images: Tensor) -> Tensor:
        return super().read(images.detach())


def spread(generator: Planted, scorer: Scorer) -> Tensor:
    """Standard deviations of the scores."""
    return scorer(render(generator, generator.sample(1000, seed=90_000))).std(0)


def changes(generator: Planted, edits: list, scorer: Scorer | None = None, space: str = "w", n: int = 64) -> Tensor:
    """What edits do to the factors of each sample, in standard deviations [n f]."""
    scorer = scorer or Smooth()
    latents = generator.lift(generator.sample(n, seed=80_000), space)
    before, after = scorer(render(generator, latents)), scorer(render(generator, latents, edits))
    return (after - before) / spread(generator, scorer)


def leak(change: Tensor, target: str) -> float:
    """The largest mean absolute change of another factor, over that of the target."""
    size = change.abs().mean(0)
    own = FACTORS.index(target)
    return float(torch.cat([size[:own], size[own + 1 :]]).max() / size[own])
