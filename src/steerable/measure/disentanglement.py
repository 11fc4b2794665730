"""How nearly codes and factors go together one to one: the scores of the literature, each with one pinned definition.

`codes` [n j] and `factors` [n k] are samples of both, row by row. For paths of a generator there is no encoder, so one must say what they
are; `truth.interventions` makes strengths of paths the codes, and what they change the factors. Logarithms are natural unless said
otherwise. Information is taken from bins, so it is never below the truth by design and above it by about (a-1)(b-1)/2n for a and b bins:
print a control beside it, always. Scores that compare a code with a runner-up (MIG, SAP, JEMMIG) fall to their floor if a code is there
twice; modularity and IRS stay high under full mixing, and DCIMIG does not see codes that hold too much.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from .. import workers
from ..errors import SettingError

Codes = Float[Tensor, "n j"]
Factors = Float[Tensor, "n k"]
Bins = Int[Tensor, "n _"]
# (factor or None, groups, size) -> codes [groups size j]: within a group the factor is held at one value, all others are drawn.
Holding = Callable[[int | None, int, int], Float[Tensor, "g s j"]]
BINS = 20
RMIG_BINS, RMIG_SPAN = 100, 4.0  # bins over ±4 standard deviations


# -- bins and information ---------------------------------------------------------------------------------------------------------


def binned(values: Float[Tensor, "n d"], bins: int | None = BINS) -> Bins:
    """Equally wide bins from least to largest value of each column; with None every value is its own bin."""
    if bins is None:
        return torch.stack([column.unique(return_inverse=True)[1] for column in values.T], 1)
    values = values.double()
    low, high = values.amin(0), values.amax(0)
    share = (values - low) / (high - low).clamp_min(1e-300)
    return (share * bins).long().clamp(0, bins - 1)


def quantized(codes: Codes, bins: int = RMIG_BINS, span: float = RMIG_SPAN) -> Bins:
    """Equally wide bins over ± `span` standard deviations of each code; what lies beyond falls into the outermost."""
    codes = codes.double()
    standard = (codes - codes.mean(0)) / codes.std(0, unbiased=False).clamp_min(1e-300)
    return ((standard + span) / (2 * span) * bins).long().clamp(0, bins - 1)


def entropy(labels: Int[Tensor, "n *d"]) -> float:
    """Of one column, or of several together."""
    counts = labels.bincount() if labels.ndim == 1 else labels.unique(dim=0, return_counts=True)[1]
    p = counts[counts > 0].double() / len(labels)
    return float(-(p * p.log()).sum())


@dataclass(frozen=True)
class Information:
    """Mutual information of every code with every factor, and their entropies, in nats."""

    mutual: Float[Tensor, "j k"]
    of_codes: Float[Tensor, " j"]
    of_factors: Float[Tensor, " k"]

    @classmethod
    def of(cls, codes: Bins, factors: Bins) -> "Information":
        ones = lambda bins: torch.cat([one_hot(column) for column in bins.T], 1).float()  # counts, exact to 2^24
        z, v = ones(codes), ones(factors)
        share = (z.T @ v).double() / len(codes)  # of every value of every code with every value of every factor
        terms = torch.where(share > 0, -share * share.clamp_min(1e-300).log(), torch.zeros_like(share))
        sizes = [int(column.max()) + 1 for column in codes.T], [int(column.max()) + 1 for column in factors.T]
        joint = torch.stack(
            [torch.stack([part.sum() for part in rows.split(sizes[1], 1)]) for rows in terms.split(sizes[0])]
        )
        alone = lambda bins: torch.tensor([entropy(column) for column in bins.T], dtype=torch.float64)
        hz, hv = alone(codes), alone(factors)
        return cls((hz[:, None] + hv - joint).clamp_min(0), hz, hv)

    def top(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each factor: its best code, and the information of the best and of the runner-up."""
        order = self.mutual.sort(0, descending=True)
        second = order.values[1] if len(self.mutual) > 1 else torch.zeros_like(self.of_factors)
        return order.indices[0], order.values[0], second


Normalizer = Literal["factor", "code"]


