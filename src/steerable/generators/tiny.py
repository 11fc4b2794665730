"""Seeded random nets of 16 px, for tests and documentation without downloads: one of each shape that the chain can have.

tiny-style   z → w → w+ → s, modulated convolutions, a skip of image heads, noise: the shape of StyleGAN2
tiny-plain   z only: the shape of DCGAN and ProGAN
tiny-class   z with a label: the shape of a class-conditional GAN
"""

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..artifact import fingerprint
from ..errors import SpaceError
from ..generator import Generator
from ..layer import Layer, State
from ..space import Latents, Space
from .unstyled import Unstyled


def _linear(into: int, out: int, source: torch.Generator, bias: float = 0.0) -> nn.Linear:
    made = nn.Linear(into, out)
    with torch.no_grad():
        made.weight.copy_(torch.randn(out, into, generator=source) / math.sqrt(into))
        made.bias.fill_(bias)
    return made


def _weight(*shape: int, source: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=source) / math.sqrt(math.prod(shape[1:])))


class StyleBlock(nn.Module):
    """A modulated 3x3 convolution with noise, and an image head."""

    def __init__(self, into: int, out: int, d: int, size: int, source: torch.Generator):
        super().__init__()
        self.affine, self.head_affine = _linear(d, into, source, 1.0), _linear(d, out, source, 1.0)
        self.weight, self.head = _weight(out, into, 3, 3, source=source), _weight(3, out, 1, 1, source=source)
        self.register_buffer("noise", torch.randn(1, 1, size, size, generator=source) * 0.1)


class StyleNet(nn.Module):
    def __init__(self, d: int, widths: tuple[int, ...], source: torch.Generator):
        super().__init__()
        self.mapping = nn.Sequential(_linear(d, 2 * d, source, 0.1), nn.LeakyReLU(0.2), _linear(2 * d, d, source, 0.3))
        self.const = nn.Parameter(torch.randn(1, widths[0], 4, 4, generator=source))
        self.blocks = nn.ModuleList(
            StyleBlock(a, b, d, 4 << i, source) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )


@final
class TinyStyle(Generator):
    """The shape of StyleGAN2 (Karras et al. 2020), in three blocks."""

    def __init__(self, seed: int = 0, d: int = 16, widths: tuple[int, ...] = (8, 8, 6, 4)):
        net = StyleNet(d, widths, torch.Generator().manual_seed(seed))
        layers, at, inputs = [], 0, {}
        for i, (into, out) in enumerate(zip(widths, widths[1:], strict=False)):
            size = (4 << i, 4 << i)
            inputs[f"noise.conv{i}"] = (1, *size)
            layers.append(Layer(f"conv{i}", size, out, i, slice(at, at + into), (f"noise.conv{i}",)))
            layers.append(
                Layer(f"head{i}", size, out, min(i + 1, len(widths) - 2), slice(at + into, at + into + out), head=True)
            )
            at += into + out
        rows = len(widths) - 1
        spaces = (
            Space("z", (d,)),
            Space("w", (d,)),
            Space("w+", (rows, d), affine=True),
            Space("s", (at,), affine=True),
        )
        super().__init__(
            "tiny-style", net, spaces=spaces, layers=layers, inputs=inputs, fingerprint=fingerprint(net.state_dict())
        )

    def _step(self, latents: Latents) -> Latents:
        v, net = latents.values, self.net
        match latents.space.name:
            case "z":
                return latents.at(net.mapping(v), self.space("w"))
            case "w":
                return latents.at(v[:, None].expand(-1, *self.space("w+").shape).clone(), self.space("w+"))
        parts = [
            part
            for i, b in enumerate(net.blocks)
            for part in (b.affine(v[:, self.layers[2 * i].row]), b.head_affine(v[:, self.layers[2 * i + 1].row]))
        ]
        return latents.at(torch.cat(parts, 1), self.space("s"))

    def start(self, latents: Latents) -> State:
        n = len(latents)
        return State(self.net.const.expand(n, -1, -1, -1), None)

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        block, style = self.net.blocks[i // 2], latents.values[:, self.layers[i].style, None, None]
        if self.layers[i].head:
            rgb = F.conv2d(state.x * style, block.head)
            return State(state.x, rgb if state.rgb is None else F.interpolate(state.rgb, scale_factor=2.0) + rgb)
        x = state.x if i == 0 else F.interpolate(state.x, scale_factor=2.0)
        x = F.conv2d(x * style, block.weight, padding=1)
        x = x * (style[:, :, 0, 0].square() @ block.weight.square().sum((2, 3)).T + 1e-8).rsqrt()[:, :, None, None]
        x = x + latents.inputs.get(f"noise.conv{i // 2}", block.noise)
        return State(F.leaky_relu(x, 0.2) * math.sqrt(2), state.rgb)

    def finish(self, state: State, latents: Latents) -> Tensor:
        assert state.rgb is not None
        return (state.rgb / 3).tanh()

    def coarse(self, i: int, state: State, latents: Latents) -> Tensor | None:
        return None if state.rgb is None else (state.rgb / 3).tanh()

    def affines(self, space: str) -> dict[str, Tensor]:
        if space not in ("w", "w+"):
            raise SpaceError(f"{self.name} has affine maps out of 'w', not out of {space!r}")
        blocks = self.net.blocks
        return {
            name: m.weight
            for i, b in enumerate(blocks)
            for name, m in ((f"conv{i}", b.affine), (f"head{i}", b.head_affine))
        }


class PlainNet(nn.Module):
    def __init__(self, d: int, classes: int, widths: tuple[int, ...], source: torch.Generator):
        super().__init__()
        self.embed = _weight(d, classes, source=source) if classes else None
        self.first = _weight(d, widths[0], 4, 4, source=source)
        self.convs = nn.ParameterList(
            _weight(b, a, 3, 3, source=source) for a, b in zip(widths, (*widths[1:], 3), strict=False)
        )


@final
class TinyPlain(Unstyled):
    """The shape of DCGAN (Radford et al. 2016): z, perhaps with a label, and nothing else to steer."""

    def __init__(self, seed: int = 0, d: int = 12, classes: int = 0, widths: tuple[int, ...] = (8, 8, 6)):
        net = PlainNet(d, classes, widths, torch.Generator().manual_seed(seed + 100))
        reads = ("label",) if classes else ()
        layers = [Layer("first", (4, 4), widths[0], style=slice(0, d), reads=reads)]
        layers += [
            Layer(f"conv{i}", (4 << min(i + 1, 2), 4 << min(i + 1, 2)), c) for i, c in enumerate((*widths[1:], 3))
        ]
        super().__init__("tiny-class" if classes else "tiny-plain", net, layers, d, classes)

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        if i == 0:
            z, label = latents.values, self._label(latents)
            z = z if label is None else z + label @ self.net.embed.T
            return State(F.leaky_relu(torch.einsum("nd,dchw->nchw", z, self.net.first) * math.sqrt(z.shape[1]), 0.2))
        x = F.interpolate(state.x, scale_factor=2.0) if i < 3 else state.x
        x = F.conv2d(x, self.net.convs[i - 1], padding=1)
        return State(x if i == len(self.layers) - 1 else F.leaky_relu(x * math.sqrt(2), 0.2))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x.tanh()

    def _matrix(self) -> Tensor:
        return self.net.first.flatten(1).T
