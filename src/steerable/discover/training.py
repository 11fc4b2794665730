"""The one loop of all discoverers that train: Adam on a few parts beside a frozen generator.

    parts = seeded(self.seed, lambda: MyParts(...))              # an nn.Module; its random beginning comes from the seed alone
    def loss(step):                                              # a number for each row of this process: [n]
        latents = step.codes(self.space)                         # whatever is random comes from `step`, never from anywhere else
        amount = step.uniform(-1, 1)                             # [n]
        moved = latents.moved(parts(latents.values, amount))
        return (view(generator, moved, self.size) - target).square().mean((1, 2, 3))
    found = train(self, generator, parts, loss, steps=self.steps, batch=self.batch, rate=1e-3, progress=progress)
    return Paths(..., {"training": found.notes()})

One training for each discovery: what belongs together goes into one module (an nn.ModuleDict), and trains on the same batches.

A step draws its whole batch from its own number and each process takes every world-th row, so the result is that of one process, however
many there are and however often the run was killed. `parts` must not mix rows (no batch norm; see `everyone` for losses that do).
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .. import artifact, cache, workers
from ..errors import ArtifactError, SettingError
from ..generator import Generator
from ..method import Progress, quiet
from ..space import Latents
from ..train import loop
from .discoverer import Discoverer, Supervision

P = TypeVar("P", bound=nn.Module)
PATIENCE = "end after so many looks without a better one; 0: never"
Losses = list[float]


def seeded(seed: int, make: Callable[[], P]) -> P:
    """What `make` makes, its random weights drawn from `seed`; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@dataclass(frozen=True)
