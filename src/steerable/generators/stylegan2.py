"""StyleGAN2, of any widths and size, with or without classes.

Paper    Karras, Laine, Aittala, Hellsten, Lehtinen, Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020
         (arXiv:1912.04958); classes as in Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020
Matches  mapping, styled convolutions, noise, and the three generator architectures of section 4.1: skip, resnet, orig
Differs  computed in the forms of nn/stylegan_ops.py. A style column of ToRGB is what its affine map says; the constant gain stays with
         the weight. Truncation acts by `truncate`, on w or w+

Modules bear the names of their layers: "b8.conv0" is up-sampling to 8 px and has the weights b8.conv0.weight, b8.conv0.affine.weight …
Weights are stored with unit variance and multiplied by their gains at run time (equalized learning rate), except those that demodulation
normalizes anyway.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Mark
from ..layer import Layer, State
from ..nn import winograd
from ..nn.convolution import conv1x1
from ..nn.equalized import Linear, normalized
from ..nn.stylegan_ops import SLOPE, demodulation, ended, folded, folds, laid, power, scaled, to_rgb, upsampled
from ..nn.tabled import Tabled, fixed
from ..space import Latents
from .opening import counted, filled, made
from .progan import widths
from .styled import Styled, begun

BATCHED = 32  # px up to which a batch is faster at once than picture by picture


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are the channels of its blocks, the first of them at the size `const` (height, width)."""

    widths: tuple[int, ...]
    const: tuple[int, int] = (4, 4)
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; 0 for none
    depth: int = 8  # layers of the mapping
    mapping_lr: float = 0.01  # learning rate of the mapping, relative
    architecture: str = "skip"  # or resnet, orig
    noise: bool = True
    clamp: float | None = None  # features are held to ± this (nets trained in half precision)
    colors: int = 3  # or 1, shown as gray
    joined: bool = False  # the label's embedding is normalized together with z, as in the first code

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, *self.const, self.z_dim, self.w_dim) < 1:
            raise SettingError(f"widths, const, z_dim and w_dim are numbers from 1 up, at least one width; got {self}")
        if self.architecture not in ("skip", "resnet", "orig"):
            raise SettingError(f"architecture is skip, resnet or orig; got {self.architecture!r}")
        if self.colors not in (1, 3):
            raise SettingError(f"a picture has 3 colors or 1; got {self.colors}")

    @classmethod
    def square(cls, resolution: int, base: int, most: int = 512, **rest: Any) -> "Config":
        """From 4x4 to resolution x resolution px, with base / size channels at each size, at most `most`."""
        return cls(widths(resolution, base, most), **rest)

    @classmethod
    def f(cls, resolution: int = 1024, **rest: Any) -> "Config":
        """Configuration F of the paper: 32 channels at 1024 px."""
        return cls.square(resolution, 32 << 10, **rest)

    @classmethod
    def e(cls, resolution: int = 1024, **rest: Any) -> "Config":
        """Configuration E: half as wide where F is not at its most."""
        return cls.square(resolution, 16 << 10, **rest)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and few channels, for tests."""
        return cls(**({"widths": (10, 8, 6), "z_dim": 12, "w_dim": 12, "depth": 2} | rest))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], mapping_lr: float = 0.01, clamp: float | None = None) -> "Config":
        """From tensors under our own names, and what no shape tells. Raises SettingError, KeyError, IndexError."""
        const, embed = tensors["const"], tensors.get("mapping.embed.weight")
        joined = tensors.get("mapping.embed")
        blocks = counted(tensors, lambda b: f"b{const.shape[1] << b}.conv1.weight")
        names = [f"b{const.shape[1] << b}" for b in range(blocks)]
        heads = sum(f"{name}.torgb.weight" in tensors for name in names)
        plain = "skip" if heads == blocks else "orig"
        w_dim, first = tensors[f"{names[0]}.conv1.affine.weight"].shape[1], tensors["mapping.layers.0.weight"].shape[1]
        return cls(
            widths=tuple(len(tensors[f"{name}.conv1.weight"]) for name in names),
            const=(const.shape[1], const.shape[2]),
            z_dim=first // 2 if joined is not None else first - (0 if embed is None else w_dim),
            w_dim=w_dim,
            c_dim=len(joined) if joined is not None else 0 if embed is None else embed.shape[1],
            depth=counted(tensors, lambda i: f"mapping.layers.{i}.weight"),
            mapping_lr=mapping_lr,
            architecture="resnet" if any(f"{name}.skip" in tensors for name in names) else plain,
            noise=f"{names[0]}.conv1.strength" in tensors,
            clamp=clamp,
            colors=len(tensors[f"{names[-1]}.torgb.weight"]),
            joined=joined is not None,
        )

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each block."""
        return tuple((self.const[0] << b, self.const[1] << b) for b in range(len(self.widths)))


