"""Mean and covariance of streams of codes: one batch is held at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from . import workers
from .errors import MethodFailed
from .record import Record


@dataclass(frozen=True)
class Moments(Record):
    """Mean [*shape] and covariance [d d] (float64) of a generator's own codes in a space, from n samples."""

    mean: Float[Tensor, "*shape"]
    cov: Float[Tensor, "d d"]
    n: int


def streamed(batches: Iterator[Float[Tensor, "n d"]]) -> Moments:
    """Mean and covariance of a stream of rows: float32 products on shifted data, float64 sums; summed over all processes."""
    shift, total, outer, n = torch.zeros(0), torch.zeros(0), torch.zeros(0, 0), 0
    for x in batches:
        x = x.float()
        if not n:  # several processes must shift alike, so they do not
            d = x.shape[1]
            shift = x.mean(0) if workers.world() == 1 else x.new_zeros(d)
            total, outer = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
        x = x - shift
        total += x.sum(0).double().cpu()
        outer += _products(x).cpu()
        n += len(x)
    # A process without a batch takes part with zeros, so that the others do not wait for it.
    width, sharers, count = workers.total(torch.tensor([len(total), n > 0, n], dtype=torch.float64)).tolist()
    if not count:
        raise MethodFailed("no samples were given, so there is no mean")
    if not n:
        d = int(width / sharers)
        shift, total, outer = torch.zeros(d), *(torch.zeros(*s, dtype=torch.float64) for s in ((d,), (d, d)))
    total, outer = workers.total(total), workers.total(outer)
    mean = total / count
    return Moments(
        shift.double().cpu() + mean, (outer - count * torch.outer(mean, mean)) / max(count - 1, 1), int(count)
    )


def _products(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """xᵀx; on a CPU by numpy, which sees that both factors are one matrix and computes half of it."""
    return torch.from_numpy(x.numpy().T @ x.numpy()) if x.device.type == "cpu" else x.T @ x
