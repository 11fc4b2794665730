"""The discriminator of StyleGAN2, as it comes in checkpoints: every architecture, clamped features, classes by projection.

Paper    Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (arXiv:1912.04958), section 4.1; classes: Miyato,
         Koyama, cGANs with Projection Discriminator, ICLR 2018, with a mapping of the label as in Karras et al., NeurIPS 2020
Matches  residual, skip and plain nets, minibatch standard deviation, down-sampling through the [1 3 3 1] filter
Differs  in single precision throughout
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..nn.convolution import separable
from ..nn.equalized import Linear, normalized
from ..nn.stylegan_ops import SLOPE
from .opening import counted, filled, made

GAIN = math.sqrt(2)  # of a leaky ReLU
HALF = math.sqrt(0.5)  # so that the sum of two paths keeps its size


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` as in a generator's, for 4, 8 … px."""

    widths: tuple[int, ...]
    architecture: str = "resnet"  # or skip, orig
    colors: int = 3
    c_dim: int = 0  # classes; 0 for none
    cmap_dim: int = 0  # of the mapped label
    depth: int = 8  # layers of the label's mapping
    mapping_lr: float = 0.01
    group: int | None = 4  # pictures whose spread is one statistic; None for all
    features: int = 1  # of that statistic; 0 for none
    clamp: float | None = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], told: Mapping[str, Any] | None = None) -> "Config":
        """From tensors under our own names, and what no shape tells. Raises SettingError, KeyError."""
        blocks = 1 + counted(tensors, lambda b: f"b{8 << b}.conv0.weight")
        widths = (len(tensors["b4.conv.weight"]), *(len(tensors[f"b{4 << b}.conv0.weight"]) for b in range(1, blocks)))
        heads = sum(f"b{4 << b}.fromrgb.weight" in tensors for b in range(blocks))
        labeled = "mapping.embed.weight" in tensors
        return cls(
            widths,
            "resnet" if "b8.skip.weight" in tensors else "skip" if heads == blocks else "orig",
            tensors[f"b{2 << blocks}.fromrgb.weight"].shape[1],
            tensors["mapping.embed.weight"].shape[1] if labeled else 0,
            len(tensors["b4.out.weight"]) if labeled else 0,
            counted(tensors, lambda i: f"mapping.layers.{i}.weight") if labeled else 8,
            features=tensors["b4.conv.weight"].shape[1] - widths[0],
            **(told or {}),
        )


class Conv(nn.Module):
    """A convolution and leaky ReLU (or neither, in a skip); with `down`, half the size through the [1 3 3 1] filter."""

    def __init__(self, into: int, out: int, size: int, clamp: float | None, down: bool = False, skip: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into, size, size))
        self.bias = None if skip else nn.Parameter(torch.empty(out))
        self.scale, self.clamp, self.down = 1 / math.sqrt(into * size * size), clamp, down

    def forward(self, x: Float[Tensor, "n i h w"], gain: float = 1.0) -> Float[Tensor, "n o y x"]:
        weight, padding = self.weight * self.scale, self.weight.shape[-1] // 2
        if self.down:
            y = F.conv2d(filtered(x, padding + 1, 2 if padding == 0 else 1), weight, self.bias, stride=1 + padding)
        else:
            y = F.conv2d(x, weight, self.bias, padding=padding)
        if self.bias is None:
            return y * gain
        y = F.leaky_relu(y, SLOPE) * (GAIN * gain)
        return y if self.clamp is None else y.clamp(-self.clamp * gain, self.clamp * gain)


def filtered(x: Float[Tensor, "n c h w"], padding: int, stride: int) -> Float[Tensor, "n c y x"]:
    """Through the [1 3 3 1] filter of unit sum, in both directions."""
    kernel = separable((0.125, 0.375, 0.375, 0.125), x)
    return F.conv2d(x, kernel, padding=padding, stride=stride, groups=x.shape[1])


