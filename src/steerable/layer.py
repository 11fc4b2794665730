"""Synthesis layers, the state between them, and how a person names some of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from .errors import SettingError, UnknownName


@dataclass(frozen=True)
class Layer:
    """One step of the synthesis fold.

    `size` and `channels` are those of its output. `row` is its row of w+ (None where there is no w+), `style` its columns of the last
    space, which is flat (there may be none), `reads` the inputs it uses.
    A `head` (ToRGB) only adds to the picture; it may share its row with the layer after.
    `margin` px of the size lie beyond the picture on every side.
    """

    name: str
    size: tuple[int, int]
    channels: int
    row: int | None = None
    style: slice = field(default_factory=lambda: slice(0, 0))
    reads: tuple[str, ...] = ()
    head: bool = False
    margin: int = 0

    @property
    def picture(self) -> tuple[int, int]:
        """The part of `size` that the picture takes."""
        return self.size[0] - 2 * self.margin, self.size[1] - 2 * self.margin


@dataclass(frozen=True)
class State:
    """What runs between layers: features, and the picture so far in nets that have one."""

    x: Float[Tensor, "n c h w"]
    rgb: Float[Tensor, "n 3 rgb_h rgb_w"] | None = None


GROUPS = {"coarse": (0, 8), "middle": (16, 32), "fine": (64, 1 << 20)}  # px, as StyleGAN's style mixing names them


def rows(layers: Sequence[Layer], spec: str) -> tuple[int, ...]:
    """The rows of w+ that `spec` names: "4-7", "0,2,5-6", "32-128px", "coarse", "middle", "fine", "all", or layer names.

    Numbers count rows of w+, as in every published tool. Raises SettingError or UnknownName.
    """
    count = 1 + max((layer.row for layer in layers if layer.row is not None), default=-1)
    if not count:
        raise SettingError(f"layers={spec!r}: this generator has no w+; leave layers out")
    found: set[int] = set()
    shared = {layer.row for layer in layers if not layer.head}
    alone = [layer for layer in layers if not layer.head or layer.row not in shared]  # a head may have a row of its own
    for part in _parts(spec):
        if numbers := _numbers(part):
            found.update(_within(range(numbers[0], numbers[1] + 1), count, spec, "rows"))
        else:
            chosen = [layers[i] for i in _by_look(layers, part, heads=True)]
            found.update(
                layer.row for layer in chosen if layer.row is not None and (layer in alone or layer.name == part)
            )
    return tuple(sorted(found))


def pick(layers: Sequence[Layer], spec: str, heads: bool = False) -> tuple[int, ...]:
    """The positions in `layers` that `spec` names. Numbers count rows where the generator has a w+, else positions.

    Heads come along if `heads` says so; else only by name.
    """
    has_rows = any(layer.row is not None for layer in layers)
    found: set[int] = set()
    for part in _parts(spec):
        if numbers := _numbers(part):
            span = range(numbers[0], numbers[1] + 1)
            if has_rows:
                wanted = set(_within(span, 1 + max(layer.row or 0 for layer in layers), spec, "rows"))
                found.update(i for i, layer in enumerate(layers) if layer.row in wanted and (heads or not layer.head))
            else:
                found.update(_within(span, len(layers), spec, "layers"))
        else:
            found.update(_by_look(layers, part, heads))
    return tuple(sorted(found))


def columns(layers: Sequence[Layer], spec: str) -> tuple[int, ...]:
    """The columns of the style space that `spec` names: those of all layers in its rows, or of the one layer named."""
    names = [layer.name for layer in layers]
    found: set[int] = set()
    for part in _parts(spec):
        if part in names:
            chosen = [layers[names.index(part)]]
        else:
            wanted = set(rows(layers, part))
            chosen = [layer for layer in layers if layer.row in wanted]
        found.update(c for layer in chosen for c in range(layer.style.start, layer.style.stop))
    return tuple(sorted(found))


def _parts(spec: str) -> list[str]:
    parts = [part.strip() for part in str(spec).split(",")]
    if not all(parts):
        raise SettingError(
            f"layers={spec!r} names nothing; write rows as 4-7 or 0,2, sizes as 32-128px, or coarse, middle, fine, all"
        )
    return parts


def _numbers(part: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
    if not found:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise SettingError(f"layers={part!r} runs backwards; write {last}-{first}")
    return first, last


def _within(span: range, count: int, spec: str, what: str) -> range:
    if span.stop > count:
        raise SettingError(f"layers={spec!r} reaches past the last one; there are {count} {what}: 0-{count - 1}")
    return span


def _by_look(layers: Sequence[Layer], part: str, heads: bool = False) -> list[int]:
    names = [layer.name for layer in layers]
    if part in names:
        return [names.index(part)]
    plain = [i for i, layer in enumerate(layers) if heads or not layer.head]
    if part == "all":
        return plain
    if part in GROUPS:
        low, high = GROUPS[part]
    elif found := re.fullmatch(r"(\d+)(?:-(\d+))?px", part):
        low, high = int(found[1]), int(found[2] or found[1])
    else:
        raise UnknownName("layer", part, [*GROUPS, "all", *names])
    chosen = [i for i in plain if low <= max(layers[i].picture) <= high]
    if not chosen:
        sizes = sorted({max(layer.picture) for layer in layers})
        raise SettingError(f"layers={part!r} names no layer; the sizes are {', '.join(map(str, sizes))} px")
    return chosen
