"""images = render(generator, latents, edits): what holds for every generator and every edit."""

from dataclasses import dataclass

import pytest
import torch

from steerable.edit import (
    FeatureEdit,
    ImageEdit,
    Inversion,
    Masked,
    Noise,
    SetInput,
    Truncate,
    WeightEdit,
    expect_edits,
)
from steerable.errors import SettingError, SpaceError
from steerable.layer import State
from steerable.path import Direction, between, mix
from steerable.render import render
from steerable.space import Latents, Space


@dataclass(frozen=True)
class Brighter(ImageEdit):
    amount: float

    def image(self, edited, plain):
        return edited + self.amount


@dataclass(frozen=True)
class KeepPlain(ImageEdit):
    def image(self, edited, plain):
        return plain


@dataclass(frozen=True)
class Damp(FeatureEdit):
    layers: str
    factor: float

    def features(self, state, latents, again):
        return State(state.x * self.factor, state.rgb), latents


@dataclass(frozen=True)
class Again(FeatureEdit):
    """Run the layer again on its own input with the same codes: nothing may change."""

    layers: str

    def features(self, state, latents, again):
        return again(latents), latents


@dataclass(frozen=True)
class Scale(WeightEdit):
    name: str
    factor: float

    def weights(self, weights):
        return {self.name: weights[self.name] * self.factor + (self.factor - 1) * 0.2}


def direction(g, space="z", seed=0):
    where = g.space(space)
    vector = torch.randn(where.shape, generator=torch.Generator().manual_seed(seed))
    return Direction.along("d", vector, where, g)


def weight(g):
    return next(name for name, p in g.net.named_parameters() if p.ndim == 4 and p.shape[-1] == 3)


def test_a_picture_does_not_depend_on_its_neighbors(tiny):
    z = tiny.sample(3, seed=5)
    together = render(tiny, z)
    assert together.shape == (3, 3, 16, 16)
    for i in range(3):
        torch.testing.assert_close(render(tiny, z[i]), together[i : i + 1], rtol=1e-5, atol=1e-6)


def test_seeds_are_those_of_numpy_random_state(style):
    import numpy as np

    expected = np.random.RandomState(85).randn(1, 16)
    torch.testing.assert_close(style.sample(1, seed=85).values, torch.from_numpy(expected).float())
    torch.testing.assert_close(style.sample(3, seed=83).values[2:], style.sample(seeds=[85]).values)


def test_every_kind_at_nothing_changes_nothing(tiny):
    z = tiny.sample(2)
    x = render(tiny, z)
    edits = [direction(tiny).at(0), Damp("all", 1.0), Scale(weight(tiny), 1.0), Brighter(0.0), Again("all")]
    for edit in edits:
        assert torch.equal(render(tiny, z, [edit]), x), edit
    assert torch.equal(render(tiny, z, edits), x)


def test_edits_compose_and_leave_the_generator_alone(tiny):
    z = tiny.sample(2)
    before = {k: v.clone() for k, v in tiny.net.state_dict().items()}
    x = render(tiny, z)
    edits = [direction(tiny).at(1.5), Damp("all", 0.9), Scale(weight(tiny), 1.2), Brighter(0.1)]
    for edit in edits:
        assert (render(tiny, z, [edit]) - x).abs().max() > 1e-3, edit
    y = render(tiny, z, edits)
    torch.testing.assert_close(render(tiny, z, edits[:-1]) + 0.1, y)
    assert torch.equal(render(tiny, z, edits[::-1][1:][::-1]) + 0.1, y)
    assert torch.equal(render(tiny, z), x)
    assert all(torch.equal(v, before[k]) for k, v in tiny.net.state_dict().items())


def test_plain_is_the_picture_of_the_base(style):
    z = style.sample(1)
    inversion = Inversion(z, (Scale(weight(style), 1.3), Brighter(0.2)))
    x = render(style, inversion)
    assert (x - render(style, z)).abs().max() > 0.1
    assert torch.equal(render(style, inversion, [direction(style).at(2), KeepPlain()]), x)


