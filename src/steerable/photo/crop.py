"""Where in a photograph a generator's picture lies."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..edit import Inversion
from ..errors import ArtifactError, MismatchError, SettingError
from ..record import Record
from ..score.crop import warp

LARGEST = 4.0  # side of a crop, in longer sides of its photograph


@dataclass(frozen=True)
class Crop(Record):
    """A rectangle in a photograph, perhaps turned, and the size in px of the picture cut out of it.

    The crop's pixel (x, y, 1) lies at `matrix` @ (x, y, 1) of the photograph; pixel i covers i … i + 1. `size` and `photo` are (height,
    width) of the crop and of the upright photograph; `points`: the face's five points in the photograph, if it was found by them.
    """

    matrix: Float[Tensor, "2 3"]
    size: tuple[int, int]
    photo: tuple[int, int]
    points: Float[Tensor, "5 2"] | None = None

    def __post_init__(self) -> None:
        if len(self.size) != 2 or len(self.photo) != 2 or min(*self.size, *self.photo) < 1:
            raise ArtifactError(f"a crop has two heights and widths in px; got {self.size} and {self.photo}")
        if not torch.isfinite(self.matrix).all() or abs(float(torch.linalg.det(self.matrix[:, :2]))) < 1e-9:
            raise ArtifactError("the matrix of a crop is finite and can be inverted; this one is not")
        low, high = self.corners.min(0).values, self.corners.max(0).values
        height, width = self.photo
        if bool((high - low > LARGEST * max(self.photo)).any()):
            raise ArtifactError("the crop is far larger than the photograph it is to lie in")
        if bool((high < 0).any()) or low[0] > width or low[1] > height:
            raise ArtifactError("the crop lies outside of its photograph")

    @property
    def corners(self) -> Float[Tensor, "4 2"]:
        """Top left, top right, bottom right, bottom left, in px of the photograph."""
        h, w = self.size
        ends = torch.tensor([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], dtype=torch.float64)
        return ends @ self.matrix.double().T

    @property
    def inverse(self) -> Float[Tensor, "2 3"]:
        """The photograph's pixel (x, y, 1) lies at `inverse` @ (x, y, 1) of the crop."""
        turn = torch.linalg.inv(self.matrix[:, :2].double())
        return torch.cat([turn, -turn @ self.matrix[:, 2:].double()], 1)

    @property
    def side(self) -> float:
        """The square root of its area, in px of the photograph."""
        return float(torch.linalg.det(self.matrix[:, :2].double()).abs() * math.prod(self.size)) ** 0.5

    def check(self, photo: Float[Tensor, "1 3 h w"]) -> None:
        """Raises MismatchError for a photograph of another size."""
        if tuple(photo.shape[-2:]) != self.photo:
            (h, w), (oh, ow) = photo.shape[-2:], self.photo
            raise MismatchError(f"the crop belongs to a photograph of {ow}x{oh} px; this one has {w}x{h} px")

    def cut(self, photo: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 crop_h crop_w"]:
        """The crop, sampled without aliasing.

        What lies outside the photograph is its reflection, which blurs and fades to the median color as FFHQ's does (Karras et al., CVPR
        2019, recreate_datasets). Raises MismatchError for a photograph of another size.
        """
        self.check(photo)
        border = max(round(0.1 * self.side), 3)
        low, high = _box(self.corners, border)
        height, width = self.photo
        x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
        region, matrix = photo[:, :, y0:y1, x0:x1], _shifted(self.matrix, -x0, -y0)
        shrink = int(self.side / max(self.size) / 2)
        if shrink > 1:
            region, matrix = _smaller(region, matrix, shrink)
        over = [max(-low[0], 0), max(high[0] - width, 0), max(-low[1], 0), max(high[1] - height, 0)]
        if max(over) > border - 4:  # the crop itself leaves the photograph, not only its border
            factor = max(shrink, 1)
            pads = [max(math.ceil(o / factor), round(0.3 * self.side / factor)) for o in over]
            region = _surrounded(region, pads, 0.02 * self.side / factor)
            matrix = _shifted(matrix, pads[0], pads[2])
        return sampled(region, matrix, self.size)


@dataclass(frozen=True)
class Portrait(Inversion):
    """An inversion that knows which crop of a photograph it stands for, so that edits can be pasted back."""

    crop: Crop | None = None


def sampled(images: Float[Tensor, "n 3 h w"], matrix: Float[Tensor, "2 3"], size: tuple[int, int]) -> Tensor:
    """[n 3 *size]: the pixels that lie at `matrix` of each picture."""
    side = max(size)
    return warp(images, matrix[None].expand(len(images), 2, 3), side)[:, :, : size[0], : size[1]]


def blurred(images: Float[Tensor, "n c h w"], sigma: float) -> Float[Tensor, "n c h w"]:
    """A Gaussian blur of `sigma` px; a wide one is made on a smaller picture."""
    if sigma < 0.3:
        return images
    h, w = images.shape[-2:]
    factor = max(1, min(int(sigma / 3), h // 4, w // 4))
    small = F.interpolate(images, size=(h // factor, w // factor), mode="area") if factor > 1 else images
    sigma, reach = sigma / factor, math.ceil(3 * sigma / factor)
    taps = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-taps.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    n, c = small.shape[:2]
    rows = small.reshape(n * c, 1, *small.shape[-2:])
    rows = F.conv2d(F.pad(rows, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    rows = F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    smooth = rows.view(n, c, *small.shape[-2:])
    return F.interpolate(smooth, size=(h, w), mode="bilinear", align_corners=False) if factor > 1 else smooth


def square(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a crop. Raises SettingError for less than a pixel."""
    h, w = (size, size) if isinstance(size, int) else size
    if min(h, w) < 1:
        raise SettingError(f"a crop has a size of at least 1 px; got {size}")
    return h, w


def _box(corners: Tensor, border: int) -> tuple[tuple[int, int], tuple[int, int]]:
    low = [math.floor(v) - border for v in corners.min(0).values.tolist()]
    high = [math.ceil(v) + border for v in corners.max(0).values.tolist()]
    return (low[0], low[1]), (high[0], high[1])


def _shifted(matrix: Tensor, x: float, y: float) -> Tensor:
    return torch.cat([matrix[:, :2], matrix[:, 2:] + torch.tensor([[x], [y]], dtype=matrix.dtype)], 1)


def _smaller(region: Tensor, matrix: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    h, w = (max(1, side // factor) for side in region.shape[-2:])
    scale = torch.tensor([[w / region.shape[-1]], [h / region.shape[-2]]], dtype=matrix.dtype)
    return F.interpolate(region, size=(h, w), mode="bilinear", antialias=True, align_corners=False), matrix * scale


def _surrounded(region: Tensor, pads: list[int], sigma: float) -> Tensor:
    """The picture with its reflection around it (left, right, top, bottom px), the more blurred and faded the farther out."""
    h, w = region.shape[-2:]
    left, right, top, bottom = pads
    wide = region[:, :, _mirrored(h, top, bottom)][:, :, :, _mirrored(w, left, right)]
    x, y = torch.arange(w + left + right), torch.arange(h + top + bottom)
    across = 1 - torch.minimum(x / left, (len(x) - 1 - x) / right)
    down = 1 - torch.minimum(y / top, (len(y) - 1 - y) / bottom)
    out = torch.maximum(across[None, :], down[:, None])[None, None].to(region)
    wide = wide + (blurred(wide, sigma) - wide) * (out * 3 + 1).clamp(0, 1)
    middle = wide.flatten(2).median(2).values[:, :, None, None]
    return wide + (middle - wide) * out.clamp(0, 1)


def _mirrored(side: int, before: int, after: int) -> Tensor:
    """Indices of a reflection (edges not repeated) of any length."""
    if side == 1:
        return torch.zeros(before + 1 + after, dtype=torch.long)
    at = torch.arange(-before, side + after) % (2 * side - 2)
    return torch.where(at < side, at, 2 * side - 2 - at)
