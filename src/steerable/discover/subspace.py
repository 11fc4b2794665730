"""Differential subspace search: one slider after another, each through the picture in hand, along a way in which it changes much.

Paper    Chiu, Koyama, Lai, Igarashi & Yue, Human-in-the-Loop Differential Subspace Search in High-Dimensional Latent Space, SIGGRAPH 2020
Matches  the derivative of the picture at the code in hand, for codes that count alike in every way (the paper's are normal numbers), its
         singular vectors, one drawn with a chance that grows with its singular value, so that every way can come up (ergodicity); a
         slider along it; the choice is where the next one starts; it ends when several choices in a row were to stay
Differs  behind a mapping net codes are first counted in their own standard deviations, along their principal axes: else most ways
         lead at once to where no codes are. Chances are the singular values over their sum. Only the first `axes` singular vectors are
         computed, and roughly (one round of block Krylov iteration: they are drawn from anyway); across them lies one more way with the
         chance of the last: what would change the picture by random numbers, as far as codes can. The slider ends where `reach` standard
         deviations of the codes do, or sooner, where the picture would have changed `visible` by its derivative, so that sliders look
         equally fast, or where the code would stop being typical (in z: near the shell that normal codes lie on)

    search = Search.begin(g.sample(1, seed=4), g, space="w")   # a record: save it and go on tomorrow
    slider = search.ask(g)                                     # a path; slider.range says how far it goes
    search = search.tell(slider, 1.5)                          # the t that was chosen; 0: nothing better here
    paths = search.path(g)                                     # from where it began to where it is
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..geometry import Derivative, around, top
from ..method import Progress, param, quiet
from ..path import Direction, Paths
from ..record import Record
from ..render import render
from ..score import Scorer
from ..space import Latents
from .discoverer import Discoverer, Supervision
from .locally import Typical
from .places import points
from .supervised import wanted

Step = Callable[[Float[Tensor, "q d"]], Float[Tensor, "q d"]]


@dataclass(frozen=True)
class Search(Record):
    """Where a search stands: the code in hand, the one it began with, and the choices so far (t; 0 to stay). Never changed: `tell` gives
    the next one."""

    latents: Latents
    began: Latents
    choices: tuple[float, ...] = ()
    seed: int = 0
    axes: int = 16
    reach: float = 3.0
    visible: float = 0.3
    size: int = 64
    patience: int = 5

    @classmethod
    def begin(cls, latents: Latents, generator: Generator, *, space: str = "w", **settings: Any) -> "Search":
        """A search from one sample. Settings: seed, axes, reach, visible, size, patience. Raises SettingError for more samples than one."""
        if len(latents) != 1:
            raise SettingError(f"a search begins with one sample; got {len(latents)}")
        start = generator.lift(latents, space)
        return cls(start, start, **settings)

    @property
    def done(self) -> bool:
        """Were the last choices all to stay?"""
        return len(self.choices) >= self.patience and not any(self.choices[-self.patience :])

    def ask(self, generator: Generator) -> Direction:
        """The next slider: a straight path through the code in hand, with its `range`. The same one until `tell`."""
        space, turn = self.latents.space, len(self.choices)
        J, step = self._derivative(generator)
        way, about = self._way(J, generator, workers.generator(self.seed, turn + 1))
        vector = step(way[None])[0]
        path = Direction.along(f"slider-{turn}", vector.reshape(space.shape), space, generator)
        assert path.unit is not None
        speed = float(J.push(way[None]).double().norm()) * path.unit / float(vector.double().norm())  # for t
        far = min(self.reach, self.visible * self.pixels(generator) ** 0.5 / max(speed, 1e-12))
        low, high = -far, far
        if not space.affine or space.name == "w+":
            move = path.unit * path.vector.to(self.latents.values)[None]
            least, most = Typical(generator, space).span(self.latents.values, move)
            low, high = max(low, min(least, 0.0)), min(high, max(most, 0.0))
        return replace(path, range=(low, high), about=about)

    def _derivative(self, generator: Generator) -> tuple[Derivative, Step]:
        """Of the picture by moves of the code in hand that are counted in standard deviations; and what makes moves of these."""
        picture, step = around(generator, self.latents, size=self.size), in_deviations(generator, self.latents)
        here = self.latents.values[0].detach()
        moved = lambda u: picture(here + step(u[None])[0].reshape(here.shape))
        return Derivative(moved, here.new_zeros(here.numel())), step

    def _way(self, J: Derivative, generator: Generator, source: torch.Generator) -> tuple[Float[Tensor, " d"], str]:
        """One of the first singular vectors, or what a random change of the picture asks for across them; and which it is."""
        d = J.at.numel()
        q = min(self.axes, d)
        values, vectors = top(J.gram(), d, q, block=q, rounds=1, seed=self.seed)
        strengths = values.clamp_min(0).sqrt()
        if not float(strengths.sum()) > 0:
            raise MethodFailed("no move of this code changes its picture; begin with another sample")
        at = int(torch.multinomial(torch.cat([strengths, strengths[-1:]]), 1, generator=source))
        if at == q:
            asked = J.pull(torch.randn(1, self.pixels(generator), generator=source))[0].double().cpu()
            rest = asked - vectors.T @ (vectors @ asked)
            if float(rest.norm()) > 1e-4 * float(asked.norm()):  # else the first ones are all there is
                return rest / rest.norm(), f"across the first {q} axes"
            at = q - 1
        return vectors[at], f"axis {at} of {q}"

    def tell(self, slider: Direction, t: float) -> "Search":
        """The search after t was chosen on the slider that `ask` gave. Raises SettingError for a t beyond it."""
        if slider.range is None or slider.unit is None or slider.name != f"slider-{len(self.choices)}":
            raise SettingError(f"{slider.name!r} is not the slider in hand; ask for the next one")
        low, high = slider.range
        if not low - 1e-6 <= t <= high + 1e-6:
            raise SettingError(f"the slider goes from {low:.3g} to {high:.3g}; got {t}")
        delta = (t * slider.unit * slider.vector.to(self.latents.values))[None]
        return replace(self, latents=self.latents.moved(delta), choices=(*self.choices, float(t)))

    def path(self, generator: Generator, name: str = "found") -> Direction:
        """The straight way from the first code to the one in hand, which published=1 reaches. Raises SettingError before the first step."""
        way = (self.latents.values - self.began.values)[0].detach()
        found = Direction.along(name, way, self.latents.space, generator)
        assert found.unit is not None
        far = float(way.double().norm()) / found.unit
        return replace(found, published=far, range=(0.0, far), about=f"{len(self.choices)} choices")

    def pixels(self, generator: Generator) -> int:
        h, w = generator.size
        side = min(self.size, h)
        return 3 * side * max(1, side * w // h)


def in_deviations(generator: Generator, latents: Latents) -> Step:
    """Moves of one sample's code, flat, from moves that are counted in standard deviations of the generator's own codes along their
    principal axes; in w+ row by row, in s entry by entry."""
    space, at = latents.space, generator.spaces.index(latents.space)
    while generator.spaces[at].affine:
        at -= 1
    root = generator.spaces[at]
    values, vectors = torch.linalg.eigh(generator.moments(root.name).cov)
    rows = (vectors * values.clamp_min(0).sqrt()).T.to(latents.values)
    if space == root or space.name == "w+":
        return lambda u: (u.to(rows).reshape(len(u), -1, len(rows)) @ rows).flatten(1)
    inputs = {k: v.expand(len(rows), *v.shape[1:]) for k, v in latents.inputs.items()}
    moves = generator.carry(rows.reshape(-1, *root.shape), root.name, space.name, inputs)
    spread = moves.square().sum(0).sqrt().flatten()
    return lambda u: u.to(spread) * spread


def chooser(
    generator: Generator, scorer: Scorer, ticks: int = 9
) -> Callable[[Search, Direction], tuple[float, Float[Tensor, " a"]]]:
    """Somebody who moves sliders to where a score of one column is highest, among `ticks` places and the middle."""

    def choose(search: Search, slider: Direction) -> tuple[float, Tensor]:
        assert slider.range is not None
        places = torch.cat([torch.zeros(1), torch.linspace(*slider.range, ticks)])
        edit = slider.at(places)
        scores = scorer(render(generator, search.latents.repeat(len(places)), [edit])).float().cpu()
        best = int(scores[:, 0].nan_to_num(-torch.inf).argmax())  # the first of equals: staying
        return float(places[best]), scores[best]

    return choose


@final
@dataclass(frozen=True, kw_only=True)
class SubspaceSearch(Discoverer):
    """Searches with a score for a user: one path for each score and start, from the sample to where the search ended."""

    name: ClassVar = "subspace-search"
    paper: ClassVar = "chiu2020subspace"
    tags: ClassVar = frozenset({"interactive", "local"})

    space: str = param("w", "space of the search")
    starts: int = param(1, "samples to begin with, each with a search of its own", ge=1)
    rounds: int = param(30, "sliders, at most", ge=1)
    psi: float = param(1.0, "truncation of the samples it begins with")
    seed: int = param(0, "of the first sample, and of the sliders", ge=0)
    axes: int = param(16, "singular vectors that sliders are drawn from", ge=1)
    reach: float = param(3.0, "length of a slider to each side, in standard deviations, at most", ge=0.01)
    visible: float = param(0.3, "root mean square change of the picture, [-1, 1], that a slider ends with", ge=0.001)
    size: int = param(64, "height of the picture that is differentiated, in px", ge=4)
    patience: int = param(5, "sliders in a row without a better picture after which it ends", ge=1)
    learn: str = param("all", "scores to raise, such as smile,age; all that the scorer gives")

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space(self.space)
        if not isinstance(supervision, Scorer):
            raise SettingError(
                "subspace-search asks somebody what is better: pass a scorer, or drive Search.begin, ask and tell yourself"
            )
        items, notes = [], {}
        for name in wanted(self.learn, supervision.names):
            choose = chooser(generator, supervision[name])
            for start in range(self.starts):
                title = name if self.starts == 1 else f"{name} {start}"
                search = self.begin(generator, space.name, start)
                for _ in progress.over(range(self.rounds), f"Searching {title}", self.rounds):
                    slider = search.ask(generator)
                    search = search.tell(slider, choose(search, slider)[0])
                    if search.done:
                        break
                if not any(search.choices):
                    progress.note(f"no slider made {title!r} any better; it is left out")
                    continue
                items.append(search.path(generator, title))
                notes[title] = {"choices": search.choices, "seed": self.seed + start}
        if not items:
            raise MethodFailed(
                "subspace-search found nothing better on any slider; give it more rounds, or a larger reach"
            )
        return Paths(tuple(items), {"searches": notes})

    def begin(self, generator: Generator, space: str, start: int) -> Search:
        first = points(generator, space, 1, seed=self.seed + start, psi=self.psi)
        return Search(
            first, first, (), self.seed + start, self.axes, self.reach, self.visible, self.size, self.patience
        )
