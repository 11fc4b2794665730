"""Paths: one-parameter families of edits. `path.at(t)` is an edit, `path.at(0)` does nothing, t counts standard deviations."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor

from .edit import Edit, LatentEdit, OnLayers, finite
from .errors import SettingError, SpaceError, UnknownName
from .generator import Generator
from .record import Record
from .space import Latents, Space

UNITS = ("std", "published")


@dataclass(frozen=True)
class Effect(Record):
    """What one standard deviation along a path does to a score: its mean change, with the interval of 95 %, on held-out pictures.

    `sd` is the score's own standard deviation over pictures, so `per_sd / sd` compares scores with different units.
    """

    score: str
    per_sd: float
    low: float
    high: float
    sd: float
    unit: str = ""
    psi: float = 1.0
    n: int = 0

    @property
    def standardized(self) -> float:
        return self.per_sd / self.sd if self.sd > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Path(Record, ABC):
    """One family. `layers` is where it acts unless `at` is told otherwise; `effects` what it was measured to do; `range` the t (lowest,
    highest) within which pictures were seen to stay natural; `published` how many standard deviations the published number 1 is."""

    name: str
    layers: str | None = None
    published: float | None = None
    range: tuple[float, float] | None = None
    effects: tuple[Effect, ...] = ()
    about: str = ""

    @abstractmethod
    def edit(self, t: float | Float[Tensor, " n"]) -> Edit:
        """The edit at t standard deviations, in all layers."""

    def at(self, t: float | Float[Tensor, " n"], layers: str | None = None, unit: str = "std") -> Edit:
        """The edit at t (a number, or one for each sample). `layers`: "4-7", "32-128px", "coarse"; "all" overrides the path's own.

        `unit="published"` counts as the file's authors did. Raises SettingError for a t that is not finite or a unit that is not known.
        """
        finite(t)
        if unit not in UNITS:
            raise SettingError(f"unit is std or published; got {unit!r}")
        if unit == "published":
            if self.published is None:
                raise SettingError(f"{self.name!r} has no published unit; give t in standard deviations")
            t = t * self.published
        edit = self.edit(t)
        layers = layers or self.layers
        if layers is None or layers == "all":
            return edit
        if not isinstance(edit, LatentEdit):
            raise SettingError(f"{self.name!r} does not move codes, so it cannot be held to layers")
        return OnLayers(edit, layers)

    def to(self, amount: float, *, score: Any, layers: str | None = None) -> Edit:
        """The edit that changes a score by `amount` of its own units, by the effect that was measured.

        `score` is a name, or a scorer with one.
        Raises UnknownName if the path was not measured for it, SettingError if it does not move it.
        """
        name = score if isinstance(score, str) else score.names[0]
        by_name = {e.score: e for e in self.effects}
        if name not in by_name:
            raise UnknownName(f"measured effect of {self.name!r}", name, by_name)
        effect = by_name[name]
        if effect.low <= 0 <= effect.high:
            raise SettingError(
                f"{self.name!r} was not seen to change {name!r} ({effect.low:+.3g} to {effect.high:+.3g} per standard deviation)"
            )
        return self.at(amount / effect.per_sd, layers)


@dataclass(frozen=True)
class Shift(LatentEdit):
    """Add t·unit·vector to codes of `space`. Without `unit`, the generator's own spread along the vector is taken."""

    vector: Float[Tensor, "*shape"]
    space: Space
    t: float | Float[Tensor, " n"]
    unit: float | None = None

    def acts_in(self, generator: Generator) -> str:
        return self.space.name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        vector = self.vector.to(latents.values)
        if tuple(vector.shape) != tuple(generator.space(self.space.name).shape):
            have, want = tuple(vector.shape), tuple(generator.space(self.space.name).shape)
            raise SpaceError(
                f"the direction has the shape {have}; {generator.name} has {self.space.name!r} codes of {want}"
            )
        unit = generator.spread(self.vector, self.space.name) if self.unit is None else self.unit
        t = torch.as_tensor(self.t, device=vector.device, dtype=vector.dtype) * unit
        if t.ndim and len(t) != len(latents):
            raise SettingError(f"t has {len(t)} values for {len(latents)} samples; give one number, or one for each")
        delta = (t.reshape(-1, *(1,) * vector.ndim) * vector).expand(len(latents), *vector.shape)
        if latents.space.name != self.space.name:
            delta = generator.carry(delta, self.space.name, latents.space.name, latents.inputs)
        return latents.moved(delta)


