"""Pictures at which losses look: the full ones, or coarse previews that cost a fraction and obey every style."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..generator import Generator
from ..space import Latents
from .observe import Operator


@dataclass(frozen=True)
class View:
    """Pictures of `size` px. `until` is the layer before which the family's coarse tail takes over; None for the full fold."""

    generator: Generator
    size: int
    until: int | None

    def __call__(self, latents: Latents, grad: bool = True) -> Float[Tensor, "n 3 h w"]:
        g = self.generator
        latents = g.lift(latents, g.spaces[-1].name)
        if self.until is None:
            return g.synthesize(latents, grad=grad)
        with torch.set_grad_enabled(grad):
            *_, (_, state) = g.states(latents, until=self.until, grad=grad)
            images = g.coarse(self.until, state, latents)
            assert images is not None
            return images


@dataclass(frozen=True)
class Stage:
    """A view with what should be seen there."""

    view: View
    target: Float[Tensor, "n 3 h w"]
    operator: Operator


def view(generator: Generator, size: int | None) -> View | None:
    """The preview of `size` px (None for full pictures), or None where the family has no preview of that size."""
    full = View(generator, generator.size[0], None)
    if size is None or size >= generator.size[0]:
        return full if size is None else None
    for i in range(1, len(generator.layers)):
        here, before = generator.layers[i], generator.layers[i - 1]
        if before.picture[0] == size and (here.size > before.size or i == len(generator.layers) - 1):
            return _tried(View(generator, size, i))
    return None


def _tried(found: View) -> View | None:
    """The view, if the family has such a preview."""
    g, until = found.generator, found.until
    latents = g.lift(next(g.blocks(1, seed=0))[1], g.spaces[-1].name)
    with torch.no_grad():
        (*_, (_, state)) = g.states(latents, until=until, grad=False)
        images = g.coarse(until or 0, state, latents)
    return found if images is not None and images.shape[-2] == found.size else None


def staged(
    generator: Generator,
    sizes: list[int],
    images: Float[Tensor, "n 3 h w"],
    operator: Operator,
    note: Callable[[str], None],
) -> list[Stage | None]:
    """A stage for each size, None where there is none (`note` says why)."""
    made: list[Stage | None] = []
    for size in sizes:
        found = view(generator, size) if generator.size[0] % size == 0 else None
        smaller = operator.coarse(generator.size[0] // size) if found else None
        if found and smaller:
            made.append(Stage(found, smaller[1](images), smaller[0]))
            continue
        if size < generator.size[0]:
            why = (
                f"{generator.name} has no preview of that size" if not found else f"{operator.spec} has no coarse form"
            )
            note(f"no steps at {size} px: {why}")
        made.append(None)
    return made
