"""StyleGAN against the published formulas, written out plainly here; styles and noise."""

import math

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import STYLEGAN1 as CONFIGS
from generators.shapes import close
from steerable.edit import Noise, SetInput, Truncate
from steerable.errors import SettingError
from steerable.generators import stylegan1
from steerable.generators.stylegan1 import Config, StyleGAN1, chain, random
from steerable.render import render
from steerable.renderer import Renderer


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> StyleGAN1:
    return random(CONFIGS[request.param], seed=3)


@pytest.fixture(scope="module")
def odd() -> StyleGAN1:
    return random(CONFIGS["odd"], seed=3).to(dtype=torch.float64)


# -- the formulas -------------------------------------------------------------------------------------------------------------------


def plain(g: StyleGAN1, z, label=None, psi=1.0, cutoff=99, given=None):
    """The picture of z, step by step as in figure 1 and equation 1 of the paper. `given` are noise maps by input name."""
    c, p = g.net.config, {k: v.detach() for k, v in g.net.state_dict().items()}
    act = lambda x: torch.where(x > 0, x, 0.2 * x)
    x = z if label is None else torch.cat([z, label.to(z) @ p["mapping.embed"]], 1)
    x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for i in range(c.depth):
        weight = p[f"mapping.layers.{i}.weight"]
        gain = math.sqrt(2) / math.sqrt(weight.shape[1]) * c.mapping_lr
        x = act(x @ (weight * gain).T + p[f"mapping.layers.{i}.bias"] * c.mapping_lr)
    rows = [p["w_avg"] + psi * (x - p["w_avg"]) if r < cutoff else x for r in range(2 * len(c.widths))]

    def ended(x, name, row):
        noise = p[f"{name}.noise"] if given is None else given[f"noise.{name}"]
        x = act(x + noise * p[f"{name}.strength"][:, None, None] + p[f"{name}.bias"][:, None, None])
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-8).sqrt()
        style = rows[row] @ (p[f"{name}.affine.weight"] / math.sqrt(c.w_dim)).T + p[f"{name}.affine.bias"]
        scale, bias = style.view(len(x), 2, -1, 1, 1).unbind(1)
        return x * (scale + 1) + bias

    def conv(x, name, gain=2**0.5):
        weight = p[f"{name}.weight"]
        return F.conv2d(x, weight * gain / math.sqrt(weight[0].numel()), padding=weight.shape[-1] // 2)

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def blur(x):
        f = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype)
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), (torch.outer(f, f) / 16).expand(x.shape[1], 1, 3, 3), groups=x.shape[1])

    x = ended(p["b4.const.const"].expand(len(z), -1, -1, -1), "b4.const", 0)
    x = ended(conv(x, "b4.conv.conv"), "b4.conv", 1)
    for b in range(1, len(c.widths)):
        name = f"b{4 << b}"
        x = ended(blur(conv(up(x), f"{name}.conv0.conv")), f"{name}.conv0", 2 * b)
        x = ended(conv(x, f"{name}.conv1.conv"), f"{name}.conv1", 2 * b + 1)
    return (conv(x, "torgb", 1.0) + p["torgb.bias"][:, None, None]).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("noise", "psi", "cutoff"), [("const", 1.0, None), ("random", 0.6, 3), ("none", 0.6, None)])
def test_pictures_are_those_of_the_formulas(net, noise, psi, cutoff, dtype):
    g = net.to(dtype=dtype)
    z = g.sample(2, seed=5)
    edits = [Truncate(psi, min(cutoff, len(g.layers) - 1) if cutoff else None), Noise(noise, seed=9)]
    given = None if noise == "const" else Noise(noise, seed=9).latents(g.lift(z, "s"), g).inputs
    want = plain(g, z.values, z.inputs.get("label"), psi, cutoff or 99, given)
    for grad in (False, True):
        close(render(g, z, edits, grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    layers = chain(Config.square(1024))
    assert [layer.channels for layer in layers[1:-1:2]] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [layer.row for layer in layers] == [*range(18), None]
    assert layers[-2].style.stop == 2 * 2 * (4 * 512 + 256 + 128 + 64 + 32 + 16)
    assert [layer.name for layer in (*layers[:4], layers[-1])] == [
        "b4.const",
        "b4.conv",
        "b8.conv0",
        "b8.conv1",
        "torgb",
    ]
    assert layers[-1].size == (1024, 1024)
    weights = sum(p.numel() for p in stylegan1.Net(Config.square(1024)).parameters())
    assert weights == 26_212_019  # the paper's section 2 says 26.2 M
    with pytest.raises(SettingError, match="are numbers from 1 up"):
        Config(widths=())


# -- executors, derivatives, batches ------------------------------------------------------------------------------------------------


def test_large_maps_have_derivatives_too():
    g = random(CONFIGS["large"], seed=3).to(dtype=torch.float64)
    z = g.sample(1, seed=2)
    v = torch.randn(z.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = torch.func.jvp(lambda c: g.synthesize(z.at(c)), (z.values,), (v,))[1]
    close(ours, torch.func.jvp(lambda c: plain(g, c), (z.values,), (v,))[1], 1e-9)


def test_a_channel_has_the_mean_and_the_deviation_of_its_style(odd):
    s = odd.lift(odd.sample(2), "s")
    for layer, state in odd.states(s):
        if not layer.head:
            scale, bias = s.values[:, layer.style].chunk(2, 1)
            assert torch.allclose(state.x.mean((2, 3)), bias)
            assert torch.allclose(state.x.std((2, 3), correction=0), (scale + 1).abs(), rtol=1e-4)


def test_half_precision_is_close():
    g = random(CONFIGS["large"])
    z = g.sample(2, seed=1)
    quick, exact = g.half().synthesize(z), g.synthesize(z)
    assert quick.dtype == torch.float32
    assert 1e-5 < float((quick - exact).square().mean().sqrt() / exact.std()) < 0.05


# -- edits, the renderer, weights ---------------------------------------------------------------------------------------------------


def test_noise_is_one_s_own(odd):
    name = odd.layers[-2].name
    z = odd.sample(2, seed=1)[[0, 0]]
    a, b = render(odd, z)
    close(a, b, 1e-12)
    a, b = render(odd, z, [Noise("random", seed=1)])
    assert float((a - b).abs().max()) > 1e-3
    other = [SetInput(f"noise.{name}", torch.ones(1, 1, 16, 16, dtype=torch.float64))]
    r = Renderer(odd)
    before = r(z)
    assert not torch.equal(before, r(z, other))
    assert torch.equal(r(z, other), render(odd, z, other))
    noise = torch.zeros(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    render(odd, z[0], [SetInput(f"noise.{name}", noise)]).square().sum().backward()
    assert float(noise.grad.abs().max()) > 0
