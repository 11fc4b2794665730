"""The residual discriminator of StyleGAN2.

Paper: Karras et al., CVPR 2020, arXiv:1912.04958, §4.1; minibatch standard deviation: Karras et al., ICLR 2018, arXiv:1710.10196, §3.
Differs: the skip path is downsampled by plain means, which is much faster in bfloat16 on CPUs.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..generators.stylegan2 import Linear
from ..nn.stylegan_ops import SLOPE

GAIN = math.sqrt(2)  # of a leaky ReLU
HALF = math.sqrt(0.5)  # so that the sum of the two paths keeps its size
GROUP = 8  # pictures whose spread is one statistic


class Convolution(nn.Module):
    """A 3x3 convolution, leaky ReLU; with `down`, half the size through the [1 3 3 1] filter."""

    def __init__(self, into: int, out: int, *, size: int = 3, down: bool = False, gain: float = 1.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(out, into, size, size)), nn.Parameter(torch.empty(out))
        self.scale, self.gain, self.down = 1 / math.sqrt(into * size * size), gain * GAIN, down

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        weight, bias = self.weight * (self.scale * self.gain), self.bias * self.gain
        if self.down:
            y = F.conv2d(smoothed(x), weight, bias, stride=2)
        else:
            y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return F.leaky_relu(y, SLOPE)


class Block(nn.Module):
    def __init__(self, into: int, out: int):
        super().__init__()
        self.conv0, self.conv1 = Convolution(into, into), Convolution(into, out, down=True, gain=HALF)
        self.skip = nn.Parameter(torch.empty(out, into, 1, 1))

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        skipped = F.conv2d(F.avg_pool2d(x, 2), self.skip * (HALF / math.sqrt(x.shape[1])))
        return skipped + self.conv1(self.conv0(x))


class Discriminator(nn.Module):
    """Pictures in, one number each out: high for real ones. `widths` as in a generator's Config, for 4, 8, … px."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.fromrgb = Convolution(3, widths[-1], size=1)
        sizes = [4 << b for b in range(1, len(widths))][::-1]  # blocks are named by the size that they read
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.blocks = nn.ModuleDict({str(size): Block(*pair) for size, pair in zip(sizes, pairs, strict=True)})
        self.conv = Convolution(widths[0] + 1, widths[0])
        self.fc, self.out = Linear(widths[0] * 16, widths[0]), Linear(widths[0], 1)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        x = self.fromrgb(images.contiguous(memory_format=torch.channels_last))
        for block in self.blocks.values():
            x = block(x)
        x = self.conv(torch.cat([x, spread(x.float()).to(x.dtype)], 1)).float()
        return self.out(F.leaky_relu(self.fc(x.flatten(1)), SLOPE) * GAIN)[:, 0].float()


def smoothed(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Through the [1 3 3 1] filter, with a margin for a 3x3 convolution of stride 2 to follow."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    return F.conv2d(x, torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4), padding=2, groups=x.shape[1])


def spread(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """How much pictures of a group differ, as one number for each group."""
    n = len(x)
    group = next(g for g in range(min(GROUP, n), 0, -1) if n % g == 0)
    grouped = x.view(group, n // group, *x.shape[1:])
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def r1(critic: Discriminator, real: Float[Tensor, "n 3 h w"], gamma: float) -> Float[Tensor, ""]:
    """gamma / 2 · E|dD/dx|² on real pictures, in full precision (Mescheder et al., ICML 2018, eq. 9)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() * (gamma / 2)
