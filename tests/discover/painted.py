"""A generator that paints known patterns: what each channel of each layer does to the picture is written down, not learned."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from steerable.artifact import fingerprint
from steerable.generator import Generator
from steerable.layer import Layer, State
from steerable.space import Latents, Space

SIDE = 16


def box(x0: int, y0: int, x1: int, y1: int, value: float = 1.0) -> Tensor:
    """A pattern [3 16 16]: `value` within the box, in px, 0 elsewhere."""
    pattern = torch.zeros(3, SIDE, SIDE)
    pattern[:, y0:y1, x0:x1] = value
    return pattern


class Painted(Generator):
    """z → w (the same) → w+ → s, and picture = bend(Σ s·pattern). Row i has the patterns [c_i 3 16 16] and its styles are A_i w."""

    def __init__(self, patterns: list[Tensor], affines: list[Tensor], bend: float = 0.0):
        net = nn.Module()
        net.affines = nn.ParameterList(affines)
        net.patterns = nn.ParameterList(patterns)
        self.bend, self.calls = bend, 0
        d, layers, at = affines[0].shape[1], [], 0
        for i, p in enumerate(patterns):
            layers.append(Layer(f"paint{i}", (SIDE, SIDE), 3, i, slice(at, at + len(p))))
            at += len(p)
        spaces = (
            Space("z", (d,)),
            Space("w", (d,)),
            Space("w+", (len(patterns), d), affine=True),
            Space("s", (at,), affine=True),
        )
        mark = fingerprint(net.state_dict())
        super().__init__("painted", net, spaces=spaces, layers=layers, fingerprint=mark)

    def _step(self, latents: Latents) -> Latents:
        v = latents.values
        match latents.space.name:
            case "z":
                return latents.at(v + 0, self.space("w"))
            case "w":
                return latents.at(v[:, None].expand(-1, len(self.layers), -1).clone(), self.space("w+"))
        return latents.at(torch.cat([v[:, i] @ A.T for i, A in enumerate(self.net.affines)], 1), self.space("s"))

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_zeros(len(latents), 3, SIDE, SIDE))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        self.calls += len(latents)
        return State(
            state.x + torch.einsum("nc,cihw->nihw", latents.values[:, self.layers[i].style], self.net.patterns[i])
        )

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x + self.bend * state.x.square()

    def affines(self, space: str) -> dict[str, Tensor]:
        return {layer.name: A for layer, A in zip(self.layers, self.net.affines, strict=True)}


class FirstMap(Generator):
    """z → W z + b as a map [c 4 4] → three of its channels, four times larger: the shape of nets with a linear first layer."""

    def __init__(self, W: Tensor, b: Tensor):
        net = nn.Module()
        net.W, net.b = nn.Parameter(W), nn.Parameter(b)  # [c h w d], [c h w]
        c, h, w, d = W.shape
        layers = [Layer("first", (h, w), c, style=slice(0, d)), Layer("grow", (4 * h, 4 * w), 3)]
        super().__init__(
            "first-map", net, spaces=(Space("z", (d,)),), layers=layers, fingerprint=fingerprint(net.state_dict())
        )

    def _step(self, latents: Latents) -> Latents:
        raise NotImplementedError

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_zeros(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        if i == 0:
            return State(torch.einsum("chwd,nd->nchw", self.net.W, latents.values) + self.net.b)
        return State(F.interpolate(state.x[:, :3], scale_factor=4.0, mode="bilinear"))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x

    def affines(self, space: str) -> dict[str, Tensor]:
        return {"first": self.net.W.flatten(0, 2)}


def orthogonal(d: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed)))[0]
