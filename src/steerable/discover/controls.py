"""Controls: what a finding has to beat. The third, random directions, is in random.py.

Paper    none; permuted labels are the permutation test (Fisher 1935; control tasks for probes: Hewitt & Liang, EMNLP 2019)
Matches  "permuted" learns as any supervised method here does, from the same pictures and the same scores, dealt out at random: what it
         finds is what the method makes of nothing. "duplicated" gives every path of a method twice: whatever compares paths has to see it
Differs  nothing to differ from
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, final

import torch

from .. import workers
from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Paths
from ..score import Table
from ..score.labels import Labels, label
from .discoverer import Discoverer, Supervision


@dataclass(frozen=True, kw_only=True)
class Control(Discoverer):
    """Does something to what another method learns from, or finds."""

    paper: ClassVar = "fisher1935design"
    tags: ClassVar = frozenset({"control"})

    method: str = param("boundary", "who finds the paths: any other method")
    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act")
    k: int = param(10, "paths, for methods that are asked for a number", ge=1)
    n: int = param(5000, "pictures that the method labels, or samples that it takes", ge=20)
    psi: float = param(1.0, "truncation of labeled pictures")
    seed: int = param(0, "of the first labeled picture, and of what is random", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)

    def found(self, generator: Generator, supervision: Supervision | None, progress: Progress) -> Paths:
        """What the method finds, told all settings that it shares with this one."""
        from . import DISCOVERERS, discover  # the table that this method stands in

        others = {name: m for name, m in DISCOVERERS.items() if not issubclass(m, Control)}
        if self.method not in others:
            raise UnknownName(f"method that {self.name} can take paths from", self.method, others)
        shared = {f.name for f in fields(others[self.method])} & {f.name for f in fields(Control)} - {"method"}
        told: dict[str, Any] = {name: getattr(self, name) for name in sorted(shared)}
        return discover(self.method, generator, supervision=supervision, progress=progress, **told)


@final
@dataclass(frozen=True, kw_only=True)
class Permuted(Control):
    """Paths of a supervised method whose labels were dealt out at random."""

    name: ClassVar = "permuted"

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        if supervision is None:
            raise SettingError("permuted deals out scores; pass supervision=, such as score('face') or a CSV of labels")
        generator.space(self.space)
        labels = label(generator, supervision, self.n, seed=self.seed, psi=self.psi, size=self.size, progress=progress)
        paths = self.found(generator, Dealt(labels, supervision, self.seed), progress)
        told = {p.name: f"permuted {p.name}" for p in paths}
        return replace(paths.renamed(told), notes={**paths.notes, "control": "labels dealt out at random"})


@final
@dataclass(frozen=True, kw_only=True)
class Duplicated(Control):
    """Every path of a method, and every path again under another name."""

    name: ClassVar = "duplicated"

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        generator.space(self.space)
        paths = self.found(generator, supervision, progress)
        again = tuple(replace(p, name=f"{p.name} again") for p in paths)
        return Paths((*paths, *again), {**paths.notes, "control": "each path twice"})


class Dealt(Table):
    """A labeled set as a table, with its labels dealt out at random: whole rows, so that scores keep their ties with each other."""

    def __init__(self, labels: Labels, supervision: Supervision, seed: int):
        self.name, self.names, self.units = f"{supervision.name} dealt out", labels.names, labels.units
        self.key, self.path = f"dealt({supervision.key}, {seed})", Path(self.name)
        self.values = labels.scores[torch.randperm(len(labels), generator=workers.generator(seed))]
        self._at = {int(s): i for i, s in enumerate(labels.seeds)}
