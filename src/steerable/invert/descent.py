"""One search: variables, steps down, and the best that was seen."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..method import Progress, param
from ..space import Latents
from . import charts, noise
from .inverter import Watching
from .losses import Losses, Seen, Weights, losses
from .views import Stage

BOUNDS = ("none", "clip", "stochastic", "sphere")
GAIN = 0.99  # of the best loss so far: what is below is a gain


def _ramp(t: float) -> float:
    """Up in the first twentieth, down as a cosine in the last quarter (Karras et al. 2020)."""
    return (0.5 - 0.5 * float(np.cos(np.pi * min(1.0, (1 - t) / 0.25)))) * min(1.0, t / 0.05)


def _cycle(t: float) -> float:
    """From a tenth up to 1 and down again within nine tenths, then to a thousandth (Menon et al. 2020)."""
    if t < 0.9:
        return (9 * (1 - abs(t / 0.9 - 0.5) * 2) + 1) / 10
    return 0.1 + (t - 0.9) / 0.1 * (0.001 - 0.1)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "ramp": _ramp,
    "cosine": lambda t: 0.5 + 0.5 * float(np.cos(np.pi * t)),
    "cycle": _cycle,
    "halve": lambda t: 0.5 ** int(t * 4),
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": lambda groups: torch.optim.Adam(groups),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups),
    "sgd": lambda groups: torch.optim.SGD(groups),
    "lbfgs": lambda groups: torch.optim.LBFGS(
        [p for g in groups for p in g["params"]], max_iter=1, history_size=20, line_search_fn="strong_wolfe"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Settings(Weights):
    """The settings of a search."""

    coordinates: str = param(
        "whitened", "how codes are counted there; P and P_N are those of Zhu et al. 2020", choices=charts.COORDINATES
    )
    layers: str = param("all", "rows of w+ (columns of s) that may move: 4-7, coarse, 32-64px …")
    optimizer: str = param("adam", "who takes the steps", choices=tuple(OPTIMIZERS))
    rate: float = param(0.05, "length of a step", ge=0)
    schedule: str = param("ramp", "how the length of a step changes", choices=tuple(SCHEDULES))
    explore: float = param(
        0.0, "noise added to the codes at first, in spreads of the codes; gone after three quarters", ge=0
    )
    bound: str = param("none", "what happens to coordinates that go too far", choices=BOUNDS)
    limit: float = param(3.0, "how far is too far", ge=1e-6)
    enough: float | None = param(None, "stop when the loss is at most this", ge=0)
    patience: int | None = param(
        None, "go on to the next preview, or stop, after so many steps without 1 % gained", ge=1
    )
    noise: str = param("no", "search noise inputs too: with the codes, or after them", choices=("no", "joint", "after"))
    noise_layers: str | None = param(None, "whose noise; all by default. That of the others keeps its trained values")
    noise_rate: float = param(1.0, "step of noise over that of codes", ge=0)
    noise_penalty: float = param(0.0, "weight of the noise's correlations with itself; keeps it normal", ge=0)


@dataclass(frozen=True)
class Found:
    """Codes with their losses, after so many steps."""

    latents: Latents
    loss: Float[Tensor, "n"]
    steps: int
    interrupted: bool = False

    def better(self, other: "Found") -> "Found":
        """Row by row, the one with less loss."""
        wins = other.loss < self.loss
        pick = lambda a, b: torch.where(wins.view(-1, *(1,) * (a.ndim - 1)), b, a)
        inputs = {k: pick(v, other.latents.inputs[k]) for k, v in self.latents.inputs.items()}
        latents = replace(self.latents, values=pick(self.latents.values, other.latents.values), inputs=inputs)
        return Found(latents, pick(self.loss, other.loss), self.steps + other.steps, other.interrupted)


class Descent:
    """Codes `u` in the coordinates of a chart, and noise maps, on their way down."""

    def __init__(self, told: Settings, generator: Generator, start: Latents, seed: int):
        self.told, self.generator, self.start = told, generator, start
        self.source = torch.Generator().manual_seed(seed)
        self.chart = charts.chart(generator, told.space, told.coordinates, floor=told.floor, limit=told.limit)
        self.begin = start.values.detach()
        self.u = self.chart.coordinates(self.begin).clone().requires_grad_()
        self.moves = self._moves()
        self.noise: dict[str, Tensor] = {}
        if told.noise != "no":
            self.noise = noise.maps(generator, len(start), told.noise_layers, self.source)
            for x in self.noise.values():
                x.requires_grad_()
        self.spread = charts.spread(generator, told.space, told.coordinates) if told.explore else 0.0
        groups = [{"params": [self.u], "part": 1.0}, {"params": list(self.noise.values()), "part": told.noise_rate}]
        self.optimizer: Any = OPTIMIZERS[told.optimizer]([{**g, "lr": told.rate} for g in groups if g["params"]])
        self.best: Found | None = None
        self.best_at_step = self.taken = 0

    def _moves(self) -> Bool[Tensor, "..."] | None:
        """Which entries of a code may move; None for all."""
        if self.told.layers == "all":
            return None
        if self.told.space not in ("w+", "s"):
            raise SettingError(
                f"layers={self.told.layers!r}: codes in {self.told.space!r} belong to all layers; search in w+ or s"
            )
        return self.generator._where(self.told.space, self.told.layers).to(self.begin.device)

    # -- what is searched -----------------------------------------------------------------------------------------------------------

    def codes(self, u: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        codes = self.chart.codes(u)
        return codes if self.moves is None else torch.where(self.moves, codes, self.begin)

    def latents(self, codes: Float[Tensor, "n *shape"]) -> Latents:
        return replace(self.start, values=codes, inputs={**self.start.inputs, **self.noise})

    def seen(self, stage: Stage, u: Float[Tensor, "n *shape"], grad: bool = True) -> Seen:
        codes = self.codes(u)
        return Seen(stage.operator(stage.view(self.latents(codes), grad=grad)), codes, u)

    def loss(self, stage: Stage, parts: Losses, shake: float = 0.0, grad: bool = True) -> Float[Tensor, "n"]:
        """One number for each picture, at codes shaken by so much."""
        u = self.u
        if shake:
            u = u + shake * torch.randn(u.shape, generator=self.source).to(u)
        total = parts(self.seen(stage, u, grad))
        if self.noise and self.told.noise_penalty:
            total = total + self.told.noise_penalty * noise.penalty(self.noise)
        return total

    # -- the way --------------------------------------------------------------------------------------------------------------------

    def run(self, stages: list[tuple[Stage, int]], title: str, progress: Progress) -> Found:
        """All stages, one after another. Ctrl-C ends it with the best so far."""
        total, done = sum(steps for _, steps in stages), 0
        made = [losses(self.told, self.generator, stage.target, self.begin) for stage, _ in stages]
        try:
            self._estimate(stages, made, progress)
            for (stage, steps), parts in zip(stages, made, strict=True):
                self.best, self.best_at_step = None, done  # losses of two views cannot be compared
                name = " ".join(part for part in (title, f"steps at {stage.view.size} px") if part)
                for i in progress.over(range(steps), name):
                    self._step(stage, parts, (done + i) / total, done + i)
                    if isinstance(progress, Watching):
                        progress.best(self.best.latents if self.best else self._snapshot())
                    if self._over(done + i):
                        break
                done += steps
            self._look(stages[-1][0], made[-1], done)
            return replace(self._kept(), steps=self.taken)
        except KeyboardInterrupt:
            if self.best is None:
                self.best = Found(self._snapshot(), torch.full((len(self.u),), torch.inf, device=self.u.device), done)
            return replace(self._kept(), steps=self.taken, interrupted=True)

    def short(self, stage: Stage, steps: int) -> Float[Tensor, "n"]:
        """The losses after a few steps; nobody is told."""
        parts = losses(self.told, self.generator, stage.target, self.begin)
        for i in range(steps):
            self._step(stage, parts, 0.5, i)
        self._look(stage, parts, steps)
        return self._kept().loss

    def _step(self, stage: Stage, parts: Losses, t: float, number: int) -> None:
        self._rates(t)
        shake = self.told.explore * self.spread * max(0.0, 1 - t / 0.75) ** 2

        def closure() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            each = self.loss(stage, parts, shake)
            if not bool(torch.isfinite(each).all()):
                raise MethodFailed(
                    f"the loss is no number after {number} steps; a smaller rate than {self.told.rate:g} may help"
                )
            if not shake:
                self._keep(each.detach(), number)
            each.sum().backward()
            return each.detach().sum()

        self.optimizer.step(closure)
        self.taken += 1
        self._bounded()
        if self.noise and self.told.noise_penalty:
            noise.normalize(self.noise)

    def _rates(self, t: float) -> None:
        """In the order "after", codes have the first half of the steps and noise the second."""
        length = self.told.rate * SCHEDULES[self.told.schedule](t)
        after = self.told.noise == "after"
        for group in self.optimizer.param_groups:
            turn = 1.0 if not after else float((t >= 0.5) == (group["params"][0] is not self.u))
            group["lr"] = length * group.get("part", 1.0) * turn

    def _bounded(self) -> None:
        """Coordinates that went too far: cut off, drawn anew (Lipton & Tripathi 2017), or brought to the sphere of radius √d."""
        limit = self.told.limit
        with torch.no_grad():
            match self.told.bound:
                case "clip":
                    self.u.clamp_(-limit, limit)
                case "stochastic":
                    fresh = (torch.rand(self.u.shape, generator=self.source) * 2 - 1).to(self.u) * limit
                    self.u.copy_(torch.where(self.u.abs() >= limit, fresh, self.u))
                case "sphere":
                    self.u.mul_(self.u.shape[-1] ** 0.5 / self.u.norm(dim=-1, keepdim=True).clamp_min(1e-12))

    # -- the best -------------------------------------------------------------------------------------------------------------------

    def _snapshot(self) -> Latents:
        with torch.no_grad():
            now = self.latents(self.codes(self.u))
            return replace(
                now, values=now.values.clone(), inputs={k: v.detach().clone() for k, v in now.inputs.items()}
            )

    def _keep(self, loss: Float[Tensor, "n"], number: int) -> None:
        now = lambda: Found(self._snapshot(), loss, number)
        if self.best is None:
            self.best, self.best_at_step = now(), number
        elif bool((loss < self.best.loss).any()):
            if bool((loss < GAIN * self.best.loss).any()):
                self.best_at_step = number
            self.best = replace(self.best.better(now()), steps=number)

    def _kept(self) -> Found:
        assert self.best is not None
        return self.best

    def _look(self, stage: Stage, parts: Losses, number: int) -> None:
        """The last step has not been looked at yet."""
        with torch.no_grad():
            self._keep(self.loss(stage, parts, grad=False), number)

    def _over(self, number: int) -> bool:
        """Is it enough, or no use any more?"""
        if self.best is None:
            return False
        enough = self.told.enough is not None and bool((self.best.loss <= self.told.enough).all())
        return enough or (self.told.patience is not None and number - self.best_at_step >= self.told.patience)

    def _estimate(self, stages: list[tuple[Stage, int]], made: list[Losses], progress: Progress) -> None:
        """How long it will take, by one trial of each view; nothing moves."""
        told, seconds = [], 0.0
        for (stage, steps), parts in zip(stages, made, strict=True):
            began = time.perf_counter()
            self.loss(stage, parts).sum().backward()
            each = time.perf_counter() - began
            seconds += each * steps
            told.append(f"{steps} steps at {stage.view.size} px, {each:.2g} s each")
        self.optimizer.zero_grad(set_to_none=True)
        progress.note(f"about {_span(seconds)}: {'; '.join(told)}")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


__all__ = ["BOUNDS", "OPTIMIZERS", "SCHEDULES", "Descent", "Found", "Settings"]