class Labels(nn.Module):
    """A label to the vector that the last features are compared with."""

    def __init__(self, config: Config):
        super().__init__()
        d = config.cmap_dim
        self.embed = Linear(config.c_dim, d)
        self.layers = nn.ModuleList(Linear(d, d, config.mapping_lr) for _ in range(config.depth))

    def forward(self, label: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        x = normalized(self.embed(label))
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * GAIN
        return x


class Critic(nn.Module):
    """Pictures (and a label [n c], where there are classes) in, one number each out: high for real ones."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c, widths = config, config, config.widths
        if c.architecture not in ("resnet", "skip", "orig") or min(*widths, c.colors) < 1 or c.features < 0:
            raise SettingError(f"architecture is resnet, skip or orig, widths and colors from 1 up; got {c}")
        top = len(widths) - 1
        self.mapping = Labels(c) if c.c_dim else None
        for b in range(top, -1, -1):
            parts: dict[str, nn.Module] = {}
            if b == top or c.architecture == "skip":
                parts["fromrgb"] = Conv(c.colors, widths[b], 1, c.clamp)
            if b:
                parts["conv0"] = Conv(widths[b], widths[b], 3, c.clamp)
                parts["conv1"] = Conv(widths[b], widths[b - 1], 3, c.clamp, down=True)
                if c.architecture == "resnet":
                    parts["skip"] = Conv(widths[b], widths[b - 1], 1, None, down=True, skip=True)
            else:
                parts["conv"] = Conv(widths[0] + c.features, widths[0], 3, c.clamp)
                parts["fc"], parts["out"] = Linear(widths[0] * 16, widths[0]), Linear(widths[0], max(c.cmap_dim, 1))
            self.add_module(f"b{4 << b}", nn.ModuleDict(parts))

    def forward(
        self, images: Float[Tensor, "n 3 h w"], label: Float[Tensor, "n c"] | None = None
    ) -> Float[Tensor, " n"]:
        c, x = self.config, self.features(images)[-1]
        if self.mapping is not None and label is None:
            raise SettingError(f"this critic needs a label [n {c.c_dim}]")
        block: Any = self.get_submodule("b4")
        x = block["conv"](torch.cat([x, spread(x, c.group, c.features)], 1) if c.features else x)
        x = block["out"](F.leaky_relu(block["fc"](x.flatten(1)), SLOPE) * GAIN)
        if self.mapping is not None and label is not None:
            return (x * self.mapping(label.to(x))).sum(1) / math.sqrt(c.cmap_dim)
        return x[:, 0]

    def features(self, images: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """What comes out of each block, the largest first: the last is [n c 4 4]. It knows nothing of other pictures."""
        c, picture, seen = self.config, images[:, : self.config.colors], list[Tensor]()
        x: Any = 0
        for b in range(len(c.widths) - 1, -1, -1):
            block: Any = self.get_submodule(f"b{4 << b}")
            if "fromrgb" in block:
                x = x + block["fromrgb"](picture)
                picture = filtered(picture, 1, 2) if b and c.architecture == "skip" else picture
            if not b:
                return [*seen[:-1], x]
            y = block["conv0"](x)
            if "skip" in block:
                x = block["skip"](x, gain=HALF) + block["conv1"](y, gain=HALF)
            else:
                x = block["conv1"](y)
            seen.append(x)
        raise AssertionError("a net has a block of 4 px")


def spread(x: Float[Tensor, "n c h w"], group: int | None, features: int) -> Float[Tensor, "n f h w"]:
    """How much pictures of a group differ, for each part of the channels. Raises SettingError if groups do not come out even."""
    n, side = len(x), x.shape[2:]
    g = min(group or n, n)
    if n % g or x.shape[1] % features:
        raise SettingError(f"{n} pictures are not groups of {g}, or {x.shape[1]} channels not {features} parts")
    grouped = x.reshape(g, n // g, features, -1, *side)
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((2, 3, 4))
    return deviation.repeat(g, 1)[:, :, None, None].expand(-1, -1, *side)


def build(config: Config, tensors: Mapping[str, Tensor]) -> Critic:
    """The net, with `tensors` for its weights. Raises ArtifactError where they do not fit."""
    return filled("its discriminator", made("its discriminator", Critic, config), tensors).eval().requires_grad_(False)
