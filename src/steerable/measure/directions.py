"""What can be asked of a path or a set of paths, each question in one place; `compare` asks them of many methods.

Scores are counted in standard deviations of each score over the generator's own people, so different scores can be set side by side.
Leakage and identity are compared at the same achieved effect, never at the same t: `matched` finds the t that raises the target by 1 SD.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..edit import Edit, Images
from ..errors import SettingError
from ..generator import Generator
from ..path import Direction, Path, Paths
from ..record import Record
from ..render import render, resized
from ..renderer import Renderer, fitted
from ..score.labels import batches
from ..space import Latents
from .effects import Look, interval
from .truth import Truth


@dataclass(frozen=True)
class Figure(Record):
    """A mean over people with its interval of 95 % (None where fewer than two people have a value)."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, values: Float[Tensor, " n"]) -> "Figure | None":
        known = values[values.isfinite()].double()
        if len(known) == 0:
            return None
        if len(known) == 1:
            return cls(float(known[0]), None, None, 1)
        return cls(*interval(known), len(known))


@dataclass(frozen=True)
class Reader:
    """Scores of people under edits, in standard deviations: exactly, from codes, where the generator knows; else from pictures.

    `spreads` are the standard deviations of the scores that pictures get, `exact_spreads` those of the true factors.
    """

    look: Look
    spreads: Float[Tensor, " a"]
    truth: Truth | None = None
    exact_spreads: Float[Tensor, " a"] | None = None
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "renderer", Renderer(self.look.drawn, memory_mb=0))

    @property
    def names(self) -> tuple[str, ...]:
        return self.look.scorer.names

    @property
    def generator(self) -> Generator:
        return self.look.generator

    def exact(self, path: Path, person: Latents) -> bool:
        """Is what this path does to the factors known from the codes?"""
        return self.truth is not None and self.truth.factors(person, [*self.look.first, path.at(1.0)]) is not None

    def images(self, people: Latents, edits: Sequence[Edit] = ()) -> Images:
        parts = batches(self.generator, len(people), self.look.size)
        return torch.cat([self.look(self.renderer, people[rows], edits) for rows in parts])

    def read(self, images: Images) -> Float[Tensor, "n a"]:
        return torch.cat([self.look.read(part) for part in images.split(64)]) / self.spreads

    def __call__(self, people: Latents, edits: Sequence[Edit] = (), exact: bool = False) -> Float[Tensor, "n a"]:
        if not exact:
            return self.read(self.images(people, edits))
        assert self.truth is not None
        assert self.exact_spreads is not None
        found = self.truth.factors(people, [*self.look.first, *edits])
        if found is None:
            raise SettingError("the truth of this edit is not known; read it from pictures")
        return found / self.exact_spreads


# -- a set of paths ---------------------------------------------------------------------------------------------------------------


def rescoring(
    reader: Reader, people: Latents, paths: Paths | Sequence[Path]
) -> tuple[Float[Tensor, "k a"], Float[Tensor, "k a"]]:
    """The re-scoring matrix (InterFaceGAN, section 3.3): the change of every score a standard deviation along every path.

    Central differences at ±1, the mean over people, and its standard error.
    """
    means, errors = [], []
    for path in paths:
        exact = reader.exact(path, people[:1])
        slopes = (reader(people, [path.at(1.0)], exact) - reader(people, [path.at(-1.0)], exact)) / 2
        n = (~slopes.isnan()).sum(0).clamp_min(1)
        mean = slopes.nanmean(0)
        means.append(mean.nan_to_num())
        errors.append(((slopes - mean).square().nansum(0) / (n - 1).clamp_min(1) / n).sqrt())
    return torch.stack(means), torch.stack(errors)


