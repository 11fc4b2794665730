"""3x3 convolutions with a quarter of the multiplications.

Paper    Lavin, Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016 (arXiv:1509.09308)
Matches  F(4x4, 3x3): Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A for each tile of 4x4 results, from 6x6 inputs (section 4.1)
Differs  the 36 products are made one after another, over all tiles, and summed as they come. In float32 the result is 3e-6 to 5e-6 (rms)
         from the exact one, where the direct convolution is 1e-6 from it

It pays from 128 channels and 16 px on; below, adding up costs more than multiplying.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .convolution import conv1x1

G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
FEW = 256  # tiles, below which a matrix product is better than a 1x1 convolution


def suits(x: Float[Tensor, "n i h w"], weight: Float[Tensor, "o i 3 3"]) -> bool:
    """Is it exact enough, and faster than the direct convolution?"""
    (o, i), (h, w) = weight.shape[:2], x.shape[2:]
    exact = x.dtype == weight.dtype and x.dtype.itemsize >= 4
    return exact and min(o, i) >= 128 and min(h, w) >= 16 and h % 4 == w % 4 == 0


def transformed(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "6 6 o i 1 1"]:
    """G g Gᵀ: four times as many numbers as the weight."""
    g = torch.tensor(G, dtype=torch.float64)
    both = torch.kron(g, g).to(weight)
    return (both @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(6, 6, *weight.shape[:2], 1, 1)


def turned(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "6 6 i o 1 1"]:
    """That of the transposed convolution."""
    return transformed(weight.transpose(0, 1).flip(2, 3))


def convolved(
    x: Float[Tensor, "n i h w"], s: Float[Tensor, "n i"] | None, u: Float[Tensor, "6 6 o i 1 1"]
) -> Float[Tensor, "n o h w"]:
    """conv(s · x) with the weight whose transform is u, padded with zeros; channels last, without gradients."""
    (n, i, h, w), o = x.shape, u.shape[2]
    padded = x.new_zeros(n, h + 2, w + 2, i)
    inner, x = padded[:, 1:-1, 1:-1], x.permute(0, 2, 3, 1)
    inner.copy_(x) if s is None else torch.mul(x, s[:, None, None], out=inner)
    rows = [
        _gathered([_product(d, u[a, b]) for b, d in enumerate(_spread(row, 2))])
        for a, row in enumerate(_spread(padded, 1))
    ]
    y = x.new_empty(n, h // 4, 4, w // 4, 4, o)
    for b, column in enumerate(zip(*rows, strict=True)):
        for a, part in enumerate(_gathered(column)):
            y[:, :, a, :, b] = part
    return y.view(n, h, w, o).permute(0, 3, 1, 2)


class Convolved(torch.autograd.Function):
    """conv(x), differentiable in x in every mode: a linear map is its own tangent, and its transpose is another convolution.

    Takes x, the transform of the weight and that of its transpose.
    """

    @staticmethod
    def forward(x: Tensor, u: Tensor, back: Tensor) -> Tensor:
        return convolved(x, None, u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        u, back = ctx.saved_tensors
        return Convolved.apply(grad, back, u), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        return Convolved.apply(tangent, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, where: tuple[int, None, None], x: Tensor, u: Tensor, back: Tensor) -> tuple[Tensor, int]:
        x = x.movedim(where[0], 0)
        return Convolved.apply(x.flatten(0, 1), u, back).unflatten(0, x.shape[:2]), 0


def _product(d: Tensor, u: Tensor) -> Tensor:
    if d[..., 0].numel() < FEW:
        return d @ u[:, :, 0, 0].T
    return conv1x1(d.permute(0, 3, 1, 2), u).permute(0, 2, 3, 1)


def _spread(padded: Tensor, dim: int) -> Iterator[Tensor]:
    """Bᵀ d along a dimension: six combinations of the six neighbors that begin at every fourth place."""
    length = padded.shape[dim] - 5
    d = [padded.narrow(dim, k, length)[(slice(None),) * dim + (slice(None, None, 4),)] for k in range(6)]
    a, b = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    yield torch.sub(d[4], d[2], alpha=5).add_(d[0], alpha=4)
    yield a + b
    yield a.sub_(b)
    a, b = d[4] - d[2], d[3] - d[1]
    yield torch.add(a, b, alpha=2)
    yield a.sub_(b, alpha=2)
    yield torch.sub(d[5], d[3], alpha=5).add_(d[1], alpha=4)


def _gathered(m: list[Tensor] | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Aᵀ m: four results from six products, which are overwritten."""
    p, q, r, s = m[1] + m[2], m[1].sub_(m[2]), m[3] + m[4], m[3].sub_(m[4])
    return m[0].add_(p).add_(r), torch.add(q, s, alpha=2), p.add_(r, alpha=4), q.add_(s, alpha=8).add_(m[5])
