"""One tiny net of every family, and of every shape that a family's chain can have."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from steerable.generator import Generator
from steerable.generators import (
    biggan,
    dcgan,
    progan,
    resnetgan,
    stylegan1,
    stylegan2,
    stylegan2_bilinear,
    stylegan3,
)
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.generators.wrapped import wrap


class Injected(nn.Module):
    """The code is read again before every convolution; nothing here is a Sequential."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 4 * 4 * 6)
        self.convs = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.gains = nn.ModuleList(nn.Linear(8, 6) for _ in range(2))
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, w, label=None):
        x = self.first(w).view(-1, 6, 4, 4)
        for conv, gain in zip(self.convs, self.gains, strict=True):
            x = F.leaky_relu_(conv(F.interpolate(x, scale_factor=2.0)) * (1 + gain(w)[:, :, None, None]), 0.2)
        return self.head(x).sigmoid()


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.first, self.body = nn.Linear(3, 9, bias=False), nn.Linear(7, 9), sequential(9)

    def forward(self, z, label):
        return self.body((self.first(z) * (1 + self.embed(label)))[:, :, None, None])


def sequential(z: int = 9) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(z, 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.Sequential(nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.BatchNorm2d(6), nn.ReLU(True)),
        nn.ConvTranspose2d(6, 3, 4, 2, 1),
        nn.Tanh(),
    )


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module whose weights do not depend on what was drawn before."""
    module, source = make(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=source) / max(1, p[0].numel()) ** 0.5 + (p.ndim == 1))
    return module


def chained() -> Generator:
    """A DCGAN of three stages and three classes."""
    stages = (dcgan.Stage(10, 8, 4, 1, 0, True), dcgan.Stage(8, 6, 4, 2, 1, True), dcgan.Stage(6, 3, 4, 2, 1, False))
    config = dcgan.Config(stages, classes=3)
    net, source = dcgan.Net(config), torch.Generator().manual_seed(0)
    draw = lambda v: torch.randn(v.shape, generator=source) * 0.3 + (v.ndim == 1)
    return dcgan.build(
        "dcgan", config, {k: draw(v) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    )


MAKERS: dict[str, Callable[[], Generator]] = {
    "tiny-style": TinyStyle,
    "tiny-plain": TinyPlain,
    "tiny-class": lambda: TinyPlain(classes=3),
    "stylegan1": lambda: stylegan1.random(stylegan1.Config.tiny()),
    "stylegan2": lambda: stylegan2.random(stylegan2.Config.tiny()),
    "stylegan2-bilinear": lambda: stylegan2_bilinear.random(stylegan2_bilinear.Config.tiny()),
    "stylegan3": lambda: stylegan3.random(stylegan3.Config.tiny()),
    "progan": lambda: progan.random(progan.Config.tiny(c_dim=3)),
    "dcgan": chained,
    "biggan": lambda: biggan.random(biggan.Config.tiny()),
    "biggan-deep": lambda: biggan.random(biggan.Config.tiny(deep=True)),
    "resnetgan": lambda: resnetgan.random(resnetgan.Config.tiny()),
    "resnetgan-class": lambda: resnetgan.random(
        resnetgan.Config.tiny(classes=3, skips=(1, 1), linear=True, attention=0)
    ),
    "wrapped": lambda: wrap(seeded(sequential), 9),
    "wrapped-rows": lambda: wrap(
        seeded(Injected), 5, mapping=seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh())), range=(0, 1)
    ),
    "wrapped-class": lambda: wrap(seeded(Conditional), 7, classes=3),
    "wrapped-whole": lambda: wrap(seeded(Injected), 8, layers=(), range=(0, 1)),
}


@cache
def family(name: str, double: bool = False) -> Generator:
    """The net of this name, made once; in float64 where `double` says so."""
    made = MAKERS[name]()
    made.name = name
    return made.to(dtype=torch.float64) if double else made
