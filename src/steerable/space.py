"""Latent spaces, and the codes that live in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SpaceError
from .record import Record


@dataclass(frozen=True)
class Space(Record):
    """One stage of the chain z → w → w+ → s.

    `shape` is that of one sample's code: (512,), (18, 512), (9088,). `affine` says whether the step from the space before is affine, so
    that a straight move there is a straight move here.
    """

    name: str
    shape: tuple[int, ...]
    affine: bool = False


@dataclass(frozen=True)
class Latents(Record):
    """Codes of n samples in one space, with everything else that belongs to a sample.

    `inputs` are rows of the same n: `label` [n c], `noise.<layer>` [n 1 h w], `camera` [n 25], `transform` [n 3 3], `truncation` [n].
    """

    values: Float[Tensor, "n *shape"]
    space: Space
    inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(self.values.shape[1:]) != tuple(self.space.shape):
            have = tuple(self.values.shape)
            raise SpaceError(
                f"codes of {self.space.name!r} have the shape (n, {', '.join(map(str, self.space.shape))}); got {have}"
            )
        for name, rows in self.inputs.items():
            if len(rows) != len(self.values):
                raise SpaceError(f"input {name!r} has {len(rows)} rows for {len(self.values)} codes")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> "Latents":
        """The samples named; always Latents, also for one number."""
        if isinstance(rows, int):
            rows = slice(rows, rows + 1 or None)
        elif not isinstance(rows, slice):
            rows = torch.as_tensor(rows, device=self.values.device)
        return replace(self, values=self.values[rows], inputs={k: v[rows] for k, v in self.inputs.items()})

    def moved(self, delta: Tensor) -> "Latents":
        return replace(self, values=self.values + delta)

    def at(self, values: Tensor, space: Space | None = None) -> "Latents":
        """The same samples (inputs kept) with other codes, perhaps in another space."""
        return replace(self, values=values, space=space or self.space)

    def repeat(self, times: int) -> "Latents":
        """Each sample `times` times in a row."""
        return replace(
            self,
            values=self.values.repeat_interleave(times, 0),
            inputs={k: v.repeat_interleave(times, 0) for k, v in self.inputs.items()},
        )

    @classmethod
    def cat(cls, parts: Sequence["Latents"]) -> "Latents":
        first = parts[0]
        if any(p.space.name != first.space.name or p.inputs.keys() != first.inputs.keys() for p in parts):
            raise SpaceError("only codes of one space and with the same inputs can be joined")
        return replace(
            first,
            values=torch.cat([p.values for p in parts]),
            inputs={k: torch.cat([p.inputs[k] for p in parts]) for k in first.inputs},
        )
