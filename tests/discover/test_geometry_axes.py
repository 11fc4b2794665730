"""GAN-Geometry: axes of a known metric, and the Hessian of a perceptual distance without second derivatives."""

import pytest
import torch
from painted import Painted, box, orthogonal
from torch import nn

from steerable.discover.geometry import Geometry
from steerable.errors import SettingError
from steerable.geometry import around

STRENGTHS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)


@pytest.fixture(scope="module")
def painted():
    """Six patterns that do not overlap, of falling strength, along the rows of Q; two rows paint nothing."""
    patterns = [box(i % 4 * 4, i // 4 * 4, i % 4 * 4 + 4, i // 4 * 4 + 4, s) for i, s in enumerate(STRENGTHS)]
    patterns += [torch.zeros(3, 16, 16)] * 2
    return Painted([torch.stack(patterns)], [orthogonal(8)])


def test_axes_are_the_patterns_in_order_of_strength(painted):
    found = Geometry(size=16, k=4, n=3).discover(painted)
    assert found.names == ("axis-0", "axis-1", "axis-2", "axis-3")
    for i, path in enumerate(found):
        assert abs(float(path.vector @ orthogonal(8)[i])) > 0.9999
    expected = [2 * s**2 / 16 for s in STRENGTHS[:4]]  # a pattern covers 16 of 256 places
    assert found.notes["eigenvalues"] == pytest.approx(expected, rel=1e-4)
    assert found.notes["consistency"] == pytest.approx((1.0,) * 3, abs=1e-4)  # the same metric everywhere


class Features(nn.Module):
    """What LPIPS is made of: features of two layers and their weights."""

    def __init__(self, net=""):
        super().__init__()
        source = torch.Generator().manual_seed(3)
        self.register_buffer("first", torch.randn(5, 3, 3, 3, generator=source).double())
        self.register_buffer("second", torch.randn(4, 5, 3, 3, generator=source).double())
        self.register_buffer("weight0", torch.rand(5, 1, 1, generator=source).double())
        self.register_buffer("weight1", torch.rand(4, 1, 1, generator=source).double())

    def features(self, x):
        a = torch.tanh(nn.functional.conv2d(x, self.first))
        return [a, torch.tanh(nn.functional.conv2d(a, self.second, stride=2))]

    def forward(self, a, b):
        unit = lambda x: x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt()
        pairs = zip(self.features(a), self.features(b), (self.weight0, self.weight1), strict=True)
        return sum(((unit(u) - unit(v)).square() * w).sum(1).mean((1, 2)) for u, v, w in pairs)


def test_the_metric_is_the_hessian_of_the_perceptual_distance(style, monkeypatch):
    import steerable.nn.perceptual as perceptual

    monkeypatch.setattr(perceptual, "LPIPS", Features)
    g = style.to(dtype=torch.float64)
    w = g.lift(g.sample(1, seed=0), "w")
    picture = around(g, w)
    here = picture(w.values[0]).detach()
    distance = Features()
    H = torch.func.hessian(lambda code: distance(picture(code)[None], here[None])[0])(w.values[0])
    metric = Geometry(distance="lpips-alex", size=16).metric(g, w)
    torch.testing.assert_close(metric.apply(torch.eye(16, dtype=torch.float64)), H, rtol=1e-6, atol=1e-10)
    V = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metric.along(V), ((V @ H) * V).sum(1), rtol=1e-6, atol=1e-10)


def test_wrong_settings(painted):
    with pytest.raises(SettingError, match="distance is one of pixel, lpips-alex, lpips-vgg; got 'l1'"):
        Geometry(distance="l1")
    with pytest.raises(SettingError, match="has only 8 directions"):
        Geometry(k=9).discover(painted)
    with pytest.raises(SettingError, match="rounds must be at least 1"):
        Geometry(rounds=0)


def test_every_shape_of_generator(tiny):
    space = "w" if tiny.name == "tiny-style" else "z"
    found = Geometry(space=space, size=16, k=3, n=2).discover(tiny)
    assert found.notes["eigenvalues"] == tuple(sorted(found.notes["eigenvalues"], reverse=True))
    assert torch.allclose(found.vectors @ found.vectors.T, torch.eye(3), atol=1e-5)


@pytest.mark.weights("lpips")
def test_lpips_grows_as_the_metric_says():
    from steerable.generators.stylegan2 import Config, random
    from steerable.nn.perceptual import LPIPS

    g = random(Config((16, 16, 16, 8, 8), z_dim=24, w_dim=24, depth=2), seed=1)  # 64 px
    w = g.lift(g.sample(1, seed=0), "w")
    method = Geometry(distance="lpips-alex", size=64, k=2)
    axis = method.discover(g)[0]
    quadratic = float(method.metric(g, w).along(axis.vector[None])) / 2
    picture, net, e = around(g, w), LPIPS("alex"), 1e-2
    moved = torch.stack([picture(w.values[0] + s * e * axis.vector) for s in (1, -1)])
    measured = net(moved, picture(w.values[0]).expand_as(moved)).mean() / e**2
    assert float(measured) == pytest.approx(quadratic, rel=0.05)
