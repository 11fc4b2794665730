"""Paths that a net tells apart, changes that contrast, and bases that do not meddle: what each recovers of planted truth."""

import math

import pytest
import torch
from painted import Painted, box, orthogonal

from planted import Planted
from steerable.discover import HessianPenalty, LatentCLR, OroJaR, Spectral, Voynov, WarpedGANSpace
from steerable.discover.fields import FieldPath, Warp, gradients
from steerable.discover.latentclr import contrast
from steerable.discover.reconstructor import Reconstructor
from steerable.discover.spectral import aligned
from steerable.discover.trajectories import Trajectory
from steerable.errors import SettingError, SpaceError
from steerable.space import Latents

SMALL = {"net": "lenet", "width": 8, "n": 96, "every": 125}


BANDS = torch.stack([box(0, 0, 16, 5, 0.5), box(0, 5, 16, 10, 0.5), box(0, 10, 16, 16, 0.5)])
TRUTH = orthogonal(8, 3)[:3].contiguous()  # of eight directions, three show


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def bands():
    return Painted([BANDS], [TRUTH])


def within(vectors):
    """The share of each direction that lies in the span of those that show."""
    return (vectors @ TRUTH.T).norm(dim=-1)


# -- Voynov & Babenko, WarpedGANSpace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", ["orthonormal", "unit"])
def test_directions_are_found_among_those_that_show(bands, matrix):
    """All but one: a path on which nothing happens can be told apart, too."""
    found = Voynov(k=3, matrix=matrix, steps=250, batch=16, rate=5e-3, reach=1.5, least=0.1, **SMALL).discover(bands)
    assert float(within(found.vectors).sort()[0][1:].min()) > math.cos(math.radians(30))  # 52 degrees by chance
    assert found.notes["reconstructor accuracy"] > 0.7
    assert found.notes["chance"] == pytest.approx(1 / 3)
    inner = found.vectors @ found.vectors.T - torch.eye(3)
    assert float(inner.abs().max()) < (1e-5 if matrix == "orthonormal" else 0.9)


def test_a_residual_net_bends_its_paths(planted):
    found = Voynov(k=2, matrix="residual", steps=20, batch=8, rate=1e-4, **SMALL).discover(planted)
    path = found[0]
    codes = planted.lift(planted.sample(3, seed=1), "w")
    moved = path.at(1.0).latents(codes, planted).values - codes.values
    assert torch.allclose(moved, moved[:1].expand(3, -1), atol=1e-5)  # the same for all codes
    assert float(moved[0].norm()) == pytest.approx(planted.spread(moved[0], "w"), rel=0.05)
    assert path.published == pytest.approx(1 / path.unit)


def test_warped_paths_lead_where_something_shows(bands):
    how = {"k": 3, "dipoles": 2, "steps": 250, "batch": 16, "rate": 5e-3, "least": 0.3, "reach": 2.0}
    found = WarpedGANSpace(**how, **SMALL).discover(bands)
    assert found.notes["reconstructor accuracy"] > 0.7
    codes = bands.lift(bands.sample(32, seed=4), "w")
    moves = [path.at(0.5).latents(codes, bands).values - codes.values for path in found]
    shares = sorted(float(within(m / m.norm(dim=1, keepdim=True)).mean()) for m in moves)
    assert shares[1] > math.cos(math.radians(37))  # 52 degrees by chance


def test_a_warp_is_the_gradient_and_its_steps_have_one_length(planted):
    source = torch.Generator().manual_seed(1)
    supports, alphas = torch.randn(6, 3, generator=source), torch.tensor([1.0, -1.0] * 3)
    u = torch.randn(5, 3, generator=source).requires_grad_()
    f = (alphas * (-0.3 * (u[:, None] - supports).square().sum(2)).exp()).sum(1)
    true = torch.autograd.grad(f.sum(), u)[0]
    one = lambda x: x.expand(5, *x.shape)
    found = gradients(u.detach(), one(supports), one(alphas), torch.full((5,), 0.3))
    assert torch.allclose(found, true / true.norm(dim=1, keepdim=True), atol=1e-5)
    field = Warp(supports, alphas, 0.3, 0.1, torch.zeros(3), 2.0)
    step = field.step(u.detach(), torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0])) - u.detach()
    assert step.norm(dim=1).tolist() == pytest.approx([0.2] * 5, rel=1e-4)


