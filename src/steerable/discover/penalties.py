"""An orthonormal basis of codes whose coordinates do not meddle with each other in the picture, on a generator that stays as it is.

Paper    Peebles, Peebles, Zhu, Efros & Torralba, The Hessian Penalty: A Weak Prior for Unsupervised Disentanglement, ECCV 2020 (equations
         2-5 and section 5.3); Wei, Shi, Liu, Ji, Gao, Wu & Zuo, Orthogonal Jacobian Regularization for Unsupervised Disentanglement in
         Image Generation, ICCV 2021 (equations 3-7)
Matches  rows of A made orthonormal (Gram-Schmidt) are the basis Q; codes z + ηq of one random row, η uniform in [-5, 5]; probes v of ±1,
         two of them, finite differences of 0.1; the variance over probes of the second difference of G along vQ, which is 0 if the
         Hessian is diagonal (Hessian penalty); of the squared length of the first difference, which is 0 if the columns of the Jacobian
         are orthogonal (OroJaR); Adam at 0.01. What is kept is Q, not A
Differs  the picture alone, as in the authors' search on BigGAN, averaged over its values (OroJaR: summed). η and differences count in the
         codes' root mean square deviation (1 in z). Paths come in the order of how much they change, not in that of the rows: OroJaR and
         the Hessian penalty say nothing about order
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import workers
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..path import Paths
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts, counted, fits
from .moves import held_out, moved, plain, scale
from .training import PATIENCE, Step, patient, seeded, train


class Basis(nn.Module):
    def __init__(self, k: int, d: int):
        super().__init__()
        self.A = nn.Parameter(torch.randn(k, d))

    def forward(self) -> Float[Tensor, "k d"]:
        """Q, its rows orthonormal; as Gram-Schmidt leaves them, each on its own row's side."""
        Q, R = torch.linalg.qr(self.A.T)
        return (Q * R.diagonal().sign()).T


@dataclass(frozen=True, kw_only=True)
class Penalized(Discoverer):
    """A basis that minimizes a penalty. A method says what it makes of the pictures around a code."""

    space: str = param("w", "space of the paths: w or z")
    layers: str = param("all", "where the paths act")
    k: int | None = param(None, "paths; as many as the space has dimensions if left out", ge=2)
    reach: float = param(5.0, "how far codes are moved along one row before, in deviations of the codes", ge=0.0)
    epsilon: float = param(0.1, "of the finite differences, in deviations of the codes", ge=1e-4)
    probes: int = param(2, "random signs for each code", ge=2)
    size: int | None = param(None, "look at previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    steps: int = param(50_000, "of training", ge=1)
    batch: int = param(16, "codes a step", ge=1)
    rate: float = param(0.01, "of Adam", ge=0.0)
    every: int = param(500, "steps between two looks at the penalty", ge=1)
    patience: int = param(0, PATIENCE, ge=0)
    seed: int = param(0, "of training", ge=0)

    @abstractmethod
    def penalty(
        self, here: Float[Tensor, "n *picture"], up: Float[Tensor, "p n *picture"], down: Float[Tensor, "p n *picture"]
    ) -> Float[Tensor, " n"]:
        """From the pictures at each code, and one difference to either side along each probe."""

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = plain(self.name, generator, self.space), acts(generator, self.layers)
        k = self.k or space.shape[0]
        fits(self.name, k, space)
        unit = scale(generator, self.space)
        basis = seeded(self.seed, lambda: Basis(k, space.shape[0]))

        def picture(codes: Latents, step: Tensor) -> Tensor:
            return view(generator, moved(generator, codes, codes.values + unit * step, where), self.size)

        def loss(step: Step) -> Float[Tensor, " n"]:
            rows, codes, which = basis(), step.codes(self.space, self.psi), step.integers(k)
            eta = step.uniform(-self.reach, self.reach)
            w = eta[:, None] * nn.functional.one_hot(which, k).to(eta)
            signs = [self.epsilon * (2 * step.integers(2, k).to(eta) - 1) for _ in range(self.probes)]
            up, down = (torch.stack([picture(codes, (w + side * v) @ rows) for v in signs]) for side in (1, -1))
            return self.penalty(picture(codes, w @ rows), up, down)

        trained = train(
            self,
            generator,
            basis,
            loss,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            every=self.every,
            stop=patient(self.patience),
            seed=self.seed,
            progress=progress,
        )
        with torch.no_grad():
            rows = basis()
            changes = self._changes(generator, picture, rows)
        order = changes.argsort(descending=True, stable=True)
        notes = {"change of the picture": tuple(changes[order].tolist()), "training": trained.notes()}
        found = rows.double().cpu()[order]
        return counted(Paths.spanning(found, space, generator, prefix=self.name, layers=where, notes=notes))

    def _changes(
        self, generator: Generator, picture: Callable[[Latents, Tensor], Tensor], rows: Float[Tensor, "k d"]
    ) -> Float[Tensor, " k"]:
        """The root mean square change of held-out pictures by one difference along each row."""
        total = torch.zeros(len(rows), dtype=torch.float64)
        for step in held_out(generator, 16, self.batch, self.seed):
            codes = step.codes(self.space, self.psi)
            here = picture(codes, torch.zeros_like(codes.values))
            for i, row in enumerate(rows):
                there = picture(codes, self.epsilon * row.expand_as(codes.values))
                total[i] += float((there - here).square().mean((1, 2, 3)).sum())
        return workers.total(total).sqrt()


@final
@dataclass(frozen=True, kw_only=True)
class HessianPenalty(Penalized):
    """A basis in which the second derivatives of the picture are diagonal."""

    name: ClassVar = "hessian-penalty"
    paper: ClassVar = "peebles2020hessian"
    tags: ClassVar = frozenset({"unsupervised"})

    def penalty(
        self, here: Float[Tensor, "n *picture"], up: Float[Tensor, "p n *picture"], down: Float[Tensor, "p n *picture"]
    ) -> Float[Tensor, " n"]:
        second = (up - 2 * here + down) / self.epsilon**2
        return second.var(0).flatten(1).mean(1)


@final
@dataclass(frozen=True, kw_only=True)
class OroJaR(Penalized):
    """A basis whose rows change the picture in orthogonal ways."""

    name: ClassVar = "orojar"
    paper: ClassVar = "wei2021orojar"
    tags: ClassVar = frozenset({"unsupervised"})

    def penalty(
        self, here: Float[Tensor, "n *picture"], up: Float[Tensor, "p n *picture"], down: Float[Tensor, "p n *picture"]
    ) -> Float[Tensor, " n"]:
        first = (up - here) / self.epsilon
        return first.flatten(2).square().sum(2).var(0)
