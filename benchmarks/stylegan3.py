"""StyleGAN3 at 256 px against the published formulas: zeros stuffed in, samples thrown away, grouped convolutions, nothing else.

Widths are those of 256 px nets in practice (half of those at 1024 px); weights are random, which changes no time.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from steerable.generators.stylegan3 import Config, StyleGAN3, random
from steerable.space import Latents

from .stylegan2 import same
from .timing import Times, interleaved, milliseconds, ratio, table

CONFIGS = {
    "T": Config.t(256, channel_base=16 << 10),
    "R": Config.r(256, channel_base=32 << 10),
}


class Plain:
    """Synthesis as in Karras et al. 2021, section 3 and appendix B, in the layout torch has by default."""

    def __init__(self, g: StyleGAN3):
        self.generator, self.weights = g, {k: v.contiguous() for k, v in g.net.state_dict().items()}

    def __call__(self, latents: Latents) -> Tensor:
        g, p = self.generator, self.weights
        latents = g.lift(latents, "s")
        s, (first, *layers) = latents.values, g.layers
        x = g.net.input(s[:, first.style], None).contiguous()
        for layer in layers:
            name, last = layer.name, layer.name == "torgb"
            style, weight = s[:, layer.style], p[f"{name}.weight"]
            x = self.modulated(x, weight, style / math.sqrt(weight.shape[1]) if last else style, last)
            x = x / p[f"{name}.magnitude"].sqrt() + p[f"{name}.bias"][:, None, None]
            if not last:
                rates, up, down = g.net.get_submodule(name).rates, p[f"{name}.up_filter"], p[f"{name}.down_filter"]
                total = (rates.out - 1) * rates.down + len(up) + len(down) - 1 - x.shape[2] * rates.up
                x = self.filtered(self.stuffed(x, rates.up, rates.before, total - rates.before), up * rates.up)
                x = (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-256, 256)
                x = self.filtered(x, down)[:, :, :: rates.down, :: rates.down]
        return x.clamp(-256, 256) * g.net.config.output_scale

    def modulated(self, x: Tensor, weight: Tensor, s: Tensor, last: bool) -> Tensor:
        n, (o, i, k, _) = len(x), weight.shape
        if not last:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            s = s * s.square().mean(1, keepdim=True).rsqrt()
        w = weight[None] * s[:, None, :, None, None]
        if not last:
            w = w * (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        y = F.conv2d(x.reshape(1, n * i, *x.shape[2:]), w.reshape(n * o, i, k, k), padding=k - 1, groups=n)
        return y.view(n, o, *y.shape[2:])

    def stuffed(self, x: Tensor, up: int, before: int, after: int) -> Tensor:
        n, c, h, w = x.shape
        x = F.pad(x.view(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).view(n, c, h * up, w * up)
        return F.pad(x, (before, after, before, after))

    def filtered(self, x: Tensor, f: Tensor) -> Tensor:
        kernels = [f[None]] if f.ndim == 2 else [f[None, None, :], f[None, :, None]]
        for kernel in kernels:
            x = F.conv2d(x, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])
        return x


@torch.no_grad()
def main(rounds: int) -> None:
    rows, few = [], max(3, rounds // 3)

    def row(name: str, times: Times, way: str, wanted: str) -> None:
        numbers = (milliseconds(times, "plain"), milliseconds(times, way), ratio(times, way, "plain"))
        rows.append((name, *numbers, wanted))

    for kind, config in CONFIGS.items():
        g = random(config)
        plain, half, w = Plain(g), g.half(), g.lift(g.sample(1), "w+")
        same(g.synthesize(w), plain(w))
        ways = {"plain": partial(plain, w), "ours": partial(g.synthesize, w), "half": partial(half.synthesize, w)}
        times = interleaved(ways, rounds if kind == "T" else few)
        row(f"{kind}, forward", times, "ours", "2" if kind == "T" else "")
        row(f"{kind}, forward in bfloat16", times, "half", "")

        def step(synthesize: Callable[[Latents], Tensor], w: Latents = w) -> Tensor:
            with torch.enable_grad():
                leaf = w.values.clone().requires_grad_()
                synthesize(w.at(leaf)).square().mean().backward()
            assert leaf.grad is not None
            return leaf.grad

        if kind == "T":
            same(step(g.synthesize), step(plain))
            times = interleaved({"plain": partial(step, plain), "ours": partial(step, g.synthesize)}, few)
            row(f"{kind}, forward + backward", times, "ours", "")
    print(table(("256 px, batch 1", "plain, CPU-ms", "ours, CPU-ms", "times faster [quartiles]", "wanted"), rows))
