"""InterFaceGAN: a linear support vector machine between the pictures with the highest and the lowest scores.

Paper    Shen, Yang, Tang & Zhou, InterFaceGAN: Interpreting the Disentangled Face Representation Learned by GANs, TPAMI 2020
Matches  the authors' recipe: the highest and the lowest 2 % of the scores (or a number of each), 70 % of these to learn from, hinge loss
         with C = 1, accuracy on the other 30 % and on all that lies between; conditional projection (equation 4)
Differs  liblinear minimizes the objective that the authors give to libsvm, without a kernel matrix (cosine of the two above 0.9999 where
         the ends can be told apart, above 0.999 elsewhere); a step is one standard deviation, unit="published" the authors' length
         along the normal, and `Reach` their edit, which sets a distance
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..errors import MethodFailed, SettingError
from ..method import param
from .supervised import Fit, Supervised

ROUNDS = 20_000  # of the solver


@final
@dataclass(frozen=True, kw_only=True)
class InterFaceGAN(Supervised):
    """The normal of the hyperplane between high and low scores."""

    name: ClassVar = "interfacegan"
    paper: ClassVar = "shen2020interfacegan"
    tags: ClassVar = frozenset({"supervised"})
    published: ClassVar = True

    n: int = param(10_000, "labeled pictures; the authors advise 500,000", ge=20)
    ratio: float = param(0.02, "share of the pictures taken from each end", ge=0, le=0.5)
    chosen: int | None = param(None, "pictures taken from each end, instead of `ratio`", ge=5)
    C: float = param(1.0, "weight of the hinge loss", ge=1e-6)

    def fit(self, codes: Float[Tensor, "m d"], scores: Float[Tensor, "m a"], names: tuple[str, ...]) -> list[Fit]:
        codes = codes.double().cpu()
        return [self._boundary(codes, column, name) for column, name in zip(scores.T, names, strict=True)]

    def _boundary(self, codes: Tensor, scores: Tensor, name: str) -> Fit:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        m = len(scores)
        count = min(int(m * self.ratio) if self.chosen is None else self.chosen, m // 2)
        if count < 5:
            raise SettingError(
                f"interfacegan: {count} pictures from each end of {m} are too few; raise n, ratio or chosen (5 at least)"
            )
        order = torch.argsort(scores, stable=True)
        low, high, between = order[:count], order[m - count :], order[count : m - count]
        if scores[low[-1]] == scores[high[0]]:
            raise MethodFailed(
                f"the {count} highest and the {count} lowest scores of {name!r} share the value {scores[high[0]]:g}, "
                "so the ends are of one class; label more pictures, or take fewer of each end"
            )
        shuffled = lambda rows: rows[torch.randperm(count, generator=workers.generator(self.seed))]
        low, high, learn = shuffled(low), shuffled(high), int(count * 0.7)
        taught = torch.cat([high[:learn], low[:learn]])
        mean = codes[taught].mean(0)
        svm = LinearSVC(
            loss="hinge", C=self.C, intercept_scaling=10, max_iter=ROUNDS, random_state=self.seed % (1 << 32)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in the notes
            svm.fit((codes[taught] - mean).numpy(), [True] * learn + [False] * learn)
        normal, offset = torch.tensor(svm.coef_[0]), float(torch.as_tensor(svm.intercept_)[0])
        says = (codes - mean) @ normal + offset > 0
        middle = (scores[high].max() + scores[low].min()) / 2
        held_out = torch.cat([says[high[learn:]], ~says[low[learn:]]]).double().mean()
        notes = {
            "from each end": count,
            "validation accuracy": float(held_out),
            "converged": bool(svm.n_iter_ < ROUNDS),
        }
        if len(between):
            notes["remainder accuracy"] = float((says[between] == (scores[between] > middle)).double().mean())
        return normal, notes
