"""BigGAN and BigGAN-deep: residual blocks whose batch normalization listens to the class and to z.

Paper    Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis, ICLR 2019 (arXiv:1809.11096),
         section 3, figure 15 and tables 4-6, figure 16 and tables 7-9 (deep)
Matches  one embedding of the class for all blocks (or none: a table each); z dealt out in chunks, the first to the start and one to each
         block (hierarchical), or whole to all (deep); gain 1 + A·row and bias B·row; attention; statistics for each truncation, stored
Differs  truncation multiplies z, whose samples lie within `bound` to begin with, as the authors' published module does, and takes the
         statistics of that truncation, linear between the stored ones. Spectral normalization is part of the weights

The chain: z → w = (z, embedding of the class) → w+, a row (chunk of z, embedding) for the start and one for each block → s: the row of the
start, then for each normalization of each block the gains (1 is added where they are used) and the biases.
Modules bear the names of their layers: linear, blocks.0, blocks.1 …, attention.3 where there is one, torgb.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..artifact import fingerprint
from ..errors import SettingError, SpaceError
from ..generator import Mark
from ..layer import Layer, State
from ..moments import Moments
from ..nn.residual import Attention
from ..space import Latents, Space
from .halved import Halved
from .opening import filled, made
from .resnetgan import Block, Head, scattered


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are its channels at the start and after each block, `ups` which blocks double the size."""

    widths: tuple[int, ...]
    ups: tuple[bool, ...]
    deep: bool = False  # blocks of four convolutions, the inner ones a quarter as wide
    hierarchical: bool = False  # z is dealt out in chunks; not with `deep`
    z_dim: int = 128
    embedding: int = 128  # width of the embedding of the class
    classes: int = 1000
    attention: tuple[int, ...] = ()  # the blocks that it follows
    levels: int = 1  # truncations, evenly from 0 to 1, for which there are statistics; 1: those of no truncation only
    side: int = 4  # px at the start
    epsilon: float = 1e-4
    head_epsilon: float = 1e-4  # of the last normalization
    bound: float | None = 2.0  # samples of z lie within ± this; None for no bound

    def __post_init__(self) -> None:
        least = min(*self.widths, self.z_dim, self.embedding, self.classes, self.levels, self.side, 1 << 30)
        if len(self.widths) < 2 or len(self.ups) != len(self.widths) - 1 or least < 1:
            raise SettingError(f"widths has one number more than ups, and all numbers are from 1 up; got {self}")
        if self.hierarchical and (self.deep or self.z_dim % (len(self.ups) + 1)):
            raise SettingError(
                f"z is dealt out in {len(self.ups) + 1} equal chunks, and never in a deep net; got {self}"
            )
        if self.deep and any(b > a for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise SettingError(f"a block of a deep net cannot grow wider; got {self}")
        if any(not 0 <= i < len(self.ups) or self.widths[i + 1] < 8 for i in self.attention):
            raise SettingError(
                f"attention follows a block up to number {len(self.ups) - 1}, 8 channels wide at least; got {self}"
            )
        if self.bound is not None and not self.bound > 0:
            raise SettingError(f"bound is above 0, or None; got {self.bound}")

    @property
    def chunk(self) -> int:
        """Numbers of z in each row of w+."""
        return self.z_dim // (len(self.ups) + 1) if self.hierarchical else self.z_dim

    @property
    def reads(self) -> tuple[slice, slice]:
        """The columns of its row that the start uses, and that a block uses."""
        row = self.chunk + self.embedding
        start = slice(0, row if self.deep else self.chunk)
        return start, slice(0 if self.deep or self.hierarchical else self.chunk, row)

    @classmethod
    def published(cls, resolution: int = 128, deep: bool = True, channels: int | None = None) -> "Config":
        """The paper's nets for 128, 256 and 512 px (64 px too, but for deep ones). Raises SettingError for other sizes."""
        shapes = {
            64: (16, 16, 8, 4, 2),
            128: (16, 16, 8, 4, 2, 1),
            256: (16, 16, 8, 8, 4, 2, 1),
            512: (16, 16, 8, 8, 4, 2, 1, 1),
        }
        if resolution not in shapes or (deep and resolution == 64):
            raise SettingError(f"resolution is 64 (not deep), 128, 256 or 512 px; got {resolution}")
        shape, ch, made = shapes[resolution], channels or (128 if deep else 96), dict[str, Any]()
        attends = (64).bit_length() - 4  # the block that ends at 64 px
        if not deep:
            z = 20 * len(shape)
            made = {"ups": (True,) * (len(shape) - 1), "hierarchical": True, "z_dim": z, "attention": (attends,)}
        else:
            shape = (shape[0], *(c for a, b in zip(shape, shape[1:], strict=False) for c in (a, b)))
            made = {
                "ups": (False, True) * (len(shape) // 2),
                "deep": True,
                "levels": 51,
                "attention": (2 * attends + 1,),
            }
        return cls(widths=tuple(ch * c for c in shape), **made)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and small widths, for tests; the paper's first net, with chunks. `deep=True` makes one of BigGAN-deep."""
        small: dict[str, Any] = {"widths": (10, 8, 6), "ups": (True, True), "z_dim": 12, "hierarchical": True}
        if rest.get("deep"):
            small = {"widths": (12, 12, 8, 8), "ups": (True, False, True), "z_dim": 7, "levels": 5}
        small |= {"embedding": 5, "classes": 3, "attention": (0,)}
        return cls(**(small | rest))


class Maps(nn.Module):
    """The linear maps from a row to the gains and biases of a block's normalizations."""

    def __init__(self, widths: tuple[int, ...], columns: int):
        super().__init__()
        self.gain = nn.ParameterList(torch.empty(c, columns) for c in widths)
        self.bias = nn.ParameterList(torch.empty(c, columns) for c in widths)

    def matrix(self) -> Float[Tensor, "styles d"]:
        return torch.cat([m for pair in zip(self.gain, self.bias, strict=True) for m in pair])

    def forward(self, row: Float[Tensor, "n d"]) -> Float[Tensor, "n styles"]:
        return torch.cat([F.linear(row, m) for pair in zip(self.gain, self.bias, strict=True) for m in pair], 1)


class Net(nn.Module):
    """All weights."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c = config, config.widths
        start, block = ((s.stop - s.start) for s in config.reads)
        self.embed = nn.Parameter(torch.empty(config.classes, config.embedding))
        self.linear = nn.Linear(start, c[0] * config.side**2)
        blocks = [residual(config, i) for i in range(len(config.ups))]
        self.blocks, self.maps = nn.ModuleList(blocks), nn.ModuleList(Maps(b.normed, block) for b in blocks)
        self.attention = nn.ModuleDict({str(i): Attention(c[i + 1]) for i in config.attention})
        self.torgb = Head(c[-1], 3, levels=config.levels, epsilon=config.head_epsilon)


def residual(config: Config, i: int) -> Block:
    """Block i."""
    a, b = config.widths[i : i + 2]
    shared: dict[str, Any] = {"levels": config.levels, "epsilon": config.epsilon}
    if config.deep:
        m = max(a // 4, 1)
        return Block((a, m, m, m, b), (1, 3, 3, 1), 1 if config.ups[i] else None, 0, **shared)
    return Block((a, b, b), (3, 3), 0 if config.ups[i] else None, int(config.ups[i] or a != b), **shared)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers: a row of w+ for the start and each block; attention and torgb have none."""
    side, reads = config.side, ("truncation",) if config.levels > 1 else ()
    at = config.reads[0].stop
    layers = [Layer("linear", (side, side), config.widths[0], 0, slice(0, at))]
    for i, (a, b) in enumerate(zip(config.widths, config.widths[1:], strict=False)):
        side *= 1 + config.ups[i]
        styles = 2 * (a + 3 * max(a // 4, 1) if config.deep else a + b)
        layers.append(Layer(f"blocks.{i}", (side, side), b, i + 1, slice(at, at := at + styles), reads))
        if i in config.attention:
            layers.append(Layer(f"attention.{i}", (side, side), b, style=slice(at, at)))
    return (*layers, Layer("torgb", (side, side), config.widths[-1], style=slice(at, at), reads=reads, head=True))


@final
class BigGAN(Halved):
    """z → w → w+ → s and a chain of residual blocks; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        c, layers = net.config, chain(net.config)
        spaces = (
            Space("z", (c.z_dim,)),
            Space("w", (c.z_dim + c.embedding,)),
            Space("w+", (len(c.ups) + 1, c.chunk + c.embedding), affine=True),
            Space("s", (layers[-1].style.stop,), affine=True),
        )
        inputs: dict[str, tuple[int, ...]] = {"label": (c.classes,)} | ({"truncation": ()} if c.levels > 1 else {})
        mark = mark or fingerprint(net.state_dict())
        super().__init__(name, net, spaces=spaces, layers=layers, inputs=inputs, fingerprint=mark)

    # -- the chain ------------------------------------------------------------------------------------------------------------------

    def _from_normal(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Normal numbers squeezed within the bound, order kept: the quantiles of a truncated normal distribution."""
        b = self.net.config.bound
        if b is None:
            return z
        inside = math.erf(b / math.sqrt(2))  # the share of normal numbers within ± b
        return torch.special.ndtri((1 - inside) / 2 + inside * torch.special.ndtr(z.double())).clamp(-b, b)

    def moments(self, space: str) -> Moments:
        """As everywhere; z has the variance of a truncated normal distribution where it is one."""
        found, b = super().moments(space), self.net.config.bound
        if space != "z" or b is None:
            return found
        inside = math.erf(b / math.sqrt(2))
        return replace(found, cov=found.cov * (1 - 2 * b * math.exp(-(b**2) / 2) / math.sqrt(2 * math.pi) / inside))

    def _step(self, latents: Latents) -> Latents:
        v, net, c = latents.values, self.net, self.net.config
        match latents.space.name:
            case "z":
                if "label" not in latents.inputs:
                    raise SettingError(f"{self.name} needs an input 'label' [n {c.classes}] to go from z to w")
                return latents.at(torch.cat([v, latents.inputs["label"].to(v) @ net.embed], 1), self.space("w"))
            case "w":
                count = len(c.ups) + 1
                z, own = v[:, None, : c.z_dim], v[:, None, c.z_dim :].expand(-1, count, -1)
                z = z.reshape(-1, count, c.chunk) if c.hierarchical else z.expand(-1, count, -1)
                return latents.at(torch.cat([z, own], 2), self.space("w+"))
        start, block = c.reads
        styles = [maps(v[:, i + 1, block]) for i, maps in enumerate(net.maps)]
        return latents.at(torch.cat([v[:, 0, start], *styles], 1), self.space("s"))

    def carry(
        self, delta: Float[Tensor, "n *shape"], space: str, to: str, inputs: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """As everywhere; a straight move of z is one of w too, where the class stays as it is."""
        if space == "z" != to:
            delta, space = F.pad(delta, (0, self.net.config.embedding)), "w"
        return super().carry(delta, space, to, inputs)

    def truncate(self, latents: Latents, psi: float | Float[Tensor, " n"], cutoff: int | None = None) -> Latents:
        """Multiply z by psi, in rows of w+ below `cutoff` only if that is given, and take the statistics of truncation psi.

        The class stays. psi 1 changes nothing. Raises SettingError for a psi that is not finite.
        """
        if cutoff is not None and self.before(latents.space.name, "w+"):
            latents = self.lift(latents, "w+")
        v, levels = latents.values, self.net.config.levels
        psi = torch.as_tensor(psi, device=v.device, dtype=v.dtype)
        if not torch.isfinite(psi).all():
            raise SettingError("psi must be a finite number; 0.5 is usual, 1 changes nothing")
        still, share = self._still(latents), psi.reshape(-1, *(1,) * (v.ndim - 1))
        pulled = torch.where(share == 1, v, still + share * (v - still))
        if cutoff is not None:
            below = f"0-{cutoff - 1}" if cutoff > 0 else None
            keep = self._where(latents.space.name, below) if below else torch.zeros_like(v[0], dtype=torch.bool)
            pulled = torch.where(keep.to(v.device), pulled, v)
        inputs = {**latents.inputs, "truncation": psi.expand(len(v))} if levels > 1 else latents.inputs
        return replace(latents, values=pulled, inputs=inputs)

    def _still(self, latents: Latents) -> Tensor:
        """The same codes with 0 for z."""
        v, c = latents.values, self.net.config
        if latents.space.name == "s":
            zero = v.new_zeros(len(v), c.z_dim)
            return self.lift(Latents(zero, self.space("z"), latents.inputs), "s").values
        count = {"z": c.z_dim, "w": c.z_dim, "w+": c.chunk}[latents.space.name]
        return torch.cat([torch.zeros_like(v[..., :count]), v[..., count:]], -1)

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if space not in ("z", "w", "w+"):
            raise SpaceError(f"{self.name} has affine maps out of 'z', 'w' and 'w+', not out of {space!r}")
        c, found = self.net.config, {}
        start, block = c.reads
        matrices = [("linear", self.net.linear.weight, start)]
        matrices += [(f"blocks.{i}", maps.matrix(), block) for i, maps in enumerate(self.net.maps)]
        for row, (name, matrix, columns) in enumerate(matrices):
            whole = F.pad(matrix, (columns.start, c.chunk + c.embedding - columns.stop))  # by columns of the row
            if space != "w+":
                z, own = whole[:, : c.chunk], whole[:, c.chunk :]
                if c.hierarchical:
                    z = F.pad(z, (row * c.chunk, c.z_dim - (row + 1) * c.chunk))
                whole = z if space == "z" else torch.cat([z, own], 1)
                if space == "z" and columns.start >= c.chunk:
                    continue
            found[name] = whole
        return found

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x, truncation = self.layers[i], state.x, latents.inputs.get("truncation")
        kind, _, number = here.name.partition(".")
        part: Any = self.net.get_submodule(here.name)
        if here.head:
            return State(x, part(x, truncation, grad))
        if kind == "linear":
            y = part(latents.values[:, here.style]).unflatten(1, (here.channels, *here.size))
        elif kind == "attention":
            y = part(x)
        else:
            maps = self.net.maps[int(number)]
            widths = [len(m) for pair in zip(maps.gain, maps.bias, strict=True) for m in pair]
            gains_biases = latents.values[:, here.style].split(widths, 1)
            styles = [(1 + g, b) for g, b in zip(gains_biases[::2], gains_biases[1::2], strict=True)]
            y = part(x, styles, truncation, grad)
        return State(y.to(self.precision or self.dtype))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.tanh()


def random(config: Config, seed: int = 0) -> BigGAN:
    """A net of random weights and statistics, every part of which counts. The same seed gives the same weights."""
    net = scattered(Net(config), seed)
    with torch.no_grad():
        for maps in net.maps:
            for gain in maps.gain:
                gain.copy_((gain - 1) / math.sqrt(gain.shape[1]))
    return BigGAN(f"biggan-random{chain(config)[-1].size[0]}", net)


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> BigGAN:
    """The generator of a configuration and tensors under the names of `Net`. Raises ArtifactError where they do not fit."""
    return BigGAN(name, filled(name, made(name, Net, config), tensors), mark)
