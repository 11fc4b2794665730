"""ReSeFa: directions that change a region most for what they change elsewhere.

Paper    Zhu, Shen, Xu, Zhao & Chen, Region-Based Semantic Factorization in GANs, ICML 2022
Matches  the largest ratios xᵀM_in x / xᵀM_out x, a generalized eigenproblem of the Jacobian's two halves; M_out with tau of its trace on
         the diagonal, as in the release
Differs  solved as the symmetric problem that it is, by Cholesky, where the release inverts M_out; derivatives run through the layers where
         the path acts, and may be averaged over several pictures
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import generalized
from ..method import param
from .local import Local


@final
@dataclass(frozen=True, kw_only=True)
class ReSeFa(Local):
    """Changes of a region, weighed against those of its surroundings."""

    name: ClassVar = "resefa"
    paper: ClassVar = "zhu2022resefa"
    tags: ClassVar = frozenset({"closed-form", "unsupervised", "local"})

    tau: float = param(
        1e-3, "what is added to the diagonal of the surroundings' matrix, as a share of its trace", ge=1e-9
    )

    def factorize(self, inside: Float[Tensor, "d d"], outside: Float[Tensor, "d d"]) -> tuple[Tensor, dict[str, Any]]:
        floor = self.tau * outside.trace() * torch.eye(len(outside), dtype=outside.dtype)
        ratios, vectors = generalized(inside, outside + floor)
        return vectors, {"ratios": tuple(ratios[: self.k].tolist())}
