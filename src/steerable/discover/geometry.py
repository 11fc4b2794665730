"""GAN-Geometry: the axes along which pictures change fastest, at one code or on average over many.

Paper    Wang & Ponce, A Geometric Analysis of Deep Generative Image Models and Its Applications, ICLR 2021
Matches  H = ∂²D²/∂z² at a code, D² the squared LPIPS or pixel distance from its picture; its eigenvectors are the axes at that code, those
         of the mean H the axes of the space; `consistency` is the paper's: the correlation of log vᵀH_j v with log λ
Differs  both distances are sums of squares that vanish at the code, so H = 2JᵀJ exactly, J the derivative of the pixels or of LPIPS's
         weighted features: no second derivatives are taken. Eigenvectors come from block Krylov iteration where the paper uses Lanczos;
         LPIPS with AlexNet or VGG, not SqueezeNet
"""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..generator import Generator
from ..geometry import Derivative, around, top
from ..method import Progress, param, quiet
from ..path import Paths
from ..space import Latents
from . import places
from .discoverer import Discoverer, Supervision, acts, counted, fits


@final
@dataclass(frozen=True, kw_only=True)
class Geometry(Discoverer):
    """Axes of the metric that pictures put on a space."""

    name: ClassVar = "geometry"
    paper: ClassVar = "wang2021geometry"
    tags: ClassVar = frozenset({"unsupervised", "sampling"})

    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act; derivatives are taken there")
    k: int = param(10, "paths kept", ge=1)
    distance: str = param("pixel", "what tells pictures apart", choices=("pixel", "lpips-alex", "lpips-vgg"))
    n: int = param(1, "codes that the metric is averaged over", ge=1)
    seed: int = param(0, "of the first of them", ge=0)
    psi: float = param(0.7, "their truncation, where the space comes after it")
    size: int = param(64, "height (px) of the previews that are compared", ge=4)
    rounds: int = param(4, "rounds of the Krylov iteration", ge=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        fits(self.name, self.k, space)
        latents = places.points(generator, self.space, self.n, seed=self.seed, psi=self.psi)
        net = self._net(generator)
        metrics = [self.metric(generator, latents[i], where, net) for i in range(len(latents))]

        def mean(V: Float[Tensor, "q d"]) -> Float[Tensor, "q d"]:
            title = f"Differentiating pictures, {len(V)} directions"
            parts = [H.apply(V) for H in progress.over(metrics, title, len(metrics))]
            return torch.stack(parts).mean(0)

        values, vectors = top(mean, prod(space.shape), self.k, rounds=self.rounds, seed=self.seed)
        notes = {"eigenvalues": tuple(values.tolist())}
        if self.n > 1 and self.k > 2:
            notes["consistency"] = tuple(_agreement(H.along(vectors), values) for H in metrics)
        vectors = vectors.reshape(-1, *space.shape)
        return counted(Paths.spanning(vectors, space, generator, prefix="axis", layers=where, notes=notes))

    def _net(self, generator: Generator) -> Any:
        """The net of the distance; None for pixels."""
        if self.distance == "pixel":
            return None
        from ..nn.perceptual import LPIPS

        return LPIPS("alex" if self.distance == "lpips-alex" else "vgg").to(generator.device)

    def metric(self, generator: Generator, latents: Latents, layers: str | None = None, net: Any = None) -> "Metric":
        """H at one code, as a map. Fetches the weights of LPIPS if that is the distance and `net` is not given; SourceError."""
        picture = around(generator, latents, layers=layers, size=self.size)
        net = self._net(generator) if net is None else net
        if net is None:
            f = lambda code: picture(code).flatten()
            with torch.no_grad():
                m = f(latents.values[0]).numel()
            return Metric(Derivative(f, latents.values[0]), 2 / m)

        def weighed(code: Tensor) -> Tensor:
            features = net.features(picture(code)[None])
            return torch.cat([_weighed(x, net.get_buffer(f"weight{i}")) for i, x in enumerate(features)])

        return Metric(Derivative(weighed, latents.values[0]), 2.0)


@dataclass(frozen=True)
class Metric:
    """H = scale · JᵀJ."""

    J: Derivative
    scale: float

    def apply(self, V: Float[Tensor, "q d"]) -> Float[Tensor, "q d"]:
        return self.scale * self.J.pull(self.J.push(V))

    def along(self, V: Float[Tensor, "q d"]) -> Float[Tensor, " q"]:
        """vᵀHv for each row."""
        return self.scale * self.J.push(V).double().square().sum(1).cpu()


def _weighed(x: Float[Tensor, "1 c h w"], weight: Float[Tensor, "c 1 1"]) -> Float[Tensor, " m"]:
    """Features whose squared distance is this layer's part of LPIPS: unit length over channels, weighed, a mean over places."""
    unit = x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt()
    return (unit * (weight / (x.shape[2] * x.shape[3])).sqrt()).flatten()


def _agreement(along: Float[Tensor, " k"], values: Float[Tensor, " k"]) -> float:
    return float(torch.corrcoef(torch.stack([along, values]).clamp_min(1e-30).log())[0, 1])
