"""The bilinear variant of StyleGAN2 (its formulas are checked in tests/checkpoints, against files): what a family owes the rest."""

import pytest
import torch

import steerable as st
from steerable.errors import SettingError
from steerable.generators.stylegan2_bilinear import Config, random


@pytest.fixture(scope="module")
def g():
    return random(Config.tiny(), seed=3).to(dtype=torch.float64)


def test_both_executors_and_batches(g):
    z = g.sample(3, seed=1)
    together = g.synthesize(z)
    assert torch.allclose(together, g.synthesize(z, grad=True), rtol=1e-9, atol=1e-9)
    for k in range(3):
        assert torch.allclose(together[k : k + 1], g.synthesize(z[k]), rtol=1e-9, atol=1e-9)


def test_layers_and_spaces(g):
    assert [s.shape for s in g.spaces] == [(12,), (12,), (3, 12), (9 + 9 + 9 + 9 + 7 + 7 + 7 + 5 + 5,)]
    for layer, state in g.states(g.sample(1), grad=False):
        assert (layer.channels, *layer.size) == tuple(state.x.shape[1:])
    w = g.lift(g.sample(2), "w")
    moved = w.at(w.values + 0.1)
    for name, matrix in g.affines("w").items():
        layer = next(layer for layer in g.layers if layer.name == name)
        shift = g.lift(moved, "s").values[:, layer.style] - g.lift(w, "s").values[:, layer.style]
        assert torch.allclose(shift, (0.1 * matrix.sum(1)).expand_as(shift))
    with pytest.raises(SettingError, match="widths, first, d and depth are numbers from 1 up"):
        Config((0,), 3)


def test_edits_lent_weights_and_truncation(g):
    z = g.sample(1)
    paths = st.discover("sefa", g, space="w", k=2)
    plain = st.render(g, z)
    assert not torch.equal(st.render(g, z, [paths[0].at(2.0)]), plain)
    assert torch.allclose(st.render(g, z, [paths[0].at(0.0)]), plain)
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    assert torch.equal(st.render(g, z, [st.Masked(paths[0].at(2.0), mask)]), plain)
    leaf = (1.1 * g.net.get_parameter("b8.conv0.weight")).requires_grad_()
    g.lent({"b8.conv0.weight": leaf}).synthesize(z).square().mean().backward()
    assert float(leaf.grad.abs().max()) > 0
    assert torch.equal(g.synthesize(z), plain)
    center = g.truncate(g.lift(z, "w"), 0.0).values[0]
    assert torch.allclose(center, g.moments("w").mean)
