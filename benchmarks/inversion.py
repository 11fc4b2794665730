"""One step of StyleGAN2's projector at 256 px: picture, LPIPS (VGG-16) against a target's features, and the derivative back to w.

plain   the published formulas for the generator (benchmarks/stylegan2.py), VGG-16 in the layout torch has by default
ours    what `st.invert("projector", …)` runs; in float32
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from steerable.generators.stylegan2 import random
from steerable.nn.perceptual import LPIPS, VGG
from steerable.space import Latents

from .stylegan2 import CONFIG, Plain
from .timing import interleaved, milliseconds, ratio, table


def main(rounds: int = 9) -> None:
    g, net = random(CONFIG), LPIPS("vgg")
    w = g.lift(g.sample(1), "w")
    kernels = [(conv.weight.detach().contiguous(), conv.bias.detach()) for conv in net.convs]  # type: ignore[union-attr]
    plain = Plain(g)

    def looked(x: Tensor) -> list[Tensor]:
        told, steps = [], iter(kernels)
        x = (x - net.shift) / net.scale
        for i, step in enumerate(VGG):
            if step == "M":
                x = F.max_pool2d(x, 2)
                continue
            x = F.relu(F.conv2d(x, *next(steps), padding=1))
            if i + 1 == len(VGG) or VGG[i + 1] == "M":
                told.append(x)
        return told

    with torch.no_grad():
        target = looked(torch.rand(1, 3, 256, 256) * 2 - 1)

    def step(render: Callable[[Latents], Tensor], look: Callable[[Tensor], list[Tensor]]) -> Tensor:
        v = w.values.clone().requires_grad_()
        net.between(target, look(render(Latents(v, w.space)))).sum().backward()
        assert v.grad is not None
        return v.grad

    ways = {"plain": lambda: step(plain, looked), "ours": lambda: step(g.synthesize, net.features)}
    near = F.cosine_similarity(ways["plain"]().flatten(), ways["ours"]().flatten(), 0)
    times = interleaved(ways, rounds)
    rows = [[name, milliseconds(times, name), ratio(times, name, "plain")] for name in ways]
    print(table(["one step at 256 px", "ms", "times as fast as plain"], rows))
    print(f"\ncosine of the two derivatives: {float(near):.6f}")


if __name__ == "__main__":
    main()
