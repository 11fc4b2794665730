"""ProGAN against the published formulas, written out plainly here; the downloaded one against its graph."""

import math

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import PROGAN as CONFIGS
from generators.shapes import close
from steerable import catalogue, checkpoints
from steerable.edit import Masked
from steerable.errors import SettingError
from steerable.generators import progan
from steerable.generators.progan import Config, ProGAN, chain, random
from steerable.nn import equalized, winograd
from steerable.path import Direction
from steerable.render import render
from steerable.renderer import Renderer


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> ProGAN:
    return random(CONFIGS[request.param], seed=3)


@pytest.fixture(scope="module")
def odd() -> ProGAN:
    return random(CONFIGS["odd"], seed=3).to(dtype=torch.float64)


# -- the formulas -------------------------------------------------------------------------------------------------------------------


def plain(g: ProGAN, z, label=None):
    """The picture of z, step by step as in table 2 and section 4 of the paper."""
    p = {k: v.detach() for k, v in g.net.state_dict().items()}

    def normalized(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def conv(x, name, gain=2**0.5, padding=1):
        weight = p[f"{name}.weight"]
        return F.conv2d(x, weight * gain / math.sqrt(weight[0].numel()), p[f"{name}.bias"], padding=padding)

    def ended(x):
        return normalized(torch.where(x > 0, x, 0.2 * x))

    z = normalized(z if label is None else torch.cat([z, label.to(z)], 1))
    # A dense layer is a 4x4 convolution of one pixel, padded by 3, with the kernel turned around.
    weight = p["b4.dense.weight"].flip(2, 3)
    x = F.conv2d(
        z[:, :, None, None], weight * math.sqrt(2) / math.sqrt(weight[0].numel()), p["b4.dense.bias"], padding=3
    )
    x = ended(conv(ended(x), "b4.conv"))
    for b in range(1, len(g.net.config.widths)):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = ended(conv(ended(conv(x, f"b{4 << b}.conv0")), f"b{4 << b}.conv1"))
    return conv(x, "torgb", gain=1.0, padding=0).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_pictures_are_those_of_the_formulas(net, dtype):
    g = net.to(dtype=dtype)
    z = g.sample(2, seed=5)
    want = plain(g, z.values, z.inputs.get("label"))
    for grad in (False, True):
        close(render(g, z, grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    layers = chain(Config.square(1024))
    assert [layer.channels for layer in layers[1::2]] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [layer.name for layer in (*layers[:4], layers[-1])] == [
        "b4.dense",
        "b4.conv",
        "b8.conv0",
        "b8.conv1",
        "torgb",
    ]
    assert layers[-1].size == (1024, 1024)
    weights = sum(p.numel() for p in progan.Net(Config.square(1024)).parameters())
    assert weights == 23_071_507  # the paper's table 2 says 23.1 M
    with pytest.raises(SettingError, match="resolution is a power of two from 4 px up; got 100"):
        Config.square(100)


def test_up_sampling_and_convolution_are_one(odd):
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.randn(2, 3, 4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    want = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    close(F.conv_transpose2d(x, equalized.spread(weight), stride=2, padding=1), want, 1e-12)


# -- executors, derivatives, batches ------------------------------------------------------------------------------------------------


def test_fewer_multiplications_where_they_pay(monkeypatch):
    sizes, inner = [], winograd.convolved
    monkeypatch.setattr(winograd, "convolved", lambda x, s, u: sizes.append(x.shape[-1]) or inner(x, s, u))
    g = random(CONFIGS["large"])
    g.synthesize(g.sample(1))
    assert sizes == [16]


@pytest.mark.parametrize("kind", ["classes-gray", "large"])
def test_derivatives_are_those_of_the_formulas(kind):
    g = random(CONFIGS[kind], seed=3).to(dtype=torch.float64)
    z = g.sample(1, seed=2)
    label = z.inputs.get("label")
    v = torch.randn(z.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = (lambda c: g.synthesize(z.at(c))), (lambda c: plain(g, c, label))
    for f, want in zip(torch.func.jvp(ours, (z.values,), (v,)), torch.func.jvp(theirs, (z.values,), (v,)), strict=True):
        close(f, want, 1e-9)
    both = [torch.func.vjp(f, z.values) for f in (ours, theirs)]
    cotangent = torch.randn(both[0][0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    close(both[0][1](cotangent)[0], both[1][1](cotangent)[0], 1e-9)
    vs = torch.stack([v, 2 * v, v.roll(1)])
    one = lambda v: torch.func.jvp(ours, (z.values,), (v,))[1]
    close(torch.vmap(one)(vs), torch.stack([one(v) for v in vs]), 1e-9)


# -- edits, the renderer, weights ---------------------------------------------------------------------------------------------------


def test_the_map_of_z(odd):
    z = odd.sample(1)
    (map_,) = odd.affines("z").values()
    assert map_.shape == (9 * 16, 12)
    dense = odd.net.b4["dense"]
    close((map_ @ z.values[0]).view(1, 9, 4, 4) + dense.bias[:, None, None], dense(z.values, True), 1e-9)


def test_the_renderer_and_masks(odd):
    z = odd.sample(1)
    d = Direction(name="d", vector=torch.full((12,), 12**-0.5), space=odd.space("z"), unit=1.0).at(1.0)
    mask = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    r = Renderer(odd)
    for edits in ([], [d], [Masked(d, mask)], [Masked(d, mask, "8px")], [Masked(d, mask + 1, "all")], []):
        assert torch.equal(r(z, edits), render(odd, z, edits))
    assert torch.equal(render(odd, z, [Masked(d, mask, "8px")]), render(odd, z))
    close(render(odd, z, [Masked(d, mask + 1, "all,torgb")]), render(odd, z, [d]), 1e-12)


# -- the catalogue's ------------------------------------------------------------------------------------------------------------------


@pytest.mark.weights("progan-celeba-128")
def test_faces_are_those_of_the_graph():
    """`means` over 32x32 px, of the picture of RandomState(0).randn(512) as float32, were made by running the file's graph operation by
    operation and taking 0.5 (raw - b) + b, as raw is before it is clipped and b the last constant; from [0, 1] to [-1, 1]."""
    name = "progan-celeba-128"
    g = checkpoints.catalogued(catalogue.entry(name), catalogue.fetch(name)).generator(name)
    assert g.net.config == Config.square(128)
    close(F.avg_pool2d(g.synthesize(g.sample(1, seed=0)), 32)[0].flatten(), torch.tensor(MEANS), 1e-3)


MEANS = [
    -0.2515,
    0.7632,
    0.7604,
    -0.2291,
    0.0005,
    0.6001,
    0.3872,
    -0.1055,
    0.2207,
    0.8488,
    0.6632,
    0.0554,
    -0.2453,
    0.7835,
    0.5734,
    -0.2612,
    -0.6153,
    0.1864,
    0.1077,
    -0.5545,
    -0.4139,
    0.0447,
    -0.1819,
    -0.5130,
    -0.1656,
    0.2269,
    0.0161,
    -0.4156,
    -0.4349,
    0.1526,
    -0.1084,
    -0.6097,
    -0.7360,
    -0.1675,
    -0.2913,
    -0.7059,
    -0.5906,
    -0.2703,
    -0.4672,
    -0.6954,
    -0.3789,
    -0.0945,
    -0.3319,
    -0.6363,
    -0.5114,
    -0.1213,
    -0.4263,
    -0.7701,
]
