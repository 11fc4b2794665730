"""Enjoy your editing and GuidedStyle: several attributes at once; each moves by what was asked, the others stay; layers are chosen."""

import pytest
import torch
from judged import Blind, Smooth, changes, leak

from planted import FACTORS, Listening, Planted, cosine
from steerable.discover import GuidedStyle, Latent2im
from steerable.discover.labeled import gradients_pass
from steerable.discover.locally import Typical
from steerable.discover.nets import sparsemax
from steerable.errors import MethodFailed, SettingError, SpaceError
from steerable.generators.tiny import TinyStyle
from steerable.path import Direction
from steerable.score import Scorer, score

QUICK = {"n": 200, "content": "pixels", "hidden": "32", "steps": 130, "batch": 12, "rate": 1e-2}


@pytest.fixture(scope="module")
def planted():
    return Planted()


def test_each_attribute_moves_by_one_deviation_and_the_others_stay(planted):
    paths = Latent2im(**QUICK).discover(planted, supervision=Smooth())
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
    paths = Latent2im(**(QUICK | {"rate": 3e-2}), kind="global").discover(planted, supervision=Smooth())
    for i, path in enumerate(paths):
        assert isinstance(path, Direction)
        change = changes(planted, [path.at(1.0, unit="published")])
        assert change[:, i].mean() == pytest.approx(1, abs=0.15)
        assert leak(change, path.name) < 0.1
        assert cosine(path.vector, planted.truth(path.name)) > 0.8  # other entries of w change nothing that is scored


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
    told = {"n": 200, "tokens": 8, "steps": 200, "batch": 12, "rate": 1e-2}
    paths = GuidedStyle(**told).discover(planted, supervision=Smooth())
    for i, (name, row) in enumerate(zip(FACTORS, (0, 1, 1, 2), strict=True)):
        attention = paths.notes["attention by row"][name]
        assert attention[row] > 0.9
        assert sum(attention) == pytest.approx(1, abs=1e-3)
        change = changes(planted, [paths[name].at(1.0, unit="published")])
        assert change[:, i].mean() == pytest.approx(1, abs=0.15)
        assert leak(change, name) < 0.05


def test_it_needs_w_plus(planted):
    codes = TinyStyle()
    paths = GuidedStyle(n=30, steps=1, batch=2).discover(codes, supervision=score("statistics"), progress=Listening())
    with pytest.raises(SettingError, match="t has 3 values for 2 samples"):
        paths[0].at(torch.ones(3)).latents(codes.lift(codes.sample(2), "w+"), codes)
    with pytest.raises(SpaceError, match="the path was made for 'w\\+' codes of shape"):
        paths[0].at(1.0).latents(planted.lift(planted.sample(2), "w+"), planted)


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = sparsemax(x)
    assert torch.allclose(p.sum(1), torch.ones(200, dtype=torch.float64))
    assert p.min() >= 0
    assert (p == 0).any()
    others = torch.distributions.Dirichlet(torch.ones(5, dtype=torch.float64)).sample((1000,))
    assert ((p - x).norm(dim=1)[:, None] <= torch.cdist(x, others) + 1e-12).all()
    assert torch.equal(sparsemax(torch.tensor([[3.0, 1.0, 0.0]])), torch.tensor([[1.0, 0.0, 0.0]]))
