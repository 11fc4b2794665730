"""What one standard deviation along a path does to every score, on people that discovery has not seen, with error bars.

An effect is the slope of a score over t (with two strengths, -1 and 1, the central difference), taken for each person and averaged; its
interval is of 95 %, over people, by bootstrap. Samples are drawn as everywhere: the people are those of the seeds from `seed` on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..edit import Edit, Images, finite
from ..errors import SettingError
from ..generator import Generator
from ..method import Progress, quiet
from ..path import Direction, Effect, Path, Paths
from ..render import codes
from ..renderer import Renderer
from ..score import Scorer, Table
from ..score.labels import Labels, batches, drawing, reading_size, spreads, truncation
from ..space import Latents
from ..threads import each

Same = Callable[[Images, Images], Float[Tensor, " n"]]  # before, after -> how much of the person is kept, 1 all

FEW, DRAWS = 8, 10_000  # people from whom an interval is drawn, and how often
PROBED = 4  # people on whom the range is looked for
AGREED = 0.75  # share of them for whom a picture must be natural
TYPICAL = 0.999  # share of the generator's own codes that are as typical as a code that is called typical
RANGE = f"the last t before pictures are not natural: for {AGREED:.0%} of {PROBED} people no score is lost that could be read, and "
BY_IDENTITY = RANGE + "the identity stays above the threshold"
BY_CODES = RANGE + f"(there being no judge of identity) the code is as typical as {TYPICAL:.1%} of the generator's own"


def effects(
    generator: Generator,
    paths: Paths,
    scorer: Scorer | Table,
    *,
    n_people: int = 8,
    psi: float = 1.0,
    t: Sequence[float] = (-1.0, 1.0),
    seed: int = 1_000_000,
    labels: Labels | None = None,
    identity: Same | None = None,
    same: float = 0.363,
    limit: float = 5.0,
    size: int | None = None,
    progress: Progress = quiet,
) -> Paths:
    """The paths with `effects` and `range` filled; `notes` gains "identity" (mean, low, high over people and t), and "measured" (how).

    Renders n_people · (1 + paths · len(t)) pictures, and for the range at most 4 · (1 + 10 · paths); `limit=0` leaves the range alone.
    `labels` gives each score's standard deviation (else these few people do); its pictures must be others, and of the same psi.
    `identity` compares pictures before and after, `score.kept` for faces; `same` is where the range ends (SFace's own threshold for one
    person). Without it, the range ends where codes become untypical. `size` reads previews where the scorer vouches for them.
    Raises SettingError for fewer than two people or strengths, and for a path or labels that do not fit.
    """
    strengths = _strengths(t)
    if not isinstance(scorer, Scorer):
        raise SettingError(f"a scorer that looks at pictures is needed; {scorer!r} knows labels of seeds only")
    if n_people < 2:
        raise SettingError(f"error bars need two people or more; got n_people={n_people}")
    if labels is not None:
        _held_out(labels, seed, n_people, psi)
    look = Look(generator, scorer, psi, reading_size(generator, scorer, size, progress), identity)
    people = generator.sample(n_people, seed=seed)
    # Errors come before the first picture; and all processes take part in means and spreads, or none.
    for path in paths:
        codes(generator, people[:1], [*look.first, path.at(strengths[0])])
    plain, scores, kept = _read(look, people, paths, strengths, progress)
    spread = labels.spread() if labels is not None else spreads(plain, scorer.names)
    per_person = _slopes(scores, torch.tensor(strengths, dtype=torch.float64))  # [n, k, a]
    items, same_notes = [], {}
    for j, path in enumerate(paths):
        found = []
        for column, (name, unit) in enumerate(zip(scorer.names, scorer.units, strict=True)):
            slopes = per_person[:, j, column]
            slopes = slopes[~slopes.isnan()]
            if len(slopes) > 1:
                mean, low, high = interval(slopes)
                found.append(Effect(name, mean, low, high, spread.get(name, 0.0), unit, float(psi), len(slopes)))
        if len(found) < len(scorer.names):
            missing = ", ".join(sorted(set(scorer.names) - {e.score for e in found}))
            progress.note(f"{path.name}: too few people have a score for {missing}")
        of_one = kept[:, j].nanmean(1)
        if int((~of_one.isnan()).sum()) > 1:
            same_notes[path.name] = interval(of_one[~of_one.isnan()])
        items.append(replace(path, effects=tuple(found)))
    if limit > 0:
        items = _ranged(look, people[: min(PROBED, n_people)], items, same, limit, progress)
    notes: dict[str, Any] = {**paths.notes, "measured": look.summary(n_people, seed, strengths, limit)}
    if same_notes:
        notes["identity"] = {**paths.notes.get("identity", {}), **same_notes}
    return Paths(tuple(items), notes)


@dataclass(frozen=True)
class Look:
    """How pictures are made and read: the generator, the scorer, the truncation, the preview size, the judge of identity."""

    generator: Generator
    scorer: Scorer
    psi: float
    size: int | None
    identity: Same | None

    def __call__(self, renderer: Renderer, people: Latents, edits: Sequence[Edit] = ()) -> Images:
        return renderer(people, [*self.first, *edits], size=self.size)

    @property
    def first(self) -> list[Edit]:
        return truncation(self.psi)

    @cached_property
    def drawn(self) -> Generator:
        """What draws the pictures."""
        return drawing(self.generator, self.size)

    def read(self, images: Images) -> Float[Tensor, "n a"]:
        return self.scorer(images).double().cpu()

    def kept(self, before: Images, after: Images) -> Float[Tensor, " n"]:
        if self.identity is None:
            return torch.full((len(before),), torch.nan, dtype=torch.float64)
        return self.identity(before, after).double().cpu()

    def summary(self, n: int, seed: int, strengths: Sequence[float], limit: float) -> dict[str, Any]:
        return {
            "scorer": self.scorer.name,
            "people": n,
            "first seed": seed,
            "psi": self.psi,
            "t": tuple(strengths),
            "size": self.size,
            **({"range": BY_CODES if self.identity is None else BY_IDENTITY, "limit": limit} if limit > 0 else {}),
        }


def interval(values: Float[Tensor, " n"]) -> tuple[float, float, float]:
    """Mean, and the ends of its interval of 95 %: percentiles of the means of people drawn again (bootstrap), always the same draws.

    Plain percentiles are too narrow for few people; these are expanded (Hesterberg, What Teachers Should Know About the Bootstrap, The
    American Statistician 2015). Below eight people that is not enough (89 % for five): there the interval is Student's.
    """
    values, n = values.double().cpu(), len(values)
    mean, wide = float(values.mean()), student(n)
    if n < FEW:
        half = wide * float(values.std()) / n**0.5
        return mean, mean - half, mean + half
    source, at_once = workers.generator(n), max(1, (1 << 23) // n)
    parts = torch.arange(max(1000, min(DRAWS, at_once))).split(at_once)
    means = torch.cat([values[torch.randint(n, (len(part), n), generator=source)].mean(1) for part in parts])
    tail = float(torch.special.ndtr(torch.tensor(-wide * (n / (n - 1)) ** 0.5, dtype=torch.float64)))
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return mean, low, high


def student(n: int, chance: float = 0.05) -> float:
    """How many standard errors an interval over n values reaches to each side, so that it errs with this chance."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - chance / 2))


