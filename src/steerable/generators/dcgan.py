"""DCGAN: transposed convolutions from z to a picture, of any depth.

Paper    Radford, Metz, Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, ICLR 2016
Matches  state dicts of `nn.Sequential` generators (ConvTranspose2d, BatchNorm2d, ReLU …, Tanh): widths, depth, size and label are read off
         the shapes
Differs  batch normalization uses the stored statistics, so a picture does not depend on its neighbors
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Mark
from ..layer import Layer, State
from ..space import Latents
from .opening import filled, made
from .unstyled import Unstyled


class Stage(NamedTuple):
    """Kernel size, stride and padding of one transposed convolution, and its widths."""

    into: int
    out: int
    kernel: int
    stride: int
    padding: int
    normed: bool


@dataclass(frozen=True)
class Config:
    """The shape of a net. The first `classes` inputs after z are a one-hot label."""

    stages: tuple[Any, ...]  # of Stage, or of the numbers of one
    classes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(Stage(*stage) for stage in self.stages))
        chained = all(a.out == b.into for a, b in pairwise(self.stages))
        if not self.stages or not chained or not 0 <= self.classes < self.stages[0].into:
            raise SettingError(f"stages follow one another, from z with fewer classes than inputs; got {self}")
        if any(s.kernel < 1 or s.stride < 1 or s.padding < 0 for s in self.stages):
            raise SettingError(f"kernels and strides are from 1 up, paddings from 0 up; got {self}")


class Block(nn.Module):
    def __init__(self, stage: Stage):
        super().__init__()
        self.conv = nn.ConvTranspose2d(stage.into, stage.out, stage.kernel, stage.stride, stage.padding, bias=True)
        self.norm = nn.BatchNorm2d(stage.out) if stage.normed else nn.Identity()


class Net(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config, self.blocks = config, nn.ModuleList(Block(s) for s in config.stages)


@final
class DCGAN(Unstyled):
    """A plain chain: z, with `classes` > 0 a one-hot label appended to it, and nothing else to steer."""

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        stages, classes = net.config.stages, net.config.classes
        d = stages[0].into - classes
        side, layers = 1, []
        for i, s in enumerate(stages):
            side = (side - 1) * s.stride - 2 * s.padding + s.kernel
            style, reads = (slice(0, d), ("label",) if classes else ()) if i == 0 else (slice(0, 0), ())
            layers.append(Layer(f"blocks.{i}", (side, side), s.out, style=style, reads=reads))
        super().__init__(name, net, layers, d, classes, mark)

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        x, block = state.x, self.net.blocks[i]
        if i == 0:
            label = self._label(latents)
            z = latents.values if label is None else torch.cat([latents.values, label], 1)
            x = z[:, :, None, None].to(self.dtype)
        x = block.norm(block.conv(x))
        return State(x if i == len(self.layers) - 1 else F.relu(x))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x.tanh().to(latents.values.dtype)

    def half(self) -> "DCGAN":
        return self.to(dtype=torch.bfloat16)

    def _matrix(self) -> Tensor:
        weight = self.net.blocks[0].conv.weight  # [d c 4 4]
        return weight[: self.spaces[0].shape[0]].flatten(1).T


def build(name: str, config: Config, tensors: Mapping[str, Tensor], mark: Mark | None = None) -> DCGAN:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return DCGAN(name, filled(name, made(name, Net, config), tensors), mark)
