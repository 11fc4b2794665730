"""The one equation:  images = render(generator, latents, edits).

An inversion is a base like codes are: its edits come first, and what masks and pixel edits compare with is the picture it makes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .edit import Edit, FeatureEdit, ImageEdit, Images, Inversion, LatentEdit, Masked, WeightEdit, expect_edits
from .errors import SettingError
from .generator import Generator
from .layer import State
from .lending import check
from .record import Record
from .space import Latents


def render(
    generator: Generator,
    base: Latents | Inversion,
    edits: Sequence[Edit] = (),
    *,
    grad: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Images:
    """The pictures [n 3 h w] of some codes under some edits, nominally in [-1, 1].

    Raises SpaceError for a move that cannot be made on such codes, SettingError for an edit that does not fit the generator.
    """
    return Rendering(generator, base, edits, grad=grad).picture(stop)


def codes(generator: Generator, base: Latents | Inversion, edits: Sequence[Edit] = ()) -> Latents:
    """The codes that all LatentEdits together make of a base, in whatever space they end."""
    own, latents = (base.edits, base.latents) if isinstance(base, Inversion) else ((), base)
    moves = [e for e in (*own, *edits) if isinstance(e, LatentEdit)]
    order = [s.name for s in generator.spaces]
    for e in sorted(moves, key=lambda e: order.index(generator.space(e.acts_in(generator)).name)):
        here = e.acts_in(generator)
        if generator.before(latents.space.name, here):
            latents = generator.lift(latents, here)
        latents = e.latents(latents, generator)
    return latents


def stream(
    generator: Generator, base: Latents | Inversion, edits: Sequence[Edit] = (), *, batch: int = 1
) -> Iterator[Float[Tensor, "n 3 h w"]]:
    """The pictures of many codes, `batch` at a time, so that only these are held. An inversion is one batch.

    A tensor of strengths has one value for each sample of a batch; give a number where there are more.
    """
    if batch < 1:
        raise SettingError(f"batch is at least 1; got {batch}")
    if isinstance(base, Inversion):
        yield render(generator, base, edits)
        return
    for i in range(0, len(base), batch):
        yield render(generator, base[slice(i, i + batch)], edits)


def features(
    generator: Generator, base: Latents | Inversion, layers: str, edits: Sequence[Edit] = ()
) -> dict[str, Float[Tensor, "n c h w"]]:
    """Layer name → the feature maps after it, for the layers that `layers` names ("32-64px", "4-7", a name)."""
    wanted = generator.pick(layers)
    states = Rendering(generator, base, edits).states(until=max(wanted) + 1)
    return {generator.layers[i].name: state.x for i, state, _ in states if i in wanted}


@dataclass(frozen=True)
class Branch:
    """One way through the fold: a generator (perhaps with lent weights), codes in the last space, feature edits by layer."""

    generator: Generator
    latents: Latents
    features: Mapping[int, tuple[FeatureEdit, ...]]

    @classmethod
    def of(cls, generator: Generator, base: Latents | Inversion, edits: Sequence[Edit]) -> "Branch":
        own = base.edits if isinstance(base, Inversion) else ()
        edits = (*own, *edits)
        latents = generator.lift(codes(generator, base, edits[len(own) :]), generator.spaces[-1].name)
        changed: dict[str, Tensor] = {}
        weights = [e for e in edits if isinstance(e, WeightEdit)]
        original = {**dict(generator.net.named_parameters()), **dict(generator.net.named_buffers())} if weights else {}
        for e in weights:
            changed |= e.weights({**original, **changed})
        features: dict[int, tuple[FeatureEdit, ...]] = {}
        for e in edits:
            if isinstance(e, FeatureEdit):
                for i in generator.pick(e.layers):
                    features[i] = (*features.get(i, ()), e)
        return cls(generator.lent(changed) if changed else generator, latents, features)

    def step(self, i: int, before: State, latents: Latents, grad: bool) -> tuple[State, Latents]:
        again = lambda codes, state=None: self.generator.layer(i, state or before, codes, grad)
        state = again(latents)
        for e in self.features.get(i, ()):
            state, latents = e.features(state, latents, again)
        return state, latents


class Rendering:
    """What `render` is about to do: the main branch through the fold, those of masked edits, and what happens to pixels."""

    def __init__(
        self, generator: Generator, base: Latents | Inversion, edits: Sequence[Edit] = (), *, grad: bool | None = None
    ):
        expect_edits(edits)
        own = base.edits if isinstance(base, Inversion) else ()
        self.generator, self.base, self.edits, self.edited = generator, base, (*own, *edits), bool(edits)
        # Masks are undone here: what lies under all of them, and for each mask a branch of its own.
        self._under = replace(base, edits=_unmasked(own)) if isinstance(base, Inversion) else base
        self._over = _unmasked(edits)
        self.main = Branch.of(generator, self._under, self._over)
        self.regions: list[tuple[Branch, Tensor, frozenset[int]]] = [
            (
                Branch.of(generator, self._under, (*self._over, e.edit)),
                e.mask,
                frozenset(generator.pick(e.layers, heads=True)),
            )
            for e in self.edits
            if isinstance(e, Masked) and e.layers is not None
        ]
        branches = (self.main, *(b for b, _, _ in self.regions))
        self.grad = (
            any(b.generator.tracked(b.latents) for b in branches) or self._edits_tracked() if grad is None else grad
        )

    def _edits_tracked(self) -> bool:
        return torch.is_grad_enabled() and any(t.requires_grad for e in self.edits for t in _live(e))

    @property
    def plainly(self) -> bool:
        """Is there nothing to do between the layers?"""
        return not self.main.features and not self.regions

    def states(
        self, first: int = 0, state: State | None = None, until: int | None = None
    ) -> Iterator[tuple[int, State, Latents]]:
        """(position, state after that layer, codes from there on)."""
        g, latents = self.main.generator, self.main.latents
        with nullcontext() if self.grad else torch.no_grad():
            state = g.start(latents) if state is None else state
            for i in range(first, len(g.layers) if until is None else until):
                before = state
                state, latents = self.main.step(i, before, latents, self.grad)
                for branch, mask, layers in self.regions:
                    if i in layers:
                        other, _ = branch.step(i, before, branch.latents, self.grad)
                        state = _blend(state, other, mask, self.generator.layers[i].margin)
                yield i, state, latents

    def picture(self, stop: Callable[[], bool] | None = None) -> Images:
        images = self.synthesized(stop)
        return self.pixels(images)

    def synthesized(self, stop: Callable[[], bool] | None = None) -> Images:
        g = self.main.generator
        if self.plainly:
            return g.synthesize(self.main.latents, grad=self.grad, stop=stop)
        state, latents = g.start(self.main.latents), self.main.latents
        for _, state, latents in self.states():  # noqa: B007
            check(stop)
        with nullcontext() if self.grad else torch.no_grad():
            return g.finish(state, latents)

    def pixels(self, images: Images, plain: Callable[[], Images] | None = None) -> Images:
        """The edits of pixels, and masks in pixels, in list order. `plain` may hand over the picture of the base if it is at hand."""

        def base() -> Images:
            if plain is not None:
                return plain()
            return render(self.generator, self.base, grad=self.grad) if self.edited else images

        for e in self.edits:
            inner = e.edit if isinstance(e, Masked) and e.layers is None else e
            if isinstance(inner, ImageEdit):
                changed = inner.image(images, base())
            elif inner is not e:
                changed = Rendering(self.generator, self._under, (*self._over, inner), grad=self.grad).synthesized()
                if changed.shape[-2:] != images.shape[-2:]:  # of a preview
                    changed = F.interpolate(changed, size=images.shape[-2:], mode="area")
            else:
                continue
            images = _lerp(images, changed, e.mask) if isinstance(e, Masked) else changed
        return images


def _unmasked(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    return tuple(e for e in edits if not isinstance(e, Masked))


def _blend(plain: State, edited: State, mask: Tensor, margin: int = 0) -> State:
    if margin:
        inner = resized(mask, [side - 2 * margin for side in plain.x.shape[-2:]])
        mask = F.pad(inner, (margin,) * 4, mode="replicate")
    rgb = None if plain.rgb is None or edited.rgb is None else _lerp(plain.rgb, edited.rgb, mask)
    return State(_lerp(plain.x, edited.x, mask), rgb)


def _lerp(plain: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """Exact at both ends: an empty mask gives `plain`, a full one `edited`, bit by bit."""
    return torch.lerp(
        plain, edited, resized(mask, plain.shape[-2:]).to(plain).expand(len(plain), 1, -1, -1).expand_as(plain)
    )


def resized(mask: Float[Tensor, "n 1 h w"], size: Sequence[int]) -> Float[Tensor, "n 1 h2 w2"]:
    """A mask at another size: area means where it shrinks, linear where it grows."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    shrinks = mask.shape[-2] >= size[0] and mask.shape[-1] >= size[1]
    if shrinks:
        return F.adaptive_avg_pool2d(mask, (int(size[0]), int(size[1])))
    return F.interpolate(mask, size=(int(size[0]), int(size[1])), mode="bilinear", align_corners=False).clamp(0, 1)


def _live(record: Record) -> Iterator[Tensor]:
    """The tensors of a record, as they are (with their gradients)."""
    for value in vars(record).values():
        stack = [value]
        while stack:
            v = stack.pop()
            if isinstance(v, Tensor):
                yield v
            elif isinstance(v, Record):
                yield from _live(v)
            elif isinstance(v, Mapping):
                stack.extend(v.values())
            elif isinstance(v, (tuple, list)):
                stack.extend(v)
