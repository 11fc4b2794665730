"""Random directions: the control that every other method has to beat.

Paper    none; GANSpace (Härkönen et al., NeurIPS 2020) shows such directions beside its components
Matches  vectors drawn alike in all directions of the space, brought to length 1
Differs  a step is one standard deviation of the codes along the vector, as for every path here. `drawn="codes"` takes differences of two
         samples instead: where codes crowd in few directions, the others lead to where there are none
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch

from .. import workers
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Paths
from .discoverer import Discoverer, Supervision, acts


@final
@dataclass(frozen=True, kw_only=True)
class Random(Discoverer):
    """Directions that know nothing."""

    name: ClassVar = "random"
    paper: ClassVar = "harkonen2020ganspace"
    tags: ClassVar = frozenset({"control"})

    space: str = param("w", "space in which they are drawn")
    layers: str = param("all", "where the paths act")
    k: int = param(10, "paths drawn", ge=1)
    drawn: str = param("evenly", "alike in all directions, or as two of the codes differ", choices=("evenly", "codes"))
    seed: int = param(0, "of the draw", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space(self.space)
        if self.drawn == "codes":
            codes = generator.lift(generator.sample(2 * self.k, seed=self.seed), space.name).values
            vectors = codes[: self.k] - codes[self.k :]
        else:
            vectors = torch.randn(
                self.k, prod(space.shape), generator=workers.generator(self.seed), dtype=torch.float64
            )
            vectors = vectors.reshape(self.k, *space.shape)
        return Paths.spanning(vectors, space, generator, prefix="random", layers=acts(generator, self.layers))
