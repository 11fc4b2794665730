"""StyleGAN, the first: a mapping of z to w, and adaptive instance normalization after every convolution.

Paper    Karras, Laine, Aila, A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019 (arXiv:1812.04948)
Matches  mapping, learned constant, noise, adaptive instance normalization (eq. 1), blurred up-sampling, truncation towards the mean w
Differs  image heads of smaller sizes, which only training uses, are left out. Up-sampling and the 3x3 convolution after it are one
         transposed 4x4 convolution, other large ones take fewer multiplications (nn/equalized.py). Noise is what the file holds unless an
         edit says otherwise

The columns of s are what the affine maps say: for each channel the scale (1 is added where it is used), then for each channel the bias.
Modules bear the names of their layers: b4.const, b4.conv, then b8.conv0 (which doubles the size), b8.conv1 …, torgb.
"""

import math
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Mark
from ..layer import Layer, State
from ..nn.convolution import separable
from ..nn.equalized import Conv, Linear, normalized
from ..nn.stylegan_ops import EPSILON, SLOPE
from ..space import Latents
from .opening import counted, filled, made
from .progan import widths
from .styled import Styled, begun


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are its channels at 4, 8, 16 … px."""

    widths: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; 0 for none
    depth: int = 8  # layers of the mapping
    mapping_width: int = 512  # of all but its last layer
    mapping_lr: float = 0.01  # learning rate of the mapping, relative
    colors: int = 3  # or 1

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.z_dim, self.w_dim, self.depth, self.mapping_width) < 1:
            raise SettingError(f"widths, z_dim, w_dim, depth and mapping_width are numbers from 1 up; got {self}")
        if self.colors not in (1, 3):
            raise SettingError(f"a picture has 3 colors or 1; got {self.colors}")

    @classmethod
    def square(cls, resolution: int = 1024, base: int = 16 << 10, most: int = 512, **rest: Any) -> "Config":
        """To resolution px, with base / size channels at each size, at most `most` (the paper's widths by default)."""
        return cls(widths(resolution, base, most), **rest)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and odd widths, for tests."""
        small = {"widths": (9, 7, 5), "z_dim": 12, "w_dim": 10, "depth": 3, "mapping_width": 14}
        return cls(**(small | rest))

    @classmethod
    def of(cls, tensors: Map[str, Tensor], mapping_lr: float = 0.01) -> "Config":
        """From tensors under our own names, and the learning rate of the mapping, which no shape tells. Raises SettingError, KeyError."""
        blocks = counted(tensors, lambda b: f"b{4 << b}.conv{1 if b else ''}.bias")
        depth = counted(tensors, lambda i: f"mapping.layers.{i}.weight")
        first, last = tensors["mapping.layers.0.weight"], tensors[f"mapping.layers.{depth - 1}.weight"]
        embed = tensors.get("mapping.embed", torch.zeros(0, first.shape[1]))
        return cls(
            widths=tuple(len(tensors[f"b{4 << b}.conv{1 if b else ''}.bias"]) for b in range(blocks)),
            z_dim=embed.shape[1],
            w_dim=len(last),
            c_dim=len(embed),
            depth=depth,
            mapping_width=len(first),
            mapping_lr=mapping_lr,
            colors=len(tensors["torgb.weight"]),
        )


class Mapping(nn.Module):
    """z, with the label's embedding behind it, normalized to unit mean square, then `depth` linear layers with leaky ReLU."""

    def __init__(self, config: Config):
        super().__init__()
        c = config
        self.embed = nn.Parameter(torch.empty(c.c_dim, c.z_dim)) if c.c_dim else None
        sizes = [c.z_dim * (2 if c.c_dim else 1), *[c.mapping_width] * (c.depth - 1), c.w_dim]
        layers = [Linear(a, b, c.mapping_lr) for a, b in zip(sizes, sizes[1:], strict=False)]
        for layer in layers:
            layer.gain *= math.sqrt(2)  # of the activation; the bias goes without
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Float[Tensor, "n z"], label: Float[Tensor, "n c"] | None = None) -> Float[Tensor, "n w"]:
        if self.embed is not None and label is not None:
            z = torch.cat([z, label.to(z) @ self.embed], 1)
        x = normalized(z)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        return x


