"""What judges pictures: scorers (numbers) and segmenters (masks), and how they are joined."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, UnknownName


class Scorer(ABC):
    """Pictures in, `a` numbers for each out.

    `names` are the columns and `units` what each counts ("degrees", "years", "logit" …). A number that could not be read, because no
    face was found, is NaN, never 0. `key` changes whenever the numbers could: it holds name, version and a hash of the weights.
    `previews` tells, for each column, from which size in pixels on a coarse preview may be read instead of the full picture: there the
    two were seen to correlate at .95 or more over 60 faces of ffhq-1024 (truncation 0.8). None, or nothing at all: not shown.
    """

    name: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    version: int = 1
    previews: tuple[int | None, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}"

    @abstractmethod
    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        """The scores of pictures that were already checked."""

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        """Scores of pictures in [-1, 1], on their device. Raises SettingError if they are not pictures."""
        scores = self.read(checked(images))
        if tuple(scores.shape) != (len(images), len(self.names)):
            want = (len(images), len(self.names))
            raise SettingError(
                f"scorer {self.name!r} gave shape {tuple(scores.shape)}, {want} was expected: one row a picture, one column a name"
            )
        return scores.to(images.device)

    @property
    def preview(self) -> int | None:
        """The least size at which all columns may be read on previews; None if one of them was not shown to."""
        return max((s for s in self.previews if s is not None), default=None) if None not in self.previews else None

    def __getitem__(self, name: str) -> "Scorer":
        """One column as a scorer. Raises UnknownName."""
        if name not in self.names:
            raise UnknownName("score", name, self.names)
        return self if len(self.names) == 1 else Column(self, name)

    def __repr__(self) -> str:
        return f"<scorer {self.name}: {', '.join(f'{n} ({u})' for n, u in zip(self.names, self.units, strict=True))}>"


class Segmenter(ABC):
    """Pictures in, `a` masks in [0, 1] for each out, in picture coordinates. Where no face was found a mask is NaN, never 0."""

    name: str
    names: tuple[str, ...]
    version: int = 1
    previews: tuple[int | None, ...] = ()  # as of its areas, see Scorer

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}"

    @abstractmethod
    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a h w"]:
        """The masks of pictures that were already checked."""

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a h w"]:
        """Masks of pictures in [-1, 1], on their device. Raises SettingError if they are not pictures."""
        return self.read(checked(images)).to(images.device)


class Area(Scorer):
    """How much of the picture each region of a segmenter covers."""

    def __init__(self, segmenter: Segmenter):
        self.segmenter, self.version, self.previews = segmenter, segmenter.version, segmenter.previews
        self.name, self.names = f"area of {segmenter.name}", segmenter.names
        self.units = ("fraction of the picture",) * len(self.names)

    @property
    def key(self) -> str:
        return f"area({self.segmenter.key})"

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        return self.segmenter(images).mean((2, 3))


class Column(Scorer):
    """One column of another scorer."""

    def __init__(self, whole: Scorer, name: str):
        self.whole, self.at = whole, whole.names.index(name)
        self.name, self.names, self.units = name, (name,), (whole.units[self.at],)
        self.previews = whole.previews[self.at : self.at + 1]

    @property
    def key(self) -> str:
        return f"{self.whole.key}[{self.name}]"

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1"]:
        return self.whole(images)[:, self.at : self.at + 1]


class Joined(Scorer):
    """The columns of several scorers side by side."""

    def __init__(self, parts: Sequence[Scorer]):
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self.names = tuple(name for part in parts for name in part.names)
        self.units = tuple(unit for part in parts for unit in part.units)
        self.previews = tuple(size for part in parts for size in part.previews or (None,) * len(part.names))
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise SettingError(
                f"{self.name}: several of these scorers give {', '.join(twice)}; join scorers with different columns"
            )

    @property
    def key(self) -> str:
        return "+".join(part.key for part in self.parts)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        return torch.cat([part(images) for part in self.parts], 1)


class Called(Scorer):
    """Any function from pictures [n 3 h w] to [n] or [n a]. Its attributes `name`, `names`, `units` and `key` are taken where it has them.

    Without a `key` of its own its scores are cached for this process only: two functions of one name are not the same function.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        told: Any = function
        self.function = function
        self.name = str(getattr(told, "name", None) or getattr(told, "__name__", type(told).__name__))
        self.names = tuple(getattr(told, "names", ("score",)))
        self.units = tuple(getattr(told, "units", ("unknown",) * len(self.names)))
        self._key = str(getattr(told, "key", None) or f"{self.name}@{uuid4().hex}")

    @property
    def key(self) -> str:
        return self._key

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        scores = self.function(images)
        if not isinstance(scores, Tensor):
            raise SettingError(
                f"scorer {self.name!r} gave a {type(scores).__name__}; a tensor [n] or [n, a] is expected"
            )
        return scores[:, None] if scores.dim() == 1 else scores


def checked(images: object) -> Tensor:
    """`images`, if they are pictures. Raises SettingError."""
    if not isinstance(images, Tensor) or images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        got = f"{tuple(images.shape)} of {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise SettingError(f"pictures are a float tensor [n, 3, h, w] in [-1, 1]; got {got}")
    return images