def test_a_walk_asks_anew_after_each_step(planted):
    supports = torch.randn(4, 12, generator=torch.Generator().manual_seed(2))
    field = Warp(supports, torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.1, 0.3, torch.zeros(12), 1.0)
    path = FieldPath(name="p", field=field, space=planted.space("w"), unit=1.0)
    codes = planted.lift(planted.sample(3, seed=1), "w")
    by_hand = codes.values
    for _ in range(3):
        by_hand = field.step(by_hand, torch.ones(3))
    assert torch.allclose(path.at(3.0).latents(codes, planted).values, by_hand, atol=1e-5)
    each = path.at(torch.tensor([0.0, 3.0, -1.5])).latents(codes, planted).values
    assert torch.equal(each[0], codes.values[0])
    assert torch.allclose(each[1], by_hand[1], atol=1e-5)
    with pytest.raises(SpaceError, match="a walk through 'w' is curved"):
        path.at(1.0).latents(planted.lift(codes, "w+"), planted)


def test_the_reconstructors_answer_row_by_row():
    for kind, width in (("resnet", 16), ("lenet", 8)):
        net = Reconstructor(5, kind, width)
        a, b = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        logits, amount = net(a, b)
        assert tuple(logits.shape) == (3, 5)
        assert torch.allclose(net(a[1:2], b[1:2])[1], amount[1:2], atol=1e-5)


def test_settings_that_do_not_fit_are_refused(planted):
    with pytest.raises(SettingError, match="voynov: k=13, but 'w' has only 12 directions"):
        Voynov(k=13).discover(planted)
    with pytest.raises(SettingError, match=r"the shortest move, 0.5, is longer than the longest, 0.2"):
        WarpedGANSpace(least=0.5).discover(planted)
    with pytest.raises(SpaceError, match=r"orojar moves plain codes, not 'w\+'"):
        OroJaR(space="w+").discover(planted)


# -- LatentCLR ----------------------------------------------------------------------------------------------------------------------


def test_changes_become_different_from_each_other(bands):
    def overlap(steps):
        shown = LatentCLR(k=3, batch=4, rate=0.03, reach=1.0, steps=steps).discover(bands).vectors @ TRUTH.T
        shown = shown / shown.norm(dim=1, keepdim=True)
        return float((shown @ shown.T - torch.eye(3)).abs().max())

    assert overlap(1) > 0.5
    assert overlap(150) < 0.25


def test_the_contrast_is_that_of_the_paper():
    h = torch.nn.functional.normalize(torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(3)), dim=2)
    e = lambda a, b: math.exp(abs(float(a @ b)) / 2)
    wanted = []
    for i in range(3):
        terms = []
        for k in range(2):
            near = [e(h[i, k], h[j, k]) for j in range(3) if j != i]
            far = [e(h[i, k], h[j, 1 - k]) for j in range(3)]
            terms.append(-math.log((sum(near) / 2) / (sum(far) / 3)))
        wanted.append(sum(terms) / 2)
    assert contrast(h, h, torch.arange(3), 2.0).tolist() == pytest.approx(wanted, rel=1e-5)
    assert contrast(h[1:], h, torch.tensor([1, 2]), 2.0).tolist() == pytest.approx(wanted[1:], rel=1e-5)


def test_nets_of_their_own_move_each_code(style):
    found = LatentCLR(k=2, kind="nonlinear", steps=2, batch=2).discover(style)
    codes = style.lift(style.sample(4, seed=1), "w")
    moved = found[0].at(1.0, unit="published").latents(codes, style).values - codes.values
    assert moved.norm(dim=1).tolist() == pytest.approx([float(moved[0].norm())] * 4, rel=1e-4)
    assert not torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-3)
    with pytest.raises(SettingError, match="feature='0-1' names 2 layers; name one"):
        LatentCLR(feature="0-1").discover(style)