def _read(
    look: Look, people: Latents, paths: Paths, strengths: tuple[float, ...], progress: Progress
) -> tuple[Float[Tensor, "n a"], Float[Tensor, "n k t a"], Float[Tensor, "n k t"]]:
    """Scores of the plain pictures and of all edited ones, and identity kept; people are shared out over processes."""
    renderer = Renderer(look.drawn, memory_mb=0)
    parts = list(workers.mine(enumerate(batches(look.generator, len(people), look.size))))
    work = [(b, rows, j) for b, rows in parts for j in range(len(paths))]
    plain: dict[int, Tensor] = {}
    images: dict[int, Images] = {}
    scores: dict[int, list[Tensor]] = {b: [] for b, _ in parts}
    kept: dict[int, list[Tensor]] = {b: [] for b, _ in parts}
    for b, rows, j in progress.over(work, "Measuring effects", len(work)):
        if b not in images:
            images = {b: look(renderer, people[rows])}
            plain[b] = look.read(images[b])

        def judged(v: float, plain: Images = images[b], rows: slice = rows, j: int = j) -> tuple[Tensor, Tensor]:
            edited = look(Renderer(look.drawn, memory_mb=0), people[rows], [paths[j].at(v)])
            return look.read(edited), look.kept(plain, edited)

        found = each(judged, strengths)
        scores[b].append(torch.stack([s for s, _ in found], 1))
        kept[b].append(torch.stack([k for _, k in found], 1))
    stacked = lambda rows: workers.gathered({b: torch.stack(v, 1) for b, v in rows.items()})
    return torch.cat(workers.gathered(plain)), torch.cat(stacked(scores)), torch.cat(stacked(kept))


