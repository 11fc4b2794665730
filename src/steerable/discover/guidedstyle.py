"""GuidedStyle: what a knowledge network says of attributes guides a change of style, which attention holds to few layers.

Paper    Hou, Zhang, Liang, Shen, Lai & Wan, GuidedStyle: Attribute Knowledge Guided Style Manipulation for Semantic Face Editing,
         Neural Networks 2022
Matches  a frozen generator and a frozen judge of attributes; a change of the w+ code that a net learns for each attribute, times a sparse
         attention over layers, which comes to choose a single one; losses on the attribute, on the other attributes, and on the size
Differs  written from the abstract and summaries, without the paper's tables of weights, which are ours. The attention is one head of
         queries and keys over the rows of w+ with sparsemax; a penalty on spread-out attention replaces a hard choice. Attributes change
         by standard deviations of their scores, forth and back, not from no to yes. The judge is the scorer where gradients pass through
         it, else a small net fitted on its labels
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..path import Path, Paths
from ..record import Record
from ..space import Latents, Space
from .discoverer import Discoverer, Supervision
from .labeled import LEARN, REGRESSOR, knowledge, known
from .locally import Own, deviation
from .nets import sparsemax, standard
from .training import Step, seeded, train

FAR = 2.0  # standard deviations within which scores are changed


@dataclass(frozen=True)
class Head(Record):
    """One attribute: which rows of w+ to change, and how. Rows are standardized, projected to m numbers, and told their place."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    project: Float[Tensor, "m d"]
    place: Float[Tensor, "l m"]
    query: Float[Tensor, "m m"]
    key: Float[Tensor, "m m"]
    style: Float[Tensor, "l d"]
    own: Float[Tensor, "d m"]

    def __call__(self, w: Float[Tensor, "n l d"]) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l d"]]:
        """How much of the change each row gets (sums to 1, mostly zeros), and the change."""
        to = lambda t: t.to(w, copy=True)
        tokens = ((w - to(self.mean)) / to(self.scale)) @ to(self.project).T / math.sqrt(w.shape[2]) + to(self.place)
        asked, offered = tokens @ to(self.query).T, tokens @ to(self.key).T
        scores = torch.einsum("nim,njm->nij", asked, offered) / math.sqrt(tokens.shape[2])
        attention = sparsemax(scores.mean(1))
        return attention, to(self.style) + F.silu(tokens) @ to(self.own).T

    def move(self, w: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        attention, change = self(w)
        return attention[:, :, None] * change


class Learning(nn.Module):
    """A `Head` that learns."""

    mean: Tensor
    scale: Tensor

    def __init__(self, codes: Float[Tensor, "n d"], rows: int, m: int):
        super().__init__()
        d = codes.shape[1]
        for name, value in zip(("mean", "scale"), standard(codes), strict=True):
            self.register_buffer(name, value)
        self.project, self.place = nn.Parameter(torch.randn(m, d)), nn.Parameter(torch.randn(rows, m))
        self.query = nn.Parameter(torch.randn(m, m) / m)
        self.key = nn.Parameter(torch.randn(m, m) / m)
        self.style = nn.Parameter(0.02 * torch.randn(rows, d))
        self.own = nn.Parameter(0.02 * torch.randn(d, m) / math.sqrt(m))

    def head(self, live: bool = True) -> Head:
        tensors = {**dict(self.named_buffers()), **dict(self.named_parameters())}
        return Head(**(tensors if live else {k: v.detach().float().cpu().clone() for k, v in tensors.items()}))


@dataclass(frozen=True, kw_only=True)
class Guided(Path):
    """By t·unit times what a head says for each code of w+."""

    head: Head
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Guiding":
        return Guiding(self.space, t, self.head, self.unit)


@dataclass(frozen=True)
class Guiding(Own):
    head: Head
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        w = latents.values
        return (w + (t * self.unit)[:, None, None] * self.head.move(w)).flatten(1)


@final
@dataclass(frozen=True, kw_only=True)
class GuidedStyle(Discoverer):
    """One path for each attribute, each held to the layers that carry it."""

    name: ClassVar = "guidedstyle"
    paper: ClassVar = "hou2022guidedstyle"
    tags: ClassVar = frozenset({"supervised", "non-linear", "local"})
    needs: ClassVar = ("w+",)

    n: int = param(2000, "labeled pictures, for the spread of scores and for the judge", ge=20)
    psi: float = param(1.0, "truncation of all pictures")
    seed: int = param(0, "of the first labeled picture, and of training", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    regressor: str = param("auto", REGRESSOR, choices=("auto", "scorer", "net"))
    reading: int = param(2000, "steps in which that net is fitted", ge=1)
    tokens: int = param(32, "numbers to which a row is projected for attention", ge=1)
    keep: float = param(1.0, "weight of what other attributes change", ge=0)
    small: float = param(0.01, "weight of the square of the change, in standard deviations of codes", ge=0)
    sparse: float = param(1.0, "weight of attention that is spread over layers", ge=0)
    steps: int = param(3000, "of training", ge=1)
    batch: int = param(8, "pictures to a step", ge=1)
    rate: float = param(2e-3, "of learning", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space("w+")
        data = known(self, generator, supervision, "w", progress)
        eye = knowledge(self, generator, supervision, data, self.regressor, self.reading, progress)
        a, rows = len(data.names), space.shape[0]
        parts = seeded(self.seed, lambda: nn.ModuleList(Learning(data.codes, rows, self.tokens) for _ in range(a)))

        def loss(step: Step) -> Tensor:
            latents = generator.lift(step.codes("w", self.psi), "w+")
            which, amount = step.integers(a), step.uniform(-FAR, FAR)
            heads = [part.head() for part in parts]  # pyright: ignore[reportCallIssue]
            said = [head(latents.values) for head in heads]
            each = torch.arange(len(latents), device=which.device)
            attention = torch.stack([s[0] for s in said], 1)[each, which]
            change = torch.stack([s[1] for s in said], 1)[each, which]
            delta = amount[:, None, None] * attention[:, :, None] * change
            with torch.no_grad():
                now = eye.read(view(generator, latents, eye.size))
            wish = now + amount[:, None] * F.one_hot(which, a)
            wrong = (eye.read(view(generator, latents.moved(delta), eye.size)) - wish).square()
            target = wrong[each, which]
            others = (wrong.sum(1) - target) / max(1, a - 1)
            length = (delta / heads[0].scale).square().mean(2).sum(1)
            spread = 1 - attention.square().sum(1)
            return target + self.keep * others + self.small * length + self.sparse * spread

        trained = train(
            self, generator, parts, loss, steps=self.steps, batch=self.batch, rate=self.rate, seed=self.seed,
            supervision=supervision, decay=lambda s: 1 - s / self.steps, progress=progress,
        )  # fmt: skip
        w = generator.lift(Latents(data.codes[:500].to(generator.device), generator.space("w")), "w+").values.cpu()
        items, shares = [], {}
        for name, part in zip(data.names, parts, strict=True):
            head = part.head(live=False)  # pyright: ignore[reportCallIssue]
            unit = deviation(head.move(w).flatten(1), space, generator)
            items.append(Guided(name=name, published=1 / unit, head=head, space=space, unit=unit))
            shares[name] = tuple(round(float(x), 4) for x in head(w)[0].mean(0))
        notes = {"attention by row": shares, "judge": eye.about, "training": trained.notes()}
        return Paths(tuple(items), {**data.notes(), **notes})
