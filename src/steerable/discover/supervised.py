"""What methods share that learn from labeled pictures: making and scoring them, dropping what could not be scored, conditions."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MethodFailed, SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from ..score.labels import Labels, label
from .discoverer import Discoverer, Supervision, acts, counted

Fit = tuple[Float[Tensor, " d"], Mapping[str, Any]]  # a direction that raises the score, and how well it was learned


@dataclass(frozen=True, kw_only=True)
class Supervised(Discoverer):
    """One path for each score, learned from pictures that a scorer or a table labels. A method writes `fit`."""

    published: ClassVar[bool] = False  # does a publication count lengths along its directions?

    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act")
    n: int = param(5000, "labeled pictures", ge=20)
    psi: float = param(1.0, "truncation of the labeled pictures")
    seed: int = param(0, "of the first labeled picture", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", "scores to learn, such as smile,age; all that the scorer gives")
    conditions: str = param("", "scores to leave alone, such as age,glasses: the other paths are cleaned of theirs")

    @abstractmethod
    def fit(self, codes: Float[Tensor, "m d"], scores: Float[Tensor, "m a"], names: tuple[str, ...]) -> list[Fit]:
        """A direction for each column; every score is known, and none is constant. Raises MethodFailed."""

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        if supervision is None:
            raise SettingError(
                f"{self.name} learns from scores; pass supervision=, such as score('face') or a CSV of labels"
            )
        space, where = generator.space(self.space), acts(generator, self.layers)
        conditions = listed(self.conditions, supervision.names)
        learned = wanted(self.learn, supervision.names)
        names = (*learned, *(c for c in conditions if c not in learned))
        labels = label(generator, supervision, self.n, seed=self.seed, psi=self.psi, size=self.size, progress=progress)
        left_out = _left_out(labels, names) if self.learn == "all" and len(names) > 1 else {}
        for why in left_out.values():
            progress.note(f"{self.name}: {why}; it is left out")
        fits = self._fits(labels, labels.codes(generator, self.space), tuple(n for n in names if n not in left_out))
        paths = {
            name: Direction.along(name, v.reshape(space.shape), space, generator, layers=where)
            for name, (v, _) in fits.items()
        }
        found = {name: dict(notes) for name, (_, notes) in fits.items()}
        if conditions:
            paths, shares = conditioned(paths, conditions, generator)
            for name, share in shares.items():
                found[name]["share left"] = share
        notes = {"labels": labels.summary(), "fits": found, "left out": left_out}
        made = Paths(tuple(paths.values()), notes)
        return counted(made) if self.published else made

    def _fits(self, labels: Labels, codes: Float[Tensor, "n d"], names: tuple[str, ...]) -> dict[str, Fit]:
        """Fits in the order of `names`; scores that are known for the same pictures are learned at once."""
        known, together = {name: labels.known(name) for name in names}, dict[bytes, list[str]]()
        for name, (rows, values) in known.items():
            if values.min() == values.max():
                raise MethodFailed(_constant(name, values))
            together.setdefault(rows.numpy().tobytes(), []).append(name)
        fits: dict[str, Fit] = {}
        for group in together.values():
            rows = known[group[0]][0]
            scores = torch.stack([known[name][1] for name in group], 1)
            for name, (v, notes) in zip(group, self.fit(codes[rows], scores, tuple(group)), strict=True):
                fits[name] = v, {**notes, "n": len(scores), "without score": int((~rows).sum())}
        return {name: fits[name] for name in names}


def conditioned(
    paths: Mapping[str, Direction], conditions: tuple[str, ...], generator: Generator
) -> tuple[dict[str, Direction], dict[str, float]]:
    """The paths cleaned of those named (InterFaceGAN, equation 4), which stay as they are; and what share of each length is left."""
    held, about = [paths[c] for c in conditions], f"without {', '.join(conditions)}"
    cleaned, shares = dict(paths), {}
    for name, path in paths.items():
        if name not in conditions:
            rest = path.without(*held)
            shares[name] = float((rest.vector * path.vector).sum())
            cleaned[name] = Direction.along(name, rest.vector, path.space, generator, layers=path.layers, about=about)
    return cleaned, shares


def wanted(spec: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The scores named by "all" or by a list such as "smile,age". Raises UnknownName."""
    return known if spec == "all" else listed(spec, known)


def listed(spec: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in spec.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise UnknownName("score", name, known)
    return names


def middle(scores: Float[Tensor, " m"]) -> Tensor:
    """What parts pictures that show it from those that do not: the median, or of labels of two kinds the mean."""
    return scores.median() if len(scores.unique()) > 2 else scores.mean()


def _left_out(labels: Labels, names: tuple[str, ...]) -> dict[str, str]:
    """Scores that say the same of every picture, or nothing of most, with the reason."""
    reasons: dict[str, str] = {}
    for name in names:
        try:
            values = labels.known(name)[1]
        except MethodFailed as error:
            reasons[name] = str(error)
        else:
            if values.min() == values.max():
                reasons[name] = _constant(name, values)
    return reasons if len(reasons) < len(names) else {}


def _constant(name: str, values: Tensor) -> str:
    return (
        f"all {len(values)} labels of {name!r} are {values[0]:g}, so there is nothing to tell apart; "
        "label more pictures, or take other scores"
    )