@dataclass(frozen=True, kw_only=True)
class Direction(Path):
    """A straight path: a vector of length 1 in a space. `unit` is the standard deviation of the generator's codes along it."""

    vector: Float[Tensor, "*shape"]
    space: Space
    unit: float | None = None

    @classmethod
    def along(
        cls, name: str, vector: Tensor, space: Space, generator: Generator | None = None, **more: Any
    ) -> "Direction":
        """The direction of `vector`, brought to length 1, its unit measured on `generator`."""
        length = float(vector.double().norm())
        if not length > 0 or length == float("inf"):
            raise SettingError(f"the direction {name!r} has the length {length}, so it points nowhere")
        vector = (vector.double() / length).float().cpu()
        unit = generator.spread(vector, space.name) if generator is not None else None
        return cls(name=name, vector=vector, space=space, unit=unit, **more)

    def edit(self, t: float | Float[Tensor, " n"]) -> Shift:
        return Shift(self.vector, self.space, t, self.unit)

    def without(self, *others: "Direction | Paths") -> "Direction":
        """This direction with its part along the span of others removed (the conditional manipulation of InterFaceGAN, eq. 4, for any
        number of conditions, dependent ones too). Raises SpaceError for another space, SettingError if nothing is left."""
        flat: list[Direction] = []
        for d in (d for o in others for d in (o if isinstance(o, Paths) else (o,))):
            if isinstance(d, Direction) and d.space.name == self.space.name and d.vector.shape == self.vector.shape:
                flat.append(d)
            else:
                raise SpaceError(
                    f"{self.name!r} lies in {self.space.name!r}; it can be cleaned only of straight directions there, not {d.name!r}"
                )
        rows = (
            torch.stack([d.vector.double().flatten() for d in flat])
            if flat
            else self.vector.new_zeros(0, self.vector.numel()).double()
        )
        v = self.vector.double().flatten()
        rest = v - rows.T @ (torch.linalg.pinv(rows.T) @ v)
        if rest.norm() < 1e-4:
            raise SettingError(f"nothing of {self.name!r} is left without {', '.join(repr(d.name) for d in flat)}")
        name = f"{self.name} without {', '.join(d.name for d in flat)}"
        return Direction.along(name, rest.reshape(self.vector.shape), self.space, layers=self.layers)

    def cosine(self, other: "Direction") -> float:
        """Of the angle between two directions of one space; between one and what it was before `without`, how much of it is left."""
        if self.space.name != other.space.name or self.vector.shape != other.vector.shape:
            raise SpaceError(f"{self.name!r} lies in {self.space.name!r}, {other.name!r} in {other.space.name!r}")
        return float(self.vector.double().flatten() @ other.vector.double().flatten())

    def flipped(self) -> "Direction":
        """The same path walked the other way; effects and range turn with it."""
        effects = tuple(replace(e, per_sd=-e.per_sd, low=-e.high, high=-e.low) for e in self.effects)
        span = (-self.range[1], -self.range[0]) if self.range else None
        return replace(self, vector=-self.vector, effects=effects, range=span)


@dataclass(frozen=True)
class Paths(Record, Sequence[Path]):
    """A bundle of paths, by number or by name: what discovery returns and files hold. `notes` says how well it went."""

    items: tuple[Path, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [p.name for p in self.items]
        if len(set(names)) < len(names):
            raise SettingError(
                f"two paths have the same name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}"
            )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.items)

    @overload
    def __getitem__(self, which: int | str) -> Any: ...
    @overload
    def __getitem__(self, which: slice) -> "Paths": ...
    def __getitem__(self, which: int | str | slice) -> Any:
        """One path by number or name, or a bundle by slice. Raises UnknownName or IndexError."""
        if isinstance(which, str):
            for path in self.items:
                if path.name == which:
                    return path
            raise UnknownName("path", which, [p.name for p in self.items])
        return Paths(self.items[which], self.notes) if isinstance(which, slice) else self.items[which]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.items)

    @property
    def vectors(self) -> Float[Tensor, "k *shape"]:
        """The vectors of straight paths in one space. Raises SpaceError where that cannot be."""
        straight = [p for p in self.items if isinstance(p, Direction)]
        if not straight or len(straight) < len(self.items) or len({p.space.name for p in straight}) > 1:
            raise SpaceError("only straight paths in one space have vectors side by side")
        return torch.stack([p.vector for p in straight])

    def renamed(self, names: Mapping[str, str]) -> "Paths":
        """The same paths under other names (old → new)."""
        return replace(self, items=tuple(replace(p, name=names.get(p.name, p.name)) for p in self.items))

    @classmethod
    def spanning(
        cls,
        vectors: Float[Tensor, "k *shape"],
        space: Space,
        generator: Generator,
        *,
        prefix: str,
        layers: str | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> "Paths":
        """Straight paths from rows that have no sign of their own (eigenvectors): prefix-0, prefix-1 …, the largest entry positive."""
        items = []
        for i, v in enumerate(vectors):
            flat = v.flatten()
            sign = 1.0 if flat[flat.abs().argmax()] > 0 else -1.0
            items.append(Direction.along(f"{prefix}-{i}", sign * v, space, generator, layers=layers))
        return cls(tuple(items), dict(notes or {}))


@dataclass(frozen=True, kw_only=True)
class Between(Path):
    """The straight way from one code to another. Here t is the share of the way: at(0) does nothing, at(1) takes a to b."""

    way: Float[Tensor, "*shape"]
    space: Space

    def edit(self, t: float | Float[Tensor, " n"]) -> Shift:
        return Shift(self.way, self.space, t, 1.0)


def between(a: Latents, b: Latents) -> Between:
    """A path from sample a to sample b (one sample each, in the same space). Raises SpaceError otherwise."""
    if len(a) != 1 or len(b) != 1 or a.space.name != b.space.name:
        raise SpaceError(
            f"between() takes one sample each in one space; got {len(a)} in {a.space.name!r} and {len(b)} in {b.space.name!r}"
        )
    return Between(name="between", way=(b.values - a.values)[0].detach(), space=a.space)


def mix(generator: Generator, a: Latents, b: Latents, layers: str = "coarse") -> Latents:
    """Style mixing (StyleGAN, section 3.1): the codes of a, with the rows of w+ that `layers` names taken from b."""
    a, b = generator.lift(a, "w+"), generator.lift(b, "w+")
    keep = generator._where("w+", layers).to(a.values.device)
    return a.at(torch.where(keep, b.values, a.values))
