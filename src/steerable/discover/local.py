"""What methods share that look for moves of one region: how much each direction of the space changes inside and outside of it."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..geometry import Derivative, around, top
from ..method import Progress, param, quiet
from ..path import Paths
from ..request import region
from ..space import Latents
from . import places
from .discoverer import Discoverer, Supervision, acts, counted

WHOLE = 4096  # numbers in a code up to which matrices of their square are held


@dataclass(frozen=True, kw_only=True)
class Local(Discoverer):
    """Paths that change a region and leave the rest. A method writes `factorize`."""

    region: str = param(
        "", "what to change: left,top,right,bottom in shares, a mask's file, or mouth, left-eye+right-eye …"
    )
    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act; derivatives are taken there")
    k: int = param(5, "paths kept, at most", ge=1)
    n: int = param(1, "pictures that derivatives are averaged over", ge=1)
    seed: int = param(0, "of the first of them", ge=0)
    psi: float = param(0.7, "their truncation, where the space comes after it")
    size: int = param(64, "height (px) of the previews that are differentiated", ge=4)
    rank: int | None = param(None, "keep only so many eigenvectors of each matrix, by block Krylov iteration", ge=1)

    @abstractmethod
    def factorize(self, inside: Float[Tensor, "d d"], outside: Float[Tensor, "d d"]) -> tuple[Tensor, dict[str, Any]]:
        """Directions [k d], best first, from JᵀJ/pixels within the region and outside of it; and notes. Raises MethodFailed."""

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        if not self.region:
            raise SettingError(f'{self.name} needs a region: region="mouth", or a box such as region="0.3,0.6,0.7,0.8"')
        if prod(space.shape) > WHOLE:
            raise SettingError(f"{self.name}: codes of {self.space!r} are too long for it; use w or z")
        place = region(self.region)
        latents = places.points(generator, self.space, self.n, seed=self.seed, psi=self.psi)
        with torch.no_grad():
            h, w = around(generator, latents[0], size=self.size)(latents.values[0]).shape[-2:]
        masks = places.masks(generator, latents, place, (int(h), int(w)), progress)
        seen = self.derivatives(generator, latents, masks, where)
        inside, outside = self.matrices(seen, progress)
        vectors, notes = self.factorize(inside, outside)
        vectors = vectors[: self.k]
        share = torch.stack([inner(J, mask, vectors) for J, mask in seen]).mean(0)
        notes = {**notes, "share of change inside": tuple(share.tolist()), "region": self.region, "size": int(h)}
        prefix = self.region if not self.region[0].isdigit() else "box"
        found = Paths.spanning(
            vectors.reshape(-1, *space.shape), space, generator, prefix=prefix, layers=where, notes=notes
        )
        about = lambda s: f"{100 * float(s):.0f} % of the change lies inside, to first order"
        return counted(
            replace(found, items=tuple(replace(p, about=about(s)) for p, s in zip(found, share, strict=True)))
        )

    def derivatives(
        self, generator: Generator, latents: Latents, masks: Float[Tensor, "n 1 h w"], layers: str | None
    ) -> list[tuple[Derivative, Float[Tensor, " m"]]]:
        """J and the mask at each code whose picture shows the region."""
        found = []
        for i in range(len(latents)):
            mask = masks[i].expand(3, -1, -1).flatten().to(latents.values)
            if mask.isfinite().all() and 0 < float(mask.sum()) < len(mask):
                picture = around(generator, latents[i], layers=layers, size=self.size)
                found.append((Derivative(picture, latents.values[i]), mask))
        if not found:
            raise MethodFailed(
                f"{self.region!r} covers nothing, or everything; give a region that is part of the picture"
            )
        return found

    def matrices(
        self, seen: list[tuple[Derivative, Float[Tensor, " m"]]], progress: Progress
    ) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
        """JᵀJ/pixels inside and outside, averaged over pictures."""
        pairs = []
        for J, mask in progress.over(seen, "Differentiating pictures", len(seen)):
            parts = (mask / mask.sum(), (1 - mask) / (1 - mask).sum())
            if self.rank is None:
                Jt = J.matrix()
                pairs.append([((Jt * part) @ Jt.T).double().cpu() for part in parts])
            else:
                pairs.append([self._low(J, parts[0], floor=False), self._low(J, parts[1], floor=True)])
        inside, outside = (torch.stack(side).mean(0) for side in zip(*pairs, strict=True))
        return inside, outside

    def _low(self, J: Derivative, part: Float[Tensor, " m"], floor: bool) -> Float[Tensor, "d d"]:
        """JᵀJ from its first eigenvectors; with `floor`, the last of these stands for all that follow, so none looks smaller than it is."""
        d = J.at.numel()
        values, V = top(J.gram(part), d, min(self.rank or d, d), seed=self.seed)
        low = values[-1] if floor and len(values) < d else 0.0
        return (V.T * (values - low)) @ V + low * torch.eye(d, dtype=V.dtype)


def inner(J: Derivative, mask: Float[Tensor, " m"], vectors: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
    """The share of the squared change along each vector that lies inside the mask, to first order."""
    change = J.push(vectors).double().square()
    return ((change * mask).sum(1) / change.sum(1).clamp_min(1e-300)).cpu()