def mig(info: Information, by: Normalizer = "factor") -> float:
    """Mutual information gap (Chen et al. 2018, eq. 6): the mean over factors of best minus second, over H(factor).

    by="code" divides each information by the entropy of its code before the gap is taken, a variant in use.
    """
    return float(_gap(_normalized(info, by), 0).mean())


def mig_sup(info: Information, by: Normalizer = "factor") -> float:
    """The gap seen from the codes (Li et al. 2020): the mean over codes of best minus second factor. Complements MIG."""
    return float(_gap(_normalized(info, by), 1).mean())


def dcimig(info: Information) -> float:
    """Sepliarskaia et al. 2019: a code counts at its best factor only, by its gap; Σ over factors of the largest / Σ H."""
    gaps, best = _gap(info.mutual, 1), info.mutual.argmax(1)
    kept = torch.zeros_like(info.mutual)
    kept[torch.arange(len(best)), best] = gaps
    return float(kept.amax(0).sum() / info.of_factors.sum())


def jemmig(info: Information, bins: int | None = None) -> float:
    """Do & Tran 2020, eq. 15: the mean over factors of H(best code, factor) - I(best) + I(second), in bits; 0 is best.

    With `bins` (of the codes) its normalized form 1 - JEMMIG / (H(factor) + log bins), where 1 is best.
    """
    best, first, second = info.top()
    joint = info.of_codes[best] + info.of_factors - first
    raw = (joint - first + second) / math.log(2)
    if bins is None:
        return float(raw.mean())
    most = (info.of_factors + math.log(bins)) / math.log(2)
    return float((1 - raw / most).mean())


def rmig(codes: Codes, factors: Bins) -> float:
    """Do & Tran 2020, eq. 13, over H(factor): MIG of codes in 100 bins over ±4 SD. Codes are exact: nothing to integrate."""
    return mig(Information.of(quantized(codes), factors))


def modularity(info: Information) -> float:
    """Ridgeway & Mozer 2018, eq. 2: the mean over codes of 1 - Σ I² at other factors / (I² at the best · (k - 1)); dead codes count 0."""
    square = info.mutual.square()
    best, k = square.amax(1), square.shape[1]
    if k < 2:
        raise SettingError("modularity compares factors; give two or more")
    alive = best > 1e-20
    rest = (square.sum(1) - best) / (best.clamp_min(1e-300) * (k - 1))
    return float(torch.where(alive, 1 - rest, torch.zeros_like(rest)).mean())


def wsepin(codes: Bins, seen: Bins) -> tuple[float, float]:
    """WSEPIN and WINDIN (Do & Tran 2020, section 3.2), from counts: `seen` [n m] stands for the picture.

    SEPIN_i = I(x; z_i | z_-i), INDIN_i = I(x; z_i) - I(z_i; z_-i), weighted by I(x; z_i) over their sum. Codes that the picture determines
    have both alike, H(z_i | z_-i). Joint entropies cannot pass log n: few codes, few bins, many samples.
    """
    every = range(codes.shape[1])
    joint = lambda *parts: entropy(torch.cat([p for p in parts if p.shape[1]], 1))
    hx, hz, hzx = entropy(seen), entropy(codes), joint(codes, seen)
    weights, separate, independent = [], [], []
    for i in every:
        one, rest = codes[:, [i]], codes[:, [j for j in every if j != i]]
        h_one, h_rest = entropy(one), entropy(rest) if rest.shape[1] else 0.0
        told = h_one + hx - joint(one, seen)
        of_rest = h_rest + hx - joint(rest, seen)
        weights.append(told)
        separate.append(hz + hx - hzx - of_rest)
        independent.append(told - (h_one + h_rest - hz))
    total = sum(weights) or 1.0
    mean = lambda values: sum(w * v for w, v in zip(weights, values, strict=True)) / total
    return mean(separate), mean(independent)


def total_correlation(codes: Codes) -> float:
    """Of a Gaussian with the codes' covariance, ½ (Σ log diag - log det), in nats: 0 where no code says anything of another."""
    cov = torch.cov(codes.double().T)
    return float(0.5 * (cov.diagonal().log().sum() - torch.linalg.slogdet(cov)[1]))


# -- from importances -------------------------------------------------------------------------------------------------------------


