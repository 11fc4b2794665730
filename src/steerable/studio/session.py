"""One person's session: an edit list that fits into a URL, and what it means to `render`.

The browser holds the list (so undo, redo and reload need nobody else); here it is checked and turned into a base and edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Annotated, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..edit import Edit, Inversion, LatentEdit, Masked, Truncate
from ..errors import SettingError
from ..generator import Generator
from ..path import Direction, Path, Paths, between, mix
from ..render import codes
from ..space import Latents

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-100, le=100)]
Name = Annotated[str, Field(max_length=80)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slider(Strict):
    """A path of a bundle, as this person sees and uses it."""

    id: Key
    bundle: Id
    index: int = Field(ge=0, lt=10_000)
    name: Name
    about: str = Field(default="", max_length=400)
    t: Number = 0.0
    layers: str | None = Field(default=None, max_length=80)
    low: Number = -3.0
    high: Number = 3.0
    flip: bool = False
    hidden: bool = False
    keep: tuple[Key, ...] = ()


class Share(Strict):
    """A second sample, and how far the base goes towards it."""

    seed: Seed
    share: float = Field(ge=0, le=1, allow_inf_nan=False)


class Mix(Strict):
    """Style mixing: these layers come from another sample."""

    seed: Seed
    layers: str = Field("coarse", max_length=80)


class Local(Strict):
    """Where sliders act: in a painted mask, blended in pixels or (with `layers`) in features."""

    mask: Id
    layers: str | None = Field(None, max_length=80)


class Session(Strict):
    """Everything that makes the picture. `photo` is an inversion in the seed's place, `original` the photograph it was made from."""

    generator: str = Field(max_length=400)
    seed: Seed = 0
    photo: Id | None = None
    original: Id | None = None
    blend: tuple[Share, ...] = Field((), max_length=8)
    mix: Mix | None = None
    psi: float = Field(0.7, ge=0, le=1.5, allow_inf_nan=False)
    label: int | None = Field(None, ge=0)
    sliders: tuple[Slider, ...] = Field((), max_length=200)
    local: Local | None = None


@runtime_checkable
class Holdings(Protocol):
    """Where the things are that a session names."""

    def paths(self, id: str, generator: Generator) -> Paths: ...
    def mask(self, id: str) -> Float[Tensor, "1 1 h w"]: ...
    def photo(self, id: str, generator: Generator) -> Inversion: ...
    def file(self, kind: str, id: str) -> File: ...


@dataclass(frozen=True)
class Meaning:
    """What a session means to `render`: the picture before is (base, first), the picture after (base, first + moves)."""

    base: Latents | Inversion
    first: tuple[Edit, ...]
    moves: tuple[Edit, ...]

    def edits(self, plain: bool = False) -> list[Edit]:
        return [*self.first] if plain else [*self.first, *self.moves]


def sampled(generator: Generator, seed: int, label: int | None = None) -> Latents:
    """The codes of a seed, with its class if the generator has classes and one was chosen."""
    if label is None or "label" not in generator.inputs:
        return generator.sample(seeds=[seed])
    (classes,) = generator.inputs["label"]
    if label >= classes:
        raise SettingError(f"{generator.name} has the classes 0-{classes - 1}; got {label}")
    row = torch.nn.functional.one_hot(torch.tensor([label]), classes).to(generator.dtype)
    return generator.sample(seeds=[seed], inputs={"label": row})


def truncation(generator: Generator, psi: float) -> tuple[Edit, ...]:
    """The truncation asked for; nothing where there is no w to truncate in."""
    return (Truncate(psi),) if psi != 1 and any(s.name == "w" for s in generator.spaces) else ()


def meaning(session: Session, generator: Generator, held: Holdings) -> Meaning:
    """Raises the library's own errors for what does not fit."""
    base, first = begun(session, generator, held)
    moves = tuple(
        path(s, session.sliders, generator, held).at(s.t) for s in session.sliders if s.t != 0 and not s.hidden
    )
    if session.local and moves:
        base, first, moves = localized(generator, base, first, moves, session.local, held)
    return Meaning(base, first, moves)


