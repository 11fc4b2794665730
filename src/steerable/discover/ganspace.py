"""GANSpace: principal components of a generator's codes, or of what one of its layers makes of them.

Paper    Härkönen, Hertzmann, Lehtinen & Paris, GANSpace: Discovering Interpretable GAN Controls, NeurIPS 2020
Matches  components of codes, one step a standard deviation; for a layer, components of its activations, carried back to the codes by
         least squares over fresh samples
Differs  the exact covariance is streamed, where the authors' incremental PCA loses the small components; a layer too large for that
         goes through a block power iteration; the least squares has an intercept
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from .. import workers
from ..edit import LatentEdit, finite
from ..errors import SettingError, SpaceError
from ..generator import BLOCK, Generator
from ..layer import Layer
from ..method import Progress, param, quiet
from ..moments import streamed
from ..path import Direction, Paths
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts
from .own import amounts

WHOLE = 4096  # numbers a sample up to which their covariance is held: 134 MB in float64
CHUNK = 1 << 24  # floats of the largest state while activations are read: 64 MB


@final
@dataclass(frozen=True, kw_only=True)
class GANSpace(Discoverer):
    """The directions in which codes, or the activations of a layer, vary most."""

    name: ClassVar = "ganspace"
    paper: ClassVar = "harkonen2020ganspace"
    tags: ClassVar = frozenset({"unsupervised", "sampling"})

    space: str = param("w", "space of the paths")
    layer: str | None = param(
        None, "layer whose activations are decomposed; else the codes, which in z vary alike everywhere"
    )
    layers: str = param("all", "where the paths act")
    k: int = param(10, "paths kept", ge=1)
    n: int = param(300_000, "samples, streamed; for a layer as many again for the regression", ge=2)
    seed: int = param(1, "of the samples", ge=0)
    label: int | None = param(None, "class of the samples; mixed if left out", ge=0)
    passes: int = param(4, "how often the samples are gone through where a layer is too large for its covariance", ge=2)
    memory_mb: float = param(2000.0, "most that the components of such a layer may take", ge=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space(self.space)
        if len(space.shape) != 1 or space.affine:
            raise SpaceError(f"ganspace finds paths in a space of plain codes, not in {self.space!r}; use w or z")
        where = acts(generator, self.layers)
        if self.layer is None:
            codes = self._codes(generator, self.seed, "Sampling codes", progress)
            found = whole((c.values for c in codes), self.k)
            vectors = found.vectors
        else:
            i = self._position(generator)
            activations = lambda title: self._activations(generator, i, self.seed, title, progress)
            if (width := _width(generator.layers[i])) <= WHOLE:
                found = whole((x for x, _ in activations("Reading activations")), self.k)
            else:
                times = lambda p: f"Reading activations {p + 1}/{self.passes}"
                found = blockwise(lambda p: (x for x, _ in activations(times(p))), width, self)
            fresh = self._activations(generator, i, self.seed + 2, "Carrying components back to codes", progress)
            vectors = regressed(fresh, found, space.shape[0])
        notes = {"variance explained": tuple((found.variances / found.total).tolist()), "n": self.n, "seed": self.seed}
        paths = Paths.spanning(vectors, space, generator, prefix="pc", layers=where, notes=notes)
        return replace(paths, items=tuple(replace(p, published=1.0) for p in paths))

    def _codes(self, generator: Generator, seed: int, title: str, progress: Progress) -> Iterator[Latents]:
        """This process's blocks of codes in `space`."""
        (classes,) = generator.inputs.get("label", (0,))
        if self.label is not None and self.label >= classes:
            raise SettingError(f"ganspace: label={self.label}, but {generator.name} has {classes} classes")
        blocks = -(-self.n // BLOCK)
        for _, z in progress.over(generator.blocks(self.n, seed=seed), title, -(-blocks // workers.world())):
            if self.label is not None:
                rows = one_hot(torch.full((len(z),), self.label), classes).to(z.values)
                z = replace(z, inputs={**z.inputs, "label": rows})
            yield generator.lift(z, self.space)

    def _position(self, generator: Generator) -> int:
        found = [i for i in generator.pick(self.layer or "") if not generator.layers[i].head]
        if len(found) != 1:
            names = ", ".join(layer.name for layer in generator.layers if not layer.head)
            raise SettingError(f"ganspace: layer={self.layer!r} names {len(found)} layers; name one of {names}")
        return found[0]

    def _activations(
        self, generator: Generator, i: int, seed: int, title: str, progress: Progress
    ) -> Iterator[tuple[Float[Tensor, "n x"], Float[Tensor, "n d"]]]:
        """What layer i makes of the codes, flat, beside the codes."""
        size = max(map(_width, generator.layers[: i + 1]))
        for codes in self._codes(generator, seed, title, progress):
            for part in torch.arange(len(codes)).split(max(1, CHUNK // size)):
                chunk = codes[part]
                *_, (_, state) = generator.states(chunk, until=i + 1, grad=False)
                yield state.x.flatten(1).float(), chunk.values


def _width(layer: Layer) -> int:
    return layer.channels * layer.size[0] * layer.size[1]


@dataclass(frozen=True)
class Components:
    """Orthonormal rows, the variance along each, the variance in all, the mean."""

    mean: Float[Tensor, " x"]
    vectors: Float[Tensor, "k x"]
    variances: Float[Tensor, " k"]
    total: float


def whole(batches: Iterator[Float[Tensor, "n x"]], k: int) -> Components:
    """Components from the exact covariance, in one pass; memory: that of the covariance and one batch."""
    moments = streamed(batches)
    values, vectors = torch.linalg.eigh(moments.cov)
    return _kept(Components(moments.mean, vectors.T.flip(0), values.flip(0), float(values.sum())), k)


def blockwise(batches: Callable[[int], Iterator[Float[Tensor, "n x"]]], width: int, settings: GANSpace) -> Components:
    """Components of very wide rows: block power iteration, then Rayleigh-Ritz; the same rows go past `passes` times.

    Iterates twice as many vectors as asked for. Memory: 3 · width · 2k float32 numbers and one batch; SettingError above `memory_mb`.
    """
    m = min(2 * settings.k, width)
    if (needed := 3 * width * m * 4 / 1e6) > settings.memory_mb:
        raise SettingError(
            f"ganspace: a layer of {width} numbers needs {needed:.0f} MB for k={settings.k}, more than "
            f"memory_mb={settings.memory_mb:g}; name an earlier layer, or take fewer paths"
        )
    Q = torch.linalg.qr(torch.randn(width, m, generator=workers.generator(settings.seed, 1 << 20))).Q
    for p in range(settings.passes - 1):
        Q = torch.linalg.qr(_covariance_times(Q, batches(p))[0]).Q
    CQ, mean, total = _covariance_times(Q, batches(settings.passes - 1))
    values, turn = torch.linalg.eigh((Q.T @ CQ).double())
    return _kept(Components(mean, (Q.double() @ turn).T.flip(0), values.flip(0), total), settings.k)


def _covariance_times(Q: Tensor, batches: Iterator[Tensor]) -> tuple[Tensor, Tensor, float]:
    """Covariance of the rows times Q, their mean, and their variance in all; summed over all processes."""
    CQ, total, shift, n, squares = torch.zeros_like(Q), torch.zeros(len(Q), dtype=torch.float64), None, 0, 0.0
    for x in batches:
        x = x.cpu()
        if shift is None:
            shift = x.mean(0) if workers.world() == 1 else torch.zeros(len(Q))
        x = x - shift
        CQ += x.T @ (x @ Q)
        total += x.sum(0, dtype=torch.float64)
        n, squares = n + len(x), squares + float(x.square().sum(dtype=torch.float64))
    CQ, total = workers.total(CQ), workers.total(total)
    n, squares = workers.total(torch.tensor([n, squares], dtype=torch.float64)).tolist()
    away = total / n  # the mean, seen from the shift
    CQ = (CQ - n * torch.outer(away, away @ Q.double()).float()) / (n - 1)
    mean = away if shift is None else away + shift.double()
    return CQ, mean, (squares - n * float(away.square().sum())) / (n - 1)


def _kept(found: Components, k: int) -> Components:
    varied = int((found.variances > 1e-10 * found.variances[0]).sum())
    if k > varied:
        raise SettingError(f"ganspace: k={k}, but there is variance in {varied} directions only")
    return replace(found, vectors=found.vectors[:k], variances=found.variances[:k])


def regressed(
    batches: Iterator[tuple[Float[Tensor, "n x"], Float[Tensor, "n d"]]], found: Components, d: int
) -> Float[Tensor, "k d"]:
    """The move of a code that goes with one standard deviation of each component, by least squares with an intercept."""
    k = len(found.vectors)
    mean, scaled = found.mean.float(), (found.vectors / found.variances.sqrt()[:, None]).float()
    gram, cross = torch.zeros(k + 1, k + 1, dtype=torch.float64), torch.zeros(k + 1, d, dtype=torch.float64)
    for x, code in batches:
        A = torch.cat([(x.cpu() - mean) @ scaled.T, torch.ones(len(x), 1)], 1).double()
        gram += A.T @ A
        cross += A.T @ code.double().cpu()
    return torch.linalg.solve(workers.total(gram), workers.total(cross))[:k]


@dataclass(frozen=True)
class Reach(LatentEdit):
    """Bring every sample to t standard deviations from the mean along a straight path, wherever it was: GANSpace's centered edit.

    `paths[0].at(t)` adds t instead. In a z of mean 0 this is also InterFaceGAN's edit, which sets the distance from the boundary.
    """

    path: Direction
    t: float | Float[Tensor, " n"]

    def acts_in(self, generator: Generator) -> str:
        return self.path.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        here = self.path.space.name
        if latents.space.name != here:
            raise SpaceError(
                f"only codes of {here!r} have a place along {self.path.name!r}; these are in {latents.space.name!r}"
            )
        finite(self.t)
        unit = generator.spread(self.path.vector, here) if self.path.unit is None else self.path.unit
        v = self.path.vector.to(latents.values)
        mean = generator.moments(here).mean.to(latents.values)
        place = ((latents.values - mean) * v).flatten(1).sum(1)
        return latents.moved((amounts(self.t, unit, latents) - place).reshape(-1, *(1,) * v.ndim) * v)