def explained(codes: Codes, factors: Factors) -> Float[Tensor, "j k"]:
    """The R² of each factor from each code alone, by a line; 0 for what does not vary."""
    standard = lambda x: (x - x.mean(0)) / (x - x.mean(0)).norm(dim=0).clamp_min(1e-300)
    return (standard(codes.double()).T @ standard(factors.double())).square()


def sap(importances: Float[Tensor, "j k"]) -> float:
    """Separated attribute predictability (Kumar et al. 2018): the mean over factors of best minus second code; importances are R²."""
    return float(_gap(importances.double(), 0).mean())


@dataclass(frozen=True)
class DCI:
    """Eastwood & Williams 2018. `completeness` is the plain mean over factors (as in the paper), `weighted` weighs by importance."""

    disentanglement: float
    completeness: float
    weighted: float


def dci(importances: Float[Tensor, "j k"]) -> DCI:
    """From importances of any kind, none negative. Both depend on how many codes and factors there are: compare sets of one size.

    D = Σ ρ_j (1 - H_k(row j)), ρ_j its share of all importance; C_k = 1 - H_j(column k). Dead rows and columns count 0.
    """
    r = importances.double()
    if bool((r < 0).any()):
        raise SettingError("importances are not negative; give R², absolute slopes, or those of a regressor")
    total = r.sum()
    if not total > 0:
        return DCI(0.0, 0.0, 0.0)
    rows, columns = _certain(r), _certain(r.T)
    return DCI(float((r.sum(1) / total * rows).sum()), float(columns.mean()), float((r.sum(0) / total * columns).sum()))


def irs(codes: Codes, factors: Bins, quantile: float = 0.99) -> float:
    """Interventional robustness (Suter et al. 2019, eq. 6): how far nuisances can push a code while its own factor is held.

    IRS of code and factor: 1 - mean over the factor's values of max |z - E[z|v]| / max |z - E z|; of a code its best factor's; weighed by
    the largest deviation. `quantile` replaces the maximum (the usual .99); 1 is the maximum itself.
    """
    codes = codes.double()
    reach = lambda away: torch.quantile(away, quantile, dim=0) if quantile < 1 else away.amax(0)
    most = reach((codes - codes.mean(0)).abs())
    held = []
    for column in factors.T:
        groups = [codes[column == value] for value in column.unique()]
        held.append(torch.stack([reach((g - g.mean(0)).abs()) for g in groups]).mean(0))
    robust = 1 - torch.stack(held, 1) / most.clamp_min(1e-300)[:, None]
    best = robust.amax(1).clamp_min(0)
    return float((best * most).sum() / most.sum().clamp_min(1e-300))


