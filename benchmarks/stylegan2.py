"""StyleGAN2 at 256 px against the published formulas: a weight for every sample, grouped convolutions, nothing else.

Widths are those of 256 px nets in practice (16384 / size, at most 512); weights are random, which changes no time.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import cycle
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from steerable.generators.stylegan2 import Config, StyleGAN2, random
from steerable.renderer import Renderer
from steerable.space import Latents

from .timing import Times, interleaved, milliseconds, ratio, table

CONFIG = Config.square(256, 16 << 10)


class Plain:
    """Synthesis as in Karras et al. 2020, eq. 1-3, in the layout torch has by default."""

    def __init__(self, g: StyleGAN2):
        self.generator, self.layers, self.weights = (
            g,
            g.layers,
            {k: v.contiguous() for k, v in g.net.state_dict().items()},
        )
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.filter = torch.outer(taps, taps)

    def __call__(self, latents: Latents) -> Tensor:
        p, s, rgb = self.weights, self.generator.lift(latents, "s").values, None
        x = p["const"].expand(len(s), -1, -1, -1)
        for layer in self.layers:
            weight, bias = p[f"{layer.name}.weight"], p[f"{layer.name}.bias"][:, None, None]
            if layer.head:
                y = (
                    self.modulated(x, weight / math.sqrt(weight.shape[1]), s[:, layer.style], up=False, head=True)
                    + bias
                )
                rgb = y if rgb is None else self.stuffed(rgb) + y
            else:
                x = self.modulated(x, weight, s[:, layer.style], layer.name.endswith("conv0"))
                x = x + p[f"{layer.name}.noise"] * p[f"{layer.name}.strength"]
                x = F.leaky_relu(x + bias, 0.2) * math.sqrt(2)
        assert rgb is not None
        return rgb

    def modulated(self, x: Tensor, weight: Tensor, s: Tensor, up: bool, head: bool = False) -> Tensor:
        n, (o, i, k, _) = len(x), weight.shape
        w = weight[None] * s[:, None, :, None, None]
        if not head:
            w = w * (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = x.reshape(1, n * i, *x.shape[2:])
        if not up:
            return F.conv2d(x, w.reshape(n * o, i, k, k), padding=k // 2, groups=n).unflatten(1, (n, o))[0]
        y = F.conv_transpose2d(x, w.transpose(1, 2).reshape(n * i, o, k, k), stride=2, groups=n)
        return self.filtered(F.pad(y, (1, 1, 1, 1)).unflatten(1, (n, o))[0])

    def stuffed(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        wide = F.pad(x[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(n, c, 2 * h, 2 * w)
        return self.filtered(F.pad(wide, (2, 1, 2, 1)))

    def filtered(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.filter.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def work(g: StyleGAN2, first: int = 0) -> float:
    """Multiplications and additions in the direct convolutions of one picture, from layer `first` on."""
    total = 0.0
    for layer in g.layers[first:]:
        pixels = layer.size[0] * layer.size[1] / (4 if layer.name.endswith("conv0") else 1)
        total += 2 * g.net.get_parameter(f"{layer.name}.weight").numel() * pixels
    return total


def peak(rounds: int) -> float:
    """Operations per second of the fastest direct convolution there is here."""
    ways, count = {}, {}
    for c, side in ((512, 32), (256, 64), (128, 128)):
        x = torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(c, c, 3, 3).contiguous(memory_format=torch.channels_last)
        ways[str(c)] = lambda x=x, weight=weight: F.conv2d(x, weight, padding=1)
        count[str(c)] = 2 * weight.numel() * side**2
    times = interleaved(ways, rounds)
    return max(count[name] / min(times[name]) for name in ways)


def same(a: Tensor, b: Tensor) -> None:
    error = float((a - b).abs().max() / b.abs().max())
    if not error < 1e-4:
        raise SystemExit(f"the pictures differ by {error:.1e}: nothing was measured")


@torch.no_grad()
def main(rounds: int) -> None:
    g, fastest, rows = random(CONFIG), peak(rounds), []
    plain, half, few = Plain(g), g.half(), max(3, rounds // 2)

    def row(name: str, times: Times, way: str, wanted: str, operations: float | None) -> None:
        share = "" if operations is None else f"{operations / median(times[way]) / fastest:.0%}"
        rows.append(
            (name, milliseconds(times, "plain"), milliseconds(times, way), ratio(times, way, "plain"), wanted, share)
        )

    for n, wanted in ((1, "1.35"), (8, "1.65")):
        w = g.lift(g.sample(n), "w+")
        same(g.synthesize(w), plain(w))
        ways = {"plain": partial(plain, w), "ours": partial(g.synthesize, w), "half": partial(half.synthesize, w)}
        times = interleaved(ways, rounds if n == 1 else few)
        row(f"forward, batch {n}", times, "ours", wanted, n * work(g))
        row(f"forward in bfloat16, batch {n}", times, "half", "", None)

    w = g.lift(g.sample(1), "w+")

    def step(synthesize: Callable[[Latents], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = w.values.clone().requires_grad_()
            synthesize(w.at(leaf)).square().mean().backward()
        assert leaf.grad is not None
        return leaf.grad

    same(step(g.synthesize), step(plain))
    times = interleaved({"plain": partial(step, plain), "ours": partial(step, g.synthesize)}, few)
    row("forward + backward, batch 1", times, "ours", "1.65", 2 * work(g))

    for size, wanted in ((64, "2"), (128, ""), (256, "5")):
        first = next(i for i, layer in enumerate(g.layers) if layer.name == f"b{size}.conv0")
        renderer = Renderer(g)
        slider = [
            w.at(w.values.index_add(1, torch.tensor([g.layers[first].row]), torch.full_like(w.values[:, :1], t)))
            for t in (1, 2)
        ]
        for moved in (w, *slider, *slider):
            same(renderer(moved), plain(moved))
        turns = cycle(slider)
        ways = {"plain": partial(plain, w), "ours": lambda r=renderer, turns=turns: r(next(turns))}
        row(f"a slider on the first row of {size} px", interleaved(ways, rounds), "ours", wanted, work(g, first))

    print(
        f"Fastest direct convolution: {fastest / 1e9:.0f} GFLOP/s. "
        f"StyleGAN2 {g.resolution} px: {work(g) / 1e9:.1f} GFLOP a picture, from w+ codes.\n"
    )
    heads = ("", "plain, CPU-ms", "ours, CPU-ms", "times faster [quartiles]", "wanted", "share of that peak*")
    print(table(heads, rows))
    print(
        "\n*Operations that direct convolutions would need, over time: ours need fewer, so more than 100 % is possible."
    )
