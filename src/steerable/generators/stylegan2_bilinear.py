"""StyleGAN2 as lucidrains' code has it: bilinear up-sampling in front of the convolution, one row of w+ for each size, other gains.

Paper    Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020 (arXiv:1912.04958); the variant is that of
         github.com/lucidrains/stylegan2-pytorch
Matches  modulation, demodulation, a sum of image heads; no gain after activations; pictures in [0, 1], here brought to [-1, 1]
Differs  their noise is one picture, uniform in [0, 1], of which each layer takes the corner; here each layer has its own of mean 0 and
         variance 1, and none unless an input or an edit gives it
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Mark
from ..layer import Layer, State
from ..nn.convolution import conv1x1, separable, styled
from ..nn.equalized import Linear
from ..nn.residual import doubled
from ..nn.stylegan_ops import SLOPE, demodulation, power
from ..space import Latents
from . import stylegan2
from .opening import counted, filled, made
from .styled import Styled


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are the channels at 4, 8, 16 … px, `first` those of the constant."""

    widths: tuple[int, ...]
    first: int
    d: int = 512  # of z and w
    depth: int = 8

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.first, self.d, self.depth) < 1:
            raise SettingError(f"widths, first, d and depth are numbers from 1 up; got {self}")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Config":
        """From tensors under our own names. Raises SettingError, KeyError."""
        blocks = counted(tensors, lambda b: f"b{4 << b}.conv1.weight")
        return cls(
            tuple(len(tensors[f"b{4 << b}.conv1.weight"]) for b in range(blocks)),
            len(tensors["const"]),
            tensors["b4.conv0.affine.weight"].shape[1],
            counted(tensors, "mapping.layers.{}.weight".format),
        )

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and odd widths, for tests."""
        return cls(**({"widths": (9, 7, 5), "first": 9, "d": 12, "depth": 3} | rest))


class Styling(nn.Module):
    """A weight and the affine map that makes its styles."""

    def __init__(self, config: Config, into: int, out: int, kernel: int):
        super().__init__()
        self.affine = Linear(config.d, into, gain=1.0)
        self.weight = nn.Parameter(torch.empty(out, into, kernel, kernel))


class Conv(Styling):
    """A modulated 3x3 convolution with noise of a strength for each channel, bias and leaky ReLU."""

    def __init__(self, config: Config, into: int, out: int):
        super().__init__(config, into, out, 3)
        self.bias, self.strength = nn.Parameter(torch.empty(out)), nn.Parameter(torch.empty(out))

    def forward(
        self, x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"], noise: Float[Tensor, "n 1 h w"] | None
    ) -> Float[Tensor, "n o h w"]:
        d = demodulation(s, power(self.weight)).to(x.dtype)
        y = F.conv2d(styled(x, s), self.weight.to(x.dtype), padding=1) * d[:, :, None, None]
        y = y + self.bias[:, None, None].to(x.dtype)
        if noise is not None:
            y = y + (noise * self.strength[:, None, None]).to(x.dtype)
        return F.leaky_relu(y, SLOPE)


class Net(nn.Module):
    """All weights: mapping, const, and the blocks b4, b8 … of conv0, conv1 and torgb."""

    w_avg = None  # such files hold no mean w

    def __init__(self, config: Config):
        super().__init__()
        self.config, c = config, config
        self.mapping = stylegan2.MappingNet(stylegan2.Config((1,), (4, 4), c.d, c.d, depth=c.depth, mapping_lr=1.0))
        self.const = nn.Parameter(torch.empty(c.first, 4, 4))
        for b, (into, out) in enumerate(zip((c.first, *c.widths), c.widths, strict=False)):
            parts = {"conv0": Conv(c, into, out), "conv1": Conv(c, out, out), "torgb": Styling(c, out, 3, 1)}
            self.add_module(f"b{4 << b}", nn.ModuleDict(parts))


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers. The three of one size share a row of w+."""
    layers: list[Layer] = []
    at = 0
    for b, (into, out) in enumerate(zip((config.first, *config.widths), config.widths, strict=False)):
        name, size = f"b{4 << b}", (4 << b, 4 << b)
        for part, width in (("conv0", into), ("conv1", out)):
            style = slice(at, at := at + width)
            layers.append(Layer(f"{name}.{part}", size, out, b, style, (f"noise.{name}.{part}",)))
        layers.append(Layer(f"{name}.torgb", size, out, b, slice(at, at := at + out), head=True))
    return tuple(layers)


def blurred(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Filtered by [1 2 1] both ways, with the picture mirrored at its edges."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), separable((0.25, 0.5, 0.25), x), groups=x.shape[1])


@final
class StyleGAN2Bilinear(Styled):
    """z → w → w+ → s and a chain of styled convolutions; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.d, c.d, mark=mark)

    def start(self, latents: Latents) -> State:
        return State(self.net.const.to(self.precision or self.dtype).expand(len(latents), -1, -1, -1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        s, part = latents.values[:, here.style], self._part(here)
        if here.head:
            rgb = conv1x1(styled(x, s).to(self.dtype), part.weight)
            return State(x, rgb if state.rgb is None else blurred(doubled(state.rgb, linear=True)) + rgb)
        if here.name.endswith("conv0") and i > 0:
            x = doubled(x, linear=True)
        return State(part(x, s, latents.inputs.get(f"noise.{here.name}")), state.rgb)

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return (2 * state.rgb - 1).contiguous()


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> StyleGAN2Bilinear:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return StyleGAN2Bilinear(name, filled(name, made(name, Net, config), tensors), mark)


def random(config: Config, seed: int = 0) -> StyleGAN2Bilinear:
    """A net as it is before training, but with noise and biases, so that every part counts. The same seed gives the same weights."""
    source, net = torch.Generator().manual_seed(seed), Net(config)
    with torch.no_grad():
        for name, p in net.named_parameters():
            scale = 1 / math.sqrt(p[0].numel()) if p.ndim > 1 and not name.startswith("mapping") else 1.0
            p.copy_(torch.randn(p.shape, generator=source) * (scale if p.ndim > 1 else 0.1))
            if name.endswith("affine.bias"):
                p.add_(1.0)
    return StyleGAN2Bilinear(f"stylegan2-bilinear-random{4 << len(config.widths) - 1}", net)
