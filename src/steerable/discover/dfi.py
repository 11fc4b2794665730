"""Deep feature interpolation: an attribute as the difference of mean deep features of a picture's neighbors with and without it.

Paper    Upchurch, Gardner, Pleiss, Pless, Snavely, Bala & Weinberger, Deep Feature Interpolation for Image Content Changes, CVPR 2017
Matches  for each picture its K nearest neighbors in feature space among pictures with and without the attribute (100 in the paper), the
         difference w of their mean features (equation 1), φ(x) + α·w, three last stages of a VGG net
Differs  the pictures are the generator's own, and features are turned back into codes by ridge regression, where the paper optimizes
         pixels with total variation: so a result is always a picture of the generator. VGG-16 of LPIPS for VGG-19. Features are averaged
         over a grid and neighbors are found among their principal components. A step is one standard deviation; "published" is α
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import MethodFailed
from ..generator import Generator
from ..method import Progress, param, quiet
from ..nn.perceptual import LPIPS
from ..path import Path, Paths
from ..record import Record
from ..render import render
from ..renderer import Renderer
from ..score.labels import batches, truncation
from ..space import Latents, Space
from .discoverer import Discoverer, Supervision, acts
from .labeled import LEARN, known
from .locally import deviation
from .own import Own
from .supervised import middle

GRID = 4  # places in each direction that features are averaged to
DEEP = slice(2, 5)  # the stages of VGG that the paper takes: conv3, conv4, conv5
RIDGE = 1e-2  # of the mean eigenvalue of the features


@dataclass(frozen=True)
class Bank(Record):
    """Pictures to look for neighbors in: features, as coordinates along `axes`, and the codes that these features foretell."""

    features: str
    center: Float[Tensor, " f"]
    axes: Float[Tensor, "q f"]
    places: Float[Tensor, "n q"]
    codes: Float[Tensor, "n d"]

    def place(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n q"]:
        seen = deep(images, self.features)
        return (seen - self.center.to(seen, copy=True)) @ self.axes.to(seen, copy=True).T


@dataclass(frozen=True, kw_only=True)
class Neighborly(Path):
    """Along the difference of the means of each sample's neighbors with and without an attribute."""

    bank: Bank
    shows: Bool[Tensor, " n"]
    neighbors: int
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "AsNeighbors":
        return AsNeighbors(self.space, t, self.bank, self.shows, self.neighbors, self.unit)


@dataclass(frozen=True)
class AsNeighbors(Own):
    bank: Bank
    shows: Bool[Tensor, " n"]
    neighbors: int
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        codes = latents.values.flatten(1)
        images = render(generator, latents.at(latents.values.detach()), grad=False)
        way = ways(self.bank, self.bank.place(images), self.shows, self.neighbors)
        return codes + (t * self.unit)[:, None] * way.to(codes)


def ways(bank: Bank, places: Float[Tensor, "m q"], shows: Bool[Tensor, " n"], k: int) -> Float[Tensor, "m d"]:
    """The mean code of the k nearest pictures that show it, minus that of the k nearest that do not."""
    far, codes, both = torch.cdist(places, bank.places.to(places, copy=True)), bank.codes.to(places, copy=True), []
    for kind in (shows, ~shows):
        rows = kind.to(places.device).nonzero()[:, 0]
        nearest = far[:, rows].topk(min(k, len(rows)), largest=False).indices
        both.append(codes[rows][nearest].mean(1))
    return both[0] - both[1]


def deep(images: Float[Tensor, "n 3 h w"], features: str) -> Float[Tensor, "n f"]:
    """Features of pictures on a grid; `pixels` is the picture itself, four times as fine."""
    if features == "pixels":
        return F.adaptive_avg_pool2d(images, 4 * GRID).flatten(1)
    stages = vgg(images.device).features(images)[DEEP]
    return torch.cat([F.adaptive_avg_pool2d(stage, GRID).flatten(1) for stage in stages], 1)


@cache
def vgg(device: torch.device) -> LPIPS:
    return LPIPS("vgg").to(device)


@final
@dataclass(frozen=True, kw_only=True)
class DFI(Discoverer):
    """One path for each score: the difference between a picture's neighbors with and without it."""

    name: ClassVar = "dfi"
    paper: ClassVar = "upchurch2017dfi"
    tags: ClassVar = frozenset({"supervised", "closed-form", "local"})

    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act")
    n: int = param(2000, "labeled pictures, the bank in which neighbors are looked for", ge=20)
    psi: float = param(1.0, "truncation of the labeled pictures")
    seed: int = param(0, "of the first labeled picture", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    features: str = param("vgg", "vgg, or pixels (nothing is downloaded)", choices=("vgg", "pixels"))
    neighbors: int = param(100, "with, and as many without, that each picture is compared to", ge=1)
    axes: int = param(128, "principal components of the features that are kept", ge=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        data = known(self, generator, supervision, self.space, progress)
        chosen, renderer, parts = data.labels.latents[data.rows], Renderer(generator, memory_mb=0), list[Tensor]()
        slices = list(batches(generator, len(data)))
        for rows in progress.over(slices, f"Features of {len(data)} pictures", len(slices)):
            parts.append(deep(renderer(chosen[rows], truncation(self.psi)), self.features).cpu())
        bank, share = self.bank(torch.cat(parts), data.codes)
        items = []
        for name, scores in zip(data.names, data.scores.T, strict=True):
            shows = scores > middle(scores)
            if not 0 < int(shows.sum()) < len(shows):
                raise MethodFailed(f"dfi: all labels of {name!r} are of one kind; label more pictures")
            sample = ways(bank, bank.places[:500], shows, self.neighbors)
            unit = deviation(sample, space, generator)
            items.append(
                Neighborly(
                    name=name, layers=where, published=1 / unit, bank=bank, shows=shows,
                    neighbors=self.neighbors, space=space, unit=unit,
                )
            )  # fmt: skip
        return Paths(tuple(items), {**data.notes(), "features kept": share})

    def bank(self, seen: Float[Tensor, "n f"], codes: Float[Tensor, "n d"]) -> tuple[Bank, float]:
        """The bank, and the share of the features' variance that its axes hold."""
        center = seen.double().mean(0)
        X, Z = seen.double() - center, codes.double() - codes.double().mean(0)
        U, S, V = torch.linalg.svd(X, full_matrices=False)
        q = min(self.axes, int((1e-6 * S[0] < S).sum()))
        places = U[:, :q] * S[:q]
        shrunk = S[:q] / (S[:q].square() + RIDGE * S.square().mean())
        foretold = places @ (shrunk[:, None] * (U[:, :q].T @ Z))
        bank = Bank(self.features, center.float(), V[:q].float(), places.float(), foretold.float())
        return bank, float(S[:q].square().sum() / S.square().sum())
