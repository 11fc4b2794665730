"""Residual generators: SN-GAN, the class-conditional one with a projection discriminator, WGAN-GP's, SAGAN.

Paper    Miyato, Kataoka, Koyama, Yoshida, Spectral Normalization for Generative Adversarial Networks, ICLR 2018 (arXiv:1802.05957),
         appendix B.4; Miyato, Koyama, cGANs with Projection Discriminator, ICLR 2018 (arXiv:1802.05637); Gulrajani et al., Improved
         Training of Wasserstein GANs, NeurIPS 2017; Zhang et al., Self-Attention Generative Adversarial Networks, ICML 2019
Matches  a linear map of z, blocks of batch normalization, ReLU and 3x3 convolutions at twice the size before, a way around each of them,
         normalization and convolution at the end; with classes, a gain and a bias of each class (conditional batch normalization)
Differs  normalization uses the stored statistics; spectral normalization is part of the weights. Nearest-neighbor up-sampling and the
         convolution after it are one transposed convolution; a 1x1 convolution around a block comes before up-sampling, which is the same

Modules bear the names of their layers: linear, blocks.0, blocks.1 …, attention.1 where there is one, torgb.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Mark
from ..layer import Layer, State
from ..nn.equalized import Conv
from ..nn.residual import Attention, Norm, doubled
from ..space import Latents
from .halved import Halved
from .opening import filled, made
from .unstyled import Unstyled


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are its channels at the start and after each block, all of which double the size."""

    widths: tuple[int, ...]
    skips: tuple[int, ...]  # kernel of the convolution around each block; 0 for none
    side: int = 4  # px at the start
    z_dim: int = 128
    classes: int = 0  # 0 for none
    linear: bool = False  # up-sampling linear between pixels, not nearest-neighbor
    attention: int | None = None  # the block that it follows
    kernel: int = 3  # of the last convolution
    colors: int = 3  # or 1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(*self.widths, self.side, self.z_dim) < 1 or self.colors not in (1, 3):
            raise SettingError(
                f"widths (two at least), side and z_dim are numbers from 1 up, colors 3 or 1; got {self}"
            )
        if (
            len(self.skips) != len(self.widths) - 1
            or not set((*self.skips, self.kernel)) <= {0, 1, 3}
            or not self.kernel
        ):
            raise SettingError(f"skips has a kernel of 0, 1 or 3 px for each block, kernel is 1 or 3; got {self}")
        if any(not k and a != b for k, a, b in zip(self.skips, self.widths, self.widths[1:], strict=False)):
            raise SettingError(f"a block that changes the width needs a convolution around it; got {self}")
        if self.attention is not None and not (
            0 <= self.attention < len(self.skips) and self.widths[self.attention + 1] >= 8
        ):
            raise SettingError(
                f"attention follows a block up to number {len(self.skips) - 1}, 8 channels wide at least; got {self}"
            )

    @classmethod
    def published(cls, resolution: int = 128, classes: int = 0) -> "Config":
        """The paper's nets for 32, 48, 64 and 128 px (tables 4, 5 and 6). Raises SettingError for other sizes."""
        known = {32: (256,) * 4, 48: (512, 256, 128, 64), 64: (1024, 512, 256, 128, 64)}
        known[128] = (1024, *known[64])
        if resolution not in known:
            raise SettingError(f"resolution is 32, 48, 64 or 128 px; got {resolution}")
        widths = known[resolution]
        return cls(widths, (1,) * (len(widths) - 1), 6 if resolution == 48 else 4, classes=classes)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and odd widths, for tests."""
        return cls(**({"widths": (9, 9, 5), "skips": (0, 3), "z_dim": 12} | rest))


class Block(nn.Module):
    """Normalization, ReLU and convolution, once or several times, plus what goes around them.

    `widths` are the channels between its convolutions, `kernels` their sizes; the one numbered `up` sees the map at twice its size. `skip`
    is the kernel of the convolution around them; without one, the first channels go around.
    """

    def __init__(
        self,
        widths: Sequence[int],
        kernels: Sequence[int],
        up: int | None,
        skip: int,
        levels: int = 1,
        epsilon: float = 1e-5,
        linear: bool = False,
    ):
        super().__init__()
        self.norms = nn.ModuleList(Norm(c, levels, epsilon) for c in widths[:-1])
        fused = None if linear else up
        self.convs = nn.ModuleList(
            plain_conv(a, b, k, i == fused)
            for i, (a, b, k) in enumerate(zip(widths, widths[1:], kernels, strict=False))
        )
        self.skip: Any = (
            plain_conv(widths[0], widths[-1], skip, up=up is not None and skip == 3 and not linear) if skip else None
        )
        self.up, self.linear, self.out, self.normed = up, linear, widths[-1], tuple(widths[:-1])

    def forward(
        self,
        x: Float[Tensor, "n i h w"],
        styles: Sequence[tuple[Tensor, Tensor]],
        truncation: Float[Tensor, " n"] | None,
        grad: bool,
    ) -> Float[Tensor, "n o y x"]:
        """`styles` are the gain [m c] and bias [m c] of each normalization, for each sample or for all alike."""
        y = x
        for i, (norm, conv, (gain, bias)) in enumerate(zip(self.norms, self.convs, styles, strict=True)):
            y = norm(y, gain, bias, truncation, grad)
            if i == self.up and not conv.up:
                y = doubled(y, self.linear)
            y = conv(y, grad)
        around = self._around(x, grad)
        return y + around if grad else y.add_(around)

    def _around(self, x: Tensor, grad: bool) -> Tensor:
        if self.skip is None:
            x = x[:, : self.out]
            return x if self.up is None else doubled(x, self.linear)
        if self.up is None or self.skip.up:
            return self.skip(x, grad)
        if self.skip.weight.shape[-1] == 1:
            return doubled(self.skip(x, grad), self.linear)
        return self.skip(doubled(x, self.linear), grad)


def plain_conv(into: int, out: int, kernel: int, up: bool = False) -> Conv:
    """A convolution whose weight is used as it is."""
    return Conv(into, out, kernel, up, gain=math.sqrt(into * kernel * kernel))


class Tables(nn.Module):
    """The gains and biases of a block's normalizations: a row for each class, or one row for all."""

    def __init__(self, rows: int, widths: Sequence[int]):
        super().__init__()
        self.gain = nn.ParameterList(torch.empty(rows, c) for c in widths)
        self.bias = nn.ParameterList(torch.empty(rows, c) for c in widths)

    def forward(self, label: Float[Tensor, "n classes"] | None) -> list[tuple[Tensor, Tensor]]:
        pick = (lambda table: table) if label is None else (lambda table: label.to(table) @ table)
        return [(pick(gain), pick(bias)) for gain, bias in zip(self.gain, self.bias, strict=True)]


