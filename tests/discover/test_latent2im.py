"""Enjoy your editing and GuidedStyle: several attributes at once; each moves by what was asked, the others stay; layers are chosen."""

import pytest
import torch
from judged import Blind, Smooth, changes, leak

from planted import FACTORS, Listening, Planted, cosine
from steerable.discover import GuidedStyle, Latent2im
from steerable.discover.guidedstyle import Manipulation
from steerable.discover.labeled import gradients_pass
from steerable.discover.latent2im import content, early
from steerable.discover.locally import Typical
from steerable.errors import MethodFailed, SettingError, SpaceError
from steerable.generators.tiny import TinyStyle
from steerable.nn.perceptual import LPIPS
from steerable.path import Direction
from steerable.score import Scorer, score

QUICK = {"n": 200, "content": "pixels", "hidden": "32", "steps": 130, "batch": 12, "rate": 1e-2}
LOCAL = QUICK | {"kind": "local", "space": "w"}
GLOBAL = QUICK | {"rate": 3e-2}


@pytest.fixture(scope="module")
def planted():
    return Planted()


def test_each_attribute_moves_by_one_deviation_and_the_others_stay(planted):
    paths = Latent2im(**LOCAL).discover(planted, supervision=Smooth())
    assert paths.names == FACTORS
    for i, path in enumerate(paths):
        change = changes(planted, [path.at(1.0, unit="published")])
        assert change[:, i].mean() == pytest.approx(1, abs=0.15)
        assert leak(change, path.name) < 0.1
    several = changes(planted, [paths["red"].at(1, unit="published"), paths["checker"].at(-1, unit="published")])
    assert several.mean(0).tolist() == pytest.approx([1, 0, 0, -1], abs=0.2)
    assert "Smooth" not in paths.notes["regressor"]
    assert paths.notes["regressor"] == Smooth().name


def test_one_move_for_all_is_a_direction(planted):
    paths = Latent2im(**GLOBAL, space="w").discover(planted, supervision=Smooth())
    for i, path in enumerate(paths):
        assert isinstance(path, Direction)
        change = changes(planted, [path.at(1.0, unit="published")])
        assert change[:, i].mean() == pytest.approx(1, abs=0.15)
        assert leak(change, path.name) < 0.1
        assert cosine(path.vector, planted.truth(path.name)) > 0.8  # other entries of w change nothing that is scored


def test_each_row_of_w_plus_has_a_move_of_its_own(planted):
    paths = Latent2im(**GLOBAL).discover(planted, supervision=Smooth())
    for i, (path, row) in enumerate(zip(paths, (0, 1, 1, 2), strict=True)):
        assert path.space.name == "w+"
        change = changes(planted, [path.at(1.0, unit="published")], space="w+")
        assert change[:, i].mean() == pytest.approx(1, abs=0.15)
        assert leak(change, path.name) < 0.05
        assert path.vector[row].norm() > 0.95
        assert cosine(path.vector[row], planted.truth(path.name)) > 0.7


def test_what_does_not_act_does_not_learn(planted):
    told = GLOBAL | {"layers": "0", "learn": "red", "realism_weight": 0.0}
    first, last = (
        Latent2im(**told | {"steps": steps}).discover(planted, supervision=Smooth())[0].vector for steps in (1, 30)
    )
    assert cosine(first[1:], last[1:]) == pytest.approx(1, abs=1e-5)
    assert last[0].norm() / last[1].norm() > 2 * first[0].norm() / first[1].norm()


@pytest.mark.weights("lpips")
def test_content_is_what_the_first_four_convolutions_say():
    vgg, source = LPIPS("vgg"), torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 3, 32, 32, generator=source) * 2 - 1
    told, stages = early(vgg, a), vgg.features(a)
    assert [(t.shape[1], t.shape[2]) for t in told] == [(64, 32), (64, 32), (128, 16), (128, 16)]
    assert torch.allclose(told[1].relu(), stages[0], atol=1e-4)
    assert torch.allclose(told[3].relu(), stages[1], atol=1e-4)
    assert min(float(t.min()) for t in told) < 0
    assert content(vgg, a, a).tolist() == [0, 0]
    each = torch.stack([(u - v).square().mean((1, 2, 3)) for u, v in zip(told, early(vgg, b), strict=True)])
    assert torch.allclose(content(vgg, a, b), each.mean(0))


def test_without_gradients_a_net_learns_to_read_the_scores(planted):
    assert gradients_pass(Smooth(), planted)
    assert not gradients_pass(Blind(), planted)
    told = QUICK | {"reading": 150, "learn": "red,checker", "kind": "global"}
    paths = Latent2im(**told).discover(planted, supervision=Blind())
    assert paths.notes["regressor"].startswith("a net fitted on 200 pictures (R2 on a held-out fifth: red ")
    for path, i in zip(paths, (0, 3), strict=True):
        change = changes(planted, [path.at(1.0, unit="published")])
        assert change[:, i].mean() == pytest.approx(1, abs=0.3)
    with pytest.raises(SettingError, match="gradients do not pass through factors .*; take regressor='net'"):
        Latent2im(**told, regressor="scorer").discover(planted, supervision=Blind())


