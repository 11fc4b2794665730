"""Pictures as functions of codes: their derivative without its matrix, and the linear algebra that reads directions off it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from . import workers
from .errors import MethodFailed, SettingError
from .generator import Generator
from .layer import State
from .space import Latents

Operator = Callable[[Float[Tensor, "q d"]], Float[Tensor, "q d"]]  # A v for each row v, A symmetric


# -- pictures -----------------------------------------------------------------------------------------------------------------------


def view(
    generator: Generator, latents: Latents, size: int | None = None, *, first: int = 0, state: State | None = None
) -> Float[Tensor, "n 3 h w"]:
    """The picture, differentiable in every mode; of height `size` px where that is less than the full one.

    Small ones are the family's previews, or area means of full pictures where it has none. With `first`, the fold begins at that layer,
    with the state before it.
    """
    latents, layers = generator.lift(latents, generator.spaces[-1].name), generator.layers
    small = size is not None and size < generator.resolution
    with torch.enable_grad():
        state = generator.start(latents) if state is None else state
        for i in range(first, len(layers)):
            ready = i > 0 and (layers[i].size > layers[i - 1].size or i == len(layers) - 1)
            if small and ready and size is not None and layers[i - 1].picture[0] >= size:
                preview = generator.coarse(i, state, latents)
                if preview is not None:
                    return _shrunk(preview, size)
                small = False  # this family has none
            state = generator.layer(i, state, latents, grad=True)
        images = generator.finish(state, latents)
    return images if size is None else _shrunk(images, size)


def _shrunk(images: Tensor, size: int) -> Tensor:
    h, w = images.shape[-2:]
    return images if h <= size else F.adaptive_avg_pool2d(images, (size, max(1, size * w // h)))


def around(
    generator: Generator, latents: Latents, *, layers: str | None = None, size: int | None = None
) -> Callable[[Tensor], Float[Tensor, "3 h w"]]:
    """One sample as a function: its code, in the space of `latents`, to its picture.

    With `layers` a changed code acts there only, the others keep the code of the sample. Raises SettingError for more samples than one.
    """
    if len(latents) != 1:
        raise SettingError(f"a picture is a function of one code; got {len(latents)} samples")
    here = latents.space.name
    to = "w+" if layers is not None and here in ("z", "w") else here
    plain = generator.lift(latents, to).values
    keep = None if layers is None else generator._where(to, layers).to(plain.device)

    def picture(code: Tensor) -> Tensor:
        moved = generator.lift(latents.at(code[None]), to)
        if keep is not None:
            moved = moved.at(torch.where(keep, moved.values, plain))
        return view(generator, moved, size)[0]

    return picture


# -- derivatives --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Derivative:
    """J, the derivative of `f` at one point, as a map: nothing of its size is held. Points and values of any shape count as flat.

    `chunk` tangents go through the net at once: memory for speed.
    """

    f: Callable[[Tensor], Tensor]
    at: Tensor
    chunk: int = 16

    def push(self, V: Float[Tensor, "q d"]) -> Float[Tensor, "q m"]:
        """J v for each row v (forward mode)."""
        V = V.to(self.at).reshape(-1, *self.at.shape)
        one = lambda v: torch.func.jvp(self.f, (self.at,), (v,))[1].flatten()
        return torch.func.vmap(one, chunk_size=self.chunk)(V).detach()

    def pull(self, U: Float[Tensor, "q m"]) -> Float[Tensor, "q d"]:
        """Jᵀu for each row u (reverse mode)."""
        value, back = torch.func.vjp(self.f, self.at)[:2]
        U = U.to(value).reshape(-1, *value.shape)
        return torch.func.vmap(lambda u: back(u)[0].flatten(), chunk_size=self.chunk)(U).detach()

    def gram(self, weights: Float[Tensor, " m"] | float = 1.0) -> Operator:
        """v ↦ Jᵀ diag(weights) J v."""
        return lambda V: self.pull(self.push(V) * weights)

    def matrix(self) -> Float[Tensor, "d m"]:
        """Jᵀ, whole: d times the cost of one picture, and d·m numbers."""
        return self.push(torch.eye(self.at.numel(), dtype=self.at.dtype, device=self.at.device))


# -- eigenvectors -------------------------------------------------------------------------------------------------------------------


def top(
    apply: Operator, d: int, k: int, *, block: int | None = None, rounds: int = 3, seed: int = 0
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"]]:
    """The k largest eigenvalues of a symmetric d × d operator, largest first, and orthonormal eigenvectors (rows), in float64.

    Randomized block Krylov iteration (Musco & Musco, NeurIPS 2015): A is applied to block·(rounds + 1) vectors (a block is k + 2 unless
    said otherwise), and the best that their span holds is taken; where that is as many as d, A is applied to a basis and the result is
    exact.
    """
    if not 1 <= k <= d:
        raise SettingError(f"of {d} eigenvectors between 1 and {d} can be asked for; got k={k}")
    block = max(block or k + 2, 1)
    if block * (rounds + 1) >= d:
        values, vectors = torch.linalg.eigh(_symmetric(apply(torch.eye(d)).double().cpu()))
        return values.flip(0)[:k], vectors.T.flip(0)[:k]
    V = torch.randn(block, d, generator=workers.generator(seed), dtype=torch.float64)
    basis, image = [], []
    for _ in range(rounds + 1):
        for _ in range(2):  # once is not enough in floating point
            for known in basis:
                V = V - (V @ known.T) @ known
        V = torch.linalg.qr(V.T)[0].T
        basis.append(V)
        image.append(V := apply(V.float()).double().cpu())
        if not V.isfinite().all():
            raise MethodFailed("the derivative of the picture is not finite; try other samples, or a smaller psi")
    K, AK = torch.cat(basis), torch.cat(image)
    values, U = torch.linalg.eigh(K @ K.T)  # blocks beyond the rank of A are not orthogonal to the others
    keep = values > 1e-8
    root = (U[:, keep] / values[keep].sqrt()).T
    values, U = torch.linalg.eigh(_symmetric(root @ K @ AK.T @ root.T))
    return values.flip(0)[:k], (U.T.flip(0) @ root @ K)[:k]


def generalized(A: Float[Tensor, "d d"], B: Float[Tensor, "d d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """All solutions of A x = λ B x for symmetric A and positive definite B: λ, largest first, and rows x of length 1.

    B is divided out on both sides by its Cholesky factor, so the problem stays symmetric and λ real. Raises MethodFailed for another B.
    """
    L, wrong = torch.linalg.cholesky_ex(_symmetric(B.double()))
    if wrong:
        raise MethodFailed("the matrix to divide by is not positive definite; raise its regularization")
    inside = torch.linalg.solve_triangular(L, _symmetric(A.double()), upper=False)
    values, y = torch.linalg.eigh(_symmetric(torch.linalg.solve_triangular(L, inside.T, upper=False)))
    x = torch.linalg.solve_triangular(L.T, y, upper=True).T.flip(0)
    return values.flip(0), x / x.norm(dim=1, keepdim=True)


def _symmetric(A: Tensor) -> Tensor:
    return (A + A.T) / 2


# -- low rank -----------------------------------------------------------------------------------------------------------------------


def principal_component_pursuit(
    M: Float[Tensor, "d d"], lam: float, *, tolerance: float = 1e-7, rounds: int = 10_000
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """Split a symmetric M = L + S into low rank and sparse: the least of ‖L‖_* + lam·‖S‖₁.

    Alternating directions (Candès, Li, Ma & Wright, Robust Principal Component Analysis?, JACM 2011, algorithm 1), until what is left
    over, and the last change of S, are `tolerance` of M. Its mu is kept where both shrink alike (Boyd et al., Distributed Optimization …
    via ADMM, 2011, section 3.4.1), in the first tenth of the rounds, so that it settles. Iterates stay symmetric, so eigenvalues serve as
    singular values. Raises MethodFailed.
    """
    M = _symmetric(M.double())
    if not M.isfinite().all() or not M.any():
        raise MethodFailed("there is nothing to split: the matrix is zero, or not finite")
    mu = M.numel() / (4 * M.abs().sum())
    S, Y, size = torch.zeros_like(M), torch.zeros_like(M), M.norm()
    for k in range(rounds):
        values, V = torch.linalg.eigh(M - S + Y / mu)
        L = (V * _soft(values, 1 / mu)) @ V.T
        before, S = S, _soft(M - L + Y / mu, lam / mu)
        left = M - L - S
        Y = Y + mu * left
        over, moved = float(left.norm() / size), float((S - before).norm() / size)
        if max(over, moved) <= tolerance:
            return L, S
        if k < rounds // 10:
            mu = mu * 2 if over > 10 * moved else mu / 2 if moved > 10 * over else mu
    raise MethodFailed(f"no split after {rounds} rounds: {over:.1e} of the matrix is left over")


def _soft(x: Tensor, by: float | Tensor) -> Tensor:
    return x.sign() * (x.abs() - by).clamp_min(0)


def rank(values: Float[Tensor, " d"], tolerance: float = 1e-6) -> int:
    """How many eigenvalues are not zero, next to the largest."""
    return int((values.abs() > tolerance * values.abs().max()).sum())
