"""An edited face back into its photograph, at the photograph's own resolution, without a seam."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from .crop import Crop, blurred, sampled

PASTED = (0.01, 0.05)  # change of a color, in [-1, 1], up to which nothing is pasted, and from which on all is
REDRAWN = (0.06, 0.25)  # change up to which the photograph's own detail is kept, and from which on the generator's is
GROWN = 0.015  # blur of what counts as changed, in crop widths
TONE = 0.03  # blur of the difference in color between photograph and inversion, in crop widths


def paste(
    photo: Float[Tensor, "1 3 h w"],
    crop: Crop,
    edited: Float[Tensor, "1 3 crop_h crop_w"],
    *,
    plain: Float[Tensor, "1 3 crop_h crop_w"] | None = None,
    feather: float = 0.08,
) -> Float[Tensor, "1 3 h w"]:
    """The photograph with what the edit changed.

    `plain` is the inversion's picture without the edit; only where `edited` differs from it does the photograph change, and an edit that
    does nothing leaves it as it is, bit by bit. Without `plain`, the photograph itself is what is compared with. What the inversion missed
    is put back: color everywhere, detail (freckles, grain) where the edit changes little, but not where it draws another shape. At the
    crop's rim everything fades out over `feather` crop widths.
    Raises MismatchError for a photograph of another size, SettingError for pictures of another size than the crop.
    """
    crop.check(photo)
    for picture in (edited, edited if plain is None else plain):
        if tuple(picture.shape[-2:]) != crop.size:
            (h, w), (oh, ow) = picture.shape[-2:], crop.size
            raise SettingError(f"the crop has {ow}x{oh} px, the picture to paste {w}x{h}; render it at full size")
    if not 0 <= feather <= 0.5:
        raise SettingError(f"feather is a share of the crop's width from 0 to 0.5; got {feather}")
    seen = crop.cut(photo)
    plain = seen if plain is None else plain.to(seen)
    width = crop.size[1]
    edited = edited.to(seen)
    change = blurred((edited - plain).abs().amax(1, keepdim=True), GROWN * width)
    missed = seen - plain
    tone = blurred(missed, TONE * width)
    matched = (edited + torch.lerp(missed, tone, _ramp(change, *REDRAWN))).clamp(-1, 1)
    return _laid(photo, crop, matched, _ramp(change, *PASTED) * _rim(crop.size, feather).to(seen))


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, smooth between."""
    share = ((x - low) / (high - low)).clamp(0, 1)
    return share.square() * (3 - 2 * share)


def _rim(size: tuple[int, int], feather: float) -> Float[Tensor, "1 1 h w"]:
    """1 inside, falling to 0 at the edges."""
    sides = []
    for side in size:
        at = torch.arange(side, dtype=torch.float32) + 0.5
        reach = max(feather * size[1], 1.0)
        sides.append(_ramp(torch.minimum(at, side - at), 0.5, reach + 0.5))
    return (sides[0][:, None] * sides[1][None, :])[None, None]


def _laid(photo: Tensor, crop: Crop, picture: Tensor, weight: Tensor) -> Tensor:
    """`picture` over the photograph in px of the photograph, by `weight`."""
    height, width = crop.photo
    low, high = crop.corners.min(0).values.floor().int(), crop.corners.max(0).values.ceil().int()
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
    back = crop.inverse.clone()
    back[:, 2] += back[:, :2] @ torch.tensor([x0, y0], dtype=back.dtype)
    both = sampled(torch.cat([picture, weight.expand_as(picture)]), back, (y1 - y0, x1 - x0))
    out = photo.clone()
    out[:, :, y0:y1, x0:x1] = torch.lerp(photo[:, :, y0:y1, x0:x1], both[:1], both[1:])
    return out
