"""LowRankGAN: directions in which a region changes, projected to where the rest of the picture stands still.

Paper    Zhu, Feng, Shen, Zhao, Zha, Zhou & Chen, Low-Rank Subspaces in GANs, NeurIPS 2021
Matches  the Jacobian at one picture, split by a mask; principal component pursuit of JᵀJ on both sides (λ = 1/60, for 512 numbers); the
         region's principal vectors, projected to the null space of the rest, which `relax` widens
Differs  the three colors of a preview where the release averages them; derivatives run through the layers where the path acts, and may be
         averaged over several pictures; the sign is canonical
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MethodFailed
from ..geometry import principal_component_pursuit, rank
from ..method import param
from .local import Local

LAM = 1 / 60


@final
@dataclass(frozen=True, kw_only=True)
class LowRankGAN(Local):
    """Changes of a region, in the null space of its surroundings."""

    name: ClassVar = "lowrankgan"
    paper: ClassVar = "zhu2021lowrankgan"
    tags: ClassVar = frozenset({"closed-form", "unsupervised", "local"})

    lam: float | None = param(
        None,
        "weight of the sparse part: a smaller one leaves lower ranks; else 1/60 for 512 numbers, as 1/√d for d",
        ge=1e-6,
    )
    relax: int = param(0, "principal vectors of the surroundings, the weakest ones, that may be moved along", ge=0)

    def factorize(self, inside: Float[Tensor, "d d"], outside: Float[Tensor, "d d"]) -> tuple[Tensor, dict[str, Any]]:
        (here, V), (there, W) = (self._principal(M) for M in (inside, outside))
        null = W[max(1, there - self.relax) :]  # [d - there, d]
        if not (here and there):
            raise MethodFailed("lowrankgan: the pursuit took everything for sparse; raise lam")
        if not len(null):
            raise MethodFailed(
                f"lowrankgan: the surroundings change in all {there} directions, so none is left; raise relax, or lower lam"
            )
        projected = V[:here] @ null.T @ null
        length = projected.norm(dim=1)
        alive = length > 1e-4
        if not alive.any():
            raise MethodFailed("lowrankgan: nothing of the region's directions is left in the null space; raise relax")
        notes = {"rank inside": here, "rank outside": there, "length left": tuple(length[: self.k].tolist())}
        return projected[alive] / length[alive, None], notes

    def _principal(self, M: Tensor) -> tuple[int, Tensor]:
        """Rank of the low-rank part, and all its eigenvectors as rows, strongest first."""
        low, _ = principal_component_pursuit(M, LAM * math.sqrt(512 / len(M)) if self.lam is None else self.lam)
        values, vectors = torch.linalg.eigh(low)
        order = values.abs().argsort(descending=True)
        return rank(values), vectors.T[order]
