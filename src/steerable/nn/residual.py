"""What residual generators are made of beside convolutions.

Paper    Ioffe, Szegedy, Batch Normalization, ICML 2015; Zhang, Goodfellow, Metaxas, Odena, Self-Attention Generative Adversarial
         Networks, ICML 2019 (arXiv:1805.08318)
Matches  normalization by stored statistics; attention as in the authors' code: keys and values are pooled, values have half the width
Differs  normalization, its gain and bias, and the ReLU after it are one multiplication and one sum: relu(scale · x + shift)

Maps are [n c h w]. Nothing here normalizes by the batch: a picture does not depend on its neighbors.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .convolution import conv1x1


class Norm(nn.Module):
    """Batch normalization with stored statistics, then a gain and a bias from outside, then ReLU.

    `mean` and `var` have one row for each of `levels` truncations, the first for 0, the last for 1.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, levels: int, epsilon: float):
        super().__init__()
        self.register_buffer("mean", torch.zeros(levels, channels))
        self.register_buffer("var", torch.ones(levels, channels))
        self.epsilon = epsilon

    def statistics(self, truncation: Float[Tensor, " n"] | None) -> tuple[Float[Tensor, "m c"], Float[Tensor, "m c"]]:
        """Mean and variance, of the highest level where no truncation is given; linear between levels."""
        count = len(self.mean)
        if truncation is None or count == 1:
            return self.mean[-1:], self.var[-1:]
        at = truncation.to(self.mean).clamp(0, 1) * (count - 1)
        low = at.detach().floor().clamp(max=count - 2).long()
        share = (at - low)[:, None]
        return torch.lerp(self.mean[low], self.mean[low + 1], share), torch.lerp(
            self.var[low], self.var[low + 1], share
        )

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        gain: Float[Tensor, "m c"],
        bias: Float[Tensor, "m c"],
        truncation: Float[Tensor, " n"] | None,
        grad: bool,
    ) -> Float[Tensor, "n c h w"]:
        """relu(gain · (x - mean) / sqrt(var + epsilon) + bias), for each sample or for all alike (m is n or 1)."""
        mean, var = self.statistics(truncation)
        scale = gain * (var + self.epsilon).rsqrt()
        shift = bias - mean * scale
        y = torch.addcmul(shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype))
        return F.relu(y) if grad else F.relu_(y)


class Attention(nn.Module):
    """x + gamma · o(values weighted by softmax of queries and keys), with 1x1 convolutions, keys and values pooled 2x2."""

    def __init__(self, channels: int):
        super().__init__()
        narrow, half = channels // 8, channels // 2
        self.theta, self.phi = (nn.Parameter(torch.empty(narrow, channels, 1, 1)) for _ in range(2))
        self.g, self.o = (nn.Parameter(torch.empty(o, i, 1, 1)) for o, i in ((half, channels), (channels, half)))
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        theta, phi, g, o = (w.to(x.dtype) for w in (self.theta, self.phi, self.g, self.o))
        queries = conv1x1(x, theta).flatten(2)  # [n c/8 hw]
        keys = F.max_pool2d(conv1x1(x, phi), 2).flatten(2)
        values = F.max_pool2d(conv1x1(x, g), 2).flatten(2)
        weights = (queries.transpose(1, 2) @ keys).softmax(-1)  # [n hw hw/4]
        attended = (values @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return torch.addcmul(x, conv1x1(attended, o), self.gamma.to(x.dtype))


def doubled(x: Float[Tensor, "n c h w"], linear: bool = False) -> Float[Tensor, "n c h2 w2"]:
    """A map at twice its size: nearest neighbors, or linear between pixel centers."""
    if linear:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return F.interpolate(x, scale_factor=2.0)
