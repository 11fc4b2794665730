"""Judging by a truth that is known: some generators can tell the factors of any code, edited or not.

What is asked of such a generator is `Knowing`. A path is judged by what it does to the factors (not by what a classifier sees), by its
angle to the way that changes one factor alone, and by how much its pictures agree with the truly edited ones: the same generator's, of the
same people with that one factor raised.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..edit import Edit, Images, LatentEdit
from ..errors import MethodFailed
from ..generator import Generator
from ..path import Direction, Path, Paths
from ..render import codes, render
from ..score.labels import batches
from ..score.truth import Knowing
from ..space import Latents
from .disentanglement import scores

Distance = Callable[[Images, Images], Float[Tensor, " n"]]
INSIDE = 1.0  # factors lie within ±1; beyond, the truly edited picture is an extrapolation too


@dataclass(frozen=True)
class Truth:
    """The factors of people under edits, where they are exactly known."""

    generator: Generator
    knowing: Knowing

    @classmethod
    def of(cls, generator: Generator) -> "Truth | None":
        return cls(generator, generator) if isinstance(generator, Knowing) else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.knowing.factor_names)

    def factors(self, people: Latents, edits: Sequence[Edit]) -> Float[Tensor, "n f"] | None:
        """None where no set of factors belongs to the edited code: styles, rows of w+ that differ, edits of anything but codes."""
        if not all(isinstance(e, LatentEdit) for e in edits):
            return None
        edited = codes(self.generator, people, edits)
        if edited.space.name == "s":
            return None
        rows = self.knowing.row_factors(edited)
        same = torch.allclose(rows, rows[:, :1].expand_as(rows), atol=1e-4)
        return rows[:, 0].double().cpu() if same else None

    def spread(self, psi_edits: Sequence[Edit], n: int = 4096, seed: int = 0) -> Float[Tensor, " f"]:
        """The standard deviation of each factor over the generator's own codes (truncated as told)."""
        found = self.factors(Latents.cat([z for _, z in self.generator.blocks(n, seed=seed)]), psi_edits)
        assert found is not None
        return found.std(0)

    def truly_edited(self, people: Latents, first: Sequence[Edit], name: str, by: float) -> "TrueEdit":
        """The true edit: of those people whose factor `name` can be raised by that much within its limits."""
        plain, now = codes(self.generator, people, first), self.factors(people, first)
        assert now is not None
        column = now[:, self.names.index(name)]
        rows = [i for i in range(len(people)) if abs(float(column[i]) + by) <= INSIDE]
        if not rows:
            raise MethodFailed(
                f"none of {len(people)} people can have {name!r} raised by {by:.2f} and stay within its limits"
            )
        made = Latents.cat([self.knowing.to_factors(plain[i], {name: float(column[i]) + by}) for i in rows])
        some = people[rows]
        return TrueEdit(
            self, some, tuple(first), made, pictures(self.generator, some, first), pictures(self.generator, made)
        )


@dataclass(frozen=True)
class TrueEdit:
    """People, and what they are with one factor raised: codes in w, pictures before and after."""

    truth: Truth
    people: Latents
    first: tuple[Edit, ...]
    codes: Latents
    before: Images
    after: Images

    def compared(self, edit: Edit, distance: Distance | None = None) -> "Agreement":
        """How near an edit of the same people comes to it."""
        g, moves = self.truth.generator, [*self.first, edit]
        made = pictures(g, self.people, moves)
        return Agreement(
            angle=self._angle(codes(g, self.people, moves)) if isinstance(edit, LatentEdit) else None,
            correlation=_correlated(made - self.before, self.after - self.before),
            psnr=10 * (4 / (made - self.after).double().square().flatten(1).mean(1).clamp_min(4e-10)).log10(),
            perceptual=distance(made, self.after).double() if distance else None,
        )

    def _angle(self, edited: Latents) -> Float[Tensor, " m"] | None:
        """Between the two moves, in w; None where the edited code comes after it."""
        g = self.truth.generator
        if not g.before(edited.space.name, "w+"):
            return None
        start = g.lift(codes(g, self.people, self.first), "w").values
        a, b = g.lift(edited, "w").values - start, g.lift(self.codes, "w").values - start
        cosine = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=1)
        return cosine.clamp(-1, 1).acos().rad2deg().cpu()


@dataclass(frozen=True)
class Agreement:
    """An edit against the true edit, a value for each person whose factor could be raised that far.

    `angle` (degrees, in w) is None where the edited code is not one of w. `correlation` is that of the change of the picture with the true
    change, over pixels and colors; `psnr` (dB, peak 2, at most 100) and `perceptual` (the distance given, if any) compare the two edited
    pictures.
    """

    angle: Float[Tensor, " m"] | None
    correlation: Float[Tensor, " m"]
    psnr: Float[Tensor, " m"]
    perceptual: Float[Tensor, " m"] | None


def interventions(
    truth: Truth, paths: Paths, first: Sequence[Edit], *, n: int = 4000, seed: int = 3_000_000
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n f"]] | None:
    """Codes and factors of a set of paths: strengths drawn for all paths at once, and what they change the factors by.

    Strengths are uniform with a standard deviation of 1, independent of each other and of the person, so nothing that goes together among
    the generator's own people can enter. None where a path's factors are not known.
    """
    people = Latents.cat([z for _, z in truth.generator.blocks(n, seed=seed)])
    t = (torch.rand(n, len(paths), generator=workers.generator(seed)) * 2 - 1) * math.sqrt(3)
    before = truth.factors(people, first)
    after = truth.factors(people, [*first, *(p.at(t[:, d]) for d, p in enumerate(paths))])
    return None if after is None or before is None else (t.double(), after - before)


def set_scores(truth: Truth, paths: Sequence[Path], first: Sequence[Edit], *, n: int | None = None) -> dict[str, float]:
    """DCI, MIG and the others of a set of paths, by intervention; empty where the truth of a path is not known.

    Of n samples: 4,000 for straight paths; 600 where one is not, since such an edit may have to look at pictures.
    """
    n = n or (4000 if all(isinstance(p, Direction) for p in paths) else 600)
    found = interventions(truth, Paths(tuple(paths)), first, n=n)
    return scores(*found) if found else {}


def pictures(generator: Generator, people: Latents, edits: Sequence[Edit] = ()) -> Images:
    parts = batches(generator, len(people))
    return torch.cat([render(generator, people[rows], edits) for rows in parts]).clamp(-1, 1)


def _correlated(a: Images, b: Images) -> Float[Tensor, " n"]:
    """Pearson's, picture by picture; 0 where either does not change."""
    a, b = a.double().flatten(1), b.double().flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-12)
