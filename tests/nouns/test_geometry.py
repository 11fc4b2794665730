"""Derivatives of pictures, and the linear algebra on them, against plain matrices."""

import pytest
import torch

from steerable.edit import OnLayers
from steerable.errors import MethodFailed, SettingError
from steerable.geometry import (
    Derivative,
    around,
    generalized,
    principal_component_pursuit,
    rank,
    top,
    view,
)
from steerable.path import Shift
from steerable.render import render
from steerable.renderer import Renderer


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def decaying(d=80, seed=0):
    Q = torch.linalg.qr(torch.randn(d, d, generator=source(seed), dtype=torch.float64))[0]
    values = 0.7 ** torch.arange(d, dtype=torch.float64)
    return (Q * values) @ Q.T, values, Q.T


def test_view_is_what_the_renderer_shows(tiny):
    z = tiny.sample(2, seed=3)
    torch.testing.assert_close(view(tiny, z).detach(), render(tiny, z), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(view(tiny, z, 8).detach(), Renderer(tiny)(z, size=8), rtol=1e-4, atol=1e-5)


def test_view_goes_on_from_a_state(style):
    s = style.lift(style.sample(1, seed=1), "s")
    states = list(style.states(s))
    torch.testing.assert_close(view(style, s, first=3, state=states[2][1]), view(style, s))


def test_push_and_pull_are_the_jacobian(tiny):
    g = tiny.to(dtype=torch.float64)
    z = g.sample(1, seed=0)
    f = around(g, z, size=8)
    J = torch.func.jacrev(f)(z.values[0]).flatten(0, 2)  # [m d]
    D = Derivative(f, z.values[0], chunk=3)
    V = torch.randn(7, J.shape[1], generator=source(), dtype=torch.float64)
    U = torch.randn(5, J.shape[0], generator=source(), dtype=torch.float64)
    torch.testing.assert_close(D.push(V), V @ J.T)
    torch.testing.assert_close(D.pull(U), U @ J)
    torch.testing.assert_close(D.matrix(), J.T)
    torch.testing.assert_close(D.gram(2.0)(V), 2 * V @ J.T @ J)


def test_a_code_held_to_layers_moves_the_picture_as_the_edit_does(style):
    g = style.to(dtype=torch.float64)
    w = g.lift(g.sample(1, seed=0), "w")
    v = torch.randn(16, generator=source(), dtype=torch.float64)
    f, e = around(g, w, layers="1-2"), 1e-5
    move = lambda t: render(g, w, [OnLayers(Shift(v, w.space, t, 1.0), "1-2")], grad=True)
    torch.testing.assert_close(f(w.values[0] + 0.5 * v)[None], move(0.5))
    slope = (move(e) - move(-e)) / (2 * e)
    torch.testing.assert_close(Derivative(f, w.values[0]).push(v[None])[0], slope.flatten(), rtol=1e-5, atol=1e-7)
    with pytest.raises(SettingError, match="a function of one code; got 2"):
        around(g, g.sample(2))


def test_block_krylov_finds_the_first_eigenvectors():
    A, values, vectors = decaying()
    asked = 0

    def apply(V):
        nonlocal asked
        asked += len(V)
        return V.double() @ A

    found, rows = top(apply, 80, 10)
    assert asked == 48
    torch.testing.assert_close(found, values[:10], rtol=1e-5, atol=0)
    assert (rows * vectors[:10]).sum(1).abs().min() > 0.999
    torch.testing.assert_close(rows @ rows.T, torch.eye(10, dtype=torch.float64), atol=1e-9, rtol=0)


def test_block_krylov_is_exact_for_small_spaces_and_survives_low_rank():
    A, values, _ = decaying(12)
    found, _ = top(lambda V: V.double() @ A, 12, 3)
    torch.testing.assert_close(found, values[:3])
    v = torch.linalg.qr(torch.randn(50, 2, generator=source(), dtype=torch.float64))[0]
    found, rows = top(lambda V: V.double() @ v @ torch.diag(torch.tensor([3.0, 1.0]).double()) @ v.T, 50, 4)
    torch.testing.assert_close(found, torch.tensor([3.0, 1, 0, 0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert ((rows[:2] @ v).norm(dim=1) > 0.9999).all()
    with pytest.raises(SettingError, match="between 1 and 12 can be asked for; got k=13"):
        top(lambda V: V, 12, 13)
    with pytest.raises(MethodFailed, match="not finite"):
        top(lambda V: V * torch.nan, 50, 2)


def test_generalized_solutions_solve_the_problem():
    linalg = pytest.importorskip("scipy.linalg")
    A, _, _ = decaying(9, seed=1)
    B = decaying(9, seed=2)[0] + 0.1 * torch.eye(9)
    values, x = generalized(A, B)
    torch.testing.assert_close(values, torch.from_numpy(linalg.eigh(A.numpy(), B.numpy())[0][::-1].copy()))
    torch.testing.assert_close(x @ A, values[:, None] * (x @ B), atol=1e-10, rtol=1e-7)
    with pytest.raises(MethodFailed, match="not positive definite"):
        generalized(A, A - torch.eye(9))


def test_pursuit_separates_low_rank_from_sparse():
    U = torch.randn(60, 3, generator=source(), dtype=torch.float64)
    low, sparse = U @ U.T / 3, torch.zeros(60, 60, dtype=torch.float64)
    for i, j in torch.randint(60, (40, 2), generator=source(1)).tolist():
        sparse[i, j] = sparse[j, i] = 5.0
    L, S = principal_component_pursuit(low + sparse, 60**-0.5)
    assert float((L - low).norm() / low.norm()) < 1e-5
    assert float((S - sparse).norm() / sparse.norm()) < 1e-5
    assert rank(torch.linalg.eigvalsh(L)) == 3
    with pytest.raises(MethodFailed, match="no split after 3 rounds"):
        principal_component_pursuit(low + sparse, 60**-0.5, rounds=3)
    with pytest.raises(MethodFailed, match="nothing to split"):
        principal_component_pursuit(torch.zeros(4, 4), 0.5)
