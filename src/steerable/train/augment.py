"""Adaptive discriminator augmentation: both kinds of pictures are changed alike, the more often the more the critic has learned by heart.

Paper    Karras, Aittala, Hellsten, Laine, Lehtinen, Aila, Training Generative Adversarial Networks with Limited Data, NeurIPS 2020
         (arXiv:2006.06676)
Matches  the probability p, moved towards E[sign(D(real))] = 0.6 (section 3.1); geometry and color of the set "bgc"
Differs  one bilinear resampling for all geometry, without the wavelet filter; no rotations by 90 degrees, no hue
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .. import workers

TARGET = 0.6
SPEED = 500_000  # images in which p could go from 0 to 1


class Augment(nn.Module):
    """Changes pictures, each kind of change with probability p."""

    p: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.zeros(()))

    def adapt(self, scores: Float[Tensor, " n"], images: int) -> None:
        """A step of p after `images` more real pictures, by the critic's scores of these; the mean is taken over all processes."""
        sums = workers.total(torch.stack([scores.detach().sign().sum(), torch.tensor(float(len(scores))).to(scores)]))
        self.p.add_(torch.sign(sums[0] / sums[1] - TARGET).to(self.p) * images / SPEED).clamp_(0, 1)

    def forward(self, images: Float[Tensor, "n 3 h w"], source: torch.Generator) -> Float[Tensor, "n 3 h w"]:
        if float(self.p) == 0:
            return images
        n = len(images)

        def some(values: Tensor, plain: float) -> Tensor:
            chosen = torch.rand(n, generator=source) < float(self.p)
            return torch.where(chosen, values, torch.full((n,), plain)).to(images)

        def normal(size: float) -> Tensor:
            return torch.randn(n, generator=source) * size

        def uniform(size: float) -> Tensor:
            return (torch.rand(n, generator=source) * 2 - 1) * size

        flip = some(torch.where(uniform(1) < 0, -1.0, 1.0), 1.0)
        scale, angle = some(normal(0.2 * math.log(2)).exp(), 1.0), some(uniform(math.pi / 6), 0.0)
        x, y = some(uniform(0.25), 0.0), some(uniform(0.25), 0.0)
        cos, sin = angle.cos() / scale, angle.sin() / scale
        grid = torch.stack([torch.stack([cos * flip, sin, x], 1), torch.stack([-sin * flip, cos, y], 1)], 1)
        where = F.affine_grid(grid, list(images.shape), align_corners=False)
        images = F.grid_sample(images, where, mode="bilinear", padding_mode="reflection", align_corners=False)
        light, contrast, saturation = (
            some(v, plain)[:, None, None, None]
            for v, plain in (
                (normal(0.2), 0.0),
                (normal(0.5 * math.log(2)).exp(), 1.0),
                (normal(math.log(2)).exp(), 1.0),
            )
        )
        images = (images + light) * contrast
        gray = images.mean(1, keepdim=True)
        return gray + (images - gray) * saturation
