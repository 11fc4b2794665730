"""Directions along which position, size or brightness take the value that is asked for.

Paper    Plumerault, Le Borgne & Hudelot, Controlling Generative Models with Continuous Factors of Variations, ICLR 2020 (equations 1-6)
Matches  for a code z₀ and t = ±0.1 … ±0.5, each from the one before: the code whose picture is that of z₀ transformed by t, by Adam at
         0.01 in 50 steps on a masked squared error of blurred pictures (σ = 3 px of 128), codes held to length √d; the worst tenth
         dropped; then one u and an increasing piecewise linear g with g(⟨u, z_t⟩) − g(⟨u, z₀⟩) = t, 101 places from -5 to 5, smoothness
         1, ‖u‖² at 0.1, 100 epochs of 32; a value t is reached by ⟨u, z⟩ = g⁻¹(t)
Differs  implemented from the paper alone. Codes are counted in their root mean square deviation (1 in z). t = 0.5 is the largest amount
         of `reach`; values are in the units of transforms.py. The blur stands for the paper's weights on high frequencies. g rises
         everywhere, if only by a thousandth, so that it can be inverted
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .. import artifact, cache, workers
from ..errors import MethodFailed
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..path import Path, Paths
from ..record import Record
from ..space import Latents
from .discoverer import Discoverer, Supervision, acts
from .fields import even
from .levels import Controlled, Level
from .moves import moved, plain, scale
from .training import Step, seeded, train
from .transforms import REACH, blurred, changed, listed

SIDE = (0.2, 0.4, 0.6, 0.8, 1.0)  # shares of the largest amount; both sides are walked
PLACES, SPAN = 101, 5.0
WORST = 0.1  # share of trails that is dropped
SIGMA = 3 / 128  # of the blur, in pictures


@dataclass(frozen=True)
class Trails(Record):
    """Codes in units of their deviation: where each of n began, and where it had to go for each of q amounts, with the error left."""

    begin: Float[Tensor, "n d"]
    end: Float[Tensor, "q n d"]
    error: Float[Tensor, "q n"]


class Gauge(nn.Module):
    """g(⟨v, u⟩): a direction, and slopes that are positive."""

    def __init__(self, d: int):
        super().__init__()
        self.v = nn.Parameter(torch.randn(d) / math.sqrt(d))
        self.slopes = nn.Parameter(torch.full((PLACES - 1,), math.log(math.e - 1)))  # softplus: 1

    def values(self) -> Float[Tensor, " m"]:
        rise = (F.softplus(self.slopes) + 1e-3) * (2 * SPAN / (PLACES - 1))
        values = torch.cat([rise.new_zeros(1), rise.cumsum(0)])
        return values - values[PLACES // 2]

    def forward(self, u: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return even(self.values(), u @ self.v, SPAN)


class Gauges(nn.Module):
    def __init__(self, each: list[Gauge]):
        super().__init__()
        self.each, self.parts = each, nn.ModuleList(each)


@final
@dataclass(frozen=True, kw_only=True)
class Plumerault(Discoverer):
    """One controlled path for each transformation: it moves by a given amount, or to a given value."""

    name: ClassVar = "plumerault"
    paper: ClassVar = "plumerault2020controlling"
    tags: ClassVar = frozenset({"self-supervised"})

    space: str = param("z", "space of the paths: z or w")
    layers: str = param("all", "where the paths act")
    transforms: str = param("shift-x,shift-y,zoom,brightness", f"of {', '.join(REACH)}")
    reach: float = param(
        1.0, "times the largest amounts: zoom 4, shift 0.5, 45 degrees, colors 0.5, blur 1", ge=0.01, le=2
    )
    size: int | None = param(None, "look at previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    n: int = param(200, "codes that are led along each transformation, to both sides", ge=4)
    inner: int = param(50, "steps of Adam from one amount to the next", ge=1)
    inner_rate: float = param(0.01, "of this Adam", ge=0.0)
    block: int = param(16, "codes led at once", ge=1)
    epochs: int = param(100, "of fitting u and g", ge=1)
    rate: float = param(1e-3, "of Adam for u and g", ge=0.0)
    smooth: float = param(1.0, "weight of the smoothness of g", ge=0.0)
    shrink: float = param(0.1, "weight of the length of u", ge=0.0)
    seed: int = param(0, "of the codes and of training", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        plain(self.name, generator, self.space)
        names, where = listed(self.transforms), acts(generator, self.layers)
        unit = scale(generator, self.space)
        weights = artifact.fingerprint(
            generator.net.state_dict()
        )  # a generator with lent weights bears the lender's own
        trails = {name: self._trails(generator, weights, name, unit, where, progress) for name in names}
        tables = {name: self._table(t, name) for name, t in trails.items()}
        gauges = seeded(self.seed, lambda: Gauges([Gauge(t.begin.shape[1]) for t in trails.values()]))
        rows = min(len(t) for _, _, t in tables.values())

        def loss(step: Step) -> Float[Tensor, " n"]:
            parts = []
            for gauge, (begin, end, t) in zip(gauges.each, tables.values(), strict=True):
                i = step.integers(rows).to(t.device)
                error = gauge(end[i]) - gauge(begin[i]) - t[i]
                rough = F.softplus(gauge.slopes).diff().square().sum()
                parts.append(error.square() + self.shrink * gauge.v.square().sum() + self.smooth * rough)
            return torch.stack(parts).mean(0)

        batch = min(32, rows)
        how = {"steps": self.epochs * -(-rows // batch), "batch": batch, "rate": self.rate, "seed": self.seed}
        trained = train(self, generator, gauges, loss, every=1000, progress=progress, **how)
        codes = generator.lift(generator.sample(512, seed=self.seed), self.space)
        items, fits = [], {}
        for name, gauge in zip(names, gauges.each, strict=True):
            items.append(self._path(generator, gauge, name, codes, unit, where))
            begin, end, t = tables[name]
            with torch.no_grad():
                left = gauge(end) - gauge(begin) - t
            fits[name] = {"R2": 1 - float(left.var() / t.var()), "error": float(trails[name].error.mean())}
        return Paths(tuple(items), {"fits": fits, "training": trained.notes()})

    # -- leading codes ------------------------------------------------------------------------------------------------------------

    def _trails(
        self, generator: Generator, weights: str, name: str, unit: float, where: str | None, progress: Progress
    ) -> Trails:
        way = (self.space, self.layers, self.reach, self.size, self.psi)
        told = (*way, self.n, self.inner, self.inner_rate, self.seed)
        key = f"{generator.fingerprint} {weights} {generator.dtype} {generator.device.type} {name} {told} {self.block}"
        parts: dict[int, Trails] = {}
        blocks = generator.blocks(self.n, seed=self.seed, size=self.block)
        count = -(-self.n // (self.block * workers.world()))
        for b, codes in progress.over(blocks, f"Leading codes along {name}", count):
            make = lambda codes=codes: self._led(generator, codes, name, unit, where)
            parts[b] = cache.remembered(Trails, "trails", f"{key} block {b}", make)
        gather = lambda field, dim: torch.cat(workers.gathered({b: getattr(t, field) for b, t in parts.items()}), dim)
        return Trails(gather("begin", 0), gather("end", 1), gather("error", 1))

    def _led(self, generator: Generator, codes: Latents, name: str, unit: float, where: str | None) -> Trails:
        with torch.no_grad():
            codes = generator.lift(codes if self.psi == 1 else generator.truncate(codes, self.psi), self.space)
            center = generator.moments(self.space).mean.to(codes.values)
            begin = held(torch.as_tensor((codes.values - center) / unit))
        picture = lambda u: view(generator, moved(generator, codes, center + unit * u, where), self.size)
        plain = picture(begin).detach()
        ends, errors = [], []
        for sign in (-1, 1):
            u = begin
            for share in SIDE:
                amount = begin.new_full((len(begin),), sign * share * REACH[name] * self.reach)
                target, known = changed(name, plain, amount)
                u, error = self._to(picture, u, target, known)
                ends.append(u.float().cpu())
                errors.append(error.float().cpu())
        return Trails(begin.float().cpu(), torch.stack(ends), torch.stack(errors))

    def _to(self, picture, u: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """The code whose picture is like `target` where it is known, from u; and the error left, for each row."""
        u = u.clone().requires_grad_()
        adam, sigma = torch.optim.Adam([u], lr=self.inner_rate), max(SIGMA * target.shape[-1], 0.3)
        share = known.mean((1, 2, 3)).clamp_min(1e-6)
        distance = lambda: blurred((picture(u) - target) * known, sigma).square().mean((1, 2, 3)) / share
        with torch.enable_grad():
            for _ in range(self.inner):
                adam.zero_grad()
                distance().sum().backward()
                adam.step()
                with torch.no_grad():
                    u.copy_(held(u))
        with torch.no_grad():
            return u.detach(), distance()

    def _table(self, trails: Trails, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """(begin [m d], end [m d], amount [m]) without the worst trails."""
        if not (trails.end.isfinite().all() and trails.error.isfinite().all()):
            raise MethodFailed(f"plumerault: no code was found for {name!r}; take a smaller inner_rate or reach")
        amounts = torch.tensor([-s for s in SIDE] + list(SIDE)) * REACH[name] * self.reach
        n = len(trails.begin)
        good = trails.error.flatten().argsort(stable=True)[: max(2, round((1 - WORST) * trails.error.numel()))]
        begin = trails.begin.expand(len(amounts), -1, -1).flatten(0, 1)
        return begin[good], trails.end.flatten(0, 1)[good], amounts.repeat_interleave(n)[good]

    def _path(
        self, generator: Generator, gauge: Gauge, name: str, codes: Latents, unit: float, where: str | None
    ) -> Path:
        """The published number 1 is the value 1."""
        v = gauge.v.detach().double().cpu()
        length = float(v.norm())
        center = generator.moments(self.space).mean.float()
        level = Level((v / length).float(), center, length / unit, gauge.values().detach().float().cpu(), SPAN)
        sd = float(level.at(level.place(codes.values.float().cpu())).std())
        space = generator.space(self.space)
        return Controlled(name=name, layers=where, published=1 / sd, level=level, space=space, unit=sd)


def held(u: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows no longer than √d."""
    most = math.sqrt(u.shape[1])
    return u * (most / u.norm(dim=1, keepdim=True).clamp_min(most))