def test_realism_is_the_critic_where_there_is_one(planted):
    seen = []

    class Critic(torch.nn.Module):
        def forward(self, images):
            seen.append(images.shape)
            return images.mean((1, 2, 3))

    judged = Planted()
    judged.critic = Critic()
    Latent2im(**(QUICK | {"steps": 2, "n": 30})).discover(judged, supervision=Smooth())
    assert seen == [(12, 3, 16, 16)] * 2


def test_how_typical_codes_are(planted):
    w = planted.lift(planted.sample(2000), "w")
    typical = Typical(planted, planted.space("w"))
    assert float(typical(w.values).mean()) == pytest.approx(1, abs=0.05)
    step = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    low, high = typical.span(w.values[:1], step)
    ends = [float(typical(w.values[:1] + t * step)) for t in (low, high)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    assert low < 0 < high
    assert ends[1] > float(typical(w.values[:1]))
    far = w.values[:1] * 20
    low, high = typical.span(far, step)
    assert low < 0 < high  # who is far away already can still move to both sides
    ends = [float(typical(far + t * step)) / float(typical(far)) for t in (low, high)]
    assert ends == pytest.approx([1.1, 1.1], rel=1e-3)
    rows = planted.lift(w, "w+")
    assert torch.allclose(Typical(planted, rows.space)(rows.values), typical(w.values), atol=1e-4)


def test_what_cannot_be_is_refused(planted):
    with pytest.raises(SpaceError, match="latent2im moves codes of z, w or w\\+, not of 's'"):
        Latent2im(space="s").discover(planted, supervision=Smooth())
    with pytest.raises(SettingError, match="guidedstyle learns from scores; pass supervision="):
        GuidedStyle().discover(planted)

    class Same(Scorer):
        name, names, units = "same", ("same",), ("",)

        def read(self, images):
            return images.new_ones(len(images), 1)

    with pytest.raises(MethodFailed, match="all labels of 'same' are alike"):
        GuidedStyle(n=30).discover(planted, supervision=Same())


# -- GuidedStyle --------------------------------------------------------------------------------------------------------------------


def test_attention_finds_the_row_that_carries_each_attribute(planted):
    told = {"n": 200, "hidden": "16,16", "steps": 200, "batch": 12, "rate": 1e-2}
    paths = GuidedStyle(**told).discover(planted, supervision=Smooth())
    w = planted.lift(planted.sample(64, seed=80_000), "w+")
    for i, (name, row) in enumerate(zip(FACTORS, (0, 1, 1, 2), strict=True)):
        attention = paths.notes["attention by row"][name]
        assert attention[row] > 0.7
        assert sum(attention) == pytest.approx(1, abs=1e-3)
        path = paths[name]
        moved = path.at(1.0).latents(w, planted).values - w.values
        assert [bool(moved[:, r].any()) for r in range(3)] == [r == row for r in range(3)]
        up, down = (changes(planted, [path.at(t)], space="w+") for t in (1.0, -1.0))
        assert up[:, i].min() > 0
        assert down[:, i].max() < 0
        assert up[:, i].mean() > 0.4  # standard deviations of the score, for one of the codes
        assert leak(up, name) < 0.15


def test_the_published_number_is_how_much_of_the_new_style_is_taken(planted):
    paths = GuidedStyle(n=50, hidden="8", steps=3, batch=4).discover(planted, supervision=Smooth())
    w = planted.lift(planted.sample(4, seed=7), "w+")
    for path in paths:
        whole, half = (path.at(t, unit="published").latents(w, planted).values - w.values for t in (1.0, 0.5))
        assert torch.allclose(whole[:, path.row], path.net(w.values[:, path.row]), atol=1e-6)
        assert torch.allclose(half, whole / 2, atol=1e-6)


def test_entropy_is_least_where_one_row_has_all_attention():
    net = Manipulation(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), 3, (8,))
    third = torch.tensor([1 / 3, 2 / 3])
    assert float(net.entropy().detach()) == pytest.approx(-3 * float((third * third.log()).sum()), rel=1e-5)
    assert net.attention().tolist() == pytest.approx([1 / 3] * 3)
    net.a.data = torch.tensor([0.0, 40.0, 0.0])  # float32 rounds the others to nothing, yet gradients are numbers
    entropy = net.entropy()
    entropy.backward()
    assert float(entropy.detach()) < 1e-4
    assert torch.isfinite(net.a.grad).all()
    assert net.strongest()[0] == 1


def test_it_needs_w_plus(planted):
    codes = TinyStyle()
    paths = GuidedStyle(n=30, steps=1, batch=2).discover(codes, supervision=score("statistics"), progress=Listening())
    with pytest.raises(SettingError, match="t has 3 values for 2 samples"):
        paths[0].at(torch.ones(3)).latents(codes.lift(codes.sample(2), "w+"), codes)
    with pytest.raises(SpaceError, match="the path was made for 'w\\+' codes of shape"):
        paths[0].at(1.0).latents(planted.lift(planted.sample(2), "w+"), planted)
