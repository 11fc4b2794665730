"""Axes along which the leading singular vectors of the generator's derivative lie, and walks that follow these vectors.

Paper    Ramesh, Choi & LeCun, A Spectral Regularizer for Unsupervised Disentanglement, 2018 (arXiv 1812.01161)
Matches  walk=trajectory: on a generator as it is, curved trajectories that follow the i-th leading right singular vector of the Jacobian
         of the picture by its code, found anew after each small step and turned to go on in the way of the last one
Differs  walk=linear: the paper's regularizer trains a generator until its leading singular vectors lie along the axes of the code; here
         the generator stays and the axes turn. Of all orthonormal bases Q the one is taken that maximizes Σᵢ E (qᵢ·vᵢ(z))², vᵢ(z) being
         the i-th singular vector at z; each round is a polar decomposition, and none lowers the sum. Singular vectors come from block
         Krylov iteration, the paper's from the power method
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Path, Paths
from .discoverer import Discoverer, Supervision, acts, counted, fits
from .moves import plain, scale
from .trajectories import Trajectory, singular


@final
@dataclass(frozen=True, kw_only=True)
class Spectral(Discoverer):
    """The directions in which pictures change most, as axes for all codes or followed from each."""

    name: ClassVar = "spectral"
    paper: ClassVar = "ramesh2018spectral"
    tags: ClassVar = frozenset({"unsupervised", "local", "non-linear"})

    space: str = param("w", "space of the paths: w or z")
    layers: str = param("all", "where the paths act")
    k: int = param(10, "paths kept", ge=1)
    walk: str = param("linear", "common axes, or a trajectory from each code", choices=("linear", "trajectory"))
    n: int = param(64, "codes whose derivatives the axes are taken from", ge=1)
    rounds: int = param(100, "of the search for the axes", ge=1)
    step: float = param(0.25, "length of a step of a trajectory, in deviations of the codes", ge=1e-3)
    size: int | None = param(None, "look at previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    seed: int = param(1, "of the codes", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = plain(self.name, generator, self.space), acts(generator, self.layers)
        fits(self.name, self.k, space)
        V = self.vectors(generator, where, progress)
        Q, kept = aligned(V, self.rounds)
        notes = {"aligned": tuple(kept.tolist()), "n": len(V)}
        straight = Paths.spanning(Q, space, generator, prefix="spectral", layers=where, notes=notes)
        if self.walk == "linear":
            return counted(straight)
        length, items = self.step * scale(generator, self.space), list[Path]()
        for i, path in enumerate(straight):
            assert isinstance(path, Direction)
            items.append(
                Trajectory(
                    name=path.name, layers=where, number=i, reference=path.vector, length=length, size=self.size,
                    space=space, unit=(path.unit or 0.0) / length,
                )
            )  # fmt: skip
        return Paths(tuple(items), notes)

    def vectors(self, generator: Generator, where: str | None, progress: Progress) -> Float[Tensor, "n k d"]:
        """The k leading right singular vectors of the derivative at each of n codes."""
        blocks, found = generator.blocks(self.n, seed=self.seed, size=1), {}
        for b, code in progress.over(blocks, "Differentiating pictures", -(-self.n // workers.world())):
            code = generator.lift(code if self.psi == 1 else generator.truncate(code, self.psi), self.space)
            found[b] = singular(generator, code, self.k, where, self.size)
        return torch.stack(workers.gathered(found))


def aligned(V: Float[Tensor, "n k d"], rounds: int) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]:
    """The orthonormal rows qᵢ that maximize Σᵢ E (qᵢ·vᵢ)², and these k means; signs of the vᵢ do not matter."""
    C = torch.einsum("nki,nkj->kij", V, V) / len(V)
    Q = torch.stack([torch.linalg.eigh(c)[1][:, -1] for c in C])
    for _ in range(rounds):
        U, _, W = torch.linalg.svd(torch.einsum("kij,kj->ki", C, Q), full_matrices=False)
        Q = U @ W
    return Q, torch.einsum("ki,kij,kj->k", Q, C, Q)