def test_a_w_direction_means_the_same_on_w_wplus_and_s_codes(style):
    z = style.sample(2)
    d = direction(style, "w")
    for layers in (None, "1", "0,2", "16px"):
        expected = render(style, z, [d.at(1.5, layers=layers)])
        for space in ("w", "w+", "s"):
            got = render(style, style.lift(z, space), [d.at(1.5, layers=layers)])
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_a_move_in_z_is_refused_on_w_codes(style):
    w = style.lift(style.sample(1), "w")
    with pytest.raises(SpaceError, match="a straight move in 'z' is curved in 'w'.*apply it to 'z' codes"):
        render(style, w, [direction(style, "z").at(1)])
    with pytest.raises(
        SpaceError,
        match="cannot take 'w' codes back to 'z': the chain runs z -> w -> w\\+ -> s; invert into 'z' instead",
    ):
        style.lift(w, "z")


def test_codes_of_another_generator_are_refused(style):
    with pytest.raises(SpaceError, match=r"tiny-style has 'z' codes of shape \(16,\); these have \(5,\)"):
        render(style, Latents(torch.zeros(1, 5), Space("z", (5,))))
    with pytest.raises(SpaceError, match="tiny-style has no space 'p'; it has 'z', 'w', 'w\\+', 's'"):
        style.space("p")


def test_truncation_is_the_same_in_every_space_and_obeys_the_cutoff(style):
    z = style.sample(2)
    for cutoff in (None, 1, 2):
        expected = render(style, z, [Truncate(0.5, cutoff)])
        for space in ("w", "w+", "s"):
            torch.testing.assert_close(
                render(style, style.lift(z, space), [Truncate(0.5, cutoff)]), expected, rtol=1e-4, atol=1e-5
            )
    torch.testing.assert_close(render(style, z, [Truncate(1.0)]), render(style, z), rtol=1e-4, atol=1e-5)
    mean = render(style, z, [Truncate(0.0)])
    torch.testing.assert_close(mean[0], mean[1])
    torch.testing.assert_close(render(style, z, [Truncate(0.3, 0)]), render(style, z))


def test_truncation_without_a_w_says_so(plain):
    with pytest.raises(SettingError, match="tiny-plain has no space 'w' to truncate in"):
        render(plain, plain.sample(1), [Truncate(0.7)])


@pytest.mark.parametrize("layers", [None, "all", "16px"])
def test_an_empty_mask_changes_nothing_and_a_full_one_everything(tiny, layers):
    z = tiny.sample(2)
    x = render(tiny, z)
    for edit in (direction(tiny).at(2.0), Scale(weight(tiny), 1.5), Damp("all", 0.5)):
        empty, full = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
        assert torch.equal(render(tiny, z, [Masked(edit, empty, layers)]), x)
        if layers != "16px":
            assert torch.equal(render(tiny, z, [Masked(edit, full, layers)]), render(tiny, z, [edit]))


@pytest.mark.parametrize("layers", [None, "16px"])
def test_a_mask_holds_an_edit_to_its_region(style, layers):
    z, d = style.sample(1), direction(style, "w")
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :6] = 1
    change = (render(style, z, [Masked(d.at(3.0), mask, layers)]) - render(style, z)).abs().mean((0, 1, 2))
    assert change[:5].mean() > 0.01
    # Features at 16 px reach one pixel past the mask, no farther.
    assert change[8:].max() == 0


def test_masks_in_an_inversion(style):
    z, d = style.sample(1), direction(style, "w")
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    base = Inversion(z, (Masked(d.at(2.0), mask), Masked(Brighter(0.3), 1 - mask)))
    x = render(style, base)
    assert torch.equal(x[..., :8], render(style, z, [d.at(2.0)])[..., :8])
    torch.testing.assert_close(x[..., 8:], render(style, z)[..., 8:] + 0.3)


def test_a_mask_with_other_values_is_refused():
    with pytest.raises(SettingError, match=r"a mask has values from 0 \(keep\) to 1 \(edit\)"):
        Masked(Brighter(1.0), torch.full((1, 1, 4, 4), 2.0))