class StyledLayer(nn.Module):
    """A constant or a convolution, then noise, bias, leaky ReLU, and adaptive instance normalization."""

    noise: Tensor

    def __init__(self, config: Config, into: int, out: int, size: int, up: bool = False):
        super().__init__()
        self.size, self.up = size, up
        self.const = None if into else nn.Parameter(torch.empty(out, size, size))
        self.conv: Any = Conv(into, out, up=up, biased=False) if into else None
        self.bias, self.strength = nn.Parameter(torch.empty(out)), nn.Parameter(torch.empty(out))
        self.register_buffer("noise", torch.empty(size, size))
        self.affine = Linear(config.w_dim, 2 * out)

    def forward(
        self,
        x: Float[Tensor, "n i h w"],
        s: Float[Tensor, "n styles"],
        noise: Float[Tensor, "n 1 y x"] | None,
        grad: bool,
    ) -> Float[Tensor, "n o y x"]:
        strength = self.strength[:, None, None].to(x.dtype)
        y = self._raw(x, self.bias.to(x.dtype), grad)
        noise = (self.noise[None, None] if noise is None else noise).to(x.dtype)
        if grad:
            return stylized(F.leaky_relu(y + noise * strength, SLOPE), s, grad)
        return stylized(F.leaky_relu_(y.addcmul_(noise, strength), SLOPE), s, grad)

    def _raw(self, x: Tensor, bias: Tensor, grad: bool) -> Tensor:
        if self.const is not None:
            return (self.const + self.bias[:, None, None]).to(x.dtype).expand(len(x), -1, -1, -1).contiguous()
        return blurred(self.conv(x, grad), 0.25, bias) if self.up else self.conv(x, grad, bias)

    def coarse(self, x: Tensor, s: Tensor, noise: Tensor | None) -> Float[Tensor, "n o h w"]:
        """The layer at the lower resolution of x; noise is averaged."""
        scale = x.shape[-1] / self.size
        y = x if self.conv is None else self.conv.coarse(x, scale)
        if self.up:
            y = blurred(y, scale**2 / 4, None)
        noise = F.adaptive_avg_pool2d((self.noise[None, None] if noise is None else noise).to(x.dtype), x.shape[-1])
        y = y + (noise * self.strength[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return stylized(F.leaky_relu(y, SLOPE), s, grad=True)


def blurred(x: Float[Tensor, "n c h w"], tap: float, bias: Float[Tensor, " c"] | None) -> Float[Tensor, "n c h w"]:
    """Filtered by [tap, 1 - 2 tap, tap] both ways, with zeros around; then a bias."""
    return F.conv2d(x, separable((tap, 1 - 2 * tap, tap), x), bias, padding=1, groups=x.shape[1])


def stylized(x: Float[Tensor, "n c h w"], s: Float[Tensor, "n styles"], grad: bool) -> Float[Tensor, "n c h w"]:
    """Adaptive instance normalization (eq. 1): every channel of every sample to the mean and deviation that its style says."""
    scale, bias = s[:, : x.shape[1]] + 1, s[:, x.shape[1] :]
    if grad:
        x = x - x.mean((2, 3), keepdim=True)
        scale = scale[:, :, None, None].to(x.dtype) * (x.square().mean((2, 3), keepdim=True) + EPSILON).rsqrt()
        return x * scale + bias[:, :, None, None].to(x.dtype)
    scale, bias = (t.to(torch.promote_types(x.dtype, torch.float32)) for t in (scale, bias))
    # Of one sample, batch normalization in training is the same, and fast.
    ys = [F.batch_norm(x[n : n + 1], None, None, scale[n], bias[n], training=True, eps=EPSILON) for n in range(len(x))]
    return ys[0] if len(ys) == 1 else torch.cat(ys)


class Net(nn.Module):
    """All weights: mapping, w_avg (mean w, which truncation pulls to), the blocks b4, b8 …, torgb."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, self.mapping, c = config, Mapping(config), config.widths
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.b4 = nn.ModuleDict({"const": StyledLayer(config, 0, c[0], 4), "conv": StyledLayer(config, c[0], c[0], 4)})
        for b in range(1, len(c)):
            first, second = (
                StyledLayer(config, c[b - 1], c[b], 4 << b, up=True),
                StyledLayer(config, c[b], c[b], 4 << b),
            )
            self.add_module(f"b{4 << b}", nn.ModuleDict({"conv0": first, "conv1": second}))
        self.torgb = Conv(c[-1], config.colors, 1, gain=1.0)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers, two rows of w+ to each size; torgb has none."""
    layers, at = [], 0
    for b, width in enumerate(config.widths):
        for part in ("conv0", "conv1") if b else ("const", "conv"):
            name = f"b{4 << b}.{part}"
            style = slice(at, at := at + 2 * width)
            layers.append(Layer(name, (4 << b, 4 << b), width, len(layers), style, (f"noise.{name}",)))
    return (*layers, Layer("torgb", layers[-1].size, config.widths[-1], head=True))


@final
class StyleGAN1(Styled):
    """z → w → w+ → s and a chain of styled layers; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.z_dim, c.w_dim, c.c_dim, mark)

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 4, 4).to(self.precision or self.dtype))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        part, x, noise = self._part(self.layers[i]), state.x, latents.inputs.get(f"noise.{self.layers[i].name}")
        if self.layers[i].head:
            return State(x, part(x.to(self.dtype), grad).expand(-1, 3, -1, -1))
        return State(part(x, latents.values[:, self.layers[i].style], noise, grad))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.contiguous()

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"] | None:
        """A preview: the remaining layers at the size of `state`."""
        if i == 0:
            return None
        x, last = state.x, len(self.layers) - 1
        for j in range(i, last):
            noise = latents.inputs.get(f"noise.{self.layers[j].name}")
            x = self._part(self.layers[j]).coarse(x, latents.values[:, self.layers[j].style], noise)
        return self.finish(self.layer(last, State(x), latents, grad=True), latents)


def random(config: Config, seed: int = 0) -> StyleGAN1:
    """A net as it is before training, but with noise and biases, so that every part counts. The same seed gives the same weights."""
    source = torch.Generator().manual_seed(seed)
    net: Any = Net(config)
    with torch.no_grad():
        for name, p in [*net.named_parameters(), *net.named_buffers()]:
            small = name.endswith(("bias", "strength"))
            p.copy_(torch.randn(p.shape, generator=source) * (0.1 if small else 1.0))
    begun(net, config.c_dim, source)
    return StyleGAN1(f"stylegan1-random{4 << len(config.widths) - 1}", net)


# -- out of a file ----------------------------------------------------------------------------------------------------------------------


def build(name: str, config: Config, tensors: Map[str, Tensor], mark: Mark | None = None) -> StyleGAN1:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return StyleGAN1(name, filled(name, made(name, Net, config), tensors, optional=("w_avg",)), mark)
