"""InterFaceGAN without the straight line: a small net tells a code's scores, and paths follow its gradient.

Paper    Shen, Yang, Tang & Zhou, InterFaceGAN, TPAMI 2020, for the question; the gradient of a non-linear classifier of codes as the way:
         Chen, Jiang, Duke, Zhao & Aarabi, Exploring Gradient-Based Multi-directional Controls in GANs, ECCV 2022
Matches  one net for all scores, learned from labeled codes; a path goes up the gradient of one output, taken anew at every step; the
         conditional manipulation of InterFaceGAN (equation 4) at each point: the parts along other scores' gradients are removed
Differs  scores are regressed, not classified, and nothing is thrown away; ends when the error on held-out codes stops falling. t counts
         standard deviations of the codes along the gradient (as it is on average), a quarter of one to a step
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from .. import workers
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Paths
from .discoverer import Discoverer, Supervision, acts
from .labeled import LEARN, known
from .locally import FEW, Ascent, spread, steepest
from .nets import Layers, widths
from .supervised import wanted
from .training import flat, seeded, train


@final
@dataclass(frozen=True, kw_only=True)
class NonLinear(Discoverer):
    """Paths up the gradients of a net that tells scores from codes."""

    name: ClassVar = "interfacegan-nonlinear"
    paper: ClassVar = "chen2022multidirectional"
    tags: ClassVar = frozenset({"supervised", "non-linear"})

    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act")
    n: int = param(5000, "labeled pictures", ge=20)
    psi: float = param(1.0, "truncation of the labeled pictures")
    seed: int = param(0, "of the first labeled picture, and of the net", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    conditions: str = param(
        "", "learned scores that no other path is to change, such as age,glasses; all for all of them"
    )
    hidden: str = param("64,64", "widths of the net's hidden layers")
    steps: int = param(3000, "of training, at most", ge=1)
    batch: int = param(64, "codes to a step", ge=1)
    rate: float = param(2e-3, "of learning", ge=0)
    decay: float = param(1e-4, "of the net's weights", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where = generator.space(self.space), acts(generator, self.layers)
        data = known(self, generator, supervision, self.space, progress)
        conditions = wanted(self.conditions, data.names)
        order = torch.randperm(len(data), generator=workers.generator(self.seed))
        held, learned = order[: len(data) // 5], order[len(data) // 5 :]
        to = lambda rows: (data.codes[rows].to(generator.device), data.scores[rows].to(generator.device))
        (test, truth), (codes, scores) = to(held), to(learned)
        net = seeded(self.seed, lambda: Layers(data.codes[learned], widths(self.hidden), len(data.names)))

        def loss(step: Any) -> Tensor:
            rows = step.integers(len(codes))
            return (net(codes[rows]) - scores[rows]).square().mean(1)

        trained = train(
            self, generator, net, loss, steps=self.steps, batch=self.batch, rate=self.rate, seed=self.seed,
            supervision=supervision, decay=lambda s: 1 - s / self.steps, weight_decay=self.decay,
            look=lambda: float((net(test) - truth).square().mean()), stop=flat(5), progress=progress,
        )  # fmt: skip
        r2 = 1 - (net(test) - truth).square().mean(0) / truth.var(0).clamp_min(1e-12)
        kept, items = net.record(), []
        for column, name in enumerate(data.names):
            held_columns = tuple(data.names.index(c) for c in conditions if c != name)
            unit = spread(steepest(kept, data.codes[:FEW], column, held_columns), space, generator)
            items.append(
                Ascent(name=name, layers=where, net=kept, column=column, held=held_columns, space=space, unit=unit)
            )
        notes = {"held-out R2": dict(zip(data.names, r2.tolist(), strict=True)), "training": trained.notes()}
        return Paths(tuple(items), {**data.notes(), **notes})
