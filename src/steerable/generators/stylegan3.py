"""StyleGAN3: pictures whose details move with what they belong to. Configurations T (translation) and R (rotation as well).

Paper    Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila, Alias-Free Generative Adversarial Networks, NeurIPS 2021
         (arXiv:2106.12423)
Matches  Fourier features with a learned placement, modulated convolutions with the moving average of magnitudes, filtered nonlinearities,
         the layer specification of section 3.2, radial filters with 1x1 convolutions (R)
Differs  a picture does not depend on its neighbors: styles are normalized sample by sample, which moves values by 1e-11 in nets of
         usual widths. Convolutions and filters in the forms that are fast on a CPU (nn/winograd.py, nn/alias_free.py)

Layer "input" makes the Fourier features, "L0" … "L13" are convolutions, "torgb" is the last; each has a row of w+, its module its name.
Maps reach `margin` pixels beyond the picture on every side, except in the last two layers.
The input `transform` [n 3 3] takes a place in the picture (right, down; the picture is 1 wide, its center the origin) to the place where
the features are read, so it is the inverse of what the picture is seen to do: `MovePicture` writes it.
"""

import math
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..edit import LatentEdit
from ..errors import ArtifactError, SettingError
from ..generator import Generator, Mark
from ..layer import Layer, State
from ..nn import winograd
from ..nn.alias_free import Rates, filtered_lrelu, lowpass
from ..nn.convolution import conv1x1, styled
from ..nn.equalized import Linear, laid
from ..nn.stylegan_ops import EPSILON, SLOPE, power, to_rgb
from ..nn.tabled import Tabled, fixed
from ..path import Path
from ..space import Latents
from . import stylegan2
from .opening import filled, made
from .styled import Styled, begun


@dataclass(frozen=True)
class Config:
    """The shape of a net. Cutoffs and stopbands count cycles per picture, sizes pixels."""

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; 0 for none
    depth: int = 2  # layers of the mapping
    mapping_lr: float = 0.01  # learning rate of the mapping, relative
    channel_base: int = 32 << 10
    channel_max: int = 512
    num_layers: int = 14  # beside input and torgb
    num_critical: int = 2  # layers at the end whose cutoff is the limit of their sampling rate
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3  # of the last cutoff
    margin: int = 10
    conv_kernel: int = 3
    radial: bool = False  # filters that know no direction
    filter_size: int = 6  # taps at the lower of two rates
    lrelu_upsampling: int = 2
    output_scale: float = 0.25
    clamp: float | None = 256.0  # features are held to ± this
    colors: int = 3  # or 1

    def __post_init__(self) -> None:
        cutoff, stopband, scales = self.first_cutoff, self.first_stopband, (self.mapping_lr, self.output_scale)
        rules = {
            "resolution is a power of two from 16 px up": self.resolution >= 16
            and not self.resolution & (self.resolution - 1),
            "num_critical is between 0 and num_layers": 0 < self.num_critical < self.num_layers,
            "first_cutoff is between 0 and resolution / 2": 0 < cutoff < self.resolution / 2,
            "first_stopband is above first_cutoff": cutoff < stopband < math.inf,
            "last_stopband_rel, channel_base, channel_max and depth are more than 0": 0
            < self.last_stopband_rel
            < math.inf
            and min(self.channel_base, self.channel_max, self.depth) > 0,
            "margin is between 0 and resolution": 0 <= self.margin <= self.resolution,
            "conv_kernel is odd": self.conv_kernel % 2 > 0,
            "filter_size is from 1 to 100, lrelu_upsampling from 1 to 16": 1 <= self.filter_size <= 100
            and 1 <= self.lrelu_upsampling <= 16,
            "mapping_lr and output_scale are finite, clamp more than 0": all(map(math.isfinite, scales))
            and (self.clamp is None or self.clamp > 0),
            "colors are 3 or 1": self.colors in (1, 3),
        }
        for rule, kept in rules.items():
            if not kept:
                raise SettingError(f"{rule}; got {self}")

    @classmethod
    def t(cls, resolution: int = 1024, **rest: Any) -> "Config":
        """Configuration T: equivariant to translation."""
        return cls(resolution, **rest)

    @classmethod
    def r(cls, resolution: int = 1024, **rest: Any) -> "Config":
        """Configuration R: equivariant to translation and rotation; 1x1 convolutions, twice as wide."""
        wide: dict[str, Any] = {"channel_base": 64 << 10, "channel_max": 1024, "conv_kernel": 1, "radial": True}
        return cls(resolution, **(wide | rest))

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """32 px, five layers and odd widths, for tests."""
        small: dict[str, Any] = {
            "z_dim": 12,
            "w_dim": 12,
            "channel_base": 150,
            "channel_max": 11,
            "num_layers": 5,
            "margin": 4,
        }
        return cls(32, **(small | rest))


