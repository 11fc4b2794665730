"""A generator for which the theorems on layer-wise inversion hold."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from steerable.artifact import fingerprint
from steerable.generator import Generator
from steerable.layer import Layer, State
from steerable.space import Latents, Space


class ReLUChain(Generator):
    """Gaussian weights and expansive layers, as the theorems ask: z → a dense layer → transposed convolutions, a kink after each."""

    def __init__(self, slope: float = 0.0, widths=(6, 5), d: int = 5, bounded: bool = False, seed: int = 0):
        source = torch.Generator().manual_seed(seed)
        normal = lambda *shape: nn.Parameter(torch.randn(*shape, generator=source) / math.sqrt(shape[0]))
        net = nn.Module()
        net.dense, net.bias = normal(d, widths[0] * 4), nn.Parameter(torch.randn(widths[0] * 4, generator=source) * 0.1)
        net.convs = nn.ParameterList(normal(a, b, 4, 4) for a, b in zip(widths, (*widths[1:], 3), strict=True))
        layers = [Layer("dense", (2, 2), widths[0], style=slice(0, d))]
        layers += [Layer(f"conv{i}", (4 << i, 4 << i), c) for i, c in enumerate((*widths[1:], 3))]
        self.slope, self.bounded = slope, bounded
        super().__init__(
            "chain", net, spaces=(Space("z", (d,)),), layers=layers, fingerprint=fingerprint(net.state_dict())
        )

    def _step(self, latents: Latents) -> Latents:
        raise AssertionError

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 2, 2))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        if i == 0:
            x = (latents.values @ self.net.dense + self.net.bias).view(len(latents), -1, 2, 2)
        else:
            x = F.conv_transpose2d(state.x, self.net.convs[i - 1], stride=2, padding=1)
        last = i == len(self.layers) - 1
        return State(x if last and self.bounded else F.leaky_relu(x, self.slope))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x.tanh() if self.bounded else state.x

    def affines(self, space: str) -> dict[str, Tensor]:
        return {"dense": self.net.dense.T}