# -- penalties ----------------------------------------------------------------------------------------------------------------------

EVEN = torch.stack([box(0, 0, 8, 8, 0.3), box(8, 0, 16, 8, 0.3), box(0, 8, 8, 16, 0.3), box(8, 8, 16, 16, 0.3)])
UNEVEN = torch.stack([box(0, 0, 12, 8, 0.6), box(12, 0, 16, 8, 0.6), box(0, 8, 8, 16, 0.3), box(8, 8, 16, 16, 0.1)])
TURN = orthogonal(4, 3)


def recovered(paths):
    """The cosine of each planted axis with the path nearest to it."""
    return (paths.vectors @ TURN.T).abs().amax(0)


def test_the_hessian_penalty_finds_axes_where_the_picture_bends():
    how = {"steps": 100, "rate": 0.05, "batch": 6, "reach": 1.0}
    paths = HessianPenalty(**how).discover(Painted([EVEN], [TURN], bend=0.5))
    assert float(recovered(paths).min()) > math.cos(math.radians(3))
    straight = HessianPenalty(**how | {"steps": 10}).discover(Painted([EVEN], [TURN]))
    assert float(recovered(straight).min()) < 0.9  # a linear generator has no Hessian to go by


def test_orojar_finds_axes_of_different_strength():
    how = {"steps": 250, "rate": 0.03, "batch": 6, "reach": 1.0}
    paths = OroJaR(**how).discover(Painted([UNEVEN], [TURN]))
    assert float(recovered(paths).min()) > math.cos(math.radians(30))
    assert float(recovered(paths)[:2].min()) > math.cos(math.radians(5))
    changes = paths.notes["change of the picture"]
    assert list(changes) == sorted(changes, reverse=True)
    assert int((paths.vectors[0] @ TURN.T).abs().argmax()) == 0


def test_spectral_axes_and_trajectories_follow_the_strongest_changes():
    painted = Painted([UNEVEN], [TURN])
    paths = Spectral(n=4, k=3).discover(painted)
    assert float((paths.vectors @ TURN.T).diagonal().abs().min()) > 0.9999
    assert paths.notes["aligned"] == pytest.approx((1.0, 1.0, 1.0))
    walks = Spectral(n=4, k=2, walk="trajectory", step=0.5).discover(painted)
    codes = painted.lift(painted.sample(2, seed=3), "w")
    moved = walks[1].at(1.3).latents(codes, painted).values - codes.values
    assert torch.allclose(moved, 1.3 * walks[1].unit * 0.5 * paths[1].vector.expand(2, -1), atol=1e-3)


def test_a_trajectory_turns_where_another_change_becomes_the_strongest():
    painted = Painted([EVEN], [torch.eye(4)], bend=3.0)  # a change is the stronger, the further its channel is
    code = Latents(torch.tensor([[0.5, 0.42, 0.1, 0.0]]), painted.space("w"))
    reference = torch.eye(4)[0]
    space = painted.space("w")
    walk = Trajectory(name="t", number=0, reference=reference, length=0.05, size=None, space=space, unit=1.0)
    way = lambda t: (walk.at(t).latents(code, painted).values - code.values)[0]
    assert torch.allclose(way(3.5), 3.5 * 0.05 * reference, atol=1e-5)  # forth, it grows stronger still
    back = way(-3.0)
    assert float(back[0]) == pytest.approx(-0.1, abs=1e-4)
    assert float(back[1].abs()) == pytest.approx(0.05, abs=1e-4)
    assert torch.equal(way(0.0), torch.zeros(4))


def test_alignment_asks_for_the_best_common_axes():
    source = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(6, 6, generator=source, dtype=torch.float64))[0][:3]
    V = torch.stack(
        [
            torch.linalg.qr((Q + 0.1 * torch.randn(3, 6, generator=source, dtype=torch.float64)).T)[0].T
            for _ in range(40)
        ]
    )
    found, kept = aligned(V, 50)
    assert float((found @ Q.T).diagonal().abs().min()) > math.cos(math.radians(5))
    assert torch.allclose(found @ found.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert float(kept.min()) > 0.8