def explicitness(codes: Codes, factors: Bins, *, seed: int = 0) -> float:
    """Ridgeway & Mozer 2018, eq. 3: the mean ROC area of one-against-rest logistic regression from all codes, as 2 (area - ½).

    Half of the samples teach, the others judge. Values held by fewer than two samples on either side are left out.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    order = torch.randperm(len(codes), generator=workers.generator(seed))
    taught, judged = order[: len(order) // 2], order[len(order) // 2 :]
    x = ((codes.double() - codes.double().mean(0)) / codes.double().std(0).clamp_min(1e-300)).cpu().numpy()
    areas = []
    for column in factors.T:
        for value in column.unique():
            y = (column == value).cpu().numpy()
            if min(y[taught].sum(), y[judged].sum(), (~y[taught]).sum(), (~y[judged]).sum()) < 2:
                continue
            made = LogisticRegression(max_iter=1000, class_weight="balanced").fit(x[taught], y[taught])
            areas.append(float(roc_auc_score(y[judged], made.decision_function(x[judged]))))
    if not areas:
        raise SettingError("no factor has two values with two samples each; give more samples, or fewer bins")
    return 2 * (sum(areas) / len(areas) - 0.5)


# -- from samples in which one factor is held ---------------------------------------------------------------------------------------


def holding(codes: Codes, factors: Bins, *, seed: int = 0) -> Holding:
    """Groups drawn, with replacement, from a table of codes and factors."""
    source = workers.generator(seed)

    def draw(factor: int | None, groups: int, size: int) -> Tensor:
        anywhere = lambda n: torch.randint(len(codes), (n,), generator=source)
        if factor is None:
            return codes[anywhere(groups * size)].reshape(groups, size, -1)
        column, rows = factors[:, factor], []
        for value in column[anywhere(groups)]:
            same = (column == value).nonzero()[:, 0]
            rows.append(same[torch.randint(len(same), (size,), generator=source)])
        return codes[torch.stack(rows)]

    return draw


def factor_vae(draw: Holding, k: int, *, groups: int = 1000, size: int = 64, least: float = 0.05) -> float:
    """Kim & Mnih 2018, section 4: with a factor held, which code varies least (over its own variance)? How often a majority vote is right.

    Half of the groups vote, the others are judged. Codes of less than `least` of the largest standard deviation are left out as dead.
    """
    free = draw(None, 1, 10_000)[0].double().var(0)
    alive = free.sqrt() > least * free.sqrt().max()
    votes = torch.zeros(int(alive.sum()), k)
    right = total = 0
    for part in ("vote", "judge"):
        leads = votes.argmax(1)
        for factor in range(k):
            moved = draw(factor, groups // 2, size).double().var(1)[:, alive] / free[alive]
            least_moved = moved.argmin(1)
            if part == "vote":
                votes[:, factor] += torch.bincount(least_moved, minlength=len(votes))
            else:
                right, total = right + int((leads[least_moved] == factor).sum()), total + len(least_moved)
    return right / total


def beta_vae(draw: Holding, k: int, *, groups: int = 500, pairs: int = 64) -> float:
    """Higgins et al. 2017, section 2.1: a linear classifier tells from the mean |difference| of pairs which factor they share.

    Half of the examples teach, the others judge; accuracy as it is, chance being 1/k. It can be perfect with k - 1 good codes.
    """
    from sklearn.linear_model import LogisticRegression

    features, which = [], []
    for factor in range(k):
        for _ in range(groups):
            two = draw(factor, pairs, 2).double()
            features.append((two[:, 0] - two[:, 1]).abs().mean(0))
            which.append(factor)
    x, y = torch.stack(features), torch.tensor(which)
    x = (x / x.std(0).clamp_min(1e-300)).numpy()
    made = LogisticRegression(max_iter=2000).fit(x[::2], y[::2].numpy())
    return float(made.score(x[1::2], y[1::2].numpy()))


# -- all that need samples alone ----------------------------------------------------------------------------------------------------


def scores(codes: Codes, factors: Factors, bins: int = BINS) -> dict[str, float]:
    """Those that are quick, under their names; both sides in equally wide bins where bins are needed."""
    z, v = binned(codes, bins), binned(factors, bins)
    info, power = Information.of(z, v), explained(codes, factors)
    both = dci(power)
    return {
        "DCI-D": both.disentanglement,
        "DCI-C": both.completeness,
        "MIG": mig(info),
        "RMIG": rmig(codes, v),
        "MIG-sup": mig_sup(info),
        "JEMMIG": jemmig(info, bins),
        "DCIMIG": dcimig(info),
        "SAP": sap(power),
        "modularity": modularity(info),
        "IRS": irs(codes, v),
    }


def _normalized(info: Information, by: Normalizer) -> Float[Tensor, "j k"]:
    over = info.of_factors[None] if by == "factor" else info.of_codes[:, None]
    return info.mutual / over.clamp_min(1e-300)


def _gap(values: Float[Tensor, "j k"], dim: int) -> Tensor:
    """The largest minus the second largest; where there is no second, the largest."""
    order = values.sort(dim, descending=True).values
    return order.select(dim, 0) - (order.select(dim, 1) if values.shape[dim] > 1 else 0)


def _certain(weights: Float[Tensor, "a b"]) -> Float[Tensor, " a"]:
    """1 - entropy of each row as a share of the most there could be; 0 for rows that are all zero, 1 where there is one column."""
    total = weights.sum(1, keepdim=True)
    p = weights / total.clamp_min(1e-300)
    h = -(p * p.clamp_min(1e-300).log()).sum(1)
    return torch.where(total[:, 0] > 0, 1 - h / math.log(max(weights.shape[1], 2)), torch.zeros_like(h))