class MappingNet(nn.Module):
    """z and label to w: each normalized to unit mean square (or both as one), then `depth` linear layers with leaky ReLU."""

    def __init__(self, config: Config):
        super().__init__()
        self.joined, first = config.joined, config.z_dim
        if config.joined:
            self.embed: Any = nn.Parameter(torch.empty(config.c_dim, config.z_dim))
            first += config.z_dim
        else:
            self.embed = Linear(config.c_dim, config.w_dim) if config.c_dim else None
            first += config.w_dim if config.c_dim else 0
        self.layers: Any = nn.ModuleList(
            Linear(first if i == 0 else config.w_dim, config.w_dim, config.mapping_lr) for i in range(config.depth)
        )

    def forward(self, z: Float[Tensor, "n z"], label: Float[Tensor, "n c"] | None = None) -> Float[Tensor, "n w"]:
        if self.joined and label is not None:
            z = torch.cat([z, label.to(z.dtype) @ self.embed], 1)
        x = normalized(z)
        if self.embed is not None and not self.joined and label is not None:
            x = torch.cat([x, normalized(self.embed(label.to(z.dtype)))], 1)
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), SLOPE) * math.sqrt(2)
        return x


class StyledConv(Tabled):
    """A modulated 3x3 convolution with noise, bias and leaky ReLU; `up` doubles the size."""

    noise: Tensor

    def __init__(self, config: Config, into: int, out: int, size: tuple[int, int], up: bool):
        super().__init__()
        self.up, self.clamp = up, config.clamp
        self.affine = Linear(config.w_dim, into)
        self.weight = nn.Parameter(laid(empty := torch.empty(out, into, 3, 3), up, empty.dtype))
        self.bias = nn.Parameter(torch.empty(out))
        self.strength = nn.Parameter(torch.empty(())) if config.noise else None
        self.register_buffer("noise", torch.empty(size) if config.noise else None)

    def forward(
        self,
        x: Float[Tensor, "n i h w"],
        s: Float[Tensor, "n i"],
        noise: Float[Tensor, "n 1 y x"] | None,
        gain: float,
        grad: bool,
    ) -> Float[Tensor, "n o y x"]:
        """`gain` multiplies the output. `noise` takes the place of the trained map."""
        gain = gain * math.sqrt(2)
        d = demodulation(s, self.table("power", self.weight, power)) * gain
        if self.strength is not None:
            noise = (self.noise[None, None] if noise is None else noise) * (self.strength * gain)
        y = self._convolved(x, s, d, self.bias * gain, noise, grad)
        if self.clamp is None:
            return y
        limit = self.clamp * gain / math.sqrt(2)
        return y.clamp(-limit, limit) if grad else y.clamp_(-limit, limit)

    def _convolved(self, x: Tensor, s: Tensor, d: Tensor, bias: Tensor, noise: Tensor | None, grad: bool) -> Tensor:
        """In the form that is fastest for these sizes."""
        weight, up, cpu = self.weight, self.up, x.device.type == "cpu"
        (o, i), (h, w) = weight.shape[:2], x.shape[2:]
        if cpu and not up and fixed(weight) and winograd.suits(x, weight):
            return ended(self.quick(x, weight, grad, s), d, bias, noise, grad)
        fold = cpu and not grad and folds(o, i, h * w, (1 + 3 * up) * h * w)
        dtype = weight.dtype if fold else x.dtype  # folding before rounding is more exact
        weight = self.table(f"laid {dtype}", weight, partial(laid, up=up, dtype=dtype))
        return folded(x, s, weight, d, bias, noise, up) if fold else scaled(x, s, weight, d, bias, noise, up, grad)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colors, without demodulation."""

    def __init__(self, config: Config, into: int):
        super().__init__()
        self.affine, self.clamp, self.gain = Linear(config.w_dim, into), config.clamp, 1 / math.sqrt(into)
        self.weight = nn.Parameter(torch.empty(config.colors, into, 1, 1))
        self.bias = nn.Parameter(torch.empty(config.colors))

    def forward(self, x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"]) -> Float[Tensor, "n rgb h w"]:
        y = to_rgb(x, s, self.weight[:, :, 0, 0] * self.gain, self.bias)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """The convolutions of one size: conv0 (up; not in the first block), conv1, torgb (skip nets and last blocks), skip (resnets)."""

    def __init__(self, config: Config, b: int):
        super().__init__()
        out, into, size = config.widths[b], config.widths[max(b - 1, 0)], config.sizes[b]
        self.conv0 = StyledConv(config, into, out, size, up=True) if b else None
        self.conv1 = StyledConv(config, out, out, size, up=False)
        headed = config.architecture == "skip" or b == len(config.widths) - 1
        self.torgb = ToRGB(config, out) if headed else None
        self.skip = nn.Parameter(torch.empty(out, into, 1, 1)) if b and config.architecture == "resnet" else None


class Net(nn.Module):
    """All weights: mapping, w_avg (mean w, which truncation pulls to), const, and the blocks b4, b8 … by height."""

    w_avg: Tensor | None

    def __init__(self, config: Config):
        super().__init__()
        self.config, self.mapping = config, MappingNet(config)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.empty(config.widths[0], *config.const))
        for b, (height, _) in enumerate(config.sizes):
            self.add_module(f"b{height}", Block(config, b))


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers. ToRGB reads the row of the convolution after it, the last one a row of its own: 18 rows at 1024 px."""
    layers: list[Layer] = []
    at = row = 0
    for b, size in enumerate(config.sizes):
        out, name, last = config.widths[b], f"b{size[0]}", b == len(config.sizes) - 1
        convs = [("conv0", config.widths[b - 1])] if b else []
        for part, into in (*convs, ("conv1", out)):
            reads = (f"noise.{name}.{part}",) if config.noise else ()
            beside = part == "conv0" and config.architecture == "resnet"
            layers.append(Layer(f"{name}.{part}", size, out * (1 + beside), row, slice(at, at := at + into), reads))
            row += 1
        if config.architecture == "skip" or last:
            layers.append(Layer(f"{name}.torgb", size, out, row, slice(at, at := at + out), head=True))
    return tuple(layers)


