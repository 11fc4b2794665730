"""Labels from a generator that knows the factors of its own codes: no picture is looked at, so nothing is read wrongly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.heads.world import NAMES
from ..errors import SettingError
from ..generator import Generator
from ..path import Paths
from ..space import Latents
from .table import Table


@runtime_checkable
class Knowing(Protocol):
    """A generator that knows the factors of its codes; factors run from -1 to 1."""

    factor_names: tuple[str, ...]

    def row_factors(self, latents: Latents) -> Float[Tensor, "n rows f"]: ...

    def to_factors(self, latents: Latents, wanted: Mapping[str, float]) -> Latents: ...

    def truth(self) -> Paths: ...


class Truth(Table):
    """The true factors, of any seed. No `Scorer`, since a picture alone does not tell them: a table whose rows the generator writes.

    Serves whatever learns from labels of seeds. `of` makes the table of some seeds; on its own it holds none.
    """

    name, names, units = "heads-truth", NAMES, ("factor, -1 to 1",) * len(NAMES)

    def __init__(self, known: Mapping[int, Float[Tensor, " f"]] | None = None):
        self.path, self.key = Path(self.name), f"{self.name}/1"
        self.known = dict(known or {})

    def of(self, generator: Generator, seeds: Sequence[int], psi: float = 1.0) -> "Truth":
        """The factors of these seeds, truncated by psi. Raises SettingError for a generator that does not know these factors."""
        if not isinstance(generator, Knowing) or tuple(generator.factor_names) != self.names:
            raise SettingError(
                f"{generator.name} does not know the factors of its codes; {self.name} serves heads-64 and its variants"
            )
        latents = generator.sample(seeds=list(seeds))
        rows = generator.row_factors(generator.truncate(latents, psi) if psi != 1 else latents)[:, 0].float().cpu()
        return Truth(dict(zip(map(int, seeds), rows, strict=True)))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.known)

    def rows(self, seeds: Sequence[int]) -> Float[Tensor, "n f"]:
        missing = [s for s in seeds if int(s) not in self.known]
        if missing or not len(seeds):
            raise SettingError(f"{self.name} was asked for seed {missing[:1]} before its generator was; use label()")
        return torch.stack([self.known[int(s)] for s in seeds])

    def __repr__(self) -> str:
        return f"<table {self.name}: the generator's own factors; {', '.join(self.names)}>"
