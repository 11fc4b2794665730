"""LowRankGAN and ReSeFa on a generator whose channels are known to paint inside a box, outside, or both."""

import pytest
import torch
from painted import Painted, box, orthogonal

from steerable.discover.lowrankgan import LowRankGAN
from steerable.discover.resefa import ReSeFa
from steerable.errors import MethodFailed, SettingError, UnknownName
from steerable.render import render

REGION = "0,0,0.5,0.5"  # the upper left 8 × 8 px


@pytest.fixture(scope="module")
def painted():
    """w is turned by Q: 0 and 1 paint inside, 2 to 4 outside, 5 and 6 both, 7 nothing."""
    left = [box(1, 1, 4, 4), box(4, 4, 8, 7, 0.7)]
    right = [box(9, 0, 16, 6), box(0, 9, 6, 16, 1.5), box(10, 10, 15, 15)]
    both = [box(0, 0, 16, 16, 0.8), box(5, 5, 12, 12)]
    patterns = torch.stack([*left, *right, *both, torch.zeros(3, 16, 16)])
    return Painted([patterns[:4], patterns[4:]], [orthogonal(8)[:4], orthogonal(8)[4:]], bend=0.02)


def inside(generator, path, t=2.0):
    z = generator.sample(4, seed=50)
    change = (render(generator, z, [path.at(t)]) - render(generator, z)).square()
    return float(change[:, :, :8, :8].sum() / change.sum())


def test_lowrankgan_finds_what_paints_only_inside(painted):
    found = LowRankGAN(region=REGION, size=16, lam=1.0, n=2).discover(painted)
    assert len(found) >= 2
    plane = orthogonal(8)[:2]
    for path in found[:2]:
        assert float((plane @ path.vector).norm()) > 0.999
        assert inside(painted, path) > 0.999
        assert float(path.about.split()[0]) > 99
    assert found[0].published == pytest.approx(1 / found[0].unit)


def test_relax_lets_a_little_of_the_rest_move(painted):
    settings = dict(region=REGION, size=16, lam=1.0)
    strict, relaxed = (LowRankGAN(**settings, relax=r).discover(painted) for r in (0, 2))
    assert max(relaxed.notes["length left"]) > max(strict.notes["length left"])
    assert min(inside(painted, p) for p in relaxed) < 0.999
    with pytest.raises(MethodFailed, match="raise lam"):
        LowRankGAN(region=REGION, size=16, lam=1e-6).discover(painted)


@pytest.mark.parametrize("rank", [None, 7])
def test_resefa_ranks_by_what_changes_inside(painted, rank):
    found = ReSeFa(region=REGION, size=16, k=8, n=2, rank=rank).discover(painted)
    plane = orthogonal(8)[:2]
    assert all(float((plane @ p.vector).norm()) > 0.99 for p in found[:2])
    shares = found.notes["share of change inside"]
    assert shares[1] > 0.99
    assert shares[-2] < 0.05
    measured = [inside(painted, p) for p in found[:7]]
    assert torch.corrcoef(torch.tensor([measured, list(shares[:7])]))[0, 1] > 0.99


def test_paths_held_to_layers_are_differentiated_there(painted):
    """Row 0 holds the patterns inside and two outside; row 1 has none that stays inside."""
    first, second = (ReSeFa(region=REGION, size=16, k=1, layers=rows).discover(painted) for rows in ("0", "1"))
    assert first[0].layers == "0"
    assert inside(painted, first[0]) > 0.99
    assert inside(painted, second[0]) < 0.6


def test_other_shapes_of_generators(tiny):
    space = "w" if tiny.name == "tiny-style" else "z"
    for method in (
        LowRankGAN(region=REGION, space=space, size=16, lam=0.5, relax=6),
        ReSeFa(region=REGION, space=space),
    ):
        found = method.discover(tiny)
        z = tiny.sample(2, seed=0)
        assert torch.equal(render(tiny, z, [found[0].at(0.0)]), render(tiny, z))
        assert (render(tiny, z, [found[0].at(2.0)]) - render(tiny, z)).abs().max() > 1e-3


def test_wrong_settings(painted):
    with pytest.raises(SettingError, match="resefa needs a region"):
        ReSeFa().discover(painted)
    with pytest.raises(UnknownName, match="no region is called 'tail'"):
        ReSeFa(region="tail").discover(painted)
    with pytest.raises(MethodFailed, match="covers nothing, or everything"):
        ReSeFa(region="0,0,1,1").discover(painted)
    with pytest.raises(SettingError, match="tau must be at least"):
        ReSeFa(region=REGION, tau=0.0)
    with pytest.raises(SettingError, match="relax must be at least 0"):
        LowRankGAN(region=REGION, relax=-1)


@pytest.mark.slow
@pytest.mark.weights("ffhq-1024", "landmarks")
def test_the_mouth_of_a_face():
    from steerable.generators import load

    g = load("ffhq-1024")
    found = ReSeFa(region="mouth", layers="2-6", k=1, rank=12, seed=4).discover(g)
    assert found[0].name == "mouth-0"
    assert found.notes["share of change inside"][0] > 0.1  # of 2 % of the picture
