"""StyleGAN2 against the published formulas, written out plainly here; its forms of convolution, the prefix cache, derived tables."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import STYLEGAN2 as CONFIGS
from generators.shapes import close
from steerable.edit import Masked, Noise, OnLayers, SetInput, Truncate
from steerable.errors import SettingError, SpaceError
from steerable.generators.stylegan2 import Config, StyleGAN2, chain, random
from steerable.nn import allocator, stylegan_ops, tabled, winograd
from steerable.path import Direction
from steerable.render import render
from steerable.renderer import Renderer
from steerable.space import Latents


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> StyleGAN2:
    return random(CONFIGS[request.param], seed=3)


@pytest.fixture(scope="module")
def skip() -> StyleGAN2:
    return random(CONFIGS["skip"], seed=3).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def large() -> StyleGAN2:
    return random(CONFIGS["large"], seed=3)


# -- the formulas -------------------------------------------------------------------------------------------------------------------


def plain(g: StyleGAN2, z, label=None, noise="const", psi=1.0, cutoff=None, given=None):
    """The picture of z, step by step as in the papers and for one sample at a time."""
    c, p = g.net.config, {k: v.detach() for k, v in g.net.state_dict().items()}

    def linear(x, name, lr=1.0):
        weight = p[f"{name}.weight"]
        return x @ (weight * lr / math.sqrt(weight.shape[1])).T + p[f"{name}.bias"] * lr

    def normalized(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def act(x):
        return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    def held(x, limit):
        return x if c.clamp is None else x.clamp(-limit, limit)

    def filtered(x, stuff):
        """Zeros between pixels (`stuff`), or none where the transposed convolution put them; then the 4x4 filter."""
        if stuff:
            wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
            wide[:, :, ::2, ::2] = x
            x = F.pad(wide, (2, 1, 2, 1))
        else:
            x = F.pad(x, (1, 1, 1, 1))
        k = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
        k = torch.outer(k, k) / k.sum() ** 2 * 4
        return F.conv2d(x, k.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])

    def modulated(x, weight, s, up, demodulate):
        """Eq. 1 and 3; a weight for each sample, as groups of one convolution."""
        n, (o, i, k, _) = len(x), weight.shape
        w = weight[None] * s[:, None, :, None, None]
        if demodulate:
            w = w / (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        x = x.reshape(1, n * i, *x.shape[2:])
        if up:
            x = F.conv_transpose2d(x, w.transpose(1, 2).reshape(n * i, o, k, k), stride=2, groups=n)
            return filtered(x.view(n, o, *x.shape[2:]), stuff=False)
        return F.conv2d(x, w.reshape(n * o, i, k, k), padding=k // 2, groups=n).view(n, o, *x.shape[2:])

    x = normalized(z)
    if c.c_dim:
        x = torch.cat([x, normalized(linear(label, "mapping.embed"))], 1)
    for layer in range(c.depth):
        x = act(linear(x, f"mapping.layers.{layer}", c.mapping_lr))
    rows = [x if cutoff is not None and r >= cutoff else p["w_avg"] + psi * (x - p["w_avg"]) for r in range(99)]

    x, rgb, row = p["const"].expand(len(z), -1, -1, -1), None, 0
    for b, (h, _) in enumerate(c.sizes):
        before, last = x, b == len(c.sizes) - 1
        for part in ("conv0", "conv1") if b else ("conv1",):
            name = f"b{h}.{part}"
            s = linear(rows[row], f"{name}.affine")
            x = modulated(x, p[f"{name}.weight"], s, part == "conv0", True)
            if c.noise and noise != "none":
                x = x + (p[f"{name}.noise"] if noise == "const" else given[f"noise.{name}"]) * p[f"{name}.strength"]
            x = act(x + p[f"{name}.bias"][:, None, None])
            branch = math.sqrt(0.5) if c.architecture == "resnet" and b and part == "conv1" else 1.0
            x = held(x * branch, (c.clamp or 0) * branch)
            row += 1
        if c.architecture == "resnet" and b:
            skip = p[f"b{h}.skip"] / math.sqrt(before.shape[1])
            x = x + filtered(F.conv2d(before, skip), stuff=True) * math.sqrt(0.5)
        if c.architecture == "skip" or last:
            weight = p[f"b{h}.torgb.weight"]
            s = linear(rows[row], f"b{h}.torgb.affine") / math.sqrt(weight.shape[1])
            y = held(modulated(x, weight, s, False, False) + p[f"b{h}.torgb.bias"][:, None, None], c.clamp)
            rgb = y if rgb is None else filtered(rgb, stuff=True) + y
    return rgb.expand(-1, 3, -1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("n", "noise"), [(1, "const"), (3, "const"), (3, "random"), (1, "none")])
def test_pictures_are_those_of_the_formulas(net, noise, n, dtype):
    g = net.to(dtype=dtype)
    z = g.sample(n, seed=5)
    edits = [Truncate(0.6, None if n == 1 else 2), Noise(noise, seed=9)]
    given = Noise(noise, seed=9).latents(g.lift(z, "s"), g).inputs
    want = plain(g, z.values, z.inputs.get("label"), noise, 0.6, None if n == 1 else 2, given)
    for grad in (False, True):
        close(render(g, z, edits, grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    layers = chain(Config.f())
    assert [layer.channels for layer in layers if layer.head] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert 1 + max(layer.row for layer in layers) == 18
    assert layers[-1].style.stop == 9088
    assert layers[-1].size == (1024, 1024)
    assert [layer.name for layer in layers[:5]] == ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb"]
    assert [layer.row for layer in layers[:6]] == [0, 1, 1, 2, 3, 3]
    assert Config.e().widths[-3:] == (64, 32, 16)
    assert Config.square(256, 16 << 10).widths == (512, 512, 512, 512, 256, 128, 64)
    assert chain(Config.f(16, architecture="resnet"))[1].name == "b8.conv0"


def test_weights_have_the_names_of_layers():
    names = set(random(Config.tiny(widths=(4, 4), c_dim=2)).net.state_dict())
    conv = {f"{part}.{w}" for part in ("b4.conv1", "b8.conv0", "b8.conv1") for w in ("strength", "noise")}
    styled = ("b4.conv1", "b8.conv0", "b8.conv1", "b4.torgb", "b8.torgb")
    both = {f"{part}.{w}" for part in styled for w in ("weight", "bias", "affine.weight", "affine.bias")}
    maps = {f"mapping.{m}.{w}" for m in ("embed", "layers.0", "layers.1") for w in ("weight", "bias")}
    assert names == conv | both | maps | {"const", "w_avg"}


# -- forms of convolution -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
def test_fewer_multiplications_give_the_same(dtype, error):
    x = torch.randn(2, 6, 8, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight = torch.randn(5, 6, 3, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    s = torch.randn(2, 6, generator=torch.Generator().manual_seed(2)).to(dtype)
    want = F.conv2d(x * s[:, :, None, None], weight, padding=1)
    close(winograd.convolved(x, s, winograd.transformed(weight)), want, error)
    wide = torch.randn(1, 6, 64, 64, generator=torch.Generator().manual_seed(0)).to(
        dtype
    )  # products as 1x1 convolutions
    want = F.conv2d(wide * s[:1, :, None, None], weight, padding=1)
    close(winograd.convolved(wide, s[:1], winograd.transformed(weight)), want, error)


def test_fewer_multiplications_have_every_derivative():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 4, 4, generator=source, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 2, 3, 3, generator=source, dtype=torch.float64)
    u, back = winograd.transformed(weight), winograd.turned(weight)
    quick = lambda x: winograd.Convolved.apply(x, u, back)
    slow = lambda x: F.conv2d(x, weight, padding=1)
    assert torch.autograd.gradcheck(quick, x, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: quick(x).square(), x, check_fwd_over_rev=True, fast_mode=True)
    t = torch.randn(5, *x.shape, generator=source, dtype=torch.float64)
    for way in (lambda f: torch.vmap(lambda v: torch.func.jvp(f, (x.detach(),), (v,))[1])(t), torch.func.jacrev):
        a, b = way(quick), way(slow)
        close(a, b, 1e-12) if isinstance(a, torch.Tensor) else close(a(x.detach()), b(x.detach()), 1e-12)


@pytest.mark.parametrize("up", [False, True])
def test_folding_and_scaling_are_the_same(up):
    source = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)
    x, s, weight, bias, noise = draw(2, 3, 4, 5), draw(2, 3), draw(6, 3, 3, 3), draw(6), draw(2, 1, 4 << up, 5 << up)
    d = stylegan_ops.demodulation(s, stylegan_ops.power(weight))
    forms = [stylegan_ops.folded(x, s, weight, d, bias, noise, up)]
    forms += [stylegan_ops.scaled(x, s, weight, d, bias, noise, up, grad) for grad in (False, True)]
    close(forms[0], forms[2], 1e-12)
    assert torch.equal(forms[1], forms[2])


def test_every_form_is_met(large, monkeypatch):
    met = set()
    for name in ("folded", "scaled"):
        inner = getattr(stylegan_ops, name)
        spy = lambda *a, name=name, inner=inner: met.add(name) or inner(*a)
        monkeypatch.setattr(f"steerable.generators.stylegan2.{name}", spy)
    inner = winograd.convolved
    monkeypatch.setattr(winograd, "convolved", lambda *a: met.add("winograd") or inner(*a))
    large.synthesize(large.sample(1))
    assert met == {"folded", "scaled", "winograd"}


# -- executors, derivatives, batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_executors_agree(net, dtype, error):
    g = net.to(dtype=dtype)
    z = g.sample(2, seed=1)
    close(g.synthesize(z, grad=False), g.synthesize(z, grad=True), error)


def test_derivatives_of_every_form_are_those_of_the_formulas(large):
    g = large.to(dtype=torch.float64)
    z = g.sample(1, seed=2)
    v = torch.randn(z.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for f in (
        lambda f: torch.func.jvp(f, (z.values,), (v,)),
        lambda f: [torch.func.grad(lambda c: f(c).square().sum())(z.values)],
    ):
        for ours, theirs in zip(f(lambda c: g.synthesize(z.at(c))), f(lambda c: plain(g, c)), strict=True):
            close(ours, theirs, 1e-9)


def test_noise_maps_have_gradients(skip):
    s = skip.lift(skip.sample(1), "s")
    noise = torch.zeros(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    skip.synthesize(SetInput("noise.b8.conv1", noise).latents(s, skip)).square().sum().backward()
    assert float(noise.grad.abs().max()) > 0


# -- edits, the renderer ------------------------------------------------------------------------------------------------------------


def test_a_cached_prefix_changes_nothing(net):
    r, z = Renderer(net), net.lift(net.sample(1, seed=1), "w+")
    for row in [*range(z.space.shape[0]), 0]:
        values = z.values.clone()
        values[:, row] += 0.7
        close(r(z.at(values)), net.synthesize(z.at(values)), 1e-6)
    s = net.lift(z, "s")
    for layer in net.layers[-4:]:
        values = s.values.clone()
        values[:, layer.style] *= 1.5
        close(r(s.at(values)), net.synthesize(s.at(values)), 1e-6)


def test_the_renderer_sees_other_noise(skip):
    r, z = Renderer(skip), skip.sample(1)
    before = r(z)
    after = r(z, [SetInput("noise.b16.conv1", torch.ones(1, 1, 16, 16, dtype=torch.float64))])
    assert not torch.equal(before, after)
    assert torch.equal(
        after, render(skip, z, [SetInput("noise.b16.conv1", torch.ones(1, 1, 16, 16, dtype=torch.float64))])
    )


def test_each_sample_has_its_own_noise(large):
    z = large.sample(2, seed=1)
    z = z[[0, 0]]
    a, b = render(large, z, [Noise("random", seed=1)])
    assert float((a - b).abs().max()) > 1e-3
    a, b = render(large, z)
    close(a, b, 1e-5)


def test_previews_are_the_image_heads(skip):
    z = skip.sample(1)
    states = {layer.name: state for layer, state in skip.states(z, grad=False)}
    r = Renderer(skip)
    r(z)
    assert torch.equal(r(z, size=8), states["b8.torgb"].rgb)
    s = skip.lift(z, "s")
    for i in range(1, len(skip.layers)):
        before = states[skip.layers[i - 1].name]
        assert skip.coarse(i, before, s).shape == (1, 3, *before.x.shape[2:])
    assert random(CONFIGS["orig"]).coarse(2, before, s) is None


def test_layers_and_masks(skip):
    z = skip.sample(1)
    move = Direction(name="d", vector=torch.full((12,), 12**-0.5), space=skip.space("w"), unit=1.0).at(1.0)
    last = skip.layers[-1].row
    late = render(skip, z, [OnLayers(move, str(last))])
    states = [dict((layer.name, s.x) for layer, s in skip.states(skip.lift(c, "s"))) for c in (z, z)]
    assert torch.equal(states[0]["b16.conv1"], states[1]["b16.conv1"])
    assert not torch.equal(late, render(skip, z))
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    assert torch.equal(render(skip, z, [Masked(move, mask)]), render(skip, z))
    assert torch.equal(render(skip, z, [Masked(move, mask, "8px")]), render(skip, z))
    full = render(skip, z, [Masked(move, mask + 1, "all")])
    close(full, render(skip, z, [move]), 1e-9)


# -- weights ------------------------------------------------------------------------------------------------------------------------


def test_derived_tables_follow_their_weights(large):
    z = large.sample(1, seed=2)
    g = StyleGAN2("own", copy.deepcopy(large.net))
    assert not any(m.tables for m in g.net.modules() if isinstance(m, tabled.Tabled))
    before = g.synthesize(z)
    fresh = lambda: StyleGAN2("fresh", copy.deepcopy(g.net)).synthesize(z)
    conv = g.net.get_submodule("b16.conv1")
    conv.weight.mul_(-1)  # in place
    assert not torch.equal(g.synthesize(z), before)
    assert torch.equal(g.synthesize(z), fresh())
    conv.weight.data = conv.weight.data + 1  # other memory
    assert torch.equal(g.synthesize(z), fresh())
    g.net.half().float()  # another type and back, which rounds
    assert torch.equal(g.synthesize(z), fresh())
    again = {k: v.flip(0) for k, v in g.net.state_dict().items()}
    g.net.load_state_dict(again)
    assert torch.equal(g.synthesize(z), fresh())


def test_weights_made_in_inference_mode_work(skip):
    with torch.inference_mode():
        g = random(CONFIGS["skip"], seed=3).to(dtype=torch.float64)
        z = g.sample(1)
        image = g.synthesize(z)
    close(image, skip.synthesize(skip.sample(1)), 1e-9)


def test_a_seed_is_a_net():
    a, b, c = (random(Config.tiny(), seed) for seed in (1, 1, 2))
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_messages():
    g = random(CONFIGS["classes"])
    with pytest.raises(SettingError, match=r"needs an input 'label' \[n 3\] to go from z to w"):
        g.lift(Latents(torch.zeros(1, 7), g.spaces[0]), "w")
    with pytest.raises(SpaceError, match="has affine maps out of 'w' and 'w\\+', not out of 's'"):
        g.affines("s")
    with pytest.raises(SettingError, match="resolution is a power of two from 4 px up; got 100"):
        Config.f(100)
    with pytest.raises(SettingError, match="architecture is skip, resnet or orig; got 'unet'"):
        Config.tiny(architecture="unet")
    with pytest.raises(SettingError, match="at least one width"):
        Config(widths=())
    with pytest.raises(SettingError, match="a picture has 3 colors or 1; got 4"):
        Config.tiny(colors=4)


def test_the_allocator_is_left_alone_where_it_is_unknown(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert allocator.tune() is False
