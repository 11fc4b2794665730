"""ProGAN: convolutions from z to a picture, grown from 4x4 px.

Paper    Karras, Aila, Laine, Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
         (arXiv:1710.10196), table 2
Matches  normalized z (with the label behind it), equalized learning rate, pixelwise normalization after every activation, nearest-neighbor
         up-sampling, the image head of the last size
Differs  image heads of smaller sizes, which only training uses, are left out. Up-sampling and the 3x3 convolution after it are one
         transposed 4x4 convolution, other large ones take fewer multiplications (nn/winograd.py)

Modules bear the names of their layers: b4.dense, b4.conv, then b8.conv0 (which doubles the size), b8.conv1 …, torgb. Weights are stored
with unit variance and multiplied by their gains at run time.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..artifact import fingerprint
from ..errors import SettingError, SpaceError
from ..generator import Generator, Mark
from ..layer import Layer, State
from ..nn import winograd
from ..nn.convolution import conv1x1
from ..nn.stylegan_ops import EPSILON, NHWC, SLOPE, Tabled, fixed
from ..space import Latents, Space
from .opening import counted, filled, made


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


class Conv(Tabled):
    """A 3x3 (or 1x1) convolution with equalized learning rate; `up`: of the map at twice its size."""

    def __init__(
        self, into: int, out: int, kernel: int = 3, up: bool = False, gain: float = math.sqrt(2), biased: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out)) if biased else None
        self.up, self.gain = up, gain / math.sqrt(into * kernel * kernel)

    def forward(
        self, x: Float[Tensor, "n i h w"], grad: bool, bias: Float[Tensor, " o"] | None = None
    ) -> Float[Tensor, "n o y x"]:
        """`bias` takes the place of one of its own, where it has none. With `grad` differentiable in every mode."""
        weight, bias = self.weight, bias if self.bias is None else self.bias
        bias, k = None if bias is None else bias.to(x.dtype), weight.shape[-1]
        if x.device.type == "cpu" and k == 3 and not self.up and fixed(weight) and winograd.suits(x, weight):
            u, x = self.table("winograd", weight, winograd.transformed), x * self.gain
            if grad:
                y = winograd.Convolved.apply(x, u, self.table("winograd back", weight, winograd.turned))
                return y if bias is None else y + bias[:, None, None]
            y = winograd.convolved(x, None, u)
            return y if bias is None else y.add_(bias[:, None, None])
        weight = self.table("spread", weight, spread) if self.up else self.table("laid", weight, laid)
        if x.numel() < weight.numel():
            x = x * self.gain
        else:
            weight = weight * self.gain
        weight = weight.to(x.dtype)
        if self.up:
            return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        return conv1x1(x, weight, bias) if k == 1 else F.conv2d(x, weight, bias, padding=1)

    def coarse(self, x: Float[Tensor, "n i h w"], scale: float) -> Float[Tensor, "n o h w"]:
        """The convolution on a map `scale` < 1 times as large, in its own pixels.

        A kernel keeps its zeroth and second moments: a tap one fine pixel away puts scale² on the coarse neighbor.
        """
        k = scale**2
        m = torch.tensor([[k, 0, 0], [1 - k, 1, 1 - k], [0, 0, k]], dtype=self.weight.dtype, device=x.device)
        return F.conv2d(x, (m @ self.weight @ m.T * self.gain).to(x.dtype), self.bias, padding=1)


def laid(weight: Float[Tensor, "o i h w"]) -> Float[Tensor, "o i h w"]:
    """The weight with its channels last in memory, which is fastest."""
    return weight.contiguous(memory_format=NHWC)


def spread(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "i o 4 4"]:
    """The kernel whose transposed convolution with stride 2 is nearest-neighbor up-sampling and then a convolution with `weight`."""
    w = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
    w = w[:, :, 1:] + w[:, :, :-1]
    return (w[..., 1:] + w[..., :-1]).transpose(0, 1).contiguous(memory_format=NHWC)


def normalized(x: Tensor, grad: bool = True) -> Tensor:
    """Pixelwise feature vector normalization (section 4.2), of unit mean square over channels."""
    if grad:
        return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    square = torch.linalg.vector_norm(
        x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)
    ).square_()
    return x.mul_(square.div_(x.shape[1]).add_(EPSILON).rsqrt_())


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
class ProGAN(Generator):
    """z and a chain of convolutions; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        config = net.config
        super().__init__(
            name,
            net,
            spaces=(Space("z", (config.z_dim,)),),
            layers=chain(config),
            inputs={"label": (config.c_dim,)} if config.c_dim else {},
            fingerprint=mark or fingerprint(net.state_dict()),
        )
        self.precision: torch.dtype | None = None  # of features; None for that of the weights

    def _step(self, latents: Latents) -> Latents:
        raise SpaceError(f"{self.name} has no space after {latents.space.name!r}")

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if space != "z":
            raise SpaceError(f"{self.name} has only the space 'z', not {space!r}")
        dense = self.net.b4["dense"]
        weight = dense.weight[:, : self.net.config.z_dim] * dense.gain
        return {"b4.dense": weight.permute(0, 2, 3, 1).flatten(0, 2)}

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        part: Any = self.net.get_submodule(here.name)
        if here.head:
            return State(x, part(x.to(self.dtype), grad).expand(-1, 3, -1, -1))
        if i == 0:
            z = latents.values
            if "label" in self.inputs:
                if "label" not in latents.inputs:
                    raise SettingError(f"{self.name} needs an input 'label' [n {self.net.config.c_dim}]")
                z = torch.cat([z, latents.inputs["label"].to(z)], 1)
            x = normalized(z)
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

    def half(self) -> "ProGAN":
        """A twin for previews: the same weights, features in bfloat16."""
        twin = copy.copy(self)
        twin.precision = torch.bfloat16
        return twin


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
