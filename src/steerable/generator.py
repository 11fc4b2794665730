"""The one contract that every pretrained generator meets.

A generator is a chain of latent spaces and a fold over synthesis layers:

    z ─▶ w ─▶ w+ ─▶ s ─▶ start, layer 0, layer 1, … , finish ─▶ picture

From the fold come, without hooks: feature edits, reading features, the prefix cache, early stop and previews.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import cache, workers
from .errors import SettingError, SpaceError
from .layer import Layer, State, columns, pick, rows
from .lending import borrow, check, tracked
from .moments import Moments, streamed
from .space import Latents, Space

G = TypeVar("G", bound="Generator")
Mark = str | Callable[[], str]  # a fingerprint, or how to take it

BLOCK = 1024  # codes that share one random source in bulk sampling
MOMENTS_FROM = 50_000  # codes from which mean and covariance of a space are taken
PIXELS = 1 << 20  # pixels worth rendering at once


class Generator(ABC):
    """A pretrained generator: it has a net, it is not one.

    `spaces` run in chain order, codes only ever move to the right. `inputs` maps the name of each input a sample may own to its shape.
    `fingerprint` identifies the weights as they were read, whatever device, dtype or folding came after. It may be given as a function,
    called when it is first asked for: hashing takes longer than reading.
    """

    net: Any  # an nn.Module; a family knows which
    deep: int  # from this layer on, `tail` may take over when nobody looks between the layers

    def __init__(
        self,
        name: str,
        net: nn.Module,
        *,
        spaces: Sequence[Space],
        layers: Sequence[Layer],
        fingerprint: Mark,
        inputs: Mapping[str, tuple[int, ...]] | None = None,
        critic: nn.Module | None = None,
    ):
        self.name, self.net, self.critic, self._mark = name, net.eval().requires_grad_(False), critic, fingerprint
        self.spaces, self.layers, self.inputs = tuple(spaces), tuple(layers), dict(inputs or {})
        self.deep = len(self.layers)
        self._moments: dict[str, Moments] = {}

    # -- what a family writes -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _step(self, latents: Latents) -> Latents:
        """One space to the right."""

    @abstractmethod
    def start(self, latents: Latents) -> State:
        """The state before layer 0; no style has been used yet. `latents` are in the last space, here and in the next two."""

    @abstractmethod
    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        """The state after layer i. With `grad`: differentiable in every mode, nothing in place; `state` is never written to."""

    @abstractmethod
    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        """The picture, nominally in [-1, 1], not clamped."""

    @abstractmethod
    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        """Layer name → the matrix of the first linear map out of `space` into that layer. Raises SpaceError where there is none."""

    # -- what a family may write instead of these ----------------------------------------------------------------------------------

    def tail(
        self, i: int, state: State, latents: Latents, stop: Callable[[], bool] | None = None
    ) -> Float[Tensor, "n 3 h w"]:
        """Layers i … and finish, without gradients, in whatever order is fastest; the same numbers as the fold."""
        for j in range(i, len(self.layers)):
            check(stop)
            state = self.layer(j, state, latents, grad=False)
        return self.finish(state, latents)

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"] | None:
        """A preview at the size of `state` (that before layer i) that obeys the styles of all layers; None where the family has none."""
        return None

    def at_once(self, size: int | None = None) -> int:
        """How many pictures (of this height, if not the full one) are worth rendering together."""
        height, width = self.size
        if size is not None:
            height, width = size, max(1, size * width // height)
        return max(1, PIXELS // (height * width))

    def half(self: G) -> G:
        """A twin for previews with its heavy layers in bfloat16; the generator itself where its family has none."""
        return self

    def _from_normal(self, z: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Codes of the first space from standard normal numbers."""
        return z

    def _center(self) -> Float[Tensor, " d"]:
        """The w that truncation pulls to."""
        return self.moments("w").mean

    # -- samples --------------------------------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Latents:
        """Codes of the first space: row i belongs to seed + i (or to seeds[i]).

        Drawn with numpy's RandomState as NVIDIA's tools draw them, so that seed 85 is everybody's seed 85. A label that is not given is
        drawn from the same source.
        """
        numbers = list(range(seed, seed + n)) if seeds is None else list(seeds)
        if not numbers or min(numbers) < 0 or max(numbers) >= 1 << 32:
            raise SettingError(
                f"seeds are whole numbers from 0 to 2^32-1 and at least one; got n={n}, seed={seed}, seeds={seeds}"
            )
        sources = [np.random.RandomState(s) for s in numbers]
        z = torch.from_numpy(np.stack([r.randn(*self.spaces[0].shape) for r in sources]))
        label = torch.tensor([r.randint(1 << 30) for r in sources])
        return self._latents(z, label, inputs)

    def blocks(self, n: int, *, seed: int, size: int = BLOCK) -> Iterator[tuple[int, Latents]]:
        """n codes for statistics, in numbered blocks with a seed each; with several processes, those of this one."""
        for b in workers.mine(range(-(-n // size))):
            source = workers.generator(seed, b)
            count = min(size, n - b * size)
            z = torch.randn(size, *self.spaces[0].shape, generator=source)[:count]
            label = torch.randint(1 << 30, (size,), generator=source)[:count]
            yield b, self._latents(z, label, None)

    def _latents(self, z: Tensor, label: Tensor, inputs: Mapping[str, Tensor] | None) -> Latents:
        given = {k: v.to(self.device) for k, v in (inputs or {}).items()}
        for name, rows_of in given.items():
            if name not in self.inputs:
                raise SettingError(f"{self.name} takes no input {name!r}; it takes {', '.join(self.inputs) or 'none'}")
            if tuple(rows_of.shape) != (len(z), *self.inputs[name]):
                raise SettingError(
                    f"input {name!r} has the shape (n, {self.inputs[name]}); got {tuple(rows_of.shape)} for n={len(z)}"
                )
        if "label" in self.inputs and "label" not in given:
            (classes,) = self.inputs["label"]
            given["label"] = nn.functional.one_hot(label % classes, classes).to(self.device, self.dtype)
        return Latents(self._from_normal(z).to(self.device, self.dtype), self.spaces[0], given)

    # -- the chain ------------------------------------------------------------------------------------------------------------------

    def space(self, name: str) -> Space:
        for space in self.spaces:
            if space.name == name:
                return space
        raise SpaceError(f"{self.name} has no space {name!r}; it has {', '.join(repr(s.name) for s in self.spaces)}")

    def before(self, a: str, b: str) -> bool:
        """Does space a come before space b?"""
        return self.spaces.index(self.space(a)) < self.spaces.index(self.space(b))

    def lift(self, latents: Latents, space: str) -> Latents:
        """The same samples in a later space (or the same one). Inputs come along. Raises SpaceError for a step to the left."""
        here = latents.space.name
        if self.before(space, here):
            chain = " -> ".join(s.name for s in self.spaces)
            raise SpaceError(
                f"cannot take {here!r} codes back to {space!r}: the chain runs {chain}; invert into {space!r} instead"
            )
        if tuple(latents.space.shape) != tuple(self.space(here).shape):
            have, want = tuple(latents.space.shape), tuple(self.space(here).shape)
            raise SpaceError(
                f"{self.name} has {here!r} codes of shape {want}; these have {have} and belong to another generator"
            )
        while latents.space.name != space:
            latents = self._step(latents)
        return latents

    def carry(
        self, delta: Float[Tensor, "n *shape"], space: str, to: str, inputs: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """A straight move of each sample in `space`, seen from the later space `to`: the derivative of the steps between.

        Exact, because only affine steps may be crossed; SpaceError names the first that is not.
        """
        for here in self.spaces[self.spaces.index(self.space(space)) : self.spaces.index(self.space(to))]:
            there = self.spaces[self.spaces.index(here) + 1]
            if not there.affine:
                raise SpaceError(
                    f"a straight move in {here.name!r} is curved in {there.name!r}, so it cannot be made on {to!r} codes; "
                    f"apply it to {here.name!r} codes, or find the direction in {there.name!r}"
                )
            step = lambda v, here=here: self._step(Latents(v, here, inputs or {})).values
            delta = torch.func.jvp(step, (torch.zeros_like(delta),), (delta,))[1]
        return delta

    def moments(self, space: str) -> Moments:
        """Mean and covariance of this generator's own codes, without truncation.

        Streamed once from 50,000 samples (float32 products on shifted data, float64 sums) and cached by fingerprint. Raises SettingError
        for spaces reached by an affine step (w+, s): there use `spread`, which needs no matrix of that size.
        """
        if space not in self._moments:
            where = self.space(space)
            if where.affine:
                raise SettingError(
                    f"the covariance of {space!r} is that of the space before it, seen through a matrix; use spread()"
                )
            if where == self.spaces[0]:
                self._moments[space] = Moments(
                    torch.zeros(where.shape, dtype=torch.float64),
                    torch.eye(int(np.prod(where.shape)), dtype=torch.float64),
                    MOMENTS_FROM,
                )
            else:
                make = lambda: streamed(
                    self.lift(z, space).values.flatten(1) for _, z in self.blocks(MOMENTS_FROM, seed=1)
                )
                # Several processes all take part in the sums, whoever has the file.
                key = f"{self.fingerprint}-{MOMENTS_FROM}"
                alone = workers.world() == 1
                self._moments[space] = cache.remembered(Moments, f"moments-{space}", key, make) if alone else make()
        return self._moments[space]

    def spread(self, vector: Float[Tensor, "*shape"], space: str) -> float:
        """The standard deviation of this generator's own codes along `vector`, over its length.

        In w+ and s the codes are affine images of w, so it is the one of w along the pulled-back vector.
        """
        length = float(vector.double().norm())
        if length == 0:
            raise SettingError("a direction of length 0 has no spread")
        at = self.spaces.index(self.space(space))
        root = at
        while self.spaces[root].affine:
            root -= 1
        cov = self.moments(self.spaces[root].name).cov
        pulled = vector
        if root != at:
            zero = torch.zeros(1, *self.spaces[root].shape, device=self.device, dtype=self.dtype)
            inputs = {k: torch.zeros(1, *shape, device=self.device) for k, shape in self.inputs.items() if k == "label"}
            through = lambda v: self.lift(Latents(v, self.spaces[root], inputs), space).values
            pulled = torch.func.vjp(through, zero)[1](vector[None].to(zero))[0][0]
        v = pulled.double().flatten().cpu()
        return float((v @ cov @ v).clamp_min(0).sqrt()) / length

    def truncate(self, latents: Latents, psi: float | Float[Tensor, " n"], cutoff: int | None = None) -> Latents:
        """Pull codes towards the mean w: mean + psi·(code − mean); with `cutoff`, only in rows of w+ below it.

        psi 1 changes nothing, 0 gives the mean picture. Raises SettingError where the generator has no w.
        """
        if all(s.name != "w" for s in self.spaces):
            raise SettingError(f"{self.name} has no space 'w' to truncate in; leave truncation out")
        least = "w" if cutoff is None else "w+"
        if self.before(latents.space.name, least):
            latents = self.lift(latents, least)
        mean = Latents(
            self._center().to(latents.values)[None], self.space("w"), {k: v[:1] for k, v in latents.inputs.items()}
        )
        mean = self.lift(mean, latents.space.name).values
        psi = torch.as_tensor(psi, device=mean.device, dtype=mean.dtype).reshape(-1, *(1,) * (mean.ndim - 1))
        if not torch.isfinite(psi).all():
            raise SettingError("psi must be a finite number; 0.7 is usual, 1 changes nothing")
        pulled = mean + psi * (latents.values - mean)
        if cutoff is not None:
            keep = (
                self._where(latents.space.name, f"0-{cutoff - 1}")
                if cutoff > 0
                else torch.zeros_like(mean[0], dtype=torch.bool)
            )
            pulled = torch.where(keep.to(mean.device), pulled, latents.values)
        return latents.at(pulled)

    def _where(self, space: str, layers: str) -> Tensor:
        """Which entries of a w+ or s code the layers named own: bool [*shape]."""
        chosen = torch.zeros(self.space(space).shape, dtype=torch.bool)
        chosen[list(rows(self.layers, layers) if space == "w+" else columns(self.layers, layers))] = True
        return chosen

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def states(
        self,
        latents: Latents,
        *,
        first: int = 0,
        state: State | None = None,
        until: int | None = None,
        grad: bool | None = None,
    ) -> Iterator[tuple[Layer, State]]:
        """(layer, state after it), one after another, from layer `first` (with the state before it) up to but without `until`."""
        latents = self.lift(latents, self.spaces[-1].name)
        grad = self.tracked(latents) if grad is None else grad
        state = self.start(latents) if state is None else state
        for i in range(first, len(self.layers) if until is None else until):
            state = self.layer(i, state, latents, grad)
            yield self.layers[i], state

    def synthesize(
        self, latents: Latents, *, grad: bool | None = None, stop: Callable[[], bool] | None = None
    ) -> Float[Tensor, "n 3 h w"]:
        """The pictures of some codes.

        There are two executors: the differentiable one is taken iff a code, an input or a weight asks for a gradient or carries a tangent
        (or `grad` says so). `stop` is asked between layers; when it says True, Stopped is raised.
        """
        latents = self.lift(latents, self.spaces[-1].name)
        grad = self.tracked(latents) if grad is None else grad
        with nullcontext() if grad else torch.no_grad():
            state = self.start(latents)
            for i in range(len(self.layers) if grad else self.deep):
                check(stop)
                state = self.layer(i, state, latents, grad)
            return self.finish(state, latents) if grad else self.tail(self.deep, state, latents, stop)

    def tracked(self, latents: Latents) -> bool:
        """Does anything here ask for a derivative?"""
        return any(
            tracked(t) for t in (latents.values, *latents.inputs.values(), *self.net.parameters(), *self.net.buffers())
        )

    # -- the net --------------------------------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """A sha256 of the weights as they were read."""
        if not isinstance(self._mark, str):
            self._mark = self._mark()
        return self._mark

    @property
    def resolution(self) -> int:
        """Height of the picture in px."""
        return self.size[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.layers[-1].size

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    def lent(self: G, weights: Mapping[str, Tensor]) -> G:
        """A twin that uses `weights` (dotted name → tensor) and shares everything else; nothing is copied, nothing is to be restored.

        Gradients flow to the tensors given. Means and spreads stay those of the lender. Raises UnknownName or SettingError (shape).
        """
        known = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}
        for name, tensor in weights.items():
            if name not in known:
                raise SettingError(
                    f"{self.name} has no weight {name[:80]!r}; the first ones are {', '.join(list(known)[:3])}"
                )
            if tensor.shape != known[name].shape:
                raise SettingError(
                    f"weight {name!r} has the shape {tuple(known[name].shape)}; got {tuple(tensor.shape)}"
                )
        twin = copy.copy(self)
        twin.net = borrow(self.net, "", weights)
        return twin

    def to(self: G, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> G:
        """A twin on another device or in another floating-point type."""
        twin = copy.copy(self)
        twin.net = copy.deepcopy(self.net).to(device=device, dtype=dtype)
        twin.critic = copy.deepcopy(self.critic).to(device=device, dtype=dtype) if self.critic is not None else None
        return twin

    def pick(self, spec: str, heads: bool = False) -> tuple[int, ...]:
        """Positions in `layers` that "4-7", "32-128px", "coarse" … name; see `layer.pick`."""
        return pick(self.layers, spec, heads)

    def __repr__(self) -> str:
        chain = " -> ".join(s.name for s in self.spaces)
        return f"<{self.name}: {chain}, {len(self.layers)} layers, {self.size[0]}x{self.size[1]} px>"