@dataclass(frozen=True)
class Band:
    """One row of the layer specification: sampling rate, cutoff and half the transition band of a layer's output, its size and channels."""

    rate: int
    cutoff: float
    half_width: float
    size: int
    channels: int


def bands(config: Config) -> tuple[Band, ...]:
    """The specification of all layers: L0 …, torgb last (section 3.2, figure 4c, appendix F)."""
    last = config.resolution / 2
    way = np.minimum(np.arange(config.num_layers + 1) / (config.num_layers - config.num_critical), 1)
    cutoff = config.first_cutoff * (last / config.first_cutoff) ** way
    stopband = config.first_stopband * (last * config.last_stopband_rel / config.first_stopband) ** way
    rate = np.exp2(np.ceil(np.log2(np.minimum(2 * stopband, config.resolution))))
    half_width = np.maximum(stopband, rate / 2) - cutoff
    size = rate + 2 * config.margin
    size[-2:] = config.resolution
    channels = np.rint(np.minimum(config.channel_base / 2 / cutoff, config.channel_max))
    channels[-1] = config.colors
    rows = zip(rate, cutoff, half_width, size, channels, strict=True)
    return tuple(Band(int(r), float(f), float(h), int(s), int(c)) for r, f, h, s, c in rows)


class FourierInput(nn.Module):
    """Fourier features of a plane that w places: waves of `freqs` [c 2] cycles per picture and `phases` [c] cycles, mixed by `weight`."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.band = bands(config)[0]
        c = self.band.channels
        self.affine = Linear(config.w_dim, 4)
        self.weight = nn.Parameter(torch.empty(c, c))
        self.register_buffer("freqs", torch.empty(c, 2))
        self.register_buffer("phases", torch.empty(c))
        self.register_buffer("transform", torch.eye(3))

    def forward(self, s: Float[Tensor, "n 4"], transform: Float[Tensor, "n 3 3"] | None) -> Float[Tensor, "n c h w"]:
        """s is (cosine, sine, right, down) of the placement, the first two to be brought to length 1."""
        place = self.placement(s / s[:, :2].norm(dim=1, keepdim=True))
        if transform is not None:
            place = place @ transform.to(s)
        freqs = self.freqs @ place[:, :2, :2]  # [n c 2]
        phases = self.phases + (self.freqs @ place[:, :2, 2:]).squeeze(2)
        beyond = (freqs.norm(dim=2) - self.band.cutoff) / (self.band.rate / 2 - self.band.cutoff)
        at = (torch.arange(self.band.size, device=s.device, dtype=s.dtype) + (1 - self.band.size) / 2) / self.band.rate
        across, down = at * freqs[:, :, :1], at * freqs[:, :, 1:] + phases[:, :, None]  # [n c w], [n c h]
        strength = (1 - beyond).clamp(0, 1)[:, :, None, None]
        waves = (2 * math.pi * (across[:, :, None] + down[:, :, :, None])).sin() * strength
        mixed = waves.permute(0, 2, 3, 1) @ self.weight.T / math.sqrt(len(self.weight))
        return mixed.permute(0, 3, 1, 2)

    def placement(self, t: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
        """The rotation by (cosine, sine) after the translation by -(right, down), after the net's own transform."""
        cos, sin, right, down = t.unbind(1)
        return _turn(cos, sin) @ _move(right, down) @ self.transform


def _turn(cos: Float[Tensor, " n"], sin: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1).unflatten(1, (3, 3))


