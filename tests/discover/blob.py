"""A generator whose truth is known: a soft spot on gray, its place, size and brightness linear in z along planted directions."""

import torch
from torch import Tensor, nn

from steerable.artifact import fingerprint
from steerable.generator import Generator
from steerable.layer import Layer, State
from steerable.score import Scorer
from steerable.space import Latents, Space

SIDE, D = 16, 6
FACTORS = ("shift-x", "shift-y", "zoom", "brightness")
PER_SD = (0.1, 0.1, 0.2, 0.15)  # pictures, pictures, log, level


class Blob(Generator):
    def __init__(self):
        net = nn.Module()
        source = torch.Generator().manual_seed(5)
        net.truth = nn.Parameter(torch.linalg.qr(torch.randn(D, D, generator=source))[0][:4].contiguous())
        mark = fingerprint(net.state_dict())
        layers = [Layer("paint", (SIDE, SIDE), 3, style=slice(0, D))]
        super().__init__("blob", net, spaces=(Space("z", (D,)),), layers=layers, fingerprint=mark)

    def factors(self, z: Tensor) -> Tensor:
        """[n 4]"""
        return z @ self.net.truth.T * torch.tensor(PER_SD)

    def truth(self, name: str) -> Tensor:
        return self.net.truth[FACTORS.index(name)].detach().double()

    def _step(self, latents: Latents) -> Latents:
        raise NotImplementedError

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_zeros(len(latents), 3, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        x, y, size, level = self.factors(latents.values)[:, :, None, None].unbind(1)
        at = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
        away = (at[None, None] - x).square() + (at[None, :, None] - y).square()
        spot = (-away / (2 * (0.16 * size.exp()).square())).exp() - 0.5 + level
        return State(spot[:, None].expand(-1, 3, -1, -1))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x

    def affines(self, space: str) -> dict[str, Tensor]:
        return {}


class Level(Scorer):
    """The mean of a picture; differentiable."""

    name, names, units = "level", ("level",), ("levels",)

    def read(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None]