class StyleGAN2(Styled):
    """z → w → w+ → s and a chain of styled convolutions; see the top of this file.

    In residual nets the state after conv0 has the skip branch behind the features, as channels of its own.
    """

    net: Net

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.z_dim, c.w_dim, c.c_dim, mark)
        self.deep = next((i for i, layer in enumerate(self.layers) if max(layer.size) > BATCHED), len(self.layers))

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def start(self, latents: Latents) -> State:
        const = self.net.const.to(self.precision or self.dtype)
        return State(const.expand(len(latents), -1, -1, -1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        s, part = latents.values[:, here.style], self._part(here)
        if here.head:
            rgb = part(x, s).expand(-1, 3, -1, -1)
            return State(x, rgb if state.rgb is None else upsampled(state.rgb) + rgb)
        noise = latents.inputs.get(f"noise.{here.name}")
        block: Any = self.net.get_submodule(here.name.partition(".")[0])
        if block.skip is None:
            return State(part(x, s, noise, 1.0, grad), state.rgb)
        if part is block.conv0:
            beside = upsampled(conv1x1(x, (block.skip * math.sqrt(0.5 / x.shape[1])).to(x.dtype)))
            return State(torch.cat([part(x, s, noise, 1.0, grad), beside], 1), state.rgb)
        x, beside = x.chunk(2, 1)
        return State(part(x, s, noise, math.sqrt(0.5), grad) + beside, state.rgb)

    def tail(
        self, i: int, state: State, latents: Latents, stop: Callable[[], bool] | None = None
    ) -> Float[Tensor, "n 3 h w"]:
        """As the fold, picture by picture: the maps of a batch would not fit the processor's caches."""
        if len(latents) == 1 or state.x.device.type != "cpu":
            return super().tail(i, state, latents, stop)
        pictures = []
        for k in range(len(latents)):
            rgb = None if state.rgb is None else state.rgb[k : k + 1]
            pictures.append(super().tail(i, State(state.x[k : k + 1], rgb), latents[k], stop))
        return torch.cat(pictures)

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.contiguous()

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"] | None:
        """In skip nets, the picture so far: the image heads up to this size. None in others."""
        if i == 0 or self.net.config.architecture != "skip":
            return None
        if self.layers[i].head:
            state = self.layer(i, state, latents, grad=torch.is_grad_enabled())
        if state.rgb is not None and state.rgb.shape[2:] != state.x.shape[2:]:
            state = State(state.x, upsampled(state.rgb))
        return self.finish(state, latents)


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> StyleGAN2:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return StyleGAN2(name, filled(name, made(name, Net, config), tensors, optional=("w_avg",)), mark)


def random(config: Config, seed: int = 0) -> StyleGAN2:
    """A net as it is before training, but with noise and biases, so that every part counts. The same seed gives the same weights."""
    source, net = torch.Generator().manual_seed(seed), Net(config)
    with torch.no_grad():
        for name, p in [*net.named_parameters(), *net.named_buffers()]:
            p.copy_(torch.randn(p.shape, generator=source) * (1.0 if p.ndim > 1 else 0.1))
            if name.endswith("affine.bias"):
                p.add_(1.0)
    begun(net, config.c_dim, source)
    return StyleGAN2(f"stylegan2-random{config.sizes[-1][0]}", net)
