"""Numbers about light, color and sharpness of a whole picture. Nothing is downloaded; gradients pass."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .scorer import Scorer

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


class Statistics(Scorer):
    """Picture statistics, all of the picture's own values scaled to [0, 1] (gamma-coded, as stored); values outside are cut off.

    brightness  mean luma                                 contrast    standard deviation of luma
    saturation  mean of the largest minus the smallest    sharpness   root mean square of what a blur over 1/64 of the width takes away
                of a pixel's three colors                 light-right mean luma of the right half minus that of the left half
    warmth      mean of red minus blue                    tint        mean of green minus the mean of red and blue
    """

    name, version = "statistics", 1
    names = ("brightness", "contrast", "saturation", "warmth", "tint", "sharpness", "light-right")
    units = ("of the full range",) * len(names)
    previews = (64, 64, 64, 64, 64, None, 64)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 7"]:
        color = images.float().clamp(-1, 1) / 2 + 0.5
        red, green, blue = color.unbind(1)
        luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
        half = luma.shape[2] // 2
        mean = luma.mean((1, 2), keepdim=True)
        return torch.stack(
            [
                mean[:, 0, 0],
                root_mean_square(luma - mean),
                (color.amax(1) - color.amin(1)).mean((1, 2)),
                (red - blue).mean((1, 2)),
                (green - (red + blue) / 2).mean((1, 2)),
                root_mean_square(luma - blurred(luma)),
                luma[:, :, -half:].mean((1, 2)) - luma[:, :, :half].mean((1, 2)) if half else luma.new_zeros(len(luma)),
            ],
            1,
        )


def root_mean_square(x: Float[Tensor, "n h w"]) -> Float[Tensor, "n"]:
    """Its gradient is 0, not NaN, where x is 0 throughout."""
    return torch.linalg.vector_norm(x, dim=(1, 2)) / (x.shape[1] * x.shape[2]) ** 0.5


def blurred(luma: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """The mean over a square of about 1/64 of the width, at least 3 pixels; edges are repeated."""
    reach = max(1, round(luma.shape[2] / 128))
    padded = F.pad(luma[:, None], (reach,) * 4, mode="replicate")
    rows = F.avg_pool2d(padded, (2 * reach + 1, 1), stride=1)
    return F.avg_pool2d(rows, (1, 2 * reach + 1), stride=1)[:, 0]
