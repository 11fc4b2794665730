"""What every family keeps to, on a tiny net of each: the chain, the fold, both executors, derivatives, lent weights, the prefix cache, and
that the discoverers of the core find paths on it."""

import copy

import pytest
import torch
from families import MAKERS, family

from steerable import artifact
from steerable.discover import DISCOVERERS
from steerable.edit import FeatureEdit, Masked, OnLayers, SetInput, Truncate
from steerable.generator import Generator
from steerable.path import Direction
from steerable.record import tree_equal
from steerable.render import codes, render
from steerable.renderer import Renderer
from steerable.score import score

CORE = {
    "sefa": {"k": 3},
    "ganspace": {"n": 1024, "k": 3},
    "boundary": {"n": 40},
    "interfacegan": {"n": 40, "chosen": 10},
    "random": {"k": 3},
}


@pytest.fixture(params=MAKERS)
def g(request):
    """Each family in turn, in float64."""
    return family(request.param, double=True)


def close(a, b, relative=1e-9):
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= relative * float(b.abs().max())


def direction(g, space, seed=0):
    vector = torch.randn(g.space(space).shape, generator=torch.Generator().manual_seed(seed))
    return Direction(name="d", vector=vector / vector.norm(), space=g.space(space), unit=1.0)


def settings(g):
    """Inputs that differ from the usual, of those that layers read."""
    source, found = torch.Generator().manual_seed(7), []
    for name, shape in g.inputs.items():
        if name == "truncation":
            found.append(SetInput(name, torch.tensor([0.3], dtype=g.dtype)))
        elif name == "label":
            found.append(SetInput(name, torch.eye(shape[0], dtype=g.dtype)[:1]))
        elif name.startswith("noise"):
            found.append(SetInput(name, torch.randn(1, *shape, generator=source, dtype=g.dtype)))
    return found


# -- samples and spaces ---------------------------------------------------------------------------------------------------------------


def test_a_row_belongs_to_its_seed_and_not_to_its_neighbors(g):
    z = g.sample(3, seed=84)
    assert torch.equal(z[1].values, g.sample(1, seed=85).values)
    assert all(torch.equal(z[1].inputs[k], v) for k, v in g.sample(1, seed=85).inputs.items())
    together = render(g, z)
    assert together.shape == (3, 3, *g.size)
    for i in range(3):
        close(render(g, z[i]), together[i : i + 1])
    assert float((together[0] - together[1]).abs().max()) > 1e-3


def test_the_last_space_is_flat_and_layers_share_it_out(g):
    columns = [c for layer in g.layers for c in range(layer.style.start, layer.style.stop)]
    assert len(g.spaces[-1].shape) == 1
    assert sorted(columns) == list(range(g.spaces[-1].shape[0]))
    assert {i for layer in g.layers for i in layer.reads} <= set(g.inputs)
    has_rows = any(s.name == "w+" for s in g.spaces)
    rows = {layer.row for layer in g.layers} - {None}
    assert rows == (set(range(g.space("w+").shape[0])) if has_rows else set())
    assert len({layer.name for layer in g.layers}) == len(g.layers)


def test_straight_steps_carry_moves(g):
    z = g.sample(2, seed=5)
    for here, there in zip(g.spaces, g.spaces[1:], strict=False):
        if there.affine:
            code, d = g.lift(z, here.name), direction(g, here.name).vector.double().expand(2, *here.shape)
            moved = g.lift(code.moved(d), there.name).values - g.lift(code, there.name).values
            close(g.carry(d, here.name, there.name, z.inputs), moved, 1e-8)


def test_samples_have_the_moments_of_their_first_space(g):
    many = torch.cat([z.values for _, z in g.blocks(20_000, seed=3)])
    d = direction(g, g.spaces[0].name).vector
    assert float((many @ d.double()).std()) == pytest.approx(g.spread(d, g.spaces[0].name), rel=0.03)


def test_affines_are_read_off_the_layers_they_name(g):
    space = g.spaces[-3].name if g.spaces[-1].name == "s" else g.spaces[-1].name
    maps = g.affines(space)
    assert maps.keys() <= {layer.name for layer in g.layers}
    assert len(maps) > 0
    width = g.space(space).shape[-1]
    for name, matrix in maps.items():
        assert matrix.shape[1] == width
        assert float(matrix.abs().max()) > 0, name


# -- the fold -------------------------------------------------------------------------------------------------------------------------


