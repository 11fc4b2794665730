"""A judge for rendered heads: a small net that reads the factors from any 64 px picture, for generators whose truth is not known.

Paper    none; a plain convolutional net with batch normalization (Ioffe, Szegedy, ICML 2015, arXiv:1502.03167)
Matches  the labels of `data.heads.labels`: what can be seen, so glasses by their opacity
Differs  it is a judge, not the truth: `error` is what it gets wrong on renders that it was not trained on, and it errs more on pictures
         that look unlike a render. Where a generator knows its truth, ask `generator.factors`

Its last features serve for the Fréchet distance (Heusel et al., NeurIPS 2017, arXiv:1706.08500) between sets of heads.
"""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import workers
from ..artifact import fingerprint
from ..data.heads.world import NAMES
from ..errors import SettingError
from .scorer import Scorer

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIZE = 64
WIDTHS = (24, 48, 96, 128)
FEATURES = 128


def net() -> nn.Sequential:
    """Features [n 128] by all but the last layer, factors [n f] by all; pictures of 64 px."""
    layers: list[nn.Module] = []
    into = 3
    for width in WIDTHS:
        for out, stride in ((width, 1), (width, 2)):
            layers += [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            into = out
    layers += [nn.Conv2d(into, 64, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(FEATURES, len(NAMES)))


class Judge(Scorer):
    """The factors of rendered heads, read from pictures; 64 px, others are resized. Each counts from -1 to 1."""

    name, names, previews = "heads-judge", NAMES, (None,) * len(NAMES)
    units = ("factor, -1 to 1",) * len(NAMES)

    def __init__(self) -> None:
        self.net, self.errors, self.mark = _kept()

    @property
    def key(self) -> str:
        return f"{self.name}/{self.version}/{self.mark}"

    @property
    def error(self) -> dict[str, float]:
        """Root mean square error on held-out renders, for each factor."""
        return dict(zip(self.names, self.errors.tolist(), strict=True))

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        return self.net[-1](self.features(images))

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 128"]:
        """The numbers that the factors are read from; gradients pass."""
        seen = images.float().cpu().clamp(-1, 1)
        if tuple(seen.shape[2:]) != (SIZE, SIZE):
            seen = F.interpolate(seen, size=(SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        return torch.cat([self.net[:-1](part) for part in seen.split(128)])


def distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The Fréchet distance of two sets of features: |mean difference|² + tr(A + B - 2 (AB)^½). More pictures give less bias."""
    a, b = a.double(), b.double()
    if min(len(a), len(b)) < 2:
        raise SettingError(f"a Fréchet distance needs at least two pictures on each side; got {len(a)} and {len(b)}")
    first, second = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross)


@cache
def _kept() -> tuple[nn.Sequential, Float[Tensor, " f"], str]:
    found = load_file(WEIGHTS)
    mark = fingerprint(found)[:16]
    errors = found.pop("errors").float()
    judge = net()
    judge.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in found.items()})
    return judge.eval().requires_grad_(False), errors, mark


def fit(
    images: UInt8[Tensor, "n 3 64 64"],
    labels: Float[Tensor, "n f"],
    *,
    steps: int = 1500,
    batch: int = 64,
    rate: float = 2e-3,
    held_out: int = 1000,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """Train the judge; what to keep in `WEIGHTS`: its tensors and the errors on the last `held_out` pictures, which it never saw.

    Pictures get noise and blur of random strength, so that it does not live on what only a renderer makes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # torch draws first weights from the global source
        judge = net().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(judge.parameters(), rate, weight_decay=1e-3)
    known = len(images) - held_out
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        source = workers.generator(seed, step)
        rows = torch.randint(known, (batch,), generator=source)
        with torch.autocast("cpu", torch.bfloat16):
            read = judge(worn(images[rows].float() / 127.5 - 1, source).contiguous(memory_format=torch.channels_last))
        loss = F.mse_loss(read.float(), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if report and step % 100 == 0:
            report(step, float(loss.detach()))
    judge.eval().requires_grad_(False)
    seen = torch.cat([judge(part.float() / 127.5 - 1) for part in images[known:].split(100)])
    errors = (seen - labels[known:]).square().mean(0).sqrt()
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in judge.state_dict().items()}
    return {name: t.contiguous() for name, t in tensors.items()} | {"errors": errors}


def worn(images: Float[Tensor, "n 3 s s"], source: torch.Generator) -> Float[Tensor, "n 3 s s"]:
    """Pictures with a little noise, and half of them with a little blur."""
    share = torch.rand(len(images), 1, 1, 1, generator=source) * 0.8
    share = share * (torch.rand(len(images), 1, 1, 1, generator=source) < 0.5)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "reflect"), 3, 1)
    return images + share * (soft - images) + 0.03 * torch.randn(images.shape, generator=source)