def begun(session: Session, generator: Generator, held: Holdings) -> tuple[Latents | Inversion, tuple[Edit, ...]]:
    """The base, and the edits that belong to the picture before."""
    if session.photo is not None:
        return held.photo(session.photo, generator), ()
    base: Latents = sampled(generator, session.seed, session.label)
    blends: tuple[Edit, ...] = ()
    if session.blend:
        where = "w" if any(s.name == "w" for s in generator.spaces) else generator.spaces[0].name
        here = generator.lift(base, where)
        others = [(generator.lift(sampled(generator, b.seed, session.label), where), b.share) for b in session.blend]
        blends = tuple(between(here, other).at(share) for other, share in others)
    if session.mix:
        if all(s.name != "w+" for s in generator.spaces):
            raise SettingError(f"{generator.name} has no layers that take codes of their own; styles cannot be mixed")
        other = sampled(generator, session.mix.seed, session.label)
        base, blends = mix(generator, codes(generator, base, blends), other, session.mix.layers), ()
    return base, (*blends, *truncation(generator, session.psi))


def path(slider: Slider, others: Sequence[Slider], generator: Generator, held: Holdings) -> Path:
    """The path of a slider as it stands: turned, cleaned of what is to be kept, under its own name and in its layers."""
    found = source(slider, generator, held)
    kept = [source(o, generator, held) for o in others if o.id in slider.keep and o.id != slider.id]
    if kept:
        found = cleaned(found, kept, generator)
    return replace(
        found,
        name=slider.name or found.name,
        about=slider.about,
        layers=slider.layers or found.layers,
        range=(min(slider.low, slider.high), max(slider.low, slider.high)),
    )


def source(slider: Slider, generator: Generator, held: Holdings) -> Path:
    """The path of the bundle, turned if the slider is."""
    paths = held.paths(slider.bundle, generator)
    if slider.index >= len(paths):
        raise SettingError(f"{slider.name!r} is number {slider.index} of a file that has {len(paths)} directions")
    found = paths[slider.index]
    if not slider.flip:
        return found
    if not isinstance(found, Direction):
        raise SettingError(f"{slider.name!r} is not straight, so it cannot be turned; pull the slider the other way")
    return found.flipped()


def cleaned(found: Path, kept: Sequence[Path], generator: Generator) -> Direction:
    """The direction without its part along others, its unit measured anew."""
    if not isinstance(found, Direction):
        raise SettingError(f"{found.name!r} is not straight, so nothing can be projected out of it")
    bent = [o.name for o in kept if not isinstance(o, Direction)]
    if bent:
        raise SettingError(f"{', '.join(map(repr, bent))} is not straight, so it cannot be projected out")
    rest = found.without(*(o for o in kept if isinstance(o, Direction)))
    return replace(rest, unit=generator.spread(rest.vector, rest.space.name))


def localized(
    generator: Generator,
    base: Latents | Inversion,
    first: tuple[Edit, ...],
    moves: tuple[Edit, ...],
    local: Local,
    held: Holdings,
) -> tuple[Latents | Inversion, tuple[Edit, ...], tuple[Edit, ...]]:
    """All moves together as one, held to a mask. Two masked edits would each see the other's absence; one way from the codes before to
    the codes after does not."""
    if not all(isinstance(m, LatentEdit) for m in moves):
        return base, first, tuple(Masked(m, held.mask(local.mask), local.layers) for m in moves)
    last = generator.spaces[-1].name
    before = generator.lift(codes(generator, base, first), last)
    after = generator.lift(codes(generator, base, [*first, *moves]), last)
    start: Latents | Inversion = before
    if isinstance(base, Inversion):
        start = replace(base, latents=before, edits=tuple(e for e in base.edits if not isinstance(e, LatentEdit)))
    return start, (), (Masked(between(before, after).at(1.0), held.mask(local.mask), local.layers),)
