"""What a person asks for: a place in the picture, as a box, a painted mask, or a name that a segmenter knows."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SettingError
from .images import read_images
from .record import Record
from .render import resized


@dataclass(frozen=True)
class Box(Record):
    """A rectangle in shares of the picture: x from the left edge, y from the top, both 0 to 1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 <= 1 and 0 <= self.y0 < self.y1 <= 1):
            raise SettingError(
                f"a box is left,top,right,bottom in shares of the picture, such as 0.3,0.6,0.7,0.8; "
                f"got {self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g}"
            )

    def mask(self, h: int, w: int) -> Float[Tensor, "1 1 h w"]:
        """The share of each pixel that lies inside."""
        side = lambda n, a, b: (torch.arange(1, n + 1).clamp(max=b * n) - torch.arange(n).clamp(min=a * n)).clamp(0, 1)
        return (side(h, self.y0, self.y1)[:, None] * side(w, self.x0, self.x1))[None, None]


@dataclass(frozen=True)
class Mask(Record):
    """A painted region: 1 where something is wanted, in picture coordinates, of any size."""

    values: Float[Tensor, "1 1 h w"]

    def __post_init__(self) -> None:
        if not (torch.isfinite(self.values).all() and self.values.min() >= 0 and self.values.max() <= 1):
            raise SettingError("a mask has values from 0 (elsewhere) to 1 (inside)")

    def mask(self, h: int, w: int) -> Float[Tensor, "1 1 h w"]:
        return resized(self.values, (h, w))


@dataclass(frozen=True)
class Named(Record):
    """One or several regions that a segmenter finds in each picture, such as "mouth" or "left-eye+right-eye"."""

    names: tuple[str, ...]


def region(spec: str) -> Box | Mask | Named:
    """The region that is meant: "0.3,0.6,0.7,0.8" (left, top, right, bottom), a picture file (white is inside), or names.

    Raises SettingError for what is none of these, SourceError or ArtifactError for a file that cannot be read.
    """
    spec = spec.strip()
    parts = [part.strip() for part in spec.split(",")]
    if Path(spec).suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".bmp"):
        painted = (read_images(spec).mean(1, keepdim=True)[:1] + 1) / 2
        return Mask(painted.clamp(0, 1))
    if len(parts) == 4:
        try:
            return Box(*(float(part) for part in parts))
        except ValueError as error:
            if isinstance(error, SettingError):
                raise
            raise SettingError(f"a box is four numbers, such as 0.3,0.6,0.7,0.8; got {spec!r}") from error
    names = tuple(part.strip() for part in spec.split("+"))
    if not all(names) or "," in spec:
        raise SettingError(
            f"region={spec!r} is no region; give left,top,right,bottom in shares (0.3,0.6,0.7,0.8), a picture file, or a name "
            "such as mouth or left-eye+right-eye"
        )
    return Named(names)
