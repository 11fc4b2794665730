"""What a comparison found, as data: who took part, how each did at each target, and in all. Faces make pages of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..path import Path
from ..record import Record
from .directions import Figure

FIGURES = ("effect", "leakage", "rising", "linear", "identity", "angle", "correlation", "psnr", "perceptual")


@dataclass(frozen=True, kw_only=True)
class Judged(Record):
    """The best path of a method for one target, at the t that raises the target by 1 SD, over people it was not chosen on.

    `path` and `t` are those of the first seed; figures are means over seeds, their intervals over people. `effect` is in SD of the target,
    `leakage` the mean |change| of the other scores in SD, for each SD of effect, `worst` the score that leaks most and by how much ("" if
    none could be read).
    `reached` says in how many seeds a path raised the target by 1 SD at all. `exact`: by known truth, not by a scorer of pictures.
    `angle` (degrees), `correlation`, `psnr` (dB) and `perceptual` compare with the true edit. `over_seeds` are standard deviations of a
    seed's mean; `stability` the mean |cosine| of the seeds' best paths, `alike` the mean cosine of what they change.
    """

    target: str
    path: Path
    t: float
    reached: int
    exact: bool
    worst: tuple[str, float]
    changes: Mapping[str, float]
    effect: Figure | None = None
    leakage: Figure | None = None
    rising: Figure | None = None
    linear: Figure | None = None
    identity: Figure | None = None
    angle: Figure | None = None
    correlation: Figure | None = None
    psnr: Figure | None = None
    perceptual: Figure | None = None
    over_seeds: Mapping[str, float] = field(default_factory=dict)
    stability: float | None = None
    alike: float | None = None

    def row(self) -> dict[str, Any]:
        """JSON values."""
        figures = {name: _plain(getattr(self, name)) for name in FIGURES}
        return {
            "target": self.target,
            "path": self.path.name,
            "t": self.t,
            "reached": self.reached,
            "by": "truth" if self.exact else "scorer",
            **figures,
            "worst": list(self.worst),
            "stability": self.stability,
            "alike": self.alike,
            "over seeds": dict(self.over_seeds),
            "changes": dict(self.changes),
        }


@dataclass(frozen=True, kw_only=True)
class Contender(Record):
    """One method: its settings, what was judged, and scores of its whole set of paths. `reason` says why there is nothing to judge."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    control: bool = False
    reason: str = ""
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    paths: int = 0
    judged: tuple[Judged, ...] = ()
    sets: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, target: str) -> Judged:
        return next(j for j in self.judged if j.target == target)

    def figure(self, name: str) -> Figure | None:
        """The mean of a figure over targets, its interval over targets. Leakage and identity count where the target was reached."""
        wanted = [j for j in self.judged if j.reached or name not in ("leakage", "identity", "rising", "linear")]
        values = [f.mean for j in wanted if (f := getattr(j, name)) is not None]
        return Figure.of(torch.tensor(values, dtype=torch.float64))

    @property
    def reached(self) -> int:
        """Targets that every seed raised by 1 SD."""
        return sum(j.reached == len(self.seeds) for j in self.judged)

    def mean(self, name: str) -> float | None:
        """Of `stability` or `alike`, over targets."""
        values = [v for j in self.judged if (v := getattr(j, name)) is not None]
        return sum(values) / len(values) if values else None

    def summary(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "method": self.method,
            "control": self.control,
            "reason": self.reason,
            "tags": list(self.tags),
            "seeds": list(self.seeds),
            "CPU seconds a seed": self.seconds,
            "paths": self.paths,
            "targets": len(self.judged),
            "targets reached": self.reached,
            **{name: _plain(self.figure(name)) for name in FIGURES},
            "stability": self.mean("stability"),
            "alike": self.mean("alike"),
            "sets": dict(self.sets),
            "settings": _lists(self.settings),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """Methods on one generator, the same people, the same scores. `how` is the protocol: people, psi, reach, seeds and scorer."""

    generator: str
    fingerprint: str
    targets: tuple[str, ...]
    scores: tuple[str, ...]
    how: Mapping[str, Any]
    contenders: tuple[Contender, ...]

    def __getitem__(self, name: str) -> Contender:
        return next(c for c in self.contenders if c.name == name)

    @property
    def taking_part(self) -> tuple[Contender, ...]:
        """Those that have something judged, controls last."""
        return tuple(sorted((c for c in self.contenders if c.judged), key=lambda c: c.control))

    @property
    def left_out(self) -> tuple[Contender, ...]:
        return tuple(c for c in self.contenders if not c.judged)

    def json(self) -> dict[str, Any]:
        """Everything but the paths themselves, as JSON values."""
        return {
            "generator": self.generator,
            "fingerprint": self.fingerprint,
            "targets": list(self.targets),
            "scores": list(self.scores),
            "how": _lists(self.how),
            "methods": [{**c.summary(), "judged": [j.row() for j in c.judged]} for c in self.contenders],
        }


def _plain(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else {"mean": figure.mean, "low": figure.low, "high": figure.high, "n": figure.n}


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
