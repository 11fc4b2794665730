"""What fold, executors, derivatives and lent weights owe each other, on nets of every shape that a family's chain can have.

tests/contracts asks the like of every generator, on one net of each. Here are the forms of convolution, clamps, classes, single colors.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import SHAPES, close, net
from steerable import artifact
from steerable.edit import Masked, OnLayers, SetInput
from steerable.errors import SettingError, SpaceError
from steerable.path import Direction
from steerable.render import render
from steerable.renderer import Renderer
from steerable.space import Latents

GROWN = ("progan", "stylegan1", "stylegan2", "stylegan3")
STYLED = [("stylegan1", "odd"), ("stylegan2", "skip"), ("stylegan3", "t")]


def kinds(*families):
    return [(family, kind) for family in families for kind in SHAPES[family][1]]


@pytest.fixture(params=kinds(*GROWN), ids="-".join)
def g(request):
    return net(*request.param)


@pytest.fixture(params=STYLED, ids="-".join)
def styled(request):
    return net(*request.param, double=True)


# -- the fold -------------------------------------------------------------------------------------------------------------------------


def test_a_row_of_a_batch_is_the_picture_alone(g):
    z = g.sample(3, seed=4)
    together = g.synthesize(z)
    for k in range(3):
        close(together[k : k + 1], g.synthesize(z[k]), 1e-4)


def test_states_stay_as_they_were_and_are_what_layers_say(g):
    z = g.sample(2, seed=4)
    seen = [(layer, state, copy.deepcopy(state)) for layer, state in g.states(z, grad=False)]
    g.synthesize(z)
    for layer, state, before in seen:
        assert torch.equal(state.x, before.x)
        assert state.rgb is before.rgb is None or torch.equal(state.rgb, before.rgb)
        assert (layer.channels, *layer.size) == tuple(state.x.shape[1:])
    last = seen[-1][1]
    assert (last.rgb is None) == g.name.startswith("stylegan3")
    assert tuple((last.x if last.rgb is None else last.rgb).shape[2:]) == g.size
    assert artifact.fingerprint(g.net.state_dict()) == g.fingerprint  # no weight was written to


@pytest.mark.parametrize(("family", "error"), [("progan", 1.0), ("stylegan1", 1.5)])
def test_previews_are_about_the_means_of_the_picture(family, error):
    g = net(family, "odd", double=True)
    last = g.lift(g.sample(2), g.spaces[-1].name)
    picture, state = g.synthesize(last), g.start(last)
    for i in range(len(g.layers)):
        preview = g.coarse(i, state, last)
        if i == 0:
            assert preview is None
        else:
            small = F.adaptive_avg_pool2d(picture, state.x.shape[-1])
            assert preview.shape == small.shape
            exact = state.x.shape[-1] == picture.shape[-1]
            assert (preview - small).square().mean().sqrt() / small.std() < (1e-9 if exact else error)
        state = g.layer(i, state, last, grad=False)
    assert Renderer(g)(last, size=8).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("family", "kind", "seed", "error"),
    [
        ("progan", "large", 0, 0.05),
        ("stylegan1", "large", 0, 0.05),
        ("stylegan2", "large", 3, 0.03),
        ("stylegan3", "wide", 0, 0.05),
    ],
)
def test_half_precision_is_close(family, kind, seed, error):
    g = net(family, kind, seed)
    z = g.sample(2, seed=1)
    quick, exact = g.half().synthesize(z), g.synthesize(z)
    assert quick.dtype == torch.float32
    assert 1e-5 < float((quick - exact).square().mean().sqrt() / exact.std()) < error


def test_the_twin_for_previews_of_a_net_in_double_precision(styled):
    z = styled.sample(2, seed=1)
    quick, exact = styled.half().synthesize(z), styled.synthesize(z)
    assert 1e-5 < float((quick - exact).square().mean().sqrt() / exact.std()) < 0.2


# -- derivatives ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
@pytest.mark.parametrize(
    ("family", "kind", "error"),
    [
        ("stylegan1", "odd", 1e-6),
        *(("stylegan2", kind, 1e-6) for kind in ("skip", "resnet", "classes")),
        *(("stylegan3", kind, 1e-5) for kind in ("t", "classes-radial-3x3")),
    ],
)
def test_derivatives_are_those_of_finite_differences(family, kind, space, error):
    g = net(family, kind, double=True)
    here = g.lift(g.sample(1, seed=2), space)
    source = torch.Generator().manual_seed(0)
    code, v = here.values, torch.randn(here.values.shape, generator=source, dtype=torch.float64)
    picture = lambda c: g.synthesize(here.at(c))
    image, tangent = torch.func.jvp(picture, (code,), (v,))
    close(tangent, (picture(code + 1e-6 * v) - picture(code - 1e-6 * v)) / 2e-6, error)
    cotangent = torch.randn(image.shape, generator=source, dtype=torch.float64)
    leaf = code.clone().requires_grad_()
    (picture(leaf) * cotangent).sum().backward()
    assert float((leaf.grad * v).sum()) == pytest.approx(float((tangent * cotangent).sum()), rel=1e-9)
    assert torch.allclose(torch.func.vjp(picture, code)[1](cotangent)[0], leaf.grad, rtol=1e-9, atol=1e-12)
    one = lambda v: torch.func.jvp(picture, (code,), (v,))[1]
    vs = torch.stack([v, v.roll(1)])
    close(torch.vmap(one)(vs), torch.stack([one(v) for v in vs]), 1e-9)


@pytest.mark.parametrize(
    ("family", "kind", "double", "error"),
    [
        *(("stylegan2", kind, True, 1e-12) for kind in ("skip", "resnet", "large")),
        *(("stylegan3", kind, False, 1e-4) for kind in ("t", "wide")),
    ],
)
def test_many_tangents_at_once(family, kind, double, error):
    g = net(family, kind, double=double)
    w = g.lift(g.sample(1, seed=2), "w")
    one = lambda v: torch.func.jvp(lambda c: g.synthesize(w.at(c)), (w.values,), (v,))[1]
    vs = torch.randn(3, *w.values.shape, generator=torch.Generator().manual_seed(0), dtype=w.values.dtype)
    close(torch.vmap(one)(vs), torch.stack([one(v) for v in vs]), error)


# -- edits, the renderer --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "kind"), kinds("stylegan1", "stylegan3"))
def test_a_cached_prefix_changes_nothing(family, kind):
    g = net(family, kind)
    r, z = Renderer(g), g.lift(g.sample(1, seed=1), "w+")
    for row in reversed(range(z.space.shape[0])):
        values = z.values.clone()
        values[:, row] += 0.7
        assert torch.equal(r(z.at(values)), g.synthesize(z.at(values)))


@pytest.mark.parametrize(
    ("family", "kind", "some", "every", "error"),
    [("stylegan1", "odd", "8px", "all,torgb", 1e-12), ("stylegan3", "t", "L2,L3", "all", 1e-9)],
)
def test_layers_and_masks(family, kind, some, every, error):
    g = net(family, kind, double=True)
    z, w = g.sample(1), g.space("w")
    move = Direction(name="d", vector=torch.full(w.shape, w.shape[0] ** -0.5), space=w, unit=1.0).at(1.0)
    late = g.lift(OnLayers(move, "5").latents(g.lift(z, "w"), g), "w+")
    assert torch.equal(late.values[:, :5], g.lift(z, "w+").values[:, :5])
    mask = torch.zeros(1, 1, *g.size, dtype=torch.float64)
    assert torch.equal(render(g, z, [Masked(move, mask, some)]), render(g, z))
    close(render(g, z, [Masked(move, mask + 1, every)]), render(g, z, [move]), error)


def test_truncation_pulls_to_the_stored_mean(styled):
    z = styled.sample(2)
    assert torch.equal(styled.truncate(z, 0.0).values, styled.net.w_avg.expand(2, -1))
    cut = styled.truncate(z, 0.0, cutoff=2)
    assert torch.equal(cut.values[:, 2:], styled.lift(z, "w+").values[:, 2:])
    assert torch.equal(cut.values[:, :2], styled.net.w_avg.expand(2, 2, -1))


def test_affines_are_the_maps_into_styles(styled):
    w = styled.lift(styled.sample(1), "w")
    through = torch.func.jacrev(lambda v: styled.lift(w.at(v), "s").values)(w.values)[0, :, 0]
    maps = styled.affines("w+")
    layers = styled.layers[:-1] if styled.name.startswith("stylegan1") else styled.layers  # its torgb has no style
    assert list(maps) == [layer.name for layer in layers]
    assert torch.allclose(torch.cat(list(maps.values())), through)
    for space in ("z", "s"):
        with pytest.raises(SpaceError, match=f"has affine maps out of 'w' and 'w\\+', not out of '{space}'"):
            styled.affines(space)


@pytest.mark.parametrize(("family", "kind"), [("progan", "odd"), *kinds("resnetgan")])
def test_without_styles_there_is_only_z(family, kind):
    g = net(family, kind)
    with pytest.raises(SpaceError, match="has no space 'w'"):
        g.lift(g.sample(1), "w")
    with pytest.raises(SpaceError, match="has only the space 'z', not 'w'"):
        g.affines("w")


@pytest.mark.parametrize(
    ("family", "kind", "when"),
    [
        ("progan", "classes-gray", ""),
        ("stylegan1", "classes-gray", " to go from z to w"),
        ("stylegan2", "classes", " to go from z to w"),
        ("stylegan3", "classes-radial-3x3", " to go from z to w"),
    ],
)
def test_classes(family, kind, when):
    g = net(family, kind, seed=0)
    z = g.sample(1, seed=1)
    one, other = (render(g, z, [SetInput("label", torch.eye(3)[k : k + 1])]) for k in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one[:, 0], one[:, 2]) == (g.net.config.colors == 1)
    with pytest.raises(SettingError, match=rf"needs an input 'label' \[n 3\]{when}"):
        g.synthesize(Latents(z.values, z.space))


# -- weights --------------------------------------------------------------------------------------------------------------------------

LENT = {
    ("progan", "large"): ("b4.dense.weight", "b16.conv0.weight", "b16.conv1.weight", "torgb.bias"),
    ("stylegan1", "large"): ("b4.const.const", "b16.conv0.conv.weight", "b16.conv1.conv.weight", "b8.conv1.noise"),
    ("stylegan2", "large"): ("b8.conv0.weight", "b16.conv1.weight", "b64.torgb.weight", "const", "b16.conv1.noise"),
    ("stylegan3", "wide"): ("input.weight", "input.phases", "L1.weight", "L1.magnitude", "torgb.weight"),
}


@pytest.mark.parametrize(
    ("family", "kind", "name"), [(*which, name) for which, names in LENT.items() for name in names]
)
def test_lent_weights(family, kind, name):
    g = net(family, kind)
    z = g.sample(1, seed=2)
    before = g.synthesize(z)
    other = g.net.state_dict()[name] * 1.5 + 0.1
    whole = type(g)("whole", copy.deepcopy(g.net))
    whole.net.load_state_dict({**g.net.state_dict(), name: other})
    close(g.lent({name: other}).synthesize(z), whole.synthesize(z), 1e-6)
    leaf = other.clone().requires_grad_()
    trained = g.lent({name: leaf})
    image = trained.synthesize(z)
    close(image.detach(), whole.synthesize(z), 1e-4)
    image.square().mean().backward()
    assert float(leaf.grad.abs().max()) > 0
    with torch.no_grad():
        leaf.mul_(0.5)  # a step of training: what is shown next must follow
        close(trained.synthesize(z), g.lent({name: other * 0.5}).synthesize(z), 1e-4)
    assert torch.equal(g.synthesize(z), before)
