"""StyleSpace: single channels of s that change one attribute, or one region.

Paper    Wu, Lischinski & Shechtman, StyleSpace Analysis: Disentangled Controls for StyleGAN Image Generation, CVPR 2021
Matches  attribute: channels by |mean| / std of (s − μ)/σ over a few positive examples (section 5); region: where the gradient of the
         picture by a channel is largest, over an area as large as each region, which region it overlaps most, in more than half of the
         pictures and a quarter more often than the next (section 4); attribute dependency (section 6); a step is one σ of the channel
Differs  the overlap is counted against chance, as in the authors' code, and must be half of the region; a pixel belongs to the smallest
         region that covers it; gradients are forward-mode and resume at the channel's own layer; with an attribute only those of its
         `candidates` are taken; far fewer pictures by default
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..geometry import Derivative, view
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from ..request import Named, region
from ..score import Scorer
from ..score.labels import label, truncation
from ..space import Latents
from . import places
from .discoverer import Discoverer, Supervision
from .moves import population
from .rescoring import Move, rescore

GRID = 32  # px: gradients and regions are compared at this size, as in the paper
OFTEN, LEAD = 0.5, 0.25  # of the pictures, to count as a channel of a region
HALF = 0.5  # of a channel's strongest places, to belong to a region
LEAST = 3  # positive examples


@final
@dataclass(frozen=True, kw_only=True)
class StyleSpace(Discoverer):
    """One channel a path: those of an attribute (with scores), of a region, or of both."""

    name: ClassVar = "stylespace"
    paper: ClassVar = "wu2021stylespace"
    tags: ClassVar = frozenset({"supervised", "local"})
    needs: ClassVar = ("s",)

    layers: str = param("all", "layers whose channels are considered")
    heads: bool = param(False, "consider channels of image heads too, which are pure color")
    region: str = param("", "keep channels of this region: mouth, left-eye …, a box, or a mask's file")
    k: int = param(3, "channels kept for each score; without scores, in all", ge=1)
    n: int = param(1000, "labeled pictures that the positive examples are taken from", ge=2 * LEAST)
    positives: int = param(10, "examples: the highest scores", ge=LEAST)
    codes: int = param(10_000, "codes for the mean and spread of each channel", ge=100)
    candidates: int = param(30, "channels of each score, the best first, that are tried for the region", ge=1)
    pictures: int = param(10, "pictures that gradients are taken of; the paper takes 1000", ge=1)
    dependency: int = param(0, "pictures re-scored, to note how much other scores change with each path", ge=0)
    step: float = param(5.0, "how far channels are moved for that, in standard deviations", ge=0.01)
    psi: float = param(0.7, "truncation of all pictures")
    seed: int = param(0, "of the first labeled picture", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        if supervision is None and not self.region:
            raise SettingError(
                "stylespace needs scores (supervision=score('smile')), or a region (region='mouth'), or both"
            )
        allowed = self._allowed(generator)
        mean, std = self.population(generator)
        ranked: list[tuple[str, int, float, float]] = []  # name, column, sign, how well it tells
        if supervision is not None:
            ranked = list(self.attributes(generator, supervision, allowed, mean, std, progress))
        notes: dict[str, Any] = {"theta" if ranked else "gradient": {}}
        if self.region:
            wanted = torch.zeros_like(allowed)
            wanted[[column for _, column, _, _ in ranked]] = True
            hits, strength = self.localized(generator, wanted if ranked else allowed, std, progress)
            if not ranked:
                ranked = [(self.region, c, 1.0, float(strength[c])) for c in strength.argsort(descending=True).tolist()]
            ranked = [r for r in ranked if hits[r[1]]]
            if not ranked:
                raise MethodFailed(
                    f"stylespace: no channel was seen to keep to {self.region!r}; try other layers, or more candidates"
                )
        items, kept = [], {}
        for name, column, sign, well in ranked:
            if kept.get(name, 0) < self.k:
                kept[name] = kept.get(name, 0) + 1
                layer = next(x for x in generator.layers if x.style.start <= column < x.style.stop)
                title = f"{name} {layer.name}.{column - layer.style.start}"
                vector = torch.zeros(generator.space("s").shape)
                vector[column] = sign
                items.append(Direction.along(title, vector, generator.space("s"), generator, published=1.0))
                notes["theta" if supervision is not None else "gradient"][title] = well
        paths = Paths(tuple(items), notes)
        return self._dependent(generator, paths, supervision, progress) if self.dependency else paths

    def _allowed(self, generator: Generator) -> Bool[Tensor, " c"]:
        chosen = generator._where("s", self.layers)
        for layer in generator.layers:
            if layer.head and not self.heads:
                chosen[layer.style] = False
        if not chosen.any():
            raise SettingError(f"stylespace: layers={self.layers!r} holds image heads only; pass heads=True")
        return chosen

    def attributes(
        self,
        generator: Generator,
        supervision: Supervision,
        allowed: Bool[Tensor, " c"],
        mean: Float[Tensor, " c"],
        std: Float[Tensor, " c"],
        progress: Progress,
    ) -> Iterator[tuple[str, int, float, float]]:
        """For each score its channels, those first in which the positive examples differ alike from all codes."""
        labels = label(generator, supervision, self.n, seed=self.seed, psi=self.psi, size=self.size, progress=progress)
        styles = labels.codes(generator, "s")
        for name in labels.names:
            known, scores = labels.known(name)
            count = min(self.positives, len(scores) // 2)
            if count < LEAST or scores.min() == scores.max():
                raise MethodFailed(f"stylespace: {len(scores)} pictures tell too little about {name!r}; label more")
            positive = (styles[known][scores.argsort(descending=True)[:count]] - mean) / std
            theta = positive.mean(0).abs() / positive.std(0).clamp_min(1e-12)
            theta[~allowed | (std < 1e-12)] = -1
            best = theta.argsort(descending=True)[: max(self.candidates if self.region else 0, self.k)]
            for column in best[theta[best] > 0].tolist():
                yield name, column, float(positive[:, column].mean().sign()), float(theta[column])

    def population(self, generator: Generator) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and standard deviation of each channel."""
        mean, variance = population(generator, self.codes, seed=self.seed + 1, psi=self.psi)
        return mean.float(), (variance * self.codes / (self.codes - 1)).sqrt().float()

    def localized(
        self, generator: Generator, wanted: Bool[Tensor, " c"], std: Float[Tensor, " c"], progress: Progress
    ) -> tuple[Bool[Tensor, " c"], Float[Tensor, " c"]]:
        """Which of the channels keep to the region, and how large their gradient times σ is there."""
        latents = places.points(generator, "s", self.pictures, seed=self.seed, psi=self.psi)
        place = region(self.region)
        if isinstance(place, Named):
            finder = places.segmenter(place.names)
            parts = places.regions(generator, latents, finder, (GRID, GRID), progress)
            asked = [finder.names.index(name) for name in place.names]
        else:
            parts, asked = place.mask(GRID, GRID).expand(self.pictures, 1, GRID, GRID), [0]
        share = torch.zeros(parts.shape[1] + 1, len(wanted))
        strength, seen = torch.zeros(len(wanted)), 0
        for i in progress.over(range(len(latents)), "Gradients of channels", len(latents)):
            if parts[i].isnan().any():
                continue
            owner, seen = disjoint(parts[i]), seen + 1
            inside = torch.isin(owner, torch.tensor(asked))
            for chosen, maps in gradients(generator, latents[i], wanted):
                share[overlapped(maps, owner, len(share)), chosen] += 1
                strength[chosen] += maps[:, inside].mean(1) * std[chosen]
        if not seen:
            raise MethodFailed(
                f"{self.region!r} was not seen in any of {len(latents)} pictures (no face found?); lower psi"
            )
        share = share / seen
        first, second = share.topk(2, dim=0).values
        hit = torch.isin(share.argmax(0), torch.tensor(asked)) & (first > OFTEN) & (first - second > LEAD)
        return hit & wanted, torch.where(wanted, strength, -1.0)

    def _dependent(
        self, generator: Generator, paths: Paths, supervision: Supervision | None, progress: Progress
    ) -> Paths:
        """The paths with their effects, and attribute dependency: mean |Δ of another score| / σ for one σ of the path's own."""
        if not isinstance(supervision, Scorer):
            raise SettingError(
                "stylespace: dependency re-scores pictures; pass supervision=, such as score('face'); a CSV will not do"
            )
        fresh = generator.sample(self.dependency, seed=self.seed + self.n)
        edits, moves = truncation(self.psi), [Move(p) for p in paths]
        change = rescore(
            generator, fresh, moves, supervision, step=self.step, edits=edits, size=self.size, progress=progress
        )
        moved = change.per_sd.abs().nanmean(1) / change.spread  # [k, a]
        items, table = [], {}
        for i, path in enumerate(paths):
            items.append(replace(path, effects=change.effects(i, supervision, self.psi)))
            own = path.name.rpartition(" ")[0]
            own = supervision.names.index(own) if own in supervision.names else int(moved[i].argmax())
            table[path.name] = {n: float(v / moved[i, own]) for n, v in zip(supervision.names, moved[i], strict=True)}
        return Paths(tuple(items), {**paths.notes, "dependency": table})


