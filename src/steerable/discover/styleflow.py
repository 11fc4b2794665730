"""StyleFlow: a normalizing flow of codes given their attributes; an edit goes in with the old attributes and out with the new.

Paper    Abdal, Zhu, Mitra & Wonka, StyleFlow: Attribute-conditioned Exploration of StyleGAN-Generated Images using Conditional Continuous
         Normalizing Flows, TOG 2021
Matches  a continuous flow conditioned on all attributes at once, integrated by Dormand and Prince's method, its trace estimated
         (Hutchinson); maximum likelihood; an edit encodes a code under its own attributes (equation 6) and decodes it with one of them
         changed, the others held; layers may be chosen for each edit
Differs  one dynamics net of zuko's kind (time as sines beside code and attributes) for a stack of gated layers with moving batch
         normalization; codes and attributes are standardized. The attributes of a code are foretold by a small net that is learned beside
         the flow, so that an edit needs no picture. t counts standard deviations of the attribute; `to_value` sets a value
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..edit import finite
from ..errors import need
from ..generator import Generator
from ..method import Progress, param, quiet
from ..path import Path, Paths
from ..record import Record
from ..space import Latents, Space
from .discoverer import Discoverer, Supervision, acts
from .labeled import LEARN, Known, known
from .nets import Layers, Net, standard, still, widths
from .own import Own
from .training import Step, seeded, train


@dataclass(frozen=True)
class Flow(Record):
    """The flow and the attributes, as tensors: codes [n d] ↔ codes of a normal distribution, under attributes [n a], standardized."""

    weights: Mapping[str, Tensor]
    hidden: tuple[int, ...]
    tolerance: float
    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    attributes: Net

    def moved(self, codes: Float[Tensor, "n d"], by: Float[Tensor, "n a"]) -> Float[Tensor, "n d"]:
        """The codes after their attributes changed."""
        with torch.device("meta"):
            net = dynamics(len(self.mean), by.shape[1], self.hidden, self.tolerance)
        net.load_state_dict({name: w.to(codes, copy=True) for name, w in self.weights.items()}, assign=True)
        net.requires_grad_(False).eval()
        mean, scale = self.mean.to(codes, copy=True), self.scale.to(codes, copy=True)
        now = self.attributes(codes)
        normal = net(now)((codes - mean) / scale)
        return net(now + by).inv(normal) * scale + mean


def dynamics(d: int, a: int, hidden: tuple[int, ...], tolerance: float) -> Any:
    """zuko's free-form Jacobian transform: attributes → an invertible map of codes. Raises MissingExtra."""
    flows = need("zuko", "train", "styleflow").flows
    return flows.continuous.FFJTransform(
        d, a, hidden_features=hidden, activation=nn.Tanh, atol=tolerance, rtol=tolerance, exact=False
    )


@dataclass(frozen=True, kw_only=True)
class Flowing(Path):
    """By t standard deviations of one attribute, the others held."""

    flow: Flow
    column: int
    space: Space
    center: float
    deviation: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Flown":
        return Flown(self.space, t, self.flow, self.column)

    def to_value(self, value: float) -> "Flown":
        """The edit after which every sample has this value of the attribute, in the score's own units."""
        finite(value)
        return Flown(self.space, 0.0, self.flow, self.column, (value - self.center) / self.deviation)


@dataclass(frozen=True)
class Flown(Own):
    flow: Flow
    column: int
    value: float | None = None

    def latents(self, latents: Latents, generator: Generator) -> Latents:
        if self.value is None:
            return super().latents(latents, generator)
        now = self.flow.attributes(latents.values.flatten(1))[:, self.column]
        return Flown(self.space, (self.value - now).detach(), self.flow, self.column).latents(latents, generator)

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        codes = latents.values.flatten(1)
        by = codes.new_zeros(len(codes), len(self.flow.attributes.biases[-1]))
        by[:, self.column] = t
        return self.flow.moved(codes, by)


@final
@dataclass(frozen=True, kw_only=True)
class StyleFlow(Discoverer):
    """One path for each attribute, through a flow that knows all of them."""

    name: ClassVar = "styleflow"
    paper: ClassVar = "abdal2021styleflow"
    tags: ClassVar = frozenset({"supervised", "non-linear"})

    space: str = param("w", "space of the paths")
    layers: str = param("all", "where the paths act")
    n: int = param(10_000, "labeled pictures", ge=20)
    psi: float = param(1.0, "truncation of the labeled pictures")
    seed: int = param(0, "of the first labeled picture, and of training", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    hidden: str = param("512,512,512,512", "widths of the hidden layers of the flow's dynamics")
    steps: int = param(6000, "of training; the paper takes 3 epochs in batches of 5", ge=1)
    batch: int = param(64, "codes to a step", ge=1)
    rate: float = param(1e-3, "of learning", ge=0)
    tolerance: float = param(1e-5, "of the integration, absolute and relative", ge=1e-8, le=0.1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space, where, hidden = generator.space(self.space), acts(generator, self.layers), widths(self.hidden)
        need("zuko", "train", "styleflow")
        data = known(self, generator, supervision, self.space, progress)
        d, a = data.codes.shape[1], len(data.names)
        parts = seeded(
            self.seed,
            lambda: nn.ModuleDict(
                {"flow": dynamics(d, a, hidden, self.tolerance), "attributes": Layers(data.codes, (64,), a)}
            ),
        )
        trained = self._train(generator, parts, data, supervision, progress)
        weights = {name: still(w) for name, w in parts["flow"].state_dict().items()}
        mean, scale = standard(data.codes)
        told: Any = parts["attributes"]
        flow = Flow(weights, hidden, self.tolerance, mean, scale, told.record())
        r2 = 1 - (flow.attributes(data.codes) - data.scores).square().mean(0) / data.scores.var(0)
        items = [
            Flowing(
                name=name, layers=where, published=1 / float(data.std[i]), flow=flow, column=i, space=space,
                center=float(data.mean[i]), deviation=float(data.std[i]),
            )
            for i, name in enumerate(data.names)
        ]  # fmt: skip
        notes = {"R2 of attributes": dict(zip(data.names, r2.tolist(), strict=True)), "training": trained}
        return Paths(tuple(items), {**data.notes(), **notes})

    def _train(
        self,
        generator: Generator,
        parts: nn.ModuleDict,
        data: Known,
        supervision: Supervision | None,
        progress: Progress,
    ) -> dict[str, Any]:
        codes, scores = data.codes.to(generator.device), data.scores.to(generator.device)
        mean, scale = (t.to(generator.device) for t in standard(data.codes))
        devices = [generator.device] if generator.device.type == "cuda" else []

        def loss(step: Step) -> Tensor:
            """−log p(code | attributes), over the entries of a code, and the squared error of the attributes foretold."""
            rows = step.integers(len(codes))
            with torch.random.fork_rng(devices):
                torch.manual_seed(int(torch.randint(1 << 62, (1,), generator=step.source)))  # of the trace estimate
                z, log_det = parts["flow"](scores[rows]).call_and_ladj((codes[rows] - mean) / scale)
            likelihood = -0.5 * z.square().sum(1) + log_det
            return -likelihood / codes.shape[1] + (parts["attributes"](codes[rows]) - scores[rows]).square().mean(1)

        return train(
            self, generator, parts, loss, steps=self.steps, batch=self.batch, rate=self.rate, seed=self.seed,
            supervision=supervision, decay=lambda s: 1 - s / self.steps, progress=progress,
        ).notes()  # fmt: skip
