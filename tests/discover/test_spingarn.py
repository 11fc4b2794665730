"""Spingarn: transformations planted in a first map, and the walks."""

import math

import pytest
import torch
from painted import FirstMap, orthogonal

from steerable.discover.spingarn import Spingarn, warp
from steerable.errors import SettingError, SpaceError
from steerable.render import render

D = 10


def blob():
    """The mean map [4 c 4 4]: something a little off the center, larger in one channel than in the other."""
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    near = lambda s: torch.exp(-((x - 1.4) ** 2 + (y - 1.6) ** 2) / s)
    return torch.stack([near(1.0), near(2.0), near(3.0), near(1.5) * x])


@pytest.fixture(scope="module")
def planted():
    """Columns 0 to 2 of W, turned by Q, are what zooming, shifting right and shifting down does to the mean map."""
    b, source = blob(), torch.Generator().manual_seed(5)
    columns = [0.3 * torch.randn(4, 4, 4, generator=source) for _ in range(D)]
    for i, (transform, amount) in enumerate((("zoom", 2.0), ("shift-x", 0.25), ("shift-y", 0.25))):
        P = warp(transform, amount, (4, 4))[0].float()
        columns[i] = ((b.flatten(1) @ P.T) - b.flatten(1)).reshape(b.shape)
    return FirstMap(torch.stack(columns, -1) @ orthogonal(D), b)


def test_warps_move_what_they_say():
    picture = torch.arange(16.0).double()
    P, inside = warp("shift-x", 0.25, (4, 4))
    moved = (P @ picture).reshape(4, 4)
    torch.testing.assert_close(moved[:, 1:], picture.reshape(4, 4)[:, :-1])
    assert inside.reshape(4, 4).sum(0).tolist() == [0, 4, 4, 4]
    P, inside = warp("shift-y", -0.25, (4, 4))
    torch.testing.assert_close((P @ picture).reshape(4, 4)[:-1], picture.reshape(4, 4)[1:])
    assert inside.reshape(4, 4).sum(1).tolist() == [4, 4, 4, 0]
    P, inside = warp("rotate", 90.0, (4, 4))
    torch.testing.assert_close((P @ picture).reshape(4, 4), torch.rot90(picture.reshape(4, 4)))
    assert inside.all()
    P, inside = warp("zoom", 0.5, (4, 4))
    assert inside.reshape(4, 4)[1:3, 1:3].all()
    assert inside.sum() == 4
    torch.testing.assert_close(P @ torch.ones(16).double(), torch.ones(16).double())


def test_prescribed_directions_are_found(planted):
    found = Spingarn(n=400).discover(planted)
    assert found.names == ("zoom", "shift-x", "shift-y")
    assert found.notes["R2 of the affine map"] > 0.999999
    for i, path in enumerate(found):
        assert float(path.vector @ orthogonal(D)[i]) > 0.999
        assert path.published == pytest.approx(
            1.0, rel=0.1
        )  # the planted column is one step long, and z has variance 1


def test_the_picture_goes_where_it_is_sent(planted):
    """The mean picture, whose map is b."""
    found = Spingarn(n=400).discover(planted)
    z = planted.sample(1, seed=0)
    z = z.at(torch.zeros_like(z.values))

    def center(edits):
        x = render(planted, z, edits)[0, 0].clamp_min(0)
        where = torch.arange(16.0)
        return torch.stack([(x.sum(0) * where).sum(), (x.sum(1) * where).sum()]) / x.sum()

    right, down = (center([found[n].at(1.0, unit="published")]) - center([]) for n in ("shift-x", "shift-y"))
    assert 2.0 < float(right[0]) < 5.0  # a quarter of 16 px is 4
    assert abs(float(right[1])) < 0.7
    assert 2.0 < float(down[1]) < 5.0
    assert abs(float(down[0])) < 0.7
    assert float((center([found["shift-x"].at(-1.0, unit="published")]) - center([]))[0]) < 0


def test_a_neumann_step_moves_every_map_as_far_as_it_can(planted):
    path = Spingarn(n=400, walk="neumann", transforms="shift-x").discover(planted)[0]
    z = planted.sample(5, seed=1)
    step = path.at(1.0, unit="published")
    moved = step.latents(z, planted).values
    by_hand = (z.values - path.center) @ path.M[0].T + path.q[0] + path.center
    torch.testing.assert_close(moved, by_hand, rtol=1e-4, atol=1e-5)
    P, inside = warp("shift-x", 0.25, (4, 4))
    maps = lambda v: (torch.einsum("chwd,nd->nchw", planted.net.W, v) + planted.net.b).flatten(2)
    wanted = maps(z.values) @ P.T.float()
    error = lambda v: float(((maps(v) - wanted) * inside.float()).square().sum())
    straight = z.values + path.q[0]
    assert error(moved) < 0.9 * error(straight)
    assert error(moved) <= error(moved + 0.01 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(0)))
    half = path.at(0.5, unit="published").latents(z, planted).values
    torch.testing.assert_close(half, (z.values + moved) / 2, rtol=1e-4, atol=1e-5)
    each = path.at(torch.tensor([0.0, 1, 0, -1, 2]) * path.published).latents(z, planted).values
    assert torch.equal(each[0], z.values[0])
    torch.testing.assert_close(each[1], moved[1], rtol=1e-4, atol=1e-5)


