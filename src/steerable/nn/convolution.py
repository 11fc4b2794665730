"""Convolutions as they are fastest on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 20_480  # inputs with no more numbers are never handed to oneDNN by torch


def conv1x1(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution of x [n c h w] with weight [o c 1 1].

    `dilation=2` means nothing for a 1x1 kernel, but with one thread torch then takes oneDNN instead of a matrix product, which on some
    processors is twice as fast (not in float64). The values agree to rounding.
    """
    large = x.numel() > SMALL and x.device.type == "cpu" and x.dtype != torch.float64
    return F.conv2d(x, weight, bias, dilation=2 if large else 1)
