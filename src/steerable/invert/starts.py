"""Where a search begins: the mean, a sample, the best of many, what a regression guesses from the picture, or a basin found by CMA-ES."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .. import cache
from ..errors import SettingError, need
from ..generator import Generator
from ..method import Progress
from ..record import Record
from ..renderer import fitted
from ..space import Latents
from .losses import perceptual
from .observe import Operator
from .views import View, view

STARTS = ("mean", "random", "best", "regression", "basin")
SMALL = 16  # px of the thumbnail among the features
SEEN = 64  # px of the previews that features are read from, where the family has them
DEEP = 3  # side of the maps that the deep features are averaged to
CHUNK = 8
RIDGE = 1e-2  # of the mean square of a feature, in the regression


def mean(generator: Generator, n: int, space: str, inputs: dict[str, Tensor]) -> Latents:
    """The mean code (zeros in z, where there is no w)."""
    z = Latents(
        torch.zeros(n, *generator.spaces[0].shape, device=generator.device, dtype=generator.dtype),
        generator.spaces[0],
        inputs,
    )
    return z if space == generator.spaces[0].name else generator.lift(generator.truncate(z, 0.0), space)


def samples(generator: Generator, n: int, seed: int, inputs: dict[str, Tensor]) -> Latents:
    """n codes of the first space; `inputs` have one row, for all of them."""
    (_, z), *_ = generator.blocks(n, seed=seed, size=n)
    return Latents(z.values, z.space, {k: v[:1].expand(n, *v.shape[1:]) for k, v in inputs.items()})


@dataclass(frozen=True)
class Look:
    """Features by which samples are compared with a target: a thumbnail, and with `deep` those of AlexNet, averaged over a coarse grid."""

    generator: Generator
    operator: Operator
    deep: bool

    @cached_property
    def view(self) -> View:
        """A preview, where the operator can be used on full pictures only the full ones."""
        plain = self.operator.spec in ("identity", "gray")
        found = view(self.generator, SEEN) if plain and self.generator.size[0] > SEEN else None
        return found or View(self.generator, self.generator.size[0], None)

    def features(self, observed: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        seen = fitted(observed, SEEN)
        parts = [fitted(seen, SMALL).flatten(1)]
        if self.deep:
            grid = torch.nn.functional.adaptive_avg_pool2d
            net = perceptual("alex").to(seen.device, seen.dtype)
            parts += [_unit(grid(x, DEEP).flatten(1)) for x in net.features(seen)[1:]]
        return torch.cat(parts, 1)

    def at(self, latents: Latents, title: str, progress: Progress) -> Float[Tensor, "n f"]:
        """Of samples, a few at a time."""
        look, chunks = self.view, [latents[slice(i, i + CHUNK)] for i in range(0, len(latents), CHUNK)]
        with torch.no_grad():
            seen = (self.operator(look(c, grad=False)) for c in progress.over(chunks, title, len(chunks)))
            return torch.cat([self.features(x) for x in seen])


def _unit(x: Tensor) -> Tensor:
    """Deep features count as much as a thumbnail, whatever their number."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12) * SMALL


def best(look: Look, target: Float[Tensor, "n 3 h w"], drawn: Latents, keep: int, progress: Progress) -> list[Latents]:
    """For each target the `keep` samples nearest to it: keep batches of n codes, the nearest first."""
    found = look.at(drawn, "samples to start from", progress)
    order = torch.cdist(look.features(target), found).argsort(1)  # [n samples]
    return [drawn[order[:, j]] for j in range(min(keep, len(drawn)))]


@dataclass(frozen=True)
class Guess(Record):
    """A ridge regression from features to codes: codes = features @ weight + bias."""

    weight: Float[Tensor, "f d"]
    bias: Float[Tensor, "d"]


def guess(look: Look, space: str, n: int, inputs: dict[str, Tensor], progress: Progress) -> Guess:
    """Fitted on n samples of the generator's own, in `space`; cached by fingerprint where the operator has a text of its own."""
    g = look.generator

    def make() -> Guess:
        z = samples(g, n, 77, inputs)
        X = look.at(z, "samples to learn a start from", progress).double().cpu()
        Y = g.lift(z, space).values.double().cpu()
        x, y = X.mean(0), Y.mean(0)
        X, Y = X - x, Y - y
        K = X @ X.T  # [n n]: there are more features than samples
        A = torch.linalg.solve(K + RIDGE * float(K.diagonal().mean()) * torch.eye(n, dtype=K.dtype), Y)
        weight = X.T @ A
        return Guess(weight.float(), (y - x @ weight).float())

    if look.operator.spec.startswith(("function", "mask", "box")):
        return make()
    label = ",".join(str(int(v[0].argmax())) for v in inputs.values())
    key = f"{g.fingerprint}-{space}-{n}-{look.deep}-{look.operator.spec}-{look.view.size}-{label}"
    return cache.remembered(Guess, "start", key, make)


def guessed(
    found: Guess, look: Look, target: Float[Tensor, "n 3 h w"], space: str, inputs: dict[str, Tensor]
) -> Latents:
    X = look.features(target).float().cpu()
    values = X @ found.weight + found.bias
    return Latents(values.to(look.generator.device, look.generator.dtype), look.generator.space(space), inputs)


def basin(
    d: int, descend: Callable[[Float[Tensor, "p d"]], Float[Tensor, "p"]], generations: int, population: int, seed: int
) -> Iterator[Float[Tensor, " d"]]:
    """BasinCMA: the best sample so far, after each generation.

    CMA-ES (Hansen 2016, by the package `cma`) over standard normal codes; `descend` tells what a short descent from each makes of the
    loss, and that is the fitness of the code where it began. Raises MissingExtra.
    """
    cma = need("cma", "search", "the start 'basin'")
    if d < 2:
        raise SettingError("the start 'basin' searches spaces of two dimensions or more")
    source = np.random.default_rng(seed)
    draw = lambda *shape: source.standard_normal(shape[0] if shape and isinstance(shape[0], tuple) else shape)
    options = {"popsize": population, "verbose": -9, "seed": math.nan, "randn": draw}
    search = cma.CMAEvolutionStrategy(d * [0.0], 1.0, options)
    least, kept = math.inf, torch.zeros(d)
    for _ in range(generations):
        asked = search.ask()
        codes = torch.from_numpy(np.stack(asked)).float()
        told = descend(codes).double().cpu()
        search.tell(asked, told.tolist())
        if float(told.min()) < least:
            least, kept = float(told.min()), codes[int(told.argmin())]
        yield kept
