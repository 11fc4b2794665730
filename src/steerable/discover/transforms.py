"""What a person would do to a picture, with the part of it that is then known: targets of self-supervised walks.

Amounts α are those of Jahanian, Chai & Isola (ICLR 2020): 0 changes nothing.

zoom              logarithm of how much larger things get           rotate              share of 45 degrees, counterclockwise
shift-x, shift-y  share of the picture, to the right and down       brightness          added to all colors, which run from -1 to 1
red, green, blue  added to that color                               lightness, a, b     added to that channel of CIE Lab, in hundreds
blur              share of the way to the picture blurred by 1/32 of its width; the other way sharpens
"""

import math
from collections.abc import Sequence

import kornia
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import UnknownName

REACH = {  # the largest α that is tried
    "zoom": math.log(4),
    "shift-x": 0.5,
    "shift-y": 0.5,
    "rotate": 1.0,
    "brightness": 0.5,
    "red": 0.5,
    "green": 0.5,
    "blue": 0.5,
    "lightness": 0.5,
    "a": 0.5,
    "b": 0.5,
    "blur": 1.0,
}
GEOMETRIC, CHANNELS, LAB = ("zoom", "shift-x", "shift-y", "rotate"), ("red", "green", "blue"), ("lightness", "a", "b")


def listed(spec: str) -> tuple[str, ...]:
    """The transformations that a list such as "zoom,red" names. Raises UnknownName."""
    names = tuple(dict.fromkeys(name.strip() for name in spec.split(",") if name.strip()))
    for name in names or (spec,):
        if name not in REACH:
            raise UnknownName("transformation", name, REACH)
    return names


def spaced(name: str, even: Float[Tensor, " n"], reach: float = 1.0) -> Float[Tensor, " n"]:
    """Amounts α from numbers in [-1, 1]: even, but for zoom, whose factor is even below and above 1."""
    most = REACH[name] * reach
    if name != "zoom":
        return most * even
    grown = torch.where(even > 0, math.exp(most) - 1, 1 - math.exp(-most))
    return (1 + grown * even).log()


@torch.no_grad()
def changed(
    name: str, images: Float[Tensor, "n 3 h w"], amount: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 1 h w"]]:
    """The pictures after the transformation, and a mask: 1 where they are known, 0 for what came from beyond the frame."""
    known = torch.ones_like(images[:, :1])
    alpha = amount[:, None, None, None]
    if name in GEOMETRIC:
        return warped(name, images, amount)
    if name == "brightness":
        return (images + alpha).clamp(-1, 1), known
    if name in CHANNELS:
        return (images + alpha * _one(images, CHANNELS.index(name))).clamp(-1, 1), known
    if name in LAB:
        lab = kornia.color.rgb_to_lab(images.clamp(-1, 1) / 2 + 0.5) + 100 * alpha * _one(images, LAB.index(name))
        return kornia.color.lab_to_rgb(lab) * 2 - 1, known
    return torch.lerp(images, blurred(images, images.shape[-1] / 32), alpha), known


def blurred(images: Float[Tensor, "n c h w"], sigma: float) -> Float[Tensor, "n c h w"]:
    """A Gaussian blur of `sigma` px; edges are mirrored."""
    reach = min(math.ceil(3 * sigma), min(images.shape[-2:]) - 1)
    side = 2 * reach + 1
    return kornia.filters.gaussian_blur2d(images, (side, side), (sigma, sigma))


def _one(images: Tensor, channel: int) -> Tensor:
    return F.one_hot(torch.tensor(channel), 3).to(images)[:, None, None]


def warped(
    name: str, images: Float[Tensor, "n c h w"], amount: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n 1 h w"]]:
    """One of the geometric transformations, by bilinear interpolation, and where its sources lie within the frame; edges are repeated."""
    h, w = images.shape[-2:]
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)
    angle = amount * math.pi / 4
    rows: Sequence[Tensor] = {
        "zoom": lambda: ((-amount).exp(), zero, zero, zero, (-amount).exp(), zero),
        "shift-x": lambda: (one, zero, -2 * amount, zero, one, zero),
        "shift-y": lambda: (one, zero, zero, zero, one, -2 * amount),
        "rotate": lambda: (angle.cos(), -angle.sin() * h / w, zero, angle.sin() * w / h, angle.cos(), zero),
    }[name]()
    theta = torch.stack(rows, 1).reshape(-1, 2, 3)
    where = F.affine_grid(theta, [len(images), 1, h, w], align_corners=False)
    inside = (where.abs() <= 1 + 1e-6).all(-1)[:, None].to(images)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False), inside