def test_executors_agree_and_states_are_what_layers_say(g):
    z = codes(g, g.sample(2, seed=1), settings(g))
    close(g.synthesize(z, grad=False), g.synthesize(z, grad=True))
    seen = [(layer, state, copy.deepcopy(state)) for layer, state in g.states(z, grad=False)]
    for layer, state, before in seen:
        assert torch.equal(state.x, before.x)
        assert (layer.channels, *layer.size) == tuple(state.x.shape[1:])
    last = g.lift(z, g.spaces[-1].name)
    close(g.finish(seen[-1][1], last), g.synthesize(z))


def test_a_style_acts_in_its_layer_and_not_before(g):
    last = g.lift(g.sample(1, seed=2), g.spaces[-1].name)
    plain = [state for _, state in g.states(last, grad=False)]
    for k, layer in enumerate(g.layers):
        if layer.style.stop == layer.style.start:
            continue
        values = last.values.clone()
        values[:, layer.style] += 0.5
        moved = [state for _, state in g.states(last.at(values), grad=False)]
        for a, b in zip(plain[:k], moved[:k], strict=True):
            assert torch.equal(a.x, b.x)
        other = moved[k].rgb if layer.head and moved[k].rgb is not None else moved[k].x
        assert not torch.equal(other, plain[k].rgb if layer.head and plain[k].rgb is not None else plain[k].x), (
            layer.name
        )


def test_an_input_acts_in_the_layers_that_read_it(g):
    z = g.lift(g.sample(1, seed=2), g.spaces[-1].name)
    for e in settings(g):
        readers = [i for i, layer in enumerate(g.layers) if e.name in layer.reads]
        if not readers:
            continue
        given = {**z.inputs, e.name: 1 - e.value.to(z.values)}
        other = type(z)(z.values, z.space, given)
        plain, moved = ([s for _, s in g.states(c, grad=False)] for c in (z, other))
        assert torch.equal(plain[readers[0]].x, moved[readers[0]].x) == g.layers[readers[0]].head
        assert all(torch.equal(plain[i].x, moved[i].x) for i in range(readers[0]))
        assert not torch.equal(g.synthesize(z), g.synthesize(other))


def test_at_zero_nothing_happens_and_at_two_something_does(g):
    z = g.sample(2, seed=3)
    for space in g.spaces:
        path, base = direction(g, space.name), g.lift(z, space.name)
        assert torch.equal(render(g, base, [path.at(0)]), render(g, base))
        assert not torch.equal(render(g, base, [path.at(2)]), render(g, base))


@pytest.mark.parametrize(
    "name", [name for name in MAKERS if name.startswith(("tiny-style", "stylegan", "biggan", "wrapped-rows"))]
)
def test_rows_move_by_themselves_and_truncation_is_nothing_at_one(name):
    g = family(name, double=True)
    z = g.lift(g.sample(1, seed=3), g.spaces[-4].name if len(g.spaces) > 3 else "z")
    last = g.space("w+").shape[0] - 1
    moved = g.lift(OnLayers(direction(g, z.space.name).at(1.0), f"{last}").latents(z, g), "w+").values
    plain = g.lift(z, "w+").values
    assert torch.equal(moved[:, :last], plain[:, :last])
    assert not torch.equal(moved[:, last], plain[:, last])
    close(render(g, z, [Truncate(1.0)]), render(g, z), 1e-8)
    assert not torch.equal(render(g, z, [Truncate(0.5)]), render(g, z))


def test_an_empty_mask_changes_nothing_and_again_is_the_layer(g):
    class Again(FeatureEdit):
        layers = "all"

        def features(self, state, latents, again):
            return again(latents), latents

    z, move = g.sample(1, seed=4), direction(g, g.spaces[0].name).at(1.0)
    nowhere = torch.zeros(1, 1, *g.size, dtype=torch.float64)
    plain = render(g, z, grad=False)
    close(render(g, z, [Again()]), plain)
    everywhere = ",".join(layer.name for layer in g.layers)
    close(render(g, z, [Masked(move, nowhere, everywhere)]), plain)
    close(render(g, z, [Masked(move, nowhere + 1, everywhere)]), render(g, z, [move]))


@pytest.mark.parametrize("size", [None, 8])
def test_the_renderer_gives_what_render_gives(g, size):
    z, renderer = g.sample(1, seed=6), Renderer(g)
    d, nowhere = direction(g, g.spaces[0].name), torch.zeros(1, 1, *g.size, dtype=torch.float64)
    late = SetInput(*(lambda e: (e.name, e.value))(settings(g)[-1])) if settings(g) else d.at(-0.5)
    for edits in ([], [d.at(1.0)], [late], [Masked(d.at(1.0), nowhere, f"{g.size[0]}px")], []):
        images = renderer(z, edits, size=size)
        if size is None:
            close(images, render(g, z, edits, grad=False))
        else:
            assert images.shape == (1, 3, size, size)