def _slopes(scores: Float[Tensor, "n k t a"], t: Float[Tensor, " t"]) -> Float[Tensor, "n k a"]:
    """The least-squares slope of each score over t; NaN where a picture had no score."""
    away = t - t.mean()
    return torch.einsum("nkta,t->nka", scores, away / away.square().sum())


# -- the range --------------------------------------------------------------------------------------------------------------------


def _ranged(
    look: Look, people: Latents, items: Sequence[Path], same: float, limit: float, progress: Progress
) -> list[Path]:
    """The paths with their ranges, see BY_IDENTITY and BY_CODES; paths are shared out over processes."""
    renderer, parts = Renderer(look.drawn), list(batches(look.generator, len(people), look.size))
    plain = [look(renderer, people[rows]) for rows in parts]
    before, read = torch.cat(plain), ~torch.cat([look.read(x) for x in plain]).isnan()

    def natural(path: Path, v: float) -> bool:
        good = []
        for rows in parts:
            after = look(renderer, people[rows], [path.at(v)])
            good.append((~look.read(after).isnan() | ~read[rows]).all(1))
            if look.identity is not None:
                good[-1] &= look.kept(before[rows], after) >= same
        return float(torch.cat(good).double().mean()) >= AGREED

    straight = [p.space.name for p in items if isinstance(p, Direction) and look.identity is None]
    shells = {
        name: _shell(look, name, people) for name in dict.fromkeys(straight) if not look.generator.space(name).affine
    }

    def typical(path: Path, v: float) -> bool:
        return not isinstance(path, Direction) or path.space.name not in shells or shells[path.space.name](path, v)

    found: dict[int, Tensor] = {}
    mine = list(workers.mine(enumerate(items)))
    for j, path in progress.over(mine, "Looking for the range", len(mine)):
        ends = [_reach(lambda v: typical(path, v) and natural(path, v), side * limit) for side in (-1, 1)]  # noqa: B023
        found[j] = torch.tensor(ends, dtype=torch.float64)
    spans = [(float(low), float(high)) for low, high in workers.gathered(found)]
    return [replace(path, range=span) for path, span in zip(items, spans, strict=True)]


def _reach(natural: Callable[[float], bool], end: float) -> float:
    """The last t, of 1, 2, 3 … to the end, before the first that is not natural; 0 if that is 1."""
    side, last = (1.0 if end > 0 else -1.0), 0.0
    for v in _steps(abs(end)):
        if not natural(side * v):
            break
        last = side * v
    return last


def _steps(end: float) -> Iterator[float]:
    v = 1.0
    while v < end:
        yield v
        v += 1
    yield end


def _shell(look: Look, here: str, people: Latents) -> Callable[[Direction, float], bool]:
    """Are the codes of these people, moved by t, still such as the generator draws? By Mahalanobis distance from the mean.

    Asked of straight paths in spaces that have a covariance; of others nothing is known, so they pass.
    """
    g, moments = look.generator, look.generator.moments(here)
    values, vectors = torch.linalg.eigh(moments.cov)
    white = vectors / values.clamp_min(1e-6 * float(values[-1])).sqrt()
    centered = lambda latents: (g.lift(latents, here).values.flatten(1).double().cpu() - moments.mean.flatten()) @ white
    own = centered(g.sample(2048, seed=0)).square().sum(1).quantile(TYPICAL)
    late = look.psi != 1 and not g.before(here, "w")
    start = centered(codes(g, people, look.first) if late else people)

    def inside(path: Direction, v: float) -> bool:
        unit = g.spread(path.vector, here) if path.unit is None else path.unit
        step = unit * path.vector.double().flatten() @ white
        return float(((start + v * step).square().sum(1) <= own).double().mean()) >= AGREED

    return inside


# -- what was asked ---------------------------------------------------------------------------------------------------------------


def _strengths(t: Sequence[float]) -> tuple[float, ...]:
    strengths = tuple(sorted({float(v) for v in t}))
    for v in strengths:
        finite(v)
    if len(strengths) < 2:
        raise SettingError(f"a slope needs two strengths or more, such as t=(-1, 1); got {tuple(t)}")
    return strengths


def _held_out(labels: Labels, seed: int, n: int, psi: float) -> None:
    known = (labels.seeds >= seed) & (labels.seeds < seed + n)
    if known.any():
        raise SettingError(
            f"the people of seeds {seed} to {seed + n - 1} are in the labeled set, so they are not held out; take another seed"
        )
    if labels.psi != psi:
        raise SettingError(f"the labeled set was made with psi {labels.psi:g}, the effects with {psi:g}; take the same")
