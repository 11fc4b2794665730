"""ProGAN: convolutions from z to a picture, grown from 4x4 px.

Paper    Karras, Aila, Laine, Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
         (arXiv:1710.10196), table 2
Matches  normalized z (with the label behind it), equalized learning rate, pixelwise normalization after every activation, nearest-neighbor
         up-sampling, the image head of the last size
Differs  image heads of smaller sizes, which only training uses, are left out. Convolutions in the forms of nn/equalized.py

Modules bear the names of their layers: b4.dense, b4.conv, then b8.conv0 (which doubles the size), b8.conv1 …, torgb. Weights are stored
with unit variance and multiplied by their gains at run time.
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
from ..nn.equalized import Conv, normalized
from ..nn.stylegan_ops import SLOPE
from ..space import Latents
from .halved import Halved
from .opening import counted, filled, made
from .unstyled import Unstyled


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are its channels at 4, 8, 16 … px."""

    widths: tuple[int, ...]
    z_dim: int = 512
    c_dim: int = 0  # classes; 0 for none
    colors: int = 3  # or 1

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.z_dim) < 1 or self.colors not in (1, 3):
            raise SettingError(f"widths and z_dim are numbers from 1 up, colors 3 or 1; got {self}")

    @classmethod
    def square(cls, resolution: int = 1024, base: int = 16 << 10, most: int = 512, **rest: Any) -> "Config":
        """To resolution px, with base / size channels at each size, at most `most` (the paper's widths by default)."""
        return cls(widths(resolution, base, most), **rest)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and odd widths, for tests."""
        return cls(**({"widths": (9, 7, 5), "z_dim": 12} | rest))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], c_dim: int = 0) -> "Config":
        """From tensors under our own names, and the number of classes, which no shape tells. Raises SettingError, KeyError."""
        dense, key = tensors["b4.dense.weight"], lambda b: f"b{4 << b}.conv{1 if b else ''}.weight"
        count = counted(tensors, key)
        if not count or not 0 <= c_dim < dense.shape[1]:
            raise SettingError(f"{dense.shape[1]} inputs cannot have {c_dim} classes among them")
        return cls(
            tuple(len(tensors[key(b)]) for b in range(count)),
            dense.shape[1] - c_dim,
            c_dim,
            len(tensors["torgb.weight"]),
        )


def widths(resolution: int, base: int, most: int) -> tuple[int, ...]:
    """Channels at 4, 8 … resolution px: base / size, at most `most`."""
    count = int(resolution).bit_length() - 2
    if resolution < 4 or resolution != 2 << count:
        raise SettingError(f"resolution is a power of two from 4 px up; got {resolution}")
    return tuple(min(base // (4 << b), most) for b in range(count))


class Dense(nn.Module):
    """z to maps of 4x4 px."""

    def __init__(self, into: int, out: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(out, into, 4, 4)), nn.Parameter(torch.empty(out))
        self.gain = math.sqrt(2 / (16 * into))

    def forward(self, z: Float[Tensor, "n z"], grad: bool) -> Float[Tensor, "n c 4 4"]:
        return torch.einsum("ni,oihw->nohw", z * self.gain, self.weight) + self.bias[:, None, None]


class Net(nn.Module):
    """All weights: the blocks b4, b8 … and torgb."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c = config, config.widths
        self.b4 = nn.ModuleDict({"dense": Dense(config.z_dim + config.c_dim, c[0]), "conv": Conv(c[0], c[0])})
        for b in range(1, len(c)):
            self.add_module(
                f"b{4 << b}", nn.ModuleDict({"conv0": Conv(c[b - 1], c[b], up=True), "conv1": Conv(c[b], c[b])})
            )
        self.torgb = Conv(c[-1], config.colors, 1, gain=1.0)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers. All of z goes into the first."""
    first = Layer(
        "b4.dense", (4, 4), config.widths[0], style=slice(0, config.z_dim), reads=("label",) if config.c_dim else ()
    )
    layers = [first, Layer("b4.conv", (4, 4), config.widths[0])]
    for b, width in enumerate(config.widths[1:], 1):
        layers += [Layer(f"b{4 << b}.{part}", (4 << b, 4 << b), width) for part in ("conv0", "conv1")]
    return (*layers, Layer("torgb", layers[-1].size, config.widths[-1], head=True))


@final
class ProGAN(Unstyled, Halved):
    """z and a chain of convolutions; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.z_dim, c.c_dim, mark)

    def _matrix(self) -> Float[Tensor, "c d"]:
        dense = self.net.b4["dense"]
        weight = dense.weight[:, : self.net.config.z_dim] * dense.gain
        return weight.permute(0, 2, 3, 1).flatten(0, 2)

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        part: Any = self.net.get_submodule(here.name)
        if here.head:
            return State(x, part(x.to(self.dtype), grad).expand(-1, 3, -1, -1))
        if i == 0:
            label = self._label(latents)
            x = normalized(latents.values if label is None else torch.cat([latents.values, label], 1))
        y = part(x, grad)
        y = normalized(F.leaky_relu(y, SLOPE) if grad else F.leaky_relu_(y, SLOPE), grad)
        return State(y.to(self.precision or self.dtype))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.contiguous()

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"] | None:
        """A preview: the remaining layers at the size of `state`."""
        if i == 0:
            return None
        x, side = state.x, state.x.shape[-1]
        for layer in self.layers[i:-1]:
            part: Any = self.net.get_submodule(layer.name)
            x = normalized(F.leaky_relu(part.coarse(x, side / layer.size[1]), SLOPE))
        return self.finish(self.layer(len(self.layers) - 1, State(x), latents, grad=True), latents)


def random(config: Config, seed: int = 0) -> ProGAN:
    """A net as it is before training, but with biases, so that every part counts. The same seed gives the same weights."""
    source, net = torch.Generator().manual_seed(seed), Net(config)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=source) * (1.0 if p.ndim > 1 else 0.1))
    return ProGAN(f"progan-random{4 << len(config.widths) - 1}", net)


# -- out of a file ----------------------------------------------------------------------------------------------------------------------


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> ProGAN:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return ProGAN(name, filled(name, made(name, Net, config), tensors), mark)