def test_inputs(style):
    z = style.sample(2)
    zero = render(style, z, [Noise("none")])
    for layer in style.layers:
        for name in layer.reads:
            z2 = [SetInput(name, torch.zeros(1, *style.inputs[name])) for layer in style.layers for name in layer.reads]
    assert torch.equal(render(style, z, z2), zero)
    assert torch.equal(render(style, z, [Noise("random", 1)]), render(style, z, [Noise("random", 1)]))
    assert not torch.equal(render(style, z, [Noise("random", 1)]), render(style, z, [Noise("random", 2)]))
    assert torch.equal(render(style, z, [Noise("const")]), render(style, z))
    with pytest.raises(SettingError, match="tiny-style takes no input 'label'"):
        render(style, z, [SetInput("label", torch.zeros(1, 3))])


def test_a_label_changes_the_picture_and_is_drawn_from_the_seed():
    from steerable.generators.tiny import TinyPlain

    g = TinyPlain(classes=3)
    z = g.sample(4, seed=1)
    assert torch.equal(z.inputs["label"], g.sample(4, seed=1).inputs["label"])
    pictures = [render(g, z, [SetInput("label", torch.eye(3)[i : i + 1])]) for i in range(3)]
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3
    with pytest.raises(SettingError, match=r"input 'label' has the shape"):
        g.sample(1, inputs={"label": torch.zeros(1, 4)})


def test_something_else_as_an_edit_is_refused(style):
    with pytest.raises(
        SettingError, match=r"an edit was expected, such as path.at\(2\) or Truncate\(0.7\); got Direction"
    ):
        expect_edits([direction(style)])


def test_mix_takes_rows_and_between_goes_the_whole_way(style):
    a, b = style.sample(1, seed=1), style.sample(1, seed=2)
    both = mix(style, a, b, "0-2")
    torch.testing.assert_close(render(style, both), render(style, b))
    one = mix(style, a, b, "4px")
    assert torch.equal(one.values[:, 0], style.lift(b, "w+").values[:, 0])
    assert torch.equal(one.values[:, 1:], style.lift(a, "w+").values[:, 1:])
    way = between(style.lift(a, "w"), style.lift(b, "w"))
    torch.testing.assert_close(render(style, style.lift(a, "w"), [way.at(1.0)]), render(style, b), rtol=1e-4, atol=1e-5)
    assert torch.equal(render(style, style.lift(a, "w"), [way.at(0)]), render(style, a))


def test_gradients_reach_codes_edits_and_lent_weights(tiny):
    z = tiny.sample(1)
    v = z.values.clone().requires_grad_()
    render(tiny, z.at(v)).square().sum().backward()
    assert v.grad is not None
    assert v.grad.abs().max() > 0
    name = weight(tiny)
    w = dict(tiny.net.named_parameters())[name].detach().clone().requires_grad_()
    lent = tiny.lent({name: w})
    lent.synthesize(z).square().sum().backward()
    assert w.grad is not None
    assert w.grad.abs().max() > 0
    assert not dict(tiny.net.named_parameters())[name].requires_grad
    t = torch.tensor([1.0], requires_grad=True)
    render(tiny, z, [direction(tiny).at(t)]).sum().backward()
    assert t.grad is not None
    assert t.grad.abs() > 0


def test_the_two_executors_agree(tiny):
    g = tiny.to(dtype=torch.float64)
    z = g.sample(2)
    torch.testing.assert_close(g.synthesize(z, grad=True), g.synthesize(z, grad=False), rtol=1e-9, atol=1e-9)


def test_forward_derivatives_match_reverse_ones(tiny):
    g = tiny.to(dtype=torch.float64)
    z = g.sample(1)
    f = lambda v: g.synthesize(z.at(v))
    tangent = torch.randn(z.values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, jvp = torch.func.jvp(f, (z.values,), (tangent,))
    _, pull = torch.func.vjp(f, z.values)
    cotangent = torch.randn(jvp.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close((jvp * cotangent).sum(), (pull(cotangent)[0] * tangent).sum())


def test_a_weight_of_the_wrong_name_or_shape_is_refused(tiny):
    with pytest.raises(SettingError, match="has no weight 'nothing'"):
        tiny.lent({"nothing": torch.zeros(1)})
    with pytest.raises(SettingError, match="has the shape"):
        tiny.lent({weight(tiny): torch.zeros(1)})