class Step:
    """One step: its number, and what is random in it. Every draw is one of the whole batch, of which this process gets its rows [n …]
    on the generator's device."""

    number: int
    batch: int
    source: torch.Generator
    generator: Generator

    def mine(self, whole: Tensor) -> Tensor:
        """The rows of a whole batch that this process works on."""
        return loop.share(whole).to(self.generator.device)

    def normal(self, *shape: int) -> Float[Tensor, "n ..."]:
        return self.mine(torch.randn(self.batch, *shape, generator=self.source)).to(self.generator.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Float[Tensor, "n ..."]:
        drawn = torch.rand(self.batch, *shape, generator=self.source)
        return self.mine(low + (high - low) * drawn).to(self.generator.dtype)

    def integers(self, high: int, *shape: int) -> Int[Tensor, "n ..."]:
        """From 0 up to, but without, `high`."""
        return self.mine(torch.randint(high, (self.batch, *shape), generator=self.source))

    def codes(self, space: str, psi: float = 1.0) -> Latents:
        """The generator's own codes, labels drawn too, in `space`. Raises SettingError or SpaceError where psi cannot act."""
        z = torch.randn(self.batch, *self.generator.spaces[0].shape, generator=self.source)
        label = torch.randint(1 << 30, (self.batch,), generator=self.source)
        whole = self.generator._latents(z, label, None)
        latents = whole[slice(workers.rank(), None, workers.world())]
        with torch.no_grad():
            return self.generator.lift(latents if psi == 1 else self.generator.truncate(latents, psi), space)

    def everyone(self, rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
        """The whole batch, from the rows of all processes; gradients find their way back. For losses that compare rows."""
        return rows if workers.world() == 1 else _Everyone.apply(rows, self.batch)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class Trained:
    """How a training ended: steps made, whether its own criterion ended it, and the criterion after every `every` steps."""

    steps: int
    early: bool
    every: int
    history: tuple[float, ...]

    def notes(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "ended by its criterion": self.early,
            "looked every": self.every,
            "history": self.history,
        }


def train(
    method: Discoverer,
    generator: Generator,
    parts: nn.Module,
    loss: Callable[[Step], Float[Tensor, " n"]],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int = 0,
    supervision: Supervision | None = None,
    decay: Callable[[int], float] = lambda step: 1.0,
    weight_decay: float = 0.0,
    every: int = 100,
    look: Callable[[], float] | None = None,
    stop: Callable[[Losses], bool] | None = None,
    progress: Progress = quiet,
) -> Trained:
    """Train `parts` in place on `steps` batches, so that the mean of `loss` falls; the generator is only looked through.

    rate, decay    Adam's rate is rate·decay(step number)
    look           the method's own criterion, such as an accuracy, alike in all processes; without one, the mean loss since the last
    stop           told the criteria so far, oldest first, says whether to end; see `flat`
    every          how often it looks, and keeps a file to go on from in the cache folder. That file is removed when training ends

    A run that was killed goes on from that file, when method, settings, weights and supervision are the same, and gives the same bits.
    Raises SettingError for a batch smaller than the number of processes, MethodFailed where the loss blows up.
    """
    if batch < workers.world():
        raise SettingError(f"{method.name}: batch={batch} is too small for {workers.world()} processes; take more rows")
    if any(p.requires_grad for p in generator.net.parameters()):
        raise SettingError(f"{method.name} trains beside a frozen generator; {generator.name} has weights that learn")
    parts.to(generator.device).train()
    adam = torch.optim.Adam(parts.parameters(), lr=rate, weight_decay=weight_decay)
    past, ended = History(), False
    kept = {"parts": parts, "adam": adam, "past": past}
    folder = place(method, generator, supervision, seed)
    first = _taken_up(folder, kept, progress)
    number, total = first, torch.zeros((), dtype=torch.float64)
    for number in progress.over(range(first, steps), f"Training {method.name}", steps - first):
        loop.set_rate(adam, rate * decay(number))
        with torch.enable_grad():
            losses = loss(Step(number, batch, workers.generator(seed, number + 1), generator))
            assert losses.ndim == 1, "a loss is a number for each row"
            mean = losses.sum() / batch
            adam.zero_grad(set_to_none=True)
            (mean * workers.world()).backward()
        loop.average_gradients(p for p in parts.parameters() if p.requires_grad)
        adam.step()
        total += mean.detach().double().cpu()
        if (number + 1) % every == 0 or number + 1 == steps:
            mean = workers.total(total) / (number % every + 1)
            loop.finite(mean, f"{method.name}: the loss", (number + 1) * batch)
            with torch.no_grad():
                past.values.append(look() if look else float(mean))
            total.zero_()
            if ended := stop is not None and stop(past.values):
                break
            if number + 1 < steps:
                folder.mkdir(mode=0o700, exist_ok=True)
                loop.keep(folder, number + 1, kept, {})
    parts.eval().requires_grad_(False)
    if workers.rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    return Trained(number + 1, ended, every, tuple(past.values))


def flat(patience: int, gain: float = 0.0, higher: bool = False) -> Callable[[Losses], bool]:
    """A criterion for `train`: end when the last `patience` looks brought no improvement of more than `gain` on the best before them."""
    sign = -1 if higher else 1

    def stop(history: Losses) -> bool:
        values = [sign * value for value in history]
        return len(values) > patience and min(values[:-patience]) - min(values[-patience:]) <= gain

    return stop


def patient(looks: int, higher: bool = False) -> Callable[[Losses], bool] | None:
    """`flat` as methods offer it to users, as `patience`: 0 never ends."""
    return flat(looks, higher=higher) if looks else None


class History:
    """The criteria so far, which the loop must remember over a kill."""

    def __init__(self) -> None:
        self.values: Losses = []

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = [float(value) for value in state["values"]]


def place(method: Discoverer, generator: Generator, supervision: Supervision | None, seed: int) -> Path:
    """The folder of the file to go on from: another one for another method, setting, weight, label, device or number format."""
    lent = artifact.fingerprint(generator.net.state_dict())  # a generator with lent weights bears the lender's own
    settings = sorted((name, repr(value)) for name, value in method.settings().items())
    key = (method.name, settings, seed, generator.fingerprint, lent, str(generator.dtype), generator.device.type)
    return cache.derived("training", f"{key} {supervision.key if supervision else ''}").with_suffix("")


def _taken_up(folder: Path, kept: dict[str, Any], progress: Progress) -> int:
    """The step to go on with. Processes that do not all find the same file (caches of their own) begin anew together."""
    beginning = {name: copy.deepcopy(part.state_dict()) for name, part in kept.items()}
    try:
        first = loop.take_up(folder, kept, {})
    except ArtifactError as error:
        progress.note(f"{error}; training begins anew")
        first = 0
    if len({int(f) for f in workers.gathered({workers.rank(): torch.tensor(first)})}) > 1:
        first = 0
    if first == 0:
        for name, part in kept.items():
            part.load_state_dict(beginning[name])
    else:
        progress.note(f"going on from step {first}")
    return first


class _Everyone(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, batch: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        whole = rows.new_zeros(batch, *rows.shape[1:])
        whole[workers.rank() :: workers.world()] = rows
        return workers.total(whole)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return loop.share(workers.total(gradient)), None
