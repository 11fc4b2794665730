"""StyleGAN2's convolutions in the forms that are fast on a CPU.

Paper    Karras, Laine, Aittala, Hellsten, Lehtinen, Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 2.2
         (arXiv:1912.04958); the filter is that of Karras et al., A Style-Based Generator Architecture, CVPR 2019
Matches  modulation (eq. 1), demodulation (eq. 3), up-sampling by a transposed convolution and the FIR filter [1 3 3 1]
Differs  the product of style, weight and demodulation is never made for a whole batch. `scaled`: styles multiply what comes in,
         demodulation what goes out, one weight serves all samples, every operation is differentiable in every mode. `folded`: both
         multiply the weight, sample by sample, which is less work where maps are large. Demodulation needs no modulated weight either:
         Σ_ik (s_i w_oik)² = Σ_i s_i² (Σ_k w_oik²), a matrix product. Gains of the activation live in demodulation, bias and noise

Maps are [n c h w], in memory channels last. Weights are [o i 3 3], styles s [n i], demodulation with gain d [n o], bias with gain [o],
noise with gain [n 1 h w] or [1 1 h w].
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .convolution import separable, styled

NHWC = torch.channels_last
SLOPE = 0.2
EPSILON = 1e-8


def demodulation(s: Float[Tensor, "n i"], power: Float[Tensor, "o i"]) -> Float[Tensor, "n o"]:
    """Eq. 3 from `power`, the sum of a weight's squares over its kernel."""
    return (s.square() @ power.T + EPSILON).rsqrt()


def power(weight: Float[Tensor, "o i k k"]) -> Float[Tensor, "o i"]:
    return weight.square().sum((2, 3))


def laid(weight: Float[Tensor, "o i 3 3"], up: bool, dtype: torch.dtype) -> Float[Tensor, "o i 3 3"]:
    """The weight in the order of memory in which `convolved` reads it; itself if it is so already."""
    weight = weight.to(dtype)
    if up:
        return weight.transpose(0, 1).contiguous(memory_format=NHWC).transpose(0, 1)
    return weight.contiguous(memory_format=NHWC)


def folds(o: int, i: int, before: int, after: int) -> bool:
    """Is `folded` less work than `scaled`? It passes over the weight, the other over the pixels `before` and `after` the convolution."""
    return 2 * o * i * 9 < i * before + o * after


def scaled(
    x: Float[Tensor, "n i h w"],
    s: Float[Tensor, "n i"],
    weight: Float[Tensor, "o i 3 3"],
    d: Float[Tensor, "n o"],
    bias: Float[Tensor, " o"],
    noise: Float[Tensor, "m 1 y x"] | None,
    up: bool,
    grad: bool,
) -> Float[Tensor, "n o y x"]:
    """A styled convolution: leaky ReLU (d · conv(s · x) + bias + noise). With `grad`, nothing is done in place."""
    return ended(convolved(styled(x, s), weight, up), d, bias, noise, grad)


def folded(
    x: Float[Tensor, "n i h w"],
    s: Float[Tensor, "n i"],
    weight: Float[Tensor, "o i 3 3"],
    d: Float[Tensor, "n o"],
    bias: Float[Tensor, " o"],
    noise: Float[Tensor, "m 1 y x"] | None,
    up: bool,
) -> Float[Tensor, "n o y x"]:
    """The same, with s and d in the weight; without gradients."""
    ys = []
    for k in range(len(x)):
        own = (weight * (d[k, :, None] * s[k])[:, :, None, None]).to(x.dtype)
        y = convolved(x[k : k + 1], own, up, bias.to(x.dtype))
        ys.append(_activated(y, noise if noise is None or len(noise) == 1 else noise[k : k + 1]))
    return ys[0] if len(ys) == 1 else torch.cat(ys)


def ended(y: Tensor, d: Tensor, bias: Tensor, noise: Tensor | None, grad: bool) -> Tensor:
    """What follows the convolution; y is overwritten unless `grad`."""
    d, bias = d[:, :, None, None].to(y.dtype), bias[None, :, None, None].to(y.dtype)
    if grad:
        y = torch.addcmul(bias, y, d)
        return F.leaky_relu(y if noise is None else y + noise.to(y.dtype), SLOPE)
    return _activated(torch.addcmul(bias, y, d, out=y), noise)


def _activated(y: Tensor, noise: Tensor | None) -> Tensor:
    return F.leaky_relu_(y if noise is None else y.add_(noise.to(y.dtype)), SLOPE)


def convolved(x: Tensor, weight: Tensor, up: bool, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution; `up`: of the map with zeros between its pixels, then the filter, whose margin is part of the operation."""
    if not up:
        return F.conv2d(x, weight, bias, padding=1)
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return F.conv2d(y, _filter(y), bias, padding=1, groups=y.shape[1])


def upsampled(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """A picture at twice its size, by the filter alone."""
    return F.conv_transpose2d(x, _filter(x), stride=2, padding=1, groups=x.shape[1])


def _filter(like: Tensor) -> Tensor:
    """[1 3 3 1] both ways, for each channel; it keeps means when three of four pixels are zeros."""
    return separable((0.25, 0.75, 0.75, 0.25), like)


def to_rgb(
    x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"], weight: Float[Tensor, "rgb i"], bias: Float[Tensor, " rgb"]
) -> Float[Tensor, "n rgb h w"]:
    """A modulated 1x1 convolution without demodulation, in the type of s. So few colors are fastest as a matrix product."""
    y = x.permute(0, 2, 3, 1).flatten(1, 2) @ (weight * s[:, None]).mT.to(x.dtype)
    return (y.to(s.dtype) + bias).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
