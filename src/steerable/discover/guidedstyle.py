"""GuidedStyle: what a knowledge network says of attributes guides a change of style, which attention narrows to a single layer.

Paper    Hou, Zhang, Liang, Shen, Lai & Wan, GuidedStyle: Attribute Knowledge Guided Style Manipulation for Semantic Face Editing,
         Neural Networks 2022 (arXiv:2012.11856)
Matches  a frozen generator and a frozen judge of attributes; for each attribute and each layer j an MLP F_j of three linear layers, and
         w+_j = α_j F_j(w) + (1 − α_j) w (equations 3 and 5), α = softmax(a), one a for all codes (4); cross-entropy of the judged
         attribute with the wish (1), plus λ = 1 times the entropies of α (6, 7), and nothing else; pictures made on the fly, 10 to a
         step; after training only the layer with the greatest α is changed, by any α (section 3.2.3): unit="published" counts in α
Differs  F_j(w) = w + M_j(w) with M_j small at first: the same functions, but what the judge does not ask for stays as it was. One net
         serves to add (t > 0) and to remove (t < 0): half of the steps wish for the opposite, by −α; the paper trains for one wish.
         F_j is asked for row j, so that codes of inversions (rows not alike) are changed too. The judge's logit is the standardized
         score, of the scorer where gradients pass through it, else of a small net fitted on its labels; the paper's is a ResNet-18
         trained on CelebA. Adam with a falling rate for SGD with momentum .9. All attributes are learned in one run. Widths of the
         MLPs, and the number of steps, are ours: the paper does not tell them
"""

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
from ..space import Latents, Space
from .discoverer import Supervision
from .locally import deviation
from .nets import Layers, Net, widths
from .own import Own
from .taught import Taught
from .training import Step, seeded, train

BEGIN = 0.02  # size of the first moves


class Manipulation(nn.Module):
    """The style manipulation network h of one attribute."""

    def __init__(self, codes: Float[Tensor, "n d"], rows: int, hidden: tuple[int, ...]):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(rows))
        self.moves = nn.ModuleList(Layers(codes, hidden, codes.shape[1], last=BEGIN) for _ in range(rows))

    def attention(self) -> Float[Tensor, " l"]:
        return self.a.softmax(0)

    def forward(self, w: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        """α_j (F_j(w) − w) for each row."""
        return self.attention()[:, None] * torch.stack([move(w[:, j]) for j, move in enumerate(self.moves)], 1)

    def entropy(self) -> Float[Tensor, ""]:
        """Σ over rows of the entropy of a coin with odds α_j (equation 6)."""
        alpha = self.attention().clamp(1e-6, 1 - 1e-6)
        return -(alpha * alpha.log() + (1 - alpha) * (1 - alpha).log()).sum()

    def strongest(self) -> tuple[int, Net]:
        """The row with the greatest α, and the net of its moves."""
        row = int(self.a.argmax())
        move = self.moves[row]
        assert isinstance(move, Layers)
        return row, move.record()


@dataclass(frozen=True, kw_only=True)
class Guided(Path):
    """One row of w+ moves by t·unit times what a net says for it; t·unit is the α of equation 3."""

    net: Net
    row: int
    space: Space
    unit: float

    def edit(self, t: float | Float[Tensor, " n"]) -> "Guiding":
        return Guiding(self.space, t, self.net, self.row, self.unit)


@dataclass(frozen=True)
class Guiding(Own):
    net: Net
    row: int
    unit: float

    def move(self, latents: Latents, t: Float[Tensor, " n"], generator: Generator) -> Float[Tensor, "n d"]:
        alpha = t * self.unit
        return (latents.values + alpha[:, None, None] * alone(self.net, self.row, latents.values)).flatten(1)


def alone(net: Net, row: int, w: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
    """What the net says for this row; nothing for the others."""
    move = torch.zeros_like(w)
    move[:, row] = net(w[:, row])
    return move


@final
@dataclass(frozen=True, kw_only=True)
class GuidedStyle(Taught):
    """One path for each attribute, held to the one layer that carries it best."""

    name: ClassVar = "guidedstyle"
    paper: ClassVar = "hou2022guidedstyle"
    tags: ClassVar = frozenset({"supervised", "non-linear", "local"})
    needs: ClassVar = ("w+",)

    hidden: str = param(
        "64,64", "widths of the hidden layers of each row's net; the paper has two, and tells no widths"
    )
    sparse: float = param(1.0, "weight of the entropy of attention, the paper's lambda", ge=0)
    steps: int = param(3000, "of training", ge=1)
    batch: int = param(10, "pictures to a step", ge=1)
    rate: float = param(1e-3, "of learning", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        space = generator.space("w+")
        data, judge = self.taught(generator, supervision, "w", progress)
        a, rows, hidden = len(data.names), space.shape[0], widths(self.hidden)
        nets = seeded(self.seed, lambda: nn.ModuleList(Manipulation(data.codes, rows, hidden) for _ in range(a)))

        def loss(step: Step) -> Tensor:
            latents = generator.lift(step.codes("w", self.psi), "w+")
            which, wish = step.integers(a), 2 * step.integers(2) - 1
            each = torch.arange(len(latents), device=which.device)
            moves = torch.stack([net(latents.values) for net in nets], 1)[each, which]
            there = latents.moved(wish[:, None, None] * moves)
            logit = judge.read(view(generator, there, judge.size))[each, which]
            entropy = torch.stack([net.entropy() for net in nets])[which]  # pyright: ignore[reportCallIssue]
            return F.softplus(-wish * logit) + self.sparse * entropy

        trained = train(
            self, generator, nets, loss, steps=self.steps, batch=self.batch, rate=self.rate, seed=self.seed,
            supervision=supervision, decay=lambda s: 1 - s / self.steps, progress=progress,
        )  # fmt: skip
        w = generator.lift(Latents(data.codes[:500].to(generator.device), generator.space("w")), "w+").values.cpu()
        items, attention = [], {}
        for name, net in zip(data.names, nets, strict=True):
            assert isinstance(net, Manipulation)
            row, move = net.strongest()
            unit = deviation(alone(move, row, w).flatten(1), space, generator)
            items.append(Guided(name=name, published=1 / unit, net=move, row=row, space=space, unit=unit))
            attention[name] = tuple(round(float(share), 4) for share in net.attention())
        notes = {"attention by row": attention, "judge": judge.about, "training": trained.notes()}
        return Paths(tuple(items), {**data.notes(), **notes})
