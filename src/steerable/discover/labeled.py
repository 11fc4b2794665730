"""What methods share that train nets on labeled pictures: codes with standardized scores, and scores that gradients pass through."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..geometry import view
from ..method import Progress
from ..render import codes
from ..score import Scorer
from ..score.labels import Labels, batches, label, reading_size, truncation
from .discoverer import Discoverer, Supervision
from .supervised import wanted
from .training import Step, seeded, train

LEARN = "scores to learn, such as smile,age; all that the scorer gives"
REGRESSOR = "who tells the scores of changed pictures: the scorer, a net fitted on the labels, or whoever can"
SIDE, BATCH = 64, 32  # px, and pictures to a step, of the net that reads scores from pictures


@dataclass(frozen=True)
class Known:
    """The labeled pictures whose scores are all known: codes in a space, scores with mean 0 and standard deviation 1."""

    labels: Labels
    rows: Tensor
    codes: Float[Tensor, "n d"]
    scores: Float[Tensor, "n a"]
    names: tuple[str, ...]
    mean: Float[Tensor, " a"]
    std: Float[Tensor, " a"]

    def __len__(self) -> int:
        return len(self.codes)

    def notes(self) -> dict[str, Any]:
        """How the set was made, and what one standard deviation of each score is in its own units."""
        spread = {name: float(s) for name, s in zip(self.names, self.std, strict=True)}
        return {"labels": self.labels.summary(), "one standard deviation of a score": spread, "n": len(self)}


def known(
    method: Discoverer, generator: Generator, supervision: Supervision | None, space: str, progress: Progress
) -> Known:
    """Labels for a method with the settings n, psi, seed, size and learn.

    Raises SettingError without supervision, UnknownName, and MethodFailed where a score is constant or most pictures lack one.
    """
    if supervision is None:
        raise SettingError(
            f"{method.name} learns from scores; pass supervision=, such as score('face') or a CSV of labels"
        )
    told = method.settings()
    names = wanted(told["learn"], supervision.names)
    more = {name: told[name] for name in ("seed", "psi", "size")}
    labels = label(generator, supervision, told["n"], progress=progress, **more)
    keep = torch.stack([labels.known(name)[0] for name in names]).all(0)
    scores = labels.scores[keep][:, [labels.names.index(name) for name in names]].double()
    if len(scores) < 10:
        raise MethodFailed(f"only {len(scores)} of {len(labels)} pictures have all of {', '.join(names)}; lower psi")
    mean, std = scores.mean(0), scores.std(0)
    for name, s in zip(names, std, strict=True):
        if not s > 0:
            raise MethodFailed(
                f"{method.name}: all labels of {name!r} are alike; label more pictures, or learn other scores"
            )
    standardized = ((scores - mean) / std).float()
    mine = labels.codes(generator, space)[keep]
    return Known(labels, keep.nonzero()[:, 0], mine, standardized, names, mean.float(), std.float())


@dataclass(frozen=True)
class Knowledge:
    """Pictures of height `size` px (None: full ones) → standardized scores, differentiable; `about` says who reads them."""

    read: Callable[[Float[Tensor, "n 3 h w"]], Float[Tensor, "n a"]]
    size: int | None
    about: str


def knowledge(
    method: Discoverer,
    generator: Generator,
    supervision: Supervision | None,
    data: Known,
    how: str,
    steps: int,
    progress: Progress,
) -> Knowledge:
    """Who tells the scores of changed pictures, so that gradients pass.

    how: scorer (it must pass gradients, else SettingError), net (one is fitted on the labeled pictures in `steps` batches), auto (the
    scorer if it can, else a net).
    """
    if how != "net" and isinstance(supervision, Scorer) and gradients_pass(supervision, generator):
        scorer = supervision
        columns = [scorer.names.index(name) for name in data.names]
        mean, std = data.mean.to(generator.device), data.std.to(generator.device)
        size = reading_size(generator, scorer, SIDE, progress)
        return Knowledge(lambda images: (scorer(images)[:, columns] - mean) / std, size, scorer.name)
    if how == "scorer":
        who = supervision.name if supervision else "nobody"
        raise SettingError(f"{method.name}: gradients do not pass through {who}; take regressor='net'")
    net, r2 = fitted(method, generator, data, steps, progress)
    said = ", ".join(f"{name} {r:.2f}" for name, r in zip(data.names, r2.tolist(), strict=True))
    return Knowledge(net, SIDE, f"a net fitted on {len(data)} pictures (R2 on a held-out fifth: {said})")


def gradients_pass(scorer: Scorer, generator: Generator) -> bool:
    with torch.enable_grad():
        probe = torch.zeros(1, 3, *generator.size, device=generator.device).requires_grad_()
        try:
            return bool(scorer(probe).requires_grad)
        except RuntimeError:  # torch's own, for numpy() and writes in place under a gradient
            return False


class Eye(nn.Module):
    """A small convolutional net from pictures to scores."""

    def __init__(self, out: int):
        super().__init__()
        into, convs = 3, []
        for width in (16, 32, 64):
            convs += [nn.Conv2d(into, width, 3, 2, 1), nn.SiLU()]
            into = width
        self.convs, self.linear, self.direct = nn.Sequential(*convs), nn.Linear(64 * 16, out), nn.Linear(3 * 256, out)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a"]:
        h, w = images.shape[-2:]
        if h > SIDE:
            images = F.adaptive_avg_pool2d(images, (SIDE, max(1, SIDE * w // h)))
        deep = F.adaptive_avg_pool2d(self.convs(images), 4).flatten(1)
        return self.linear(deep) + self.direct(F.adaptive_avg_pool2d(images, 16).flatten(1))


def fitted(
    method: Discoverer, generator: Generator, data: Known, steps: int, progress: Progress
) -> tuple[Eye, Float[Tensor, " a"]]:
    """A net that reads the scores from pictures of `SIDE` px, and its R² on the last fifth of them, which it does not learn from."""
    psi, seed = data.labels.psi, method.settings()["seed"]
    chosen, parts = data.labels.latents[data.rows], list[Tensor]()
    chosen = replace(chosen, values=chosen.values.to(generator.device, generator.dtype))
    slices = list(batches(generator, len(data), SIDE))
    for rows in progress.over(slices, f"Rendering {len(data)} pictures to learn from", len(slices)):
        latents = codes(generator, chosen[rows], truncation(psi))
        parts.append(view(generator, latents, SIDE).detach().float().cpu())
    images, held = torch.cat(parts), len(data) // 5
    seen = len(data) - held
    net = seeded(seed, lambda: Eye(len(data.names)))

    def loss(step: Step) -> Tensor:
        rows = step.integers(seen).cpu()
        target = data.scores[rows].to(generator.device)
        return (net(images[rows].to(generator.device)) - target).square().mean(1)

    decay = lambda s: 1 - s / steps
    train(
        method, generator, net, loss, steps=steps, batch=BATCH, rate=1e-3, seed=seed + 1, decay=decay, progress=progress
    )
    with torch.no_grad():
        said = torch.cat([net(part.to(generator.device)).cpu() for part in images[seen:].split(64)])
    truth = data.scores[seen:]
    return net, 1 - (said - truth).square().sum(0) / (truth - truth.mean(0)).square().sum(0).clamp_min(1e-12)
