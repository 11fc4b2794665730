"""A generator as a chain of affine maps with a kink after each, read off the fold itself by derivatives: no module is looked into."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import SettingError
from ..generator import Generator
from ..layer import State
from ..space import Latents

PROBES = 96  # points at which a layer is looked at
LARGEST = 60_000_000  # entries of the matrix of a layer
EXACT = 1e-8  # how well the matrices must tell a layer's outputs, relative to the largest


@dataclass(frozen=True)
class Step:
    """x ↦ kink(W x + b), where the kink keeps what is positive and multiplies what is not by `slope` (0: ReLU, 1: nothing).

    Rows of W that were never seen active (`known`) are unknown; their outputs were 0 at every probe.
    """

    name: str
    W: Float[Tensor, "o i"]
    b: Float[Tensor, "o"]
    slope: float
    known: Bool[Tensor, "o"]
    shape: tuple[int, ...]  # of the output

    @property
    def expands(self) -> float:
        return len(self.W) / self.W.shape[1]

    def __call__(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        y = x @ self.W.T + self.b
        return torch.where(y > 0, y, y * self.slope)


@dataclass(frozen=True)
class Chain:
    """Steps from z to the last state, and whether the picture is its tanh."""

    steps: tuple[Step, ...]
    bounded: bool

    def last(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n p"]:
        """The last state from pictures. Raises SettingError for values that tanh does not reach."""
        flat = images.double().flatten(1)
        if not self.bounded:
            return flat
        if bool((flat.abs() >= 1).any()):
            raise SettingError(
                "exact: these pictures have values of -1 or 1 and beyond, which a tanh never reaches; keep them as floats"
            )
        return flat.atanh()

    def errors(self, images: Float[Tensor, "n 3 h w"], error: float) -> Float[Tensor, "n p"]:
        """How far off the last state may be, where pictures are by `error` (times their largest value, where that is above 1)."""
        flat = images.double().flatten(1)
        size = error * flat.abs().amax(1, keepdim=True).clamp_min(1.0)
        return size / (1 - flat.square()).clamp_min(1e-12) if self.bounded else size.expand_as(flat)


def chain(generator: Generator, inputs: dict[str, Tensor]) -> Chain:
    """Raises SettingError where the generator is no such chain, with what it is instead."""
    name = generator.name
    if len(generator.spaces) != 1 or len(generator.spaces[0].shape) != 1:
        told = " -> ".join(s.name for s in generator.spaces)
        raise SettingError(f"exact needs a plain chain of layers from z; {name} has the spaces {told}; use optimize")
    if any(layer.style.stop > layer.style.start for layer in generator.layers[1:]):
        raise SettingError(
            f"exact needs a generator whose codes enter the first layer alone; {name} uses them later too; use optimize"
        )
    g = generator.to(dtype=torch.float64)
    given = {k: v.double() for k, v in inputs.items()}
    source = torch.Generator().manual_seed(0)
    z = torch.randn(PROBES, *g.spaces[0].shape, generator=source, dtype=torch.float64).to(g.device)
    many = {k: v[:1].expand(PROBES, *v.shape[1:]) for k, v in given.items()}
    latents = Latents(z, g.spaces[0], many)
    one = {k: v[:1] for k, v in given.items()}
    state, steps = g.start(latents), []
    for i, layer in enumerate(g.layers):
        before, state = state, g.layer(i, state, latents, True)
        if state.rgb is not None:
            raise SettingError(f"exact needs a plain chain; {name} adds image heads on the way; use optimize")
        x = z if i == 0 else before.x

        def run(v: Tensor, i: int = i, shape: torch.Size = x.shape[1:]) -> Tensor:
            if i == 0:
                at = Latents(v[None], g.spaces[0], one)
                return g.layer(0, g.start(at), at, True).x.flatten()
            return g.layer(i, State(v.view(1, *shape)), Latents(z[:1], g.spaces[0], one), True).x.flatten()

        steps.append(_step(name, layer.name, run, x.flatten(1), state.x))
    images = g.finish(state, latents)
    if images.shape != state.x.shape:
        raise SettingError(
            f"exact needs a last layer that gives the picture; {name} does something else to it; use optimize"
        )
    plain, bounded = torch.allclose(images, state.x, atol=1e-9), torch.allclose(images, state.x.tanh(), atol=1e-9)
    if not (plain or bounded):
        raise SettingError(f"exact undoes a tanh at the end, or nothing; {name} ends in something else; use optimize")
    return Chain(tuple(steps), bounded and not plain)


def _step(name: str, layer: str, run: object, x: Float[Tensor, "n i"], y: Tensor) -> Step:
    """W, b and the slope of one layer from its derivatives at a few of the points, each row taken where its output is positive."""
    assert callable(run)
    out, flat = y[0].numel(), y.flatten(1)
    if out * x.shape[1] > LARGEST:
        raise SettingError(
            f"exact: the matrix of layer {layer} of {name} would have {out} x {x.shape[1]} entries; use optimize"
        )
    W, b = x.new_zeros(out, x.shape[1]), x.new_zeros(out)
    known, slope = torch.zeros(out, dtype=torch.bool, device=x.device), 0.0
    while not bool(known.all()):
        at = int(((flat > 0) & ~known).sum(1).argmax())  # where most rows are active that are not known yet
        fresh = (flat[at] > 0) & ~known
        if not bool(fresh.any()):
            break
        J = torch.func.jacfwd(run)(x[at]) if x.shape[1] <= out else torch.func.jacrev(run)(x[at])
        W[fresh], b[fresh] = J[fresh], (flat[at] - J @ x[at])[fresh]
        known |= fresh
        before = x @ W.T + b
        below = (before < -1e-3) & known
        slope = float((flat[below] / before[below]).median()) if bool(below.any()) else 0.0
        if slope > 0:  # no output hides what made it
            rest = ~known & (flat[at] < 0)
            W[rest], b[rest] = J[rest] / slope, (flat[at] - J @ x[at])[rest] / slope
            known |= rest
    made = Step(layer, W, b, slope, known, tuple(y.shape[1:]))
    off = ((made(x) - flat)[:, known]).abs().max() / flat.abs().max().clamp_min(1e-12)
    unknown = flat[:, ~known]
    if float(off) > EXACT or not 0 <= slope <= 1 or bool((unknown < 0).any()):
        raise SettingError(
            f"exact: layer {layer} of {name} is not an affine map with a ReLU (or leaky ReLU) after it; use optimize"
        )
    return made


__all__ = ["Chain", "Step", "chain"]