def gradients(
    generator: Generator, latents: Latents, wanted: Bool[Tensor, " c"]
) -> Iterator[tuple[Tensor, Float[Tensor, "q h w"]]]:
    """Layer by layer: columns of s, and for each how much the picture changes where, on the grid; mean over colors."""
    state = generator.start(latents)
    for i, layer in enumerate(generator.layers):
        chosen = layer.style.start + wanted[layer.style].nonzero()[:, 0]
        if len(chosen):

            def picture(own: Tensor, i: int = i, style: slice = layer.style, state: Any = state) -> Tensor:
                s = torch.cat([latents.values[0, : style.start], own, latents.values[0, style.stop :]])
                return view(generator, latents.at(s[None]), 2 * GRID, first=i, state=state)[0]

            J = Derivative(picture, latents.values[0, layer.style])
            rows = F.one_hot(chosen - layer.style.start, layer.style.stop - layer.style.start)
            h, w = picture(J.at).shape[-2:]
            maps = J.push(rows.float()).reshape(len(chosen), 3, h, w).abs().mean(1).cpu()
            yield chosen, F.interpolate(maps[:, None], (GRID, GRID), mode="area")[:, 0]
        with torch.no_grad():
            state = generator.layer(i, state, latents, grad=False)


def disjoint(parts: Float[Tensor, "a h w"]) -> Tensor:
    """Which region each pixel belongs to [h w]: the smallest that covers it, or a (elsewhere)."""
    owner = torch.full(parts.shape[1:], len(parts))
    for a in parts.sum((1, 2)).argsort(descending=True).tolist():
        owner[parts[a] > 0.5] = a
    return owner


def overlapped(maps: Float[Tensor, "q h w"], owner: Tensor, regions: int) -> Tensor:
    """For each map the region that its strongest places, as many as the region has pixels, overlap most, against chance.

    The last region is what the others leave; a map that has no more than half of its strongest places in one of them belongs there.
    """
    order, owner = maps.flatten(1).argsort(descending=True), owner.flatten()
    share, lift = torch.zeros(2, regions, len(maps))
    for a in range(regions):
        size = int((owner == a).sum())
        if size > 1:
            share[a] = (owner[order[:, :size]] == a).float().mean(1)
            lift[a] = share[a] * len(owner) / size
    best = lift.argmax(0)
    return torch.where(share[best, torch.arange(len(maps))] > HALF, best, regions - 1)
