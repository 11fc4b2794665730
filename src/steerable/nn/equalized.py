"""Layers whose weights are stored with unit variance and multiplied by a gain at run time, so that all learn at one rate.

Paper    Karras, Aila, Laine, Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
         (arXiv:1710.10196), sections 4.1 and 4.2
Matches  equalized learning rate, pixelwise normalization, nearest-neighbor up-sampling
Differs  up-sampling and the 3x3 convolution after it are one transposed 4x4 convolution, other large ones take fewer multiplications
         (winograd.py)
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from . import winograd
from .convolution import coarsened, conv1x1
from .stylegan_ops import EPSILON, NHWC
from .tabled import Tabled, fixed


class Linear(nn.Module):
    """y = x (gain · weight)ᵀ + lr · bias; the gain that is usual is lr / √into."""

    def __init__(self, into: int, out: int, lr: float = 1.0, gain: float | None = None):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(out, into)), nn.Parameter(torch.empty(out))
        self.lr, self.gain = lr, lr / math.sqrt(into) if gain is None else gain

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        return torch.addmm(self.bias, x, self.weight.T, beta=self.lr, alpha=self.gain)


class Conv(Tabled):
    """A 3x3 (or 1x1) convolution with equalized learning rate; `up`: of the map at twice its size."""

    def __init__(
        self, into: int, out: int, kernel: int = 3, up: bool = False, gain: float = math.sqrt(2), biased: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out)) if biased else None
        self.up, self.gain = up, gain / math.sqrt(into * kernel * kernel)

    def forward(
        self, x: Float[Tensor, "n i h w"], grad: bool, bias: Float[Tensor, " o"] | None = None
    ) -> Float[Tensor, "n o y x"]:
        """`bias` takes the place of one of its own, where it has none. With `grad` differentiable in every mode."""
        weight, bias = self.weight, bias if self.bias is None else self.bias
        bias, k = None if bias is None else bias.to(x.dtype), weight.shape[-1]
        if x.device.type == "cpu" and k == 3 and not self.up and fixed(weight) and winograd.suits(x, weight):
            y = self.quick(x * self.gain, weight, grad)
            if bias is None:
                return y
            return y + bias[:, None, None] if grad else y.add_(bias[:, None, None])
        weight = self.table("spread", weight, spread) if self.up else self.table("laid", weight, laid)
        if x.numel() < weight.numel():
            x = x * self.gain
        else:
            weight = weight * self.gain
        weight = weight.to(x.dtype)
        if self.up:
            return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        return conv1x1(x, weight, bias) if k == 1 else F.conv2d(x, weight, bias, padding=1)

    def coarse(self, x: Float[Tensor, "n i h w"], scale: float) -> Float[Tensor, "n o h w"]:
        """The convolution on a map `scale` < 1 times as large."""
        return F.conv2d(x, (coarsened(self.weight, scale) * self.gain).to(x.dtype), self.bias, padding=1)


def laid(weight: Float[Tensor, "o i h w"]) -> Float[Tensor, "o i h w"]:
    """The weight with its channels last in memory, which is fastest."""
    return weight.contiguous(memory_format=NHWC)


def spread(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "i o 4 4"]:
    """The kernel whose transposed convolution with stride 2 is nearest-neighbor up-sampling and then a convolution with `weight`."""
    w = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
    w = w[:, :, 1:] + w[:, :, :-1]
    return (w[..., 1:] + w[..., :-1]).transpose(0, 1).contiguous(memory_format=NHWC)


def normalized(x: Tensor, grad: bool = True) -> Tensor:
    """Pixelwise feature vector normalization (section 4.2), of unit mean square over channels."""
    if grad:
        return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    square = torch.linalg.vector_norm(
        x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)
    ).square_()
    return x.mul_(square.div_(x.shape[1]).add_(EPSILON).rsqrt_())
