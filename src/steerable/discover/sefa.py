"""SeFa: closed-form factorization of a generator's first affine maps.

Paper    Shen & Zhou, Closed-Form Factorization of Latent Semantics in GANs, CVPR 2021 (equation 7)
Matches  the recipe of the paper and of the authors' release: rows of the maps to unit length, eigenvectors of AᵀA
Differs  eigenvectors come sorted, real and with a canonical sign (the matrix is symmetric, so `eigh`); `norm`, `whiten` and `skip_gain`
         are ours, for nets that do not demodulate by style. There the first paper direction is little but contrast: all styles grow
         together, and w hardly varies along it. All three at their defaults are the paper.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Paths
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts, counted, fits


@final
@dataclass(frozen=True, kw_only=True)
class SeFa(Discoverer):
    """Directions that change the first affine maps most; needs no samples and no labels."""

    name: ClassVar = "sefa"
    paper: ClassVar = "shen2021sefa"
    tags: ClassVar = frozenset({"closed-form", "unsupervised"})

    space: str = param("w", "space whose outgoing affine maps are factorized")
    layers: str = param("all", "layers whose maps are pooled, and where the paths act: 0-3,6, 4-32px, coarse …")
    k: int = param(10, "paths kept", ge=1)
    norm: str = param("rows", "what gets length 1: rows (the paper), layers, none", choices=("rows", "layers", "none"))
    whiten: bool = param(False, "count a step in standard deviations of the codes, not in their length")
    skip_gain: bool = param(False, "leave out what scales all styles of a layer together")

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space(self.space)
        if len(space.shape) != 1 or space.affine:
            raise SpaceError(
                f"sefa factorizes the maps out of a space of plain codes, not out of {self.space!r}; use w or z"
            )
        fits(self.name, self.k, space)
        A = torch.cat(list(self.maps(generator).values()))  # [c, d]
        root = _root(generator.moments(self.space).cov) if self.whiten else torch.eye(A.shape[1], dtype=A.dtype)
        A = A @ root
        values, vectors = torch.linalg.eigh(A.T @ A)  # ascending
        best = (root @ vectors).T.flip(0)[: self.k]  # [k, d]
        strength = tuple(values.flip(0)[: self.k].clamp_min(0).sqrt().tolist())
        where = acts(generator, self.layers) if any(s.name == "w+" for s in generator.spaces) else None
        notes = {"singular values": strength}
        paths = Paths.spanning(best, space, generator, prefix="sefa", layers=where, notes=notes)
        return paths if self.whiten or self.skip_gain or self.norm != "rows" else counted(paths)

    def maps(self, generator: Generator) -> dict[str, Tensor]:
        """Layer name → its map [c d] in float64, as it enters the factorization. Raises SettingError where there is none."""
        found = generator.affines(self.space)
        named = [name for name in self._named(generator) if name in found]
        if not named:
            raise SettingError(
                f"sefa: layers={self.layers!r} names no layer with a map out of {self.space!r}; those are {', '.join(found)}"
            )
        maps = {name: found[name].detach().double().cpu() for name in named}
        if self.skip_gain:
            maps = {name: _without(A, self._style(generator, name, len(A))) for name, A in maps.items()}
        lengths = {"rows": lambda A: A.norm(dim=1, keepdim=True), "layers": torch.norm, "none": torch.ones_like}
        return {name: A / lengths[self.norm](A).clamp_min(1e-12) for name, A in maps.items()}

    def _named(self, generator: Generator) -> list[str]:
        """The layers chosen. An image head counts where it is named, or where it has a row for itself, as the last one of StyleGAN2."""
        own = {layer.row for layer in generator.layers if not layer.head}
        said = {part.strip() for part in self.layers.split(",")}
        chosen = [generator.layers[i] for i in generator.pick(self.layers, heads=True)]
        return [c.name for c in chosen if not c.head or c.row not in own or c.name in said]

    def _style(self, generator: Generator, name: str, width: int) -> Tensor:
        """The mean style [c] of a layer."""
        layer = next(layer for layer in generator.layers if layer.name == name)
        if generator.spaces[-1].name == self.space or layer.style.stop - layer.style.start != width:
            raise SettingError(f"sefa: skip_gain needs styles, and {generator.name} has none after {self.space!r}")
        mean = generator.moments(self.space).mean.to(generator.device, generator.dtype)
        inputs = {
            k: torch.zeros(1, *shape, device=generator.device) for k, shape in generator.inputs.items() if k == "label"
        }
        styles = generator.lift(Latents(mean[None], generator.space(self.space), inputs), generator.spaces[-1].name)
        return styles.values[0, layer.style].double().cpu()


def _without(A: Tensor, style: Tensor) -> Tensor:
    u = style / style.norm()
    return A - torch.outer(u, u @ A)


def _root(cov: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
