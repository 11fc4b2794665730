"""Steerability without optimization: zoom, shift and rotation in closed form, from the first map into feature maps.

Paper    Spingarn-Eliezer, Banner & Michaeli, GAN "Steerability" without Optimization, ICLR 2021
Matches  with h = Wz + b the first feature map, P the transformation of its grid and D the places that stay within the frame:
         q = (WᵀD²W)⁻¹WᵀD²(P − I)b, the linear walk z + q; M = (WᵀD²W)⁻¹WᵀD²PW, the walk z ← Mz + q that converges; right singular
         vectors of W for what nobody prescribed; great circles towards one, small circles that keep all others but a reference
Differs  W and b are the affine map nearest to the layer over samples (its R² is in the notes), which is the layer itself where that is
         affine, as in BigGAN; so nets whose first layer has a ReLU, or a style, can be steered too. P interpolates, so any angle will do.
         Codes are centered, for spaces whose mean is not 0; walks are calibrated so that t counts standard deviations
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Path, Paths
from .discoverer import Discoverer, Supervision
from .moves import plain
from .transforms import GEOMETRIC, warped
from .walks import Circle, Neumann


@final
@dataclass(frozen=True, kw_only=True)
class Spingarn(Discoverer):
    """Moves of the camera that a person prescribes, and the principal directions of the first layer."""

    name: ClassVar = "spingarn"
    paper: ClassVar = "spingarn2021steerability"
    tags: ClassVar = frozenset({"closed-form", "non-linear"})

    space: str = param("z", "space of the paths")
    layer: str | None = param(None, "layer whose feature map is transformed; the first if left out")
    transforms: str = param("zoom,shift-x,shift-y", "of zoom, shift-x, shift-y, rotate, principal")
    walk: str = param(
        "linear",
        "linear; neumann for transformations; great or small circles for principal",
        choices=("linear", "neumann", "great", "small"),
    )
    zoom: float = param(2.0, "how much larger things are after one step", ge=1.01)
    shift: float = param(0.25, "how far they are shifted by one step, in pictures", ge=0.01, le=0.9)
    angle: float = param(30.0, "how far they are turned by one step, in degrees, counterclockwise", ge=0.1, le=180)
    k: int = param(5, "principal directions kept", ge=1)
    n: int = param(4000, "samples for the affine map", ge=10)
    seed: int = param(1, "of these samples", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        plain(self.name, generator, self.space)
        wanted = [t.strip() for t in self.transforms.split(",")]
        if unknown := [t for t in wanted if t not in (*GEOMETRIC, "principal")]:
            raise SettingError(
                f"spingarn: no transformation {unknown[0]!r}; there is {', '.join(GEOMETRIC)}, principal"
            )
        if ((circles := self.walk in ("great", "small")) != ("principal" in wanted) and self.walk != "linear") or (
            circles and len(wanted) > 1
        ):
            raise SettingError(
                "spingarn: great and small circles are walks of transforms='principal', neumann of the others"
            )
        W, h, mean, r2, grid = self.affine(generator, progress)
        notes: dict[str, Any] = {"R2 of the affine map": r2, "grid": grid}
        items: list[Path] = []
        for t in wanted:
            if t == "principal":
                items += self._principal(generator, W, mean)
            elif min(grid) < 2:
                raise SettingError(
                    f"spingarn: the map after this layer is {grid[0]} × {grid[1]} px; name a later layer"
                )
            else:
                items.append(self._prescribed(generator, t, W, h, mean, grid))
        return Paths(tuple(items), notes)

    def affine(self, generator: Generator, progress: Progress) -> tuple[Tensor, Tensor, Tensor, float, tuple[int, int]]:
        """W [m d], the map at the mean code [m], that code [d], R², and the map's size; m counts places first, then channels."""
        if self.layer is None:
            i = next(i for i, x in enumerate(generator.layers) if not x.head)
        else:
            chosen = generator.pick(self.layer)
            if len(chosen) != 1:
                raise SettingError(f"spingarn: layer={self.layer!r} names {len(chosen)} layers; name one")
            i = chosen[0]
        codes, maps = [], []
        for _, z in progress.over(
            generator.blocks(self.n, seed=self.seed, size=256), "Reading the first map", -(-self.n // 256)
        ):
            latents = generator.lift(z, self.space)
            *_, (_, state) = generator.states(latents, until=i + 1, grad=False)
            codes.append(latents.values.double().cpu())
            maps.append(state.x.double().cpu().permute(0, 2, 3, 1))
        X, H = torch.cat(codes), torch.cat(maps)
        grid, H = (H.shape[1], H.shape[2]), H.flatten(1)
        if len(X) <= X.shape[1]:
            raise SettingError(f"spingarn: n={self.n} samples do not tell a map of {X.shape[1]} numbers; take more")
        x, h, mean = X.mean(0), H.mean(0), generator.moments(self.space).mean.double()
        W = solved(X - x, H - h).T
        r2 = 1 - float((H - h - (X - x) @ W.T).square().sum() / (H - h).square().sum().clamp_min(1e-30))
        return W, h + W @ (mean - x), mean, r2, grid

    def _prescribed(
        self, generator: Generator, transform: str, W: Tensor, h: Tensor, mean: Tensor, grid: tuple[int, int]
    ) -> Path:
        space, about = generator.space(self.space), f"{transform} by {self._amount(transform):g} a step"
        steps = [self._step(transform, sign, W, h, grid) for sign in (1, -1)]
        q = steps[0][1]
        straight = Direction.along(transform, q.float(), space, generator, about=about)
        assert straight.unit is not None
        per_sd = straight.unit / float(q.norm())
        if self.walk == "linear":
            return replace(straight, published=1 / per_sd)
        M, Q = (torch.stack([s[j] for s in steps]).float() for j in (0, 1))
        return Neumann(
            name=transform, M=M, q=Q, center=mean.float(), space=space, unit=per_sd, published=1 / per_sd, about=about
        )

    def _amount(self, transform: str) -> float:
        return {"zoom": self.zoom, "rotate": self.angle}.get(transform, self.shift)

    def _step(self, transform: str, sign: int, W: Tensor, h: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """M [d d] and q [d] of one step forth (sign 1) or back (-1)."""
        P, D = warp(transform, sign * self._amount(transform) if transform != "zoom" else self.zoom**sign, grid)
        places, d = len(D), W.shape[1]
        W3, h3 = W.reshape(places, -1, d), h.reshape(places, -1)
        moved_W, moved_h = torch.tensordot(P, W3, 1), P @ h3
        A = (D[:, None, None] * W3).reshape(-1, d)
        wanted = torch.cat([moved_W, (moved_h - h3)[..., None]], -1) * D[:, None, None]
        found = solved(A, wanted.reshape(-1, d + 1))
        return found[:, :d], found[:, d]

    def _principal(self, generator: Generator, W: Tensor, mean: Tensor) -> list[Path]:
        space = generator.space(self.space)
        if self.k >= space.shape[0]:
            raise SettingError(
                f"spingarn: k={self.k}, but {self.space!r} has {space.shape[0]} directions, one of them for reference"
            )
        V = torch.linalg.eigh(W.T @ W)[1].T.flip(0).float().contiguous()
        spanning = Paths.spanning(V[: self.k], space, generator, prefix="principal")
        straight = [p for p in spanning if isinstance(p, Direction)]
        if self.walk == "linear":
            return [*straight]
        radius = math.sqrt(float(generator.moments(self.space).cov.trace()))
        reference = V[-1] if self.walk == "small" else None
        return [
            Circle(
                name=p.name,
                vector=p.vector,
                reference=reference,
                center=mean.float(),
                space=space,
                unit=(p.unit or 0.0) / radius,
            )
            for p in straight
        ]


def solved(A: Float[Tensor, "m d"], B: Float[Tensor, "m k"]) -> Float[Tensor, "d k"]:
    """The least-squares solution (AᵀA)⁻¹AᵀB; of several, the shortest. Raises MethodFailed where there is none."""
    if not (A.isfinite().all() and B.isfinite().all()):
        raise MethodFailed("spingarn: the first map is not finite; take another layer")
    return torch.linalg.pinv(A.T @ A, hermitian=True, rtol=1e-10) @ (A.T @ B)


def warp(transform: str, amount: float, grid: tuple[int, int]) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"]]:
    """P, which moves what stands at each place of a grid, by bilinear interpolation, and D: 1 where its source lies within the frame.

    Zoom: how much larger things get. Shifts: how far they go to the right or down, in pictures. Rotate: degrees counterclockwise.
    """
    h, w = grid
    alpha = math.log(amount) if transform == "zoom" else amount / 45 if transform == "rotate" else amount
    basis = torch.eye(h * w, dtype=torch.float64).reshape(1, h * w, h, w)
    P, inside = warped(transform, basis, torch.tensor([alpha], dtype=torch.float64))
    return P.reshape(h * w, h * w).T, inside.flatten()