def told_apart(
    generator: Generator,
    paths: Paths | Sequence[Path],
    *,
    n: int = 200,
    first: Sequence[Edit] = (),
    reach: tuple[float, float] = (1.0, 3.0),
    size: int = 16,
    seed: int = 5_000_000,
) -> Figure:
    """Reconstructor accuracy: how often the path can be told from the picture before and after (Voynov & Babenko 2020, section 4).

    The reconstructor is linear (multinomial logistic regression on the change, scaled down to `size` px), so this is a floor of what a
    deep one reaches. n pairs in all, each along a random path, by ± `reach` standard deviations; half teach, half judge. Chance is 1/k.
    """
    from sklearn.linear_model import LogisticRegression

    if len(paths) < 2 or n < 20:
        raise SettingError(f"telling paths apart takes two or more, and 20 pairs; got {len(paths)} and n={n}")
    source = workers.generator(seed)
    which = torch.randint(len(paths), (n,), generator=source)
    far = reach[0] + (reach[1] - reach[0]) * torch.rand(n, generator=source)
    t = far * (torch.randint(2, (n,), generator=source) * 2 - 1)
    people, changes = generator.sample(n, seed=seed), []
    for i in range(n):
        one = people[i]
        after = render(generator, one, [*first, paths[int(which[i])].at(float(t[i]))])
        change = (after - render(generator, one, first)) * torch.sign(t[i])  # the sign is the other head's business
        changes.append(fitted(change, size).flatten(1))
    x, y = torch.cat(changes).double().cpu().numpy(), which.numpy()
    half = n // 2
    x = x / max(float(x[:half].std()), 1e-12)
    made = LogisticRegression(max_iter=2000, C=0.1).fit(x[:half], y[:half])
    right = torch.from_numpy(made.predict(x[half:]) == y[half:]).double()
    found = Figure.of(right)
    assert found is not None
    return found


def same(a: Sequence[Path], b: Sequence[Path]) -> float | None:
    """The mean |cosine| of paths pairwise, as a measure of stability; None unless all are straight and of one space."""
    found = []
    for p, q in zip(a, b, strict=True):
        if not (isinstance(p, Direction) and isinstance(q, Direction) and p.vector.shape == q.vector.shape):
            return None
        found.append(abs(p.cosine(q)))
    return sum(found) / len(found) if found else None


# -- one path and its target --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The path of a set that serves a target, and the t that raises the target by 1 SD; `reached` is False where no path does."""

    number: int
    t: float
    reached: bool


def chosen(
    slopes: Float[Tensor, "k a"], errors: Float[Tensor, "k a"], target: int, reach: float, sure: float = 2.5
) -> Choice:
    """Of the paths that raise the target by 1 SD within ±`reach`, and surely move it, the one that leaks least by its slopes.

    Where there is none, the path that moves it most, as far as it may go.
    """
    own = slopes[:, target]
    rest = slopes.abs().sum(1) - own.abs()
    able = (own.abs() * reach >= 1) & (own.abs() > sure * errors[:, target])
    if bool(able.any()):
        leak = torch.where(able, rest / own.abs().clamp_min(1e-12), torch.full_like(rest, torch.inf))
        best = int(leak.argmin())
        return Choice(best, 1 / float(own[best]), True)
    best = int(own.abs().argmax())
    return Choice(best, reach if float(own[best]) >= 0 else -reach, False)


def matched(reader: Reader, people: Latents, path: Path, target: int, choice: Choice, reach: float) -> Choice:
    """The same choice with its t corrected once by what was achieved (a secant step), so that bent responses are matched too."""
    if not choice.reached:
        return choice
    exact = reader.exact(path, people[:1])
    change = (reader(people, [path.at(choice.t)], exact) - reader(people, [], exact))[:, target]
    achieved = float(change.nanmean())
    if not achieved > 0.25:
        return Choice(choice.number, choice.t, False)
    t = choice.t / min(achieved, 4.0)
    inside = abs(t) <= reach
    return Choice(choice.number, t if inside else reach * (1 if t > 0 else -1), inside)