def _move(right: Float[Tensor, " n"], down: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Back by (right, down)."""
    zero, one = torch.zeros_like(right), torch.ones_like(right)
    return torch.stack([one, zero, -right, zero, one, -down, zero, zero, one], 1).unflatten(1, (3, 3))


class FilteredConv(Tabled):
    """A modulated convolution and a filtered nonlinearity. `magnitude` is the moving average of the mean square of what comes in."""

    magnitude: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, config: Config, i: int):
        super().__init__()
        spec = bands(config)
        before, here, k = spec[max(i - 1, 0)], spec[i], config.conv_kernel
        rate = config.lrelu_upsampling * max(before.rate, here.rate)
        up, down = round(rate / before.rate), round(rate / here.rate)
        up_taps, down_taps = (config.filter_size * factor if factor > 1 else 1 for factor in (up, down))
        radial = config.radial and i < config.num_layers - config.num_critical
        self.clamp = config.clamp
        self.rates = Rates.centered(before.size + k - 1, here.size, up, down, up_taps + down_taps)
        self.affine = Linear(config.w_dim, before.channels)
        self.weight = nn.Parameter(torch.empty(here.channels, before.channels, k, k))
        self.bias = nn.Parameter(torch.empty(here.channels))
        self.register_buffer("magnitude", torch.ones(()))
        up_filter = lowpass(up_taps, before.cutoff, 2 * before.half_width, rate)
        down_filter = lowpass(down_taps, here.cutoff, 2 * here.half_width, rate, radial)
        self.register_buffer("up_filter", up_filter.float())
        self.register_buffer("down_filter", down_filter.float())

    def forward(self, x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"], grad: bool) -> Float[Tensor, "n o y x"]:
        kept = self.table("power", self.weight, power)
        # Equation 3 of StyleGAN2, with an epsilon in proportion to style and weight: the two may be of any scale.
        tiny = EPSILON * s.square().mean(1, keepdim=True) * (kept.mean(1) / self.weight[0, 0].numel())
        d = (s.square() @ kept.T + tiny).rsqrt()
        y = self._convolved(x, s * self.magnitude.rsqrt(), d, grad)
        given = (self.rates, self.up_filter, self.down_filter)
        y = filtered_lrelu(y.to(s.dtype), *given, slope=SLOPE, gain=math.sqrt(2), clamp=self.clamp, grad=grad)
        return y.to(x.dtype)

    def _convolved(self, x: Tensor, s: Tensor, d: Tensor, grad: bool) -> Tensor:
        """d · conv(s · x) + bias, in the form that is fastest for these sizes."""
        weight, size, cpu = self.weight, self.rates.size, x.device.type == "cpu"
        (o, i, k, _), before = weight.shape, x.shape[2] * x.shape[3]
        tiled = -(-size // 4) * 4
        if cpu and k == 3 and fixed(weight) and winograd.suits(x.new_empty(0, i, tiled, tiled), weight):
            x = F.pad(styled(x, s), (1, tiled - x.shape[3] - 1, 1, tiled - x.shape[2] - 1))
            y = self.quick(x, weight, grad)[:, :, :size, :size]
        elif cpu and not grad and 2 * weight.numel() < i * before + o * size**2:  # the weight of each sample for itself
            weight = self.table("laid", weight, laid)
            own = [
                _conv(x[n : n + 1], _folded(weight, s[n], d[n]).to(x.dtype), self.bias.to(x.dtype))
                for n in range(len(x))
            ]
            return own[0] if len(own) == 1 else torch.cat(own)
        else:
            y = _conv(styled(x, s), self.table("laid", weight, laid).to(x.dtype))
        d, bias = d[:, :, None, None].to(x.dtype), self.bias[None, :, None, None].to(x.dtype)
        return torch.addcmul(bias, y, d) if grad else torch.addcmul(bias, y, d, out=y)


def _folded(
    weight: Float[Tensor, "o i k k"], s: Float[Tensor, " i"], d: Float[Tensor, " o"]
) -> Float[Tensor, "o i k k"]:
    return weight * (d[:, None] * s)[:, :, None, None]


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    k = weight.shape[-1]
    return conv1x1(x, weight, bias) if k == 1 else F.conv2d(x, weight, bias, padding=k - 1)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colors, without demodulation and filters."""

    magnitude: Tensor

    def __init__(self, config: Config):
        super().__init__()
        into = bands(config)[-2].channels
        self.clamp, self.gain = config.clamp, 1 / math.sqrt(into)
        self.affine = Linear(config.w_dim, into)
        self.weight = nn.Parameter(torch.empty(config.colors, into, 1, 1))
        self.bias = nn.Parameter(torch.empty(config.colors))
        self.register_buffer("magnitude", torch.ones(()))

    def forward(self, x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"], grad: bool) -> Float[Tensor, "n rgb h w"]:
        y = to_rgb(x, s * self.magnitude.rsqrt(), self.weight[:, :, 0, 0] * self.gain, self.bias)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class Net(nn.Module):
    """All weights: mapping, w_avg (mean w, which truncation pulls to), input, L0, L1 …, torgb."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c = config, config
        self.mapping = stylegan2.MappingNet(
            stylegan2.Config((1,), (4, 4), c.z_dim, c.w_dim, c.c_dim, c.depth, c.mapping_lr)
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.input = FourierInput(config)
        for i in range(config.num_layers):
            self.add_module(f"L{i}", FilteredConv(config, i))
        self.torgb = ToRGB(config)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers, each with a row of its own."""
    spec = bands(config)
    first, beyond = spec[0], lambda band: (band.size - band.rate) // 2
    layers = [
        Layer("input", (first.size, first.size), first.channels, 0, slice(0, 4), ("transform",), margin=beyond(first))
    ]
    at, into = 4, first.channels
    for i, band in enumerate(spec):
        name = "torgb" if i == config.num_layers else f"L{i}"
        style = slice(at, at := at + into)
        layers.append(Layer(name, (band.size, band.size), band.channels, i + 1, style, margin=beyond(band)))
        into = band.channels
    return tuple(layers)


@final
class StyleGAN3(Styled):
    """z → w → w+ → s and a chain of filtered layers; see the top of this file. The first four columns of s place the Fourier features."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c = net.config
        super().__init__(name, net, chain(c), c.z_dim, c.w_dim, c.c_dim, mark, inputs={"transform": (3, 3)})

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here = self.layers[i]
        s, part = latents.values[:, here.style], self._part(here)
        if i > 0:
            return State(part(state.x, s, grad))
        return State(part(s, latents.inputs.get("transform")).to(self.precision or self.dtype))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        return (state.x * self.net.config.output_scale).expand(-1, 3, -1, -1).contiguous()


# -- where the picture is ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MovePicture(LatentEdit):
    """Turn the picture by `turn` degrees clockwise about its center, then move it by `right` and `down` of its width.

    Numbers, or one [n] for each sample. It acts on where the picture is already, so several come one after another.
    """

    right: float | Float[Tensor, " n"] = 0.0
    down: float | Float[Tensor, " n"] = 0.0
    turn: float | Float[Tensor, " n"] = 0.0

    def acts_in(self, generator: Generator) -> str:
        return generator.spaces[-1].name

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        if "transform" not in generator.inputs:
            raise SettingError(
                f"{generator.name} takes no input 'transform', so its picture cannot be moved; "
                f"it takes {', '.join(generator.inputs) or 'none'}"
            )
        v = latents.values
        number = lambda t: torch.as_tensor(t, device=v.device, dtype=v.dtype).expand(len(latents))
        right, down, angle = number(self.right), number(self.down), torch.deg2rad(number(self.turn))
        here = latents.inputs.get("transform", torch.eye(3, device=v.device, dtype=v.dtype))
        # What is seen at p comes from R⁻¹ (p - move).
        there = here.to(v) @ _turn(angle.cos(), -angle.sin()) @ _move(right, down)
        return replace(latents, inputs={**latents.inputs, "transform": there})


@dataclass(frozen=True, kw_only=True)
class Motion(Path):
    """A path along which the picture moves: at t, t times `right`, `down` (of its width) and `turn` (degrees)."""

    right: float = 0.0
    down: float = 0.0
    turn: float = 0.0

    def edit(self, t: float | Float[Tensor, " n"]) -> MovePicture:
        return MovePicture(t * self.right, t * self.down, t * self.turn)


# -- making and reading -----------------------------------------------------------------------------------------------------------------


def random(config: Config, seed: int = 0) -> StyleGAN3:
    """A net as it is before training, but with biases, so that every part counts. The same seed gives the same weights."""
    source = torch.Generator().manual_seed(seed)
    net: Any = Net(config)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(torch.randn(p.shape, generator=source) * (1.0 if p.ndim > 1 else 0.1))
            if name.endswith("affine.bias"):
                p.add_(1.0)
        wave, c = net.input, len(net.input.weight)
        wave.affine.weight.mul_(0.1)
        wave.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        # Spread evenly over the disk of the frequencies that may pass.
        angle, radius = torch.rand(2, c, generator=source)
        angle, radius = 2 * math.pi * angle, wave.band.cutoff * radius.sqrt()
        wave.freqs.copy_(torch.stack([angle.cos() * radius, angle.sin() * radius], 1))
        wave.phases.copy_(torch.rand(c, generator=source) - 0.5)
    begun(net, config.c_dim, source)
    return StyleGAN3(f"stylegan3-random{config.resolution}", net)


def build(name: str, config: Config, tensors: Map[str, Tensor], mark: Mark | None = None) -> StyleGAN3:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration.

    The filters among them must be those that the configuration describes; one of a single tap need not be there.
    """
    net, given = made(name, Net, config), dict(tensors)
    for key, wanted in net.named_buffers():
        if key.endswith("_filter"):
            found = given.setdefault(key, wanted) if wanted.numel() == 1 else given.get(key)
            if found is None or found.shape != wanted.shape or not torch.allclose(found.float(), wanted, atol=1e-4):
                raise ArtifactError(
                    f"{name}: the filter {key} is not the one that its options describe; "
                    "give num_critical, first_cutoff, first_stopband and last_stopband_rel as it was made with"
                )
    return StyleGAN3(name, filled(name, net, given, optional=("w_avg",)), mark)
