"""Small nets of codes: trained as a module, kept as a record, so that a path that needs one is saved like any other."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..record import Record


@dataclass(frozen=True)
class Net(Record):
    """Rows in, rows out: W_k … silu(W_1 (x − mean)/scale + b_1) … + b_k."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    weights: tuple[Float[Tensor, "_out _in"], ...]
    biases: tuple[Float[Tensor, " _out"], ...]

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n a"]:
        like = lambda t: t.to(x, copy=True)  # a file's tensors lie anywhere in memory, which changes last bits
        return through(x, like(self.mean), like(self.scale), [*map(like, self.weights)], [*map(like, self.biases)])

    def gradients(self, x: Float[Tensor, "n d"], columns: tuple[int, ...]) -> Float[Tensor, "n c d"]:
        """The gradient of each of these outputs, for each row."""
        one = lambda c: torch.func.grad(lambda rows: self(rows)[:, c].sum())(x)
        return torch.stack([one(c) for c in columns], 1)


class Layers(nn.Module):
    """A `Net` that learns."""

    mean: Tensor
    scale: Tensor

    def __init__(self, codes: Float[Tensor, "n d"], hidden: tuple[int, ...], out: int, last: float = 1.0):
        """Standardizes by the mean and spread of `codes`; `last` scales the weights of the last layer."""
        super().__init__()
        mean, scale = standard(codes)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        widths = (codes.shape[1], *hidden, out)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
            size = (last if i == len(hidden) else 1.0) / math.sqrt(a)
            self.weights.append(nn.Parameter(size * torch.randn(b, a)))
            self.biases.append(nn.Parameter(torch.zeros(b)))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n a"]:
        return through(x, self.mean, self.scale, list(self.weights), list(self.biases))

    def record(self) -> Net:
        weights, biases = tuple(map(still, self.weights)), tuple(map(still, self.biases))
        return Net(still(self.mean), still(self.scale), weights, biases)


def still(t: Tensor) -> Tensor:
    """A copy of what learned, for a record: float32 on the CPU."""
    return t.detach().float().cpu().clone()


def through(x: Tensor, mean: Tensor, scale: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    x = (x - mean) / scale
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        x = F.linear(F.silu(x) if i else x, W, b)
    return x


def standard(rows: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and standard deviation of each column; 1 where a column does not vary."""
    spread = rows.double().std(0)
    return rows.double().mean(0).float(), torch.where(spread > 1e-8, spread, 1.0).float()


def widths(spec: str) -> tuple[int, ...]:
    """Hidden widths from a setting such as "64,64". Raises SettingError."""
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise SettingError(f"widths of hidden layers are whole numbers, such as 64,64; got {spec!r}")
    return tuple(map(int, parts))
