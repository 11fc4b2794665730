"""SeFa: planted maps, the paper's normalization, and the options for nets without demodulation."""

import pytest
import torch

from planted import Planted, cosine
from steerable.discover import SeFa, discover
from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.render import render


@pytest.fixture
def planted():
    return Planted()


def test_finds_the_factors_in_the_order_of_what_they_change(planted):
    paths = discover("sefa", planted, k=4)
    for path, factor in zip(paths, ("red", "left-right", "top-bottom", "checker"), strict=True):
        assert abs(cosine(path.vector, planted.truth(factor))) > 0.99999
    assert paths.notes["singular values"] == pytest.approx((2.0, 3**0.5, 2**0.5, 1.0), rel=1e-5)  # rows a factor has
    assert paths.names == ("sefa-0", "sefa-1", "sefa-2", "sefa-3")


def test_the_length_of_a_row_counts_only_if_it_is_asked_for(planted):
    longest = SeFa(k=1, norm="none").discover(planted)[0]
    assert abs(cosine(longest.vector, planted.truth("top-bottom"))) > 0.99999  # its rows are five long
    assert SeFa(k=1, norm="layers").discover(planted).notes["singular values"][0] == pytest.approx(1.0, abs=1e-6)


def test_pools_the_layers_named_and_acts_on_them(planted):
    path = SeFa(k=1, layers="1").discover(planted)[0]
    assert abs(cosine(path.vector, planted.truth("left-right"))) > 0.99999
    assert path.layers == "1"
    z = planted.sample(1)
    change = render(planted, z, [path.at(1)]) - render(planted, z)
    assert change[:, 1].abs().max() > 0.01
    assert change[:, 0].abs().max() == 0


def test_whitening_counts_in_standard_deviations(planted):
    path = SeFa(k=1, whiten=True).discover(planted)[0]
    cov = planted.moments("w").cov
    maps = torch.nn.functional.normalize(planted.net.maps.double(), dim=1)
    gain = lambda v: (maps @ v).norm() / (v @ torch.linalg.solve(cov, v)).sqrt()
    others = torch.randn(200, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert gain(path.vector.double()) > max(gain(v) for v in others)
    assert gain(path.vector.double()) == pytest.approx(path_strength(planted, whiten=True), rel=1e-4)
    assert path.published is None


def path_strength(planted, **settings):
    return SeFa(k=1, **settings).discover(planted).notes["singular values"][0]


def test_the_common_growth_of_all_styles_can_be_left_out():
    """Styles with a large mean: what scales them all together is taken from each layer's map."""
    gainy = Planted(bias=3.0)
    maps = SeFa(skip_gain=True, norm="none").maps(gainy)
    mean = (
        gainy.lift(gainy.sample(1).at(gainy.moments("w").mean.float()[None], gainy.space("w")), "s").values[0].double()
    )
    for layer in gainy.layers:
        assert (mean[layer.style] @ maps[layer.name]).abs().max() < 1e-5
        assert maps[layer.name].norm() < gainy.affines("w")[layer.name].norm()


def test_directions_are_unit_sorted_and_orthogonal(style):
    paths = SeFa(k=16).discover(style)
    assert torch.allclose(paths.vectors @ paths.vectors.T, torch.eye(16), atol=1e-5)
    strengths = paths.notes["singular values"]
    assert list(strengths) == sorted(strengths, reverse=True)
    assert all(p.vector[p.vector.abs().argmax()] > 0 for p in paths)
    assert paths[0].published == pytest.approx(1 / paths[0].unit)


def test_image_heads_are_not_pooled_unless_they_stand_alone_or_are_named(style):
    assert list(SeFa(layers="0-1").maps(style)) == ["conv0", "conv1"]
    assert list(SeFa(layers="conv0,head2").maps(style)) == ["conv0", "head2"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"layers": "0-9"}, SettingError, "reaches past the last one; there are 3 rows: 0-2"),
        ({"layers": "nose"}, UnknownName, "no layer is called 'nose'"),
        ({"k": 13}, SettingError, "k=13, but 'w' has only 12 directions"),
        ({"space": "w+"}, SpaceError, "out of a space of plain codes, not out of 'w\\+'; use w or z"),
        ({"space": "y"}, SpaceError, "planted has no space 'y'; it has 'z', 'w'"),
    ],
)
def test_says_what_cannot_be(planted, settings, error, message):
    with pytest.raises(error, match=message):
        SeFa(**settings).discover(planted)


def test_says_where_there_are_no_maps_or_styles(plain):
    with pytest.raises(SettingError, match="names no layer with a map out of 'z'; those are first"):
        SeFa(space="z", layers="conv0").discover(plain)
    with pytest.raises(SettingError, match="skip_gain needs styles, and tiny-plain has none after 'z'"):
        SeFa(space="z", skip_gain=True).discover(plain)
