"""Latent arithmetic: the mean code of samples that show something, minus the mean code of samples that do not.

Paper    Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, ICLR 2016 (section 6.3.2)
Matches  means of several samples of each kind, since single ones are unstable; samples picked by eye (`positive` and `negative` name their
         seeds), three of each in the paper, or by a score; the difference is added to codes
Differs  by a score, all pictures may be taken instead of three (attribute means, `exemplars=0`), `whiten` divides by the covariance of the
         codes (then it is Fisher's linear discriminant), and the cosine between the vectors of two halves is noted. A step is one
         standard deviation, unit="published" the difference itself
"""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from .discoverer import Supervision, acts, counting
from .places import points
from .supervised import Fit, Supervised, middle


@final
@dataclass(frozen=True, kw_only=True)
class Arithmetic(Supervised):
    """The difference of two means of codes."""

    name: ClassVar = "arithmetic"
    paper: ClassVar = "radford2016dcgan"
    tags: ClassVar = frozenset({"supervised", "closed-form"})

    n: int = param(2000, "labeled pictures that the samples are taken from", ge=20)
    exemplars: int = param(
        0, "samples of each kind, those with the highest and the lowest scores; 0: all above and below the middle", ge=0
    )
    whiten: bool = param(False, "divide by the covariance within the two kinds: Fisher's linear discriminant")
    positive: str = param("", "instead of scores: seeds of samples that show it, such as 3,17,25")
    negative: str = param("", "and seeds of samples that do not")

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        if self.positive or self.negative:
            return self._by_eye(generator)
        found = super().discover(generator, supervision=supervision, progress=progress)
        items = []
        for path in found:
            assert isinstance(path, Direction)
            fit = found.notes["fits"][path.name]
            items.append(counting(path, fit["length"] * fit.get("share left", 1.0)))
        return replace(found, items=tuple(items))

    def fit(self, codes: Float[Tensor, "m d"], scores: Float[Tensor, "m a"], names: tuple[str, ...]) -> list[Fit]:
        codes = codes.double().cpu()
        return [self._difference(codes, column, name) for column, name in zip(scores.T, names, strict=True)]

    def _difference(self, codes: Float[Tensor, "m d"], scores: Float[Tensor, " m"], name: str) -> Fit:
        high, low = self._kinds(scores, name)
        vector = codes[high].mean(0) - codes[low].mean(0)
        notes = {"with": len(high), "without": len(low), "cosine of halves": self._halves(codes, high, low)}
        if self.whiten:
            within = torch.cat([codes[high] - codes[high].mean(0), codes[low] - codes[low].mean(0)])
            cov = within.T @ within / max(1, len(within) - 2)
            cov += 1e-3 * cov.diagonal().mean() * torch.eye(len(cov), dtype=cov.dtype)
            vector = torch.linalg.solve(cov, vector)
        return vector, {**notes, "length": float(vector.norm())}

    def _kinds(self, scores: Float[Tensor, " m"], name: str) -> tuple[Tensor, Tensor]:
        order = torch.argsort(scores, stable=True)
        if self.exemplars:
            low, high = order[: self.exemplars], order[-self.exemplars :]
        else:
            above = scores > middle(scores)
            low, high = (~above).nonzero()[:, 0], above.nonzero()[:, 0]
        if not len(high) or not len(low) or scores[high].min() <= scores[low].max():
            raise MethodFailed(
                f"arithmetic: {len(scores)} labels of {name!r} do not hold {self.exemplars or 'enough'} of each kind; "
                "label more pictures, or take fewer exemplars"
            )
        return high, low

    def _halves(self, codes: Float[Tensor, "m d"], high: Tensor, low: Tensor) -> float | None:
        """How alike the vectors of two halves of the samples are; None where a half would be empty."""
        if min(len(high), len(low)) < 2:
            return None
        source = workers.generator(self.seed)
        parts = [rows[torch.randperm(len(rows), generator=source)].tensor_split(2) for rows in (high, low)]
        one, other = (codes[parts[0][i]].mean(0) - codes[parts[1][i]].mean(0) for i in range(2))
        return float(torch.nn.functional.cosine_similarity(one, other, dim=0))

    def _by_eye(self, generator: Generator) -> Paths:
        space = generator.space(self.space)
        sides = [_seeds(self.positive, "positive"), _seeds(self.negative, "negative")]
        means = []
        for seeds in sides:
            picked = [points(generator, self.space, 1, seed=seed, psi=self.psi).values.double().cpu() for seed in seeds]
            means.append(torch.cat(picked).mean(0))
        vector = means[0] - means[1]
        path = Direction.along("difference", vector, space, generator, layers=acts(generator, self.layers))
        length = float(vector.norm())
        notes = {"with": sides[0], "without": sides[1], "length": length, "entries": prod(space.shape)}
        return Paths((counting(path, length),), notes)


def _seeds(spec: str, what: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in spec.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 0:
        raise SettingError(f"arithmetic: {what} names seeds of samples, such as 3,17,25; got {spec!r}")
    return found