def test_principal_directions_are_singular_vectors(planted):
    found = Spingarn(n=400, transforms="principal", k=3).discover(planted)
    V = torch.linalg.svd(planted.net.W.detach().flatten(0, 2))[2]
    assert ((found.vectors * V[:3]).sum(1).abs() > 0.9999).all()


def test_a_great_circle_keeps_the_radius_and_ends_at_its_pole(planted):
    path = Spingarn(n=400, transforms="principal", walk="great", k=1).discover(planted)[0]
    z = planted.sample(6, seed=2)
    around = lambda edit: edit.latents(z, planted).values - path.center
    for t in (-2.0, 0.7, 2.0):
        torch.testing.assert_close(around(path.at(t)).norm(dim=1), (z.values - path.center).norm(dim=1))
    pole = around(path.at(1000.0))
    torch.testing.assert_close(pole, pole.norm(dim=1, keepdim=True) * path.vector, atol=1e-4, rtol=0)
    across = lambda v: v - (v @ path.vector)[:, None] * path.vector
    a, b = across(around(path.at(0.5))), across(z.values - path.center)
    torch.testing.assert_close(torch.cosine_similarity(a, b), torch.ones(6), atol=1e-5, rtol=0)
    near = (
        (around(path.at(1e-3)) - around(path.at(-1e-3))) @ path.vector / 2e-3
    )  # a step is about one standard deviation
    assert 0.5 < float(near.mean()) < 1.5


def test_a_small_circle_leaves_all_others_alone(planted):
    path = Spingarn(n=400, transforms="principal", walk="small", k=1).discover(planted)[0]
    z = planted.sample(6, seed=2)
    v, r = path.vector, path.reference
    moved = path.at(1.5).latents(z, planted).values
    plane = torch.stack([v, r])
    rest = lambda x: (x - path.center) - (x - path.center) @ plane.T @ plane
    torch.testing.assert_close(rest(moved), rest(z.values), atol=1e-5, rtol=0)
    torch.testing.assert_close((moved - path.center).norm(dim=1), (z.values - path.center).norm(dim=1))
    turned = torch.atan2((moved - path.center) @ v, (moved - path.center) @ r)
    before = torch.atan2((z.values - path.center) @ v, (z.values - path.center) @ r)
    by = torch.remainder(turned - before, 2 * math.pi)
    torch.testing.assert_close(by, torch.full((6,), 1.5 * path.unit), atol=1e-4, rtol=0)


def test_every_shape_of_generator(tiny):
    space = "w" if tiny.name == "tiny-style" else "z"
    z = tiny.sample(2, seed=0)
    for settings in (
        {"transforms": "zoom,shift-x,shift-y,rotate,principal"},
        {"transforms": "zoom", "walk": "neumann"},
        {"transforms": "principal", "walk": "great"},
        {"transforms": "principal", "walk": "small"},
    ):
        for path in Spingarn(space=space, n=200, k=2, **settings).discover(tiny):
            assert torch.equal(render(tiny, z, [path.at(0.0)]), render(tiny, z))
            assert (render(tiny, z, [path.at(1.0)]) - render(tiny, z)).abs().max() > 1e-4


def test_wrong_settings(planted, style):
    with pytest.raises(SettingError, match="no transformation 'skew'"):
        Spingarn(transforms="zoom,skew").discover(planted)
    with pytest.raises(SettingError, match="great and small circles are walks of transforms='principal'"):
        Spingarn(walk="great").discover(planted)
    with pytest.raises(SettingError, match="great and small circles"):
        Spingarn(walk="neumann", transforms="principal").discover(planted)
    with pytest.raises(SettingError, match="zoom must be at least"):
        Spingarn(zoom=1.0)
    with pytest.raises(SettingError, match="do not tell a map of 10 numbers"):
        Spingarn(n=10).discover(planted)
    with pytest.raises(SettingError, match="names 2 layers"):
        Spingarn(layer="0-1").discover(planted)
    with pytest.raises(SpaceError, match="moves plain codes"):
        Spingarn(space="w+").discover(style)
    path = Spingarn(n=400, space="w", transforms="principal", walk="great", k=1).discover(style)[0]
    with pytest.raises(SpaceError, match="cannot be made on 'w\\+' codes"):
        path.at(1.0).latents(style.lift(style.sample(1), "w+"), style)
    with pytest.raises(SettingError, match="t has 3 values for 1 samples"):
        path.at(torch.ones(3)).latents(style.lift(style.sample(1), "w"), style)
