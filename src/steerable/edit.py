"""Edits: the four places where a pretrained GAN can be pushed.

It is a chain with four such places, so there are four kinds of edit and no fifth: codes and inputs (LatentEdit), weights
(WeightEdit), feature maps (FeatureEdit), pixels (ImageEdit). `Masked` holds any of them to a region. Edits of one kind act in list order,
the kinds in chain order; the generator is the same afterwards.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SettingError
from .generator import Generator
from .layer import State
from .record import Record
from .space import Latents

Images = Float[Tensor, "n 3 h w"]


class Edit(Record, ABC):
    """One of the four kinds below, or `Masked`."""


class LatentEdit(Edit):
    """Changes codes or inputs."""

    @abstractmethod
    def acts_in(self, generator: Generator) -> str:
        """The space in which it acts; codes that come before it are lifted there."""

    @abstractmethod
    def latents(self, latents: Latents, generator: Generator) -> Latents:
        """The changed codes. They may be in a later space than `acts_in`: then carry the move there, or raise SpaceError."""


class WeightEdit(Edit):
    """Changes weights, for every picture."""

    @abstractmethod
    def weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The changed weights only, by dotted name."""


class FeatureEdit(Edit):
    """Changes what runs between the layers that `layers` names."""

    layers: str

    @abstractmethod
    def features(self, state: State, latents: Latents, again: Callable[..., State]) -> tuple[State, Latents]:
        """The state after a layer, and the codes for the layers that follow.

        `again(latents, state=None)` runs this layer once more, on its own input or on another state, with other codes (in the last space).
        """


class ImageEdit(Edit):
    """Changes pixels."""

    @abstractmethod
    def image(self, edited: Images, plain: Images) -> Images:
        """The picture, from the edited one and the one without any edit."""


@dataclass(frozen=True)
class Masked(Edit):
    """Hold an edit to a region.

    `mask` is [n 1 h w] or [1 1 h w] in picture coordinates, 1 where the edit is wanted. With `layers` (any selector), features are blended
    in these layers: out = edited where the mask is, plain elsewhere, so that the net itself joins the two. Without, pixels are blended.
    """

    edit: Edit
    mask: Float[Tensor, "n 1 h w"]
    layers: str | None = None

    def __post_init__(self) -> None:
        if not (torch.isfinite(self.mask).all() and self.mask.min() >= 0 and self.mask.max() <= 1):
            raise SettingError("a mask has values from 0 (keep) to 1 (edit)")


@dataclass(frozen=True)
class Truncate(LatentEdit):
    """The truncation trick: pull w towards its mean by psi, in rows of w+ below `cutoff` only if that is given."""

    psi: float
    cutoff: int | None = None

    def acts_in(self, generator: Generator) -> str:
        return "w" if any(s.name == "w" for s in generator.spaces) else generator.spaces[0].name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        return generator.truncate(latents, self.psi, self.cutoff)


@dataclass(frozen=True)
class SetInput(LatentEdit):
    """Give every sample an input: a label, a noise map, a transform, a camera. `value` has one row, or one for each sample."""

    name: str
    value: Tensor

    def acts_in(self, generator: Generator) -> str:
        return generator.spaces[0].name if self.name == "label" else generator.spaces[-1].name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        if self.name not in generator.inputs:
            raise SettingError(
                f"{generator.name} takes no input {self.name!r}; it takes {', '.join(generator.inputs) or 'none'}"
            )
        if tuple(self.value.shape[1:]) != tuple(generator.inputs[self.name]):
            raise SettingError(
                f"input {self.name!r} has the shape (n, {generator.inputs[self.name]}); got {tuple(self.value.shape)}"
            )
        if (
            self.name == "label"
            and latents.space.name != generator.spaces[0].name
            and generator.spaces[-1].name != generator.spaces[0].name
        ):
            raise SettingError(
                f"the label has already been used in {latents.space.name!r} codes; set it on {generator.spaces[0].name!r} codes"
            )
        value = self.value.to(latents.values.device).expand(len(latents), *self.value.shape[1:])
        return replace(latents, inputs={**latents.inputs, self.name: value})


@dataclass(frozen=True)
class Noise(LatentEdit):
    """What the noise inputs hold: "none" (zeros), or "random" drawn anew from `seed`. Without this edit they hold the trained constants."""

    mode: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("none", "random", "const"):
            raise SettingError(f"noise is const, random or none; got {self.mode!r}")

    def acts_in(self, generator: Generator) -> str:
        return generator.spaces[-1].name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        source = torch.Generator().manual_seed(self.seed)
        inputs = {k: v for k, v in latents.inputs.items() if not k.startswith("noise.")}
        for name, shape in generator.inputs.items():
            if name.startswith("noise.") and self.mode != "const":
                drawn = (
                    torch.randn(len(latents), *shape, generator=source)
                    if self.mode == "random"
                    else torch.zeros(len(latents), *shape)
                )
                inputs[name] = drawn.to(latents.values)
        return replace(latents, inputs=inputs)


@dataclass(frozen=True)
class OnLayers(LatentEdit):
    """Let an edit of codes act in some layers only: of the edited and the plain code, take the named rows (columns in s)."""

    edit: LatentEdit
    layers: str

    def acts_in(self, generator: Generator) -> str:
        return self.edit.acts_in(generator)

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        edited = self.edit.latents(latents, generator)
        to = edited.space.name
        if all(s.name != "w+" for s in generator.spaces):
            raise SettingError(
                f"layers={self.layers!r}: {generator.name} has no w+, so a code cannot differ between layers"
            )
        if generator.before(to, "w+"):
            to = "w+"
        edited, plain = generator.lift(edited, to), generator.lift(latents, to)
        keep = generator._where(to, self.layers).to(plain.values.device)
        return edited.at(torch.where(keep, edited.values, plain.values))


@dataclass(frozen=True)
class Inversion(Record):
    """A picture as the generator sees it: codes, and the edits that codes alone could not explain.

    A base of `render`: its edits come first, and "plain" is the picture with them. `notes` holds what the inverter wants remembered.
    """

    latents: Latents
    edits: tuple[Edit, ...] = ()
    notes: Mapping[str, Tensor | str | float | int | None] = field(default_factory=dict)


def expect_edits(edits: Sequence[object]) -> None:
    """Raises SettingError for what is no edit, such as a path without a strength."""
    for e in edits:
        if not isinstance(e, Edit):
            raise SettingError(f"an edit was expected, such as path.at(2) or Truncate(0.7); got {type(e).__name__}")


def finite(t: float | Tensor) -> None:
    """Raises SettingError if t, the strength of an edit, is not a finite number."""
    ok = bool(torch.isfinite(t).all()) if isinstance(t, Tensor) else math.isfinite(t)
    if not ok:
        raise SettingError(f"t must be finite (in standard deviations; -3 to 3 is usual); got {t}")
