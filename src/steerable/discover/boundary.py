"""Our default for labels: ridge regression on all scores at once, or logistic regression for labels of two kinds.

Paper    none of its own; ridge: Hoerl & Kennard, Technometrics 1970; leave-one-out by the hat matrix: Allen's PRESS, Technometrics 1974
Matches  the normal of InterFaceGAN's hyperplane, with its conditional projection
Differs  nothing is thrown away: InterFaceGAN's recipe keeps 4 % of the pictures and turns scores into two classes, ridge uses every
         score of every picture, so far fewer pictures do
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from .. import workers
from ..errors import MethodFailed
from ..method import param
from .supervised import Fit, Supervised

LAMBDAS = torch.logspace(-4, 4, 33, dtype=torch.float64)  # of the mean eigenvalue of the codes' scatter
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # logistic: sklearn's C on codes of unit mean square
FOLDS = 5


@final
@dataclass(frozen=True, kw_only=True)
class Boundary(Supervised):
    """The direction along which a score grows, learned from every picture."""

    name: ClassVar = "boundary"
    paper: ClassVar = "hoerl1970ridge"
    tags: ClassVar = frozenset({"supervised", "closed-form"})

    kind: str = param("ridge", "ridge for any scores, logistic for labels of two kinds", choices=("ridge", "logistic"))
    permuted: bool = param(False, "deal the labels out at random: a control, which must learn nothing")

    def fit(self, codes: Float[Tensor, "m d"], scores: Float[Tensor, "m a"], names: tuple[str, ...]) -> list[Fit]:
        if self.permuted:
            scores = scores[torch.randperm(len(scores), generator=workers.generator(self.seed))]
        if self.kind == "logistic":
            return [logistic(codes, column, name) for column, name in zip(scores.T, names, strict=True)]
        beta, lam, r2 = ridge(codes, scores)
        return [
            (v, {"held-out R2": float(r), "lambda": float(strength)})
            for v, strength, r in zip(beta.T, lam, r2, strict=True)
        ]


def ridge(
    X: Float[Tensor, "n d"], Y: Float[Tensor, "n a"]
) -> tuple[Float[Tensor, "d a"], Float[Tensor, " a"], Float[Tensor, " a"]]:
    """Ridge with an intercept, for each column with the strength of least leave-one-out error: slopes, strengths, leave-one-out R².

    One eigendecomposition serves all columns and all strengths; errors are exact (PRESS), none is estimated by refitting.
    """
    n, d = X.shape
    X, Y = X.double().cpu(), Y.double().cpu()
    X, Y = X - X.mean(0), Y - Y.mean(0)
    if n > d:
        values, V = torch.linalg.eigh(X.T @ X)
        keep = values > 1e-10 * values[-1]
        values, U = values[keep], X @ (V[:, keep] / values[keep].sqrt())
    else:
        values, U = torch.linalg.eigh(X @ X.T)
        keep = values > 1e-10 * values[-1]
        values, U = values[keep], U[:, keep]
    UY, U2 = U.T @ Y, U.square()
    lams = LAMBDAS * values.mean()
    errors = []
    for lam in lams:
        shrink = values / (values + lam)
        left = Y - U @ (shrink[:, None] * UY)
        leverage = U2 @ shrink + 1 / n
        errors.append((left / (1 - leverage)[:, None]).square().mean(0))
    least, which = torch.stack(errors).min(0)
    beta = X.T @ (U @ (UY / (values[:, None] + lams[which])))
    return beta, lams[which], 1 - least / (Y * n / (n - 1)).square().mean(0)


def logistic(X: Float[Tensor, "n d"], y: Float[Tensor, " n"], name: str) -> Fit:
    """Logistic regression, as strong as is likeliest on folds held out. Raises MethodFailed if there are not two kinds of labels."""
    from sklearn.linear_model import LogisticRegression

    kinds = y.unique()
    if len(kinds) > 2:
        raise MethodFailed(
            f"the labels of {name!r} have {len(kinds)} values, and logistic regression tells two apart; use kind='ridge'"
        )
    truth = y == kinds[-1]
    rare = int(min(truth.sum(), (~truth).sum()))
    if rare < 2 * FOLDS:
        raise MethodFailed(
            f"only {rare} of {len(y)} labels of {name!r} are of the rarer kind; {2 * FOLDS} of each are needed, so label more pictures"
        )
    centered = (X - X.mean(0)).double().cpu()
    codes, labels = (centered / centered.square().mean().sqrt()).numpy(), truth.numpy()
    fold = torch.empty(len(y), dtype=torch.long)
    for kind in (truth, ~truth):  # the same share of both kinds in each fold
        rows = kind.nonzero()[:, 0]
        fold[rows[torch.randperm(len(rows), generator=workers.generator(0))]] = torch.arange(len(rows)) % FOLDS
    best, accuracy, strength = -float("inf"), 0.0, 1.0
    for C in STRENGTHS:
        chance = torch.empty(len(y), dtype=torch.float64)
        for f in range(FOLDS):
            inside = (fold != f).numpy()
            made = LogisticRegression(C=C, max_iter=2000).fit(codes[inside], labels[inside])
            chance[fold == f] = torch.tensor(made.predict_proba(codes[~inside])[:, 1])
        likelihood = float(torch.where(truth, chance, 1 - chance).clamp_min(1e-12).log().mean())
        if likelihood > best:
            best, accuracy, strength = likelihood, float(((chance > 0.5) == truth).double().mean()), C
    made = LogisticRegression(C=strength, max_iter=2000).fit(codes, labels)
    common = 1 - rare / len(y)
    return torch.tensor(made.coef_[0]), {"held-out accuracy": accuracy, "commoner kind": common, "C": strength}
