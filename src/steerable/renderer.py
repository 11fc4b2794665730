"""A renderer that remembers: it resumes at the first layer whose styles, inputs, weights or feature edits changed, and shows previews."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .edit import Edit, FeatureEdit, Images, Inversion
from .errors import SettingError
from .generator import Generator
from .layer import State
from .lending import check
from .record import tree_equal
from .render import Rendering
from .space import Latents


@dataclass(frozen=True)
class _Key:
    """All that the state after one layer depends on, beside the state before it."""

    style: Tensor
    inputs: dict[str, Tensor]
    features: tuple[FeatureEdit, ...]
    regions: tuple[tuple[Tensor, Tensor, tuple[FeatureEdit, ...]], ...]

    def same(self, other: "_Key") -> bool:
        return all(tree_equal(getattr(self, f), getattr(other, f)) for f in ("style", "inputs", "features", "regions"))


class Renderer:
    """Renders as `render` does, with a prefix cache, a preview size and a way to stop.

    States at block starts are kept (at most `memory_mb`); a change of late styles costs only the late layers. `threads` bounds torch's
    threads while it renders. With `half` the generator's bfloat16 twin is used (previews only: about 50 dB from the float32 picture).
    """

    def __init__(self, generator: Generator, memory_mb: float = 512, threads: int | None = None, half: bool = False):
        self.generator = generator.half() if half else generator
        self.memory, self.threads = memory_mb * 1e6, threads
        layers = generator.layers
        # A head shares its row of w+ with the block after it, so it is where an edit of that row begins.
        self.blocks = [i for i in range(1, len(layers)) if layers[i].size > layers[i - 1].size or i == len(layers) - 1]
        self.starts = sorted({*self.blocks, *(i for i in range(1, len(layers)) if layers[i].head)})
        self.clear()

    def clear(self) -> None:
        """Forget all states."""
        self._keys: list[_Key] = []
        self._weights: dict[str, Tensor] = {}
        self._states: dict[int, tuple[State, Latents]] = {}
        self._wanted = 0

    def __call__(
        self,
        base: Latents | Inversion,
        edits: Sequence[Edit] = (),
        size: int | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Float[Tensor, "n 3 h w"]:
        """The pictures, at `size` px if that is given and smaller than the full ones. Raises Stopped when `stop()` says so."""
        if size is not None and size < 1:
            raise SettingError(f"size is a number of px; got {size}")
        threads = torch.get_num_threads()
        try:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            return self._render(base, edits, size, stop)
        finally:
            if self.threads is not None:
                torch.set_num_threads(threads)

    def _render(
        self, base: Latents | Inversion, edits: Sequence[Edit], size: int | None, stop: Callable[[], bool] | None
    ) -> Images:
        plan = Rendering(self.generator, base, edits, grad=False)
        changed = self._changed(plan)
        preview = None if size is None or size >= self.generator.size[0] else size
        images = (self._preview(plan, preview, stop) if preview else None) if plan.regions == [] else None
        if images is None:
            images = self._full(plan, changed, stop)
            if preview:
                images = F.interpolate(
                    plan.pixels(images), size=(preview, preview * images.shape[-1] // images.shape[-2]), mode="area"
                )
                return images
        return plan.pixels(images, plain=(lambda: self._plain(base, images)) if preview else None)

    def _plain(self, base: Latents | Inversion, like: Images) -> Images:
        return F.interpolate(Rendering(self.generator, base, grad=False).picture(), size=like.shape[-2:], mode="area")

    # -- the prefix cache -----------------------------------------------------------------------------------------------------------

    def _changed(self, plan: Rendering) -> int:
        """The first layer that cannot be taken over; forgets the states behind it."""
        keys = [self._key(plan, i) for i in range(len(self.generator.layers))]
        weights: dict[str, Tensor] = (
            dict(plan.main.generator.net.named_parameters()) if plan.main.generator is not self.generator else {}
        )
        same_weights = weights.keys() == self._weights.keys() and all(
            weights[k] is self._weights[k] or torch.equal(weights[k], self._weights[k]) for k in weights
        )
        changed = 0
        if same_weights and self._keys:
            while changed < len(keys) and keys[changed].same(self._keys[changed]):
                changed += 1
        self._keys, self._weights = keys, weights
        self._states = {i: s for i, s in self._states.items() if i <= changed}
        if 0 < changed < len(keys):
            self._wanted = changed
        return changed

    def _key(self, plan: Rendering, i: int) -> _Key:
        layer, latents = self.generator.layers[i], plan.main.latents
        inputs = {k: v for k, v in latents.inputs.items() if k in layer.reads}
        style = latents.values[:, layer.style]
        regions = tuple(
            (b.latents.values[:, layer.style], mask, b.features.get(i, ()))
            for b, mask, where in plan.regions
            if i in where
        )
        return _Key(style, inputs, plan.main.features.get(i, ()), regions)

    def _resume(self, until: int) -> tuple[int, State | None]:
        """The deepest state kept at or before layer `until`."""
        kept = max((i for i in self._states if i <= until), default=0)
        return (kept, self._states[kept][0]) if kept else (0, None)

    def _advance(self, plan: Rendering, until: int, stop: Callable[[], bool] | None) -> State:
        """The state before layer `until`, keeping those at block starts on the way."""
        first, state = self._resume(until)
        if state is None:
            state = plan.main.generator.start(plan.main.latents)
        for i, state, latents in plan.states(first, state, until):  # noqa: B020
            check(stop)
            if i + 1 in self.starts:
                self._keep(i + 1, state, latents)
        return state

    def _keep(self, i: int, state: State, latents: Latents) -> None:
        size = lambda s: sum(t.numel() * t.element_size() for t in (s.x, s.rgb) if t is not None)
        if sum(size(s) for s, _ in self._states.values()) + size(state) <= self.memory:
            self._states[i] = (state, latents)

    # -- pictures -------------------------------------------------------------------------------------------------------------------

    def _full(self, plan: Rendering, changed: int, stop: Callable[[], bool] | None) -> Images:
        g = plan.main.generator
        with torch.no_grad():
            if not plan.plainly:
                last = len(g.layers)
                state = self._advance(plan, last, stop)
                return g.finish(state, plan.main.latents)
            # Someone who changes late layers again and again gains from a state near them, even if the fast tail begins before.
            near = max((i for i in self.starts if i <= self._wanted), default=0)
            until = max(g.deep if g.deep < len(g.layers) else 0, near, self._resume(len(g.layers))[0])
            if until == 0:
                until = max(self.starts, default=len(g.layers))
            return g.tail(until, self._advance(plan, until, stop), plan.main.latents, stop)

    def _preview(self, plan: Rendering, size: int, stop: Callable[[], bool] | None) -> Images | None:
        g = plan.main.generator
        for i in range(1, len(g.layers)):
            if g.layers[i - 1].picture[0] >= size and i in self.blocks:
                if any(j >= i for j in plan.main.features):
                    return None
                state = self._advance(plan, i, stop)
                with torch.no_grad():
                    images = g.coarse(i, state, plan.main.latents)
                if images is None:
                    return None
                if images.shape[-2] == size:
                    return images
                return F.interpolate(images, size=(size, size * images.shape[-1] // images.shape[-2]), mode="area")
        return None


def fitted(images: Images, size: int) -> Float[Tensor, "n 3 h2 w2"]:
    """Pictures at `size` px (height): area means where they shrink, as they are where they do not."""
    if images.shape[-2] <= size:
        return images
    return F.interpolate(images, size=(size, max(1, size * images.shape[-1] // images.shape[-2])), mode="area")


__all__ = ["Renderer", "fitted"]
