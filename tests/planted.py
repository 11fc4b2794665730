"""A generator whose truth is known: four factors of the picture, each a linear function of w along a planted direction.

z → w (linear: known covariance, eigenvectors and mean) → w+ (3 rows) → s. Layer i adds its own styles times fixed patterns:
row 0 (4 px) the red level, row 1 (8 px) green left-right and blue top-bottom, row 2 (16 px) a fine checkerboard.
"""

import torch
from torch import Tensor, nn

from steerable.artifact import fingerprint
from steerable.generator import Generator
from steerable.layer import Layer, State
from steerable.score import Scorer
from steerable.space import Latents, Space

D = 12
FACTORS = ("red", "left-right", "top-bottom", "checker")
# Row of w+, length of the map's row, factor: a factor that more rows of the maps hold changes more once rows have unit length.
STYLES = (
    (0, 1.0, 0), (0, 0.5, 0), (0, 2.0, 0), (0, 1.0, 0),
    (1, 1.0, 1), (1, 0.3, 1), (1, 1.0, 1), (1, 5.0, 2), (1, 5.0, 2),
    (2, 1.0, 3),
)  # fmt: skip


def orthogonal(seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


def patterns() -> Tensor:
    """[factor 3 16 16], orthogonal, each with mean square 1."""
    found = torch.zeros(4, 3, 16, 16)
    found[0, 0] = 3**0.5
    found[1, 1, :, :8], found[1, 1, :, 8:] = -(3**0.5), 3**0.5
    found[2, 2, :8], found[2, 2, 8:] = -(3**0.5), 3**0.5
    found[3] = 1 - 2 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float()
    return found


class PlantedNet(nn.Module):
    def __init__(self, bias: float):
        super().__init__()
        self.axes = nn.Parameter(orthogonal(1).float())  # columns: principal axes of w
        self.deviations = nn.Parameter(torch.linspace(2.0, 0.3, D))
        self.mean = nn.Parameter(torch.full((D,), 0.5))
        self.truth = nn.Parameter(orthogonal(2)[:4].float())  # rows: the factors' directions
        lengths = torch.tensor([length for _, length, _ in STYLES])
        which = [factor for _, _, factor in STYLES]
        self.maps = nn.Parameter(self.truth.detach()[which] * lengths[:, None])
        self.bias = nn.Parameter(torch.full((len(STYLES),), bias))


class Planted(Generator):
    def __init__(self, bias: float = 0.0):
        net = PlantedNet(bias)
        self.columns = [[i for i, (row, _, _) in enumerate(STYLES) if row == r] for r in range(3)]
        layers = [Layer(f"row{r}", (4 << r, 4 << r), 3, r, slice(c[0], c[-1] + 1)) for r, c in enumerate(self.columns)]
        spaces = (Space("z", (D,)), Space("w", (D,)), Space("w+", (3, D), True), Space("s", (len(STYLES),), True))
        super().__init__("planted", net, spaces=spaces, layers=layers, fingerprint=fingerprint(net.state_dict()))

    def _step(self, latents: Latents) -> Latents:
        v, net = latents.values, self.net
        match latents.space.name:
            case "z":
                return latents.at(net.mean + (v * net.deviations) @ net.axes.T, self.space("w"))
            case "w":
                return latents.at(v[:, None].expand(-1, 3, -1).clone(), self.space("w+"))
        rows = [v[:, row] @ a for (row, _, _), a in zip(STYLES, net.maps, strict=True)]
        return latents.at(torch.stack(rows, 1) + net.bias, self.space("s"))

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_zeros(len(latents), 3, 4, 4))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        x = state.x if i == 0 else nn.functional.interpolate(state.x, scale_factor=2.0)
        fine = patterns()[:, :, :: 16 // x.shape[-1], :: 16 // x.shape[-1]]
        if i == 2:
            fine[3] = patterns()[3]
        for factor in {f for row, _, f in STYLES if row == i}:
            at = next(c for c, (_, _, f) in enumerate(STYLES) if f == factor)
            level = (latents.values[:, at] - self.net.bias[at]) / STYLES[at][1]
            x = x + 0.1 * level[:, None, None, None] * fine[factor]
        return State(x)

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x

    def affines(self, space: str) -> dict[str, Tensor]:
        return {layer.name: self.net.maps[layer.style] for layer in self.layers}

    def truth(self, name: str) -> Tensor:
        """The unit direction of w along which a factor grows."""
        return self.net.truth[FACTORS.index(name)].detach().double()


class Factors(Scorer):
    """Reads the four factors from a picture, exactly; with `noise`, wrongly by that many (the same picture always alike).

    A picture whose red is above `blind` has no score. `seen` counts pictures.
    """

    names, units = FACTORS, ("levels",) * 4

    def __init__(self, noise: float = 0.0, blind: float = float("inf"), name: str = "factors"):
        self.name, self.noise, self.blind, self.seen = f"{name} {noise} {blind}", noise, blind, 0

    def read(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        levels = torch.einsum("nchw,fchw->nf", images, patterns()) / patterns().square().sum((1, 2, 3)) * 10
        for row, level in zip(levels, levels.clone(), strict=True):
            source = torch.Generator().manual_seed(int(level.sum() * 1e4) % (1 << 31))
            row += self.noise * torch.randn(4, generator=source)
            if level[0] > self.blind:
                row.fill_(torch.nan)
        return levels


class Listening:
    """Progress that keeps what it is told; `stops_after` so many items it presses Ctrl-C."""

    def __init__(self, stops_after: int | None = None):
        self.told: list[str] = []
        self.titles: list[str] = []
        self.stops_after = stops_after

    def over(self, items, title, total=None):
        self.titles.append(title)
        for i, item in enumerate(items):
            if i == self.stops_after:
                raise KeyboardInterrupt
            yield item

    def note(self, text):
        self.told.append(text)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))