# -- derivatives and weights ----------------------------------------------------------------------------------------------------------


def test_forward_derivatives_are_those_of_differences_and_the_reverse_of_reverse_ones(g):
    source = torch.Generator().manual_seed(0)
    for space in dict.fromkeys((g.spaces[0].name, g.spaces[-1].name)):
        here = g.lift(g.sample(1, seed=2), space)
        code, v = here.values, torch.randn(here.values.shape, generator=source, dtype=torch.float64)
        picture = lambda c, here=here: g.synthesize(here.at(c))
        image, tangent = torch.func.jvp(picture, (code,), (v,))
        steps = (picture(code + 1e-6 * v) - picture(code - 1e-6 * v)) / 2e-6
        assert float((tangent - steps).norm()) < 1e-3 * float(steps.norm())  # a step may cross a kink
        cotangent = torch.randn(image.shape, generator=source, dtype=torch.float64)
        pulled = torch.func.vjp(picture, code)[1](cotangent)[0]
        assert float((pulled * v).sum()) == pytest.approx(float((tangent * cotangent).sum()), rel=1e-8)
        one = lambda v, code=code, picture=picture: torch.func.jvp(picture, (code,), (v,))[1]
        vs = torch.stack([v, v.roll(1, -1)])
        close(torch.vmap(one)(vs), torch.stack([one(v) for v in vs]))


def test_lent_weights_are_used_and_the_lender_is_left_alone(g):
    z, before = g.sample(1, seed=2), artifact.fingerprint(g.net.state_dict())
    plain = g.synthesize(z)
    names = [k for k, p in g.net.named_parameters() if p.ndim == 4]
    for name in (names[0], names[-1]):
        leaf = (dict(g.net.named_parameters())[name] * 1.5 + 0.1).detach().requires_grad_()
        whole = copy.copy(g)
        whole.net = copy.deepcopy(g.net)
        whole.net.load_state_dict({**whole.net.state_dict(), name: leaf.detach()})
        twin = g.lent({name: leaf})
        close(twin.synthesize(z).detach(), whole.synthesize(z))
        twin.synthesize(z).square().mean().backward()
        assert float(leaf.grad.abs().max()) > 0
    assert torch.equal(g.synthesize(z), plain)
    assert artifact.fingerprint(g.net.state_dict()) == before
    assert not any(p.requires_grad for p in g.net.parameters())


def test_gradients_reach_codes(g):
    z = g.sample(2, seed=3)
    code = z.values.clone().requires_grad_()
    g.synthesize(z.at(code)).square().mean().backward()
    assert float(code.grad.abs().min(1).values.max()) > 0


def test_a_twin_of_another_type_and_a_preview_in_half(g):
    single = g.to(dtype=torch.float32)
    z = single.sample(1, seed=1)
    exact = single.synthesize(z)
    assert exact.dtype == torch.float32
    close(exact.double(), g.synthesize(g.sample(1, seed=1)), 1e-4)
    half = single.half().synthesize(z).float()
    assert (float((half - exact).abs().max()) > 0) == (type(g).half is not Generator.half)
    assert float((half - exact).abs().max()) < 0.2 * float(exact.abs().max())


# -- discovery ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CORE)
@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("tiny")])
def test_discoverers_of_the_core_run_on_every_family(name, method):
    g = family(name)
    space = "w" if any(s.name == "w" for s in g.spaces) else "z"
    found = DISCOVERERS[method].with_settings({**CORE[method], "space": space})
    paths = found.discover(g, supervision=score("statistics"))
    assert len(paths) > 0
    z = g.lift(g.sample(1, seed=3), space)
    for path in paths[:2]:
        assert path.unit == pytest.approx(g.spread(path.vector, space), rel=1e-6)
        assert torch.equal(render(g, z, [path.at(0)]), render(g, z))
        assert not torch.equal(render(g, z, [path.at(2)]), render(g, z))
    if method in ("sefa", "random"):
        assert tree_equal(found.discover(g), paths)


def test_a_layer_s_activations_lead_back_to_codes_that_act_in_some_layers():
    """GANSpace as its authors use it on BigGAN: components of a layer, carried to z, moved in a few layers only."""
    g = family("biggan-deep")
    settings = {"space": "z", "layer": "blocks.0", "layers": "1-2", "n": 1500, "k": 2}
    path = DISCOVERERS["ganspace"].with_settings(settings).discover(g)[0]
    z = g.sample(1, seed=3)
    rows = g.lift(codes(g, z, [path.at(2)]), "w+").values - g.lift(z, "w+").values
    assert rows[0].abs().amax(1).gt(0).tolist() == [False, True, True, False]
    assert not torch.equal(render(g, z, [path.at(2)]), render(g, z))
