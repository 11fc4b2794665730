"""Coordinates of codes: they can be undone, and count as they say."""

import pytest
import torch

from steerable.errors import SettingError
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.invert import charts
from steerable.moments import Moments

STYLE, PLAIN = TinyStyle(), TinyPlain()


@pytest.mark.parametrize("coordinates", charts.COORDINATES)
@pytest.mark.parametrize("space", ["w", "w+"])
def test_coordinates_and_codes_undo_each_other(space, coordinates):
    chart = charts.chart(STYLE, space, coordinates, limit=20.0)
    codes = STYLE.lift(STYLE.sample(3, seed=1), space).values
    assert torch.allclose(chart.codes(chart.coordinates(codes)), codes, atol=1e-4)


@pytest.mark.parametrize("coordinates", ["whitened", "pn"])
def test_whitened_codes_have_unit_covariance_and_their_own_distance_is_one(coordinates):
    chart = charts.chart(STYLE, "w", coordinates, floor=1e-9)
    w = STYLE.lift(STYLE.sample(6000, seed=5), "w").values
    u = chart.coordinates(w).double()
    assert u.mean(0).abs().max() < 0.1
    assert (torch.cov(u.T) - torch.eye(u.shape[1])).abs().max() < 0.15
    assert charts.manifold(STYLE, "w", 1e-9)(w).mean() == pytest.approx(1.0, abs=0.05)
    assert charts.manifold(STYLE, "w+", 1e-9)(STYLE.lift(STYLE.sample(600), "w+").values).mean() == pytest.approx(
        1, abs=0.1
    )


def test_variances_below_the_floor_count_as_the_floor():
    variances = torch.tensor([4.0, 1.0, 1e-9], dtype=torch.float64)
    moments = Moments(torch.zeros(3, dtype=torch.float64), variances.diag(), 10)
    chart = charts.Whitened(moments, 0.01, torch.zeros(1), charts.Plain())
    lengths = chart.coordinates(torch.eye(3)).norm(dim=1)
    assert lengths.tolist() == pytest.approx([1 / 2, 1.0, 1 / 0.2], rel=1e-5)


def test_p_undoes_the_last_leaky_relu():
    w = torch.tensor([[2.0, -0.2]])
    assert torch.allclose(charts.P().coordinates(w), torch.tensor([[2.0, -1.0]]))


def test_the_spread_is_that_of_samples():
    w = STYLE.lift(STYLE.sample(4000, seed=3), "w").values
    assert charts.spread(STYLE, "w+", "plain") == pytest.approx(float(w.var(0).sum().sqrt()), rel=0.05)
    assert charts.spread(STYLE, "w", "whitened") == pytest.approx(4.0)


def test_what_a_space_does_not_have_is_refused():
    with pytest.raises(SettingError, match="codes in 's' are searched in plain coordinates"):
        charts.chart(STYLE, "s", "whitened")
    with pytest.raises(SettingError, match="P belongs to codes behind a mapping net"):
        charts.chart(PLAIN, "z", "pn")
    with pytest.raises(SettingError, match="no covariance of their own"):
        charts.manifold(STYLE, "s", 1e-3)
    with pytest.raises(SettingError, match="no common spread"):
        charts.spread(STYLE, "s", "plain")