@dataclass(frozen=True)
class Trial:
    """What one path does at its matched t to people it was not chosen on; a value for each person, in SD.

    `change` holds every score's at t. `rising` is 1 where the target grows at each step -t, 0, t/2, t; `linear` the squared correlation of
    the target with t over these steps.
    """

    change: Float[Tensor, "n a"]
    rising: Float[Tensor, " n"]
    linear: Float[Tensor, " n"]
    identity: Float[Tensor, " n"]
    exact: bool

    def leaks(self, target: int) -> Float[Tensor, "n b"]:
        """|change| of every other score, over the mean effect on the target: what comes along with each SD of it (D.16 of StyleSpace's
        attribute dependency, Wu et al. 2021, section 5)."""
        others = [i for i in range(self.change.shape[1]) if i != target]
        effect = self.change[:, target].nanmean().clamp_min(0.05)
        return self.change[:, others].abs() / effect


def trial(reader: Reader, people: Latents, path: Path, t: float, target: int, shown: Images | None = None) -> Trial:
    """Read at -t, 0, t/2 and t; four pictures a person, the plain ones being `shown` by whoever keeps them."""
    exact = reader.exact(path, people[:1])
    judge = reader.look.identity is not None
    needed = judge or not exact
    plain_images = shown if needed and shown is not None else reader.images(people) if needed else None
    plain = reader(people, [], True) if exact else reader.read(plain_images)  # pyright: ignore[reportArgumentType]
    kept = torch.full((len(people),), torch.nan, dtype=torch.float64)
    curve = []
    for v in (-t, 0.0, t / 2, t):
        if v == 0:
            curve.append(plain)
            continue
        images = reader.images(people, [path.at(v)]) if not exact or (judge and v == t) else None
        curve.append(reader(people, [path.at(v)], True) if exact else reader.read(images))  # pyright: ignore[reportArgumentType]
        if judge and v == t and images is not None and plain_images is not None:
            kept = torch.cat(
                [reader.look.kept(a, b) for a, b in zip(plain_images.split(16), images.split(16), strict=True)]
            )
    steps = torch.stack([c[:, target] for c in curve], 1)
    unknown = steps.isnan().any(1)
    rising = (steps.diff(dim=1) > 0).all(1).double().masked_fill(unknown, torch.nan)
    at = torch.tensor([-1.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    away, moved = at - at.mean(), steps - steps.mean(1, keepdim=True)
    linear = ((moved * away).sum(1) / (moved.norm(dim=1) * away.norm()).clamp_min(1e-12)).square()
    return Trial(curve[-1] - plain, rising, linear, kept, exact)


# -- where in the picture -----------------------------------------------------------------------------------------------------------


def outside(before: Images, after: Images, mask: Float[Tensor, "m 1 h2 w2"]) -> Float[Tensor, "n 1 h w"]:
    """|change|, averaged over colors, where a mask is 0; nothing where it is 1."""
    mask = resized(mask, before.shape[-2:]).to(before).expand(len(before), 1, -1, -1)
    return (after - before).abs().mean(1, keepdim=True) * (1 - mask)


def locality(before: Images, after: Images, mask: Float[Tensor, "m 1 h2 w2"]) -> dict[str, Float[Tensor, " n"]]:
    """How far an edit stays within a mask (1 inside): "inside" the share of all |change| that lies in it, and the mean squared changes of
    both sides (Collins et al. 2020, section 4.2: In-MSE, Out-MSE). Shares are of the area too: an edit that is everywhere alike scores
    the mask's own share."""
    mask = resized(mask, before.shape[-2:]).to(before).expand(len(before), 1, -1, -1)
    change, square = (after - before).abs(), (after - before).square().mean(1, keepdim=True)
    mean = lambda x, m: (x * m).sum((1, 2, 3)) / m.sum((1, 2, 3)).clamp_min(1e-12)
    return {
        "inside": (change * mask).sum((1, 2, 3)) / change.sum((1, 2, 3)).clamp_min(1e-12),
        "In-MSE": mean(square, mask),
        "Out-MSE": mean(square, 1 - mask),
    }
