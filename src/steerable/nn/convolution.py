"""Convolutions as they are fastest on a CPU, and kernels for them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SMALL = 20_480  # inputs with no more numbers are never handed to oneDNN by torch


def conv1x1(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution of x [n c h w] with weight [o c 1 1].

    `dilation=2` means nothing for a 1x1 kernel, but with one thread torch then takes oneDNN instead of a matrix product, which on some
    processors is twice as fast (not in float64). The values agree to rounding.
    """
    large = x.numel() > SMALL and x.device.type == "cpu" and x.dtype != torch.float64
    return F.conv2d(x, weight, bias, dilation=2 if large else 1)


def styled(x: Float[Tensor, "n c h w"], s: Float[Tensor, "n c"]) -> Float[Tensor, "n c h w"]:
    """Every channel of every sample times its style, in the type of x."""
    return x * s[:, :, None, None].to(x.dtype)


def separable(taps: Sequence[float], like: Float[Tensor, "n c h w"]) -> Float[Tensor, "c 1 k k"]:
    """The filter that has `taps` both ways, for each channel of a map."""
    f = torch.tensor(taps, dtype=like.dtype, device=like.device)
    return torch.outer(f, f).expand(like.shape[1], 1, len(f), len(f))


def coarsened(weight: Float[Tensor, "o i 3 3"], scale: float) -> Float[Tensor, "o i 3 3"]:
    """A kernel for a map `scale` < 1 times as large, in its own pixels, that does about the same.

    It keeps its zeroth and second moments: a tap one fine pixel away puts scale² on the coarse neighbor.
    """
    k = scale**2
    m = torch.tensor([[k, 0, 0], [1 - k, 1, 1 - k], [0, 0, k]], dtype=weight.dtype, device=weight.device)
    return m @ weight @ m.T