class Head(nn.Module):
    """The end: normalization, ReLU, convolution."""

    def __init__(self, channels: int, colors: int, kernel: int = 3, levels: int = 1, epsilon: float = 1e-5):
        super().__init__()
        self.norm, self.conv = Norm(channels, levels, epsilon), plain_conv(channels, colors, kernel)
        self.gain, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, truncation: Tensor | None, grad: bool) -> Float[Tensor, "n 3 h w"]:
        y = self.norm(x, self.gain[None], self.bias[None], truncation, grad)
        return self.conv(y.to(self.gain.dtype), grad).expand(-1, 3, -1, -1)


class Net(nn.Module):
    """All weights."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c, rows = config, config.widths, max(config.classes, 1)
        self.linear = nn.Linear(config.z_dim, c[0] * config.side**2)
        blocks = [
            Block((a, b, b), (3, 3), 0, skip, epsilon=config.epsilon, linear=config.linear)
            for a, b, skip in zip(c, c[1:], config.skips, strict=False)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.tables = nn.ModuleList(Tables(rows, block.normed) for block in blocks)
        at = config.attention
        self.attention = nn.ModuleDict({} if at is None else {str(at): Attention(c[at + 1])})
        self.torgb = Head(c[-1], config.colors, config.kernel, epsilon=config.epsilon)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers. All of z goes into the first, the label into the blocks."""
    reads = ("label",) if config.classes else ()
    side, layers = config.side, []
    layers.append(Layer("linear", (side, side), config.widths[0], style=slice(0, config.z_dim)))
    for i, width in enumerate(config.widths[1:]):
        side *= 2
        layers.append(Layer(f"blocks.{i}", (side, side), width, reads=reads))
        if i == config.attention:
            layers.append(Layer(f"attention.{i}", (side, side), width))
    return (*layers, Layer("torgb", (side, side), config.widths[-1], head=True))


@final
class ResNetGAN(Unstyled, Halved):
    """z and a chain of residual blocks; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.z_dim, c.classes, mark)

    def _matrix(self) -> Float[Tensor, "c d"]:
        return self.net.linear.weight

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        kind, _, number = here.name.partition(".")
        part: Any = self.net.get_submodule(here.name)
        if here.head:
            return State(x, part(x, None, grad))
        if kind == "linear":
            y = part(latents.values).unflatten(1, (here.channels, *here.size))
        elif kind == "attention":
            y = part(x)
        else:
            y = part(x, self.net.tables[int(number)](self._label(latents)), None, grad)
        return State(y.to(self.precision or self.dtype))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.tanh()


def random(config: Config, seed: int = 0) -> ResNetGAN:
    """A net of random weights and statistics, every part of which counts. The same seed gives the same weights."""
    return ResNetGAN(f"resnetgan-random{config.side << len(config.skips)}", scattered(Net(config), seed))


def scattered(net: Any, seed: int) -> Any:
    """The net with random weights of the size that keeps maps from growing, gains about 1, statistics of about unit variance."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in [*net.named_parameters(), *net.named_buffers()]:
            draw = torch.randn(p.shape, generator=source)
            if name.endswith("var"):
                p.copy_(0.5 + draw.square())
            elif name.endswith("gamma"):
                p.copy_(draw.abs() + 0.5)
            elif "gain" in name:
                p.copy_(1 + draw * 0.3)
            elif name.endswith(("bias", "mean")) or "bias." in name:
                p.copy_(draw * 0.3)
            else:
                p.copy_(draw / math.sqrt(max(p[0].numel(), 1)))
    return net


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> ResNetGAN:
    """The generator of a configuration and tensors under the names of `Net`. Raises ArtifactError where they do not fit."""
    return ResNetGAN(name, filled(name, made(name, Net, config), tensors), mark)
