"""Haar transforms, and convolutions whose styles scale what comes in.

Paper    Belousov, MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis, 2021, arXiv:2104.04767
Matches  modulated depthwise and pointwise convolutions, the inverse Haar transform
Differs  channels in front of a Haar transform are sorted by band, and it makes twice what an orthogonal one does; without demodulation

Maps are [n c h w], styles s [n c].
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .convolution import conv1x1, styled


def depthwise(x: Tensor, kernel: Tensor, s: Tensor) -> Tensor:
    """The 3x3 convolution of x·s, channel by channel. For one sample s goes into the kernels, which are smaller than maps."""
    if len(x) == 1:
        return F.conv2d(x, (kernel * s[0, :, None, None, None]).to(x.dtype), padding=1, groups=len(kernel))
    return F.conv2d(styled(x, s), kernel.to(x.dtype), padding=1, groups=len(kernel))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, s: Tensor) -> Tensor:
    """The 1x1 convolution of x·s, likewise."""
    if len(x) == 1:
        return conv1x1(x, weight * s[0, :, None, None].to(weight.dtype), bias)
    return conv1x1(styled(x, s), weight, bias)


def haar_up(x: Float[Tensor, "n bands h w"]) -> Float[Tensor, "n c y x"]:
    """Twice the inverse Haar transform of channels sorted ll | h | v | d."""
    n, c, h, w = x.shape
    a, b = x.permute(0, 2, 3, 1).reshape(n, h, w, 2, c // 2).unbind(3)
    a, b = torch.stack([a + b, a - b], 2).view(n, 2 * h, w, 2, c // 4).unbind(3)
    return torch.stack([a + b, a - b], 3).view(n, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def haar_up_(x: Float[Tensor, "1 bands h w"], s: Float[Tensor, "1 bands"]) -> Float[Tensor, "1 c y x"]:
    """haar_up(x·s), channels last, without gradients: each sum is written to its place at once."""
    _, c, h, w = x.shape
    a, b = styled(x, s).permute(0, 2, 3, 1).view(h, w, 2, c // 2).unbind(2)
    t, y = x.new_empty(h, 2, w, c // 2), x.new_empty(2 * h, w, 2, c // 4)
    torch.add(a, b, out=t[:, 0])
    torch.sub(a, b, out=t[:, 1])
    a, b = t.view(2 * h, w, 2, c // 4).unbind(2)
    torch.add(a, b, out=y[:, :, 0])
    torch.sub(a, b, out=y[:, :, 1])
    return y.view(1, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def pixels(y: Float[Tensor, "n 12 h w"]) -> Float[Tensor, "n h 2 w 2 3"]:
    """A view of the last layer's numbers, row by row of the picture."""
    return y.permute(0, 2, 3, 1).unflatten(3, (2, 2, 3)).permute(0, 1, 3, 2, 4, 5)


def interleaved(y: Float[Tensor, "n 12 h w"]) -> Float[Tensor, "n 3 y x"]:
    n, _, h, w = y.shape
    return pixels(y).reshape(n, 2 * h, 2 * w, 3).permute(0, 3, 1, 2)
