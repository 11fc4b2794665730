"""BigGAN and BigGAN-deep against the published formulas, written out plainly here; chunks of z, truncation, the class."""

import math

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import BIGGAN as CONFIGS
from generators.shapes import close
from steerable.edit import SetInput, Truncate
from steerable.errors import SettingError, SpaceError
from steerable.generators import biggan
from steerable.generators.biggan import BigGAN, Config, chain, random
from steerable.generators.opening import made
from steerable.path import Direction
from steerable.render import codes, render
from steerable.space import Latents


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> BigGAN:
    return random(CONFIGS[request.param], seed=3)


@pytest.fixture(scope="module")
def deep() -> BigGAN:
    return random(CONFIGS["deep"], seed=3).to(dtype=torch.float64)


# -- the formulas -------------------------------------------------------------------------------------------------------------------


def plain(g: BigGAN, z, label, truncation=1.0):
    """The picture of z, as in figures 15 and 16 of the paper, with statistics at one of the stored truncations."""
    c, p = g.net.config, {k: v.detach() for k, v in g.net.state_dict().items()}
    level = round(truncation * (c.levels - 1)) if c.levels > 1 else 0
    own = label.to(z) @ p["embed"]
    up = lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def row(i):
        if c.hierarchical:
            size = c.z_dim // (len(c.ups) + 1)
            return torch.cat([z[:, i * size : (i + 1) * size], own], 1)
        return torch.cat([z, own], 1) if c.deep else own

    def normalized(x, name, gain, bias, epsilon):
        mean, var = (p[f"{name}.{leaf}"][level][:, None, None] for leaf in ("mean", "var"))
        return ((x - mean) / (var + epsilon).sqrt() * gain[:, :, None, None] + bias[:, :, None, None]).clamp(min=0)

    def conv(x, name):
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=p[f"{name}.weight"].shape[-1] // 2)

    def block(x, i):
        y, convs = x, 4 if c.deep else 2
        for j in range(convs):
            gain, bias = (row(i + 1) @ p[f"maps.{i}.{map_}.{j}"].T for map_ in ("gain", "bias"))
            y = normalized(y, f"blocks.{i}.norms.{j}", 1 + gain, bias, c.epsilon)
            y = up(y) if c.ups[i] and j == (1 if c.deep else 0) else y
            y = conv(y, f"blocks.{i}.convs.{j}")
        x = up(x) if c.ups[i] else x
        if c.deep:
            return y + x[:, : y.shape[1]]
        return y + (conv(x, f"blocks.{i}.skip") if f"blocks.{i}.skip.weight" in p else x)

    def attended(x, name):
        theta, phi, v = (F.conv2d(x, p[f"{name}.{k}"]) for k in ("theta", "phi", "g"))
        phi, v = (F.max_pool2d(m, 2).flatten(2) for m in (phi, v))
        weights = torch.softmax(torch.einsum("ncq,nck->nqk", theta.flatten(2), phi), 2)
        out = torch.einsum("nqk,nck->ncq", weights, v).view(len(x), -1, *x.shape[2:])
        return x + p[f"{name}.gamma"] * F.conv2d(out, p[f"{name}.o"])

    start = row(0) if c.deep else z[:, : c.z_dim // (len(c.ups) + 1) if c.hierarchical else c.z_dim]
    x = (start @ p["linear.weight"].T + p["linear.bias"]).view(len(z), c.widths[0], c.side, c.side)
    for i in range(len(c.ups)):
        x = block(x, i)
        x = attended(x, f"attention.{i}") if i in c.attention else x
    x = normalized(x, "torgb.norm", p["torgb.gain"][None], p["torgb.bias"][None], c.head_epsilon)
    return conv(x, "torgb.conv").tanh()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_pictures_are_those_of_the_formulas(net, dtype):
    g = net.to(dtype=dtype)
    z = g.sample(3, seed=5)
    for psi in (1.0, 0.25):
        want = plain(g, psi * z.values, z.inputs["label"], psi)
        for grad in (False, True):
            close(render(g, z, [Truncate(psi)], grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    count = lambda config: sum(p.numel() for p in made("x", biggan.Net, config).parameters())
    assert count(Config.published(128, deep=False)) == 70_433_988  # as BigGAN-PyTorch counts
    assert count(Config.published(128)) == 50_388_609 - 125 * (
        9 * 128 + 1
    )  # HuggingFace's net makes 128 colors and uses 3
    for size in (128, 256, 512):
        layers = chain(Config.published(size))
        assert layers[-1].size == (size, size)
        assert [layer.size[0] for layer in layers if layer.name.startswith("attention")] == [64]
    assert Config.published(256, deep=False).z_dim == 140
    assert [layer.size[0] for layer in chain(Config.published(64, deep=False))] == [4, 8, 16, 32, 64, 64, 64]
    with pytest.raises(SettingError, match=r"resolution is 64 \(not deep\), 128, 256 or 512 px; got 64"):
        Config.published(64)


# -- z, the class, truncation ---------------------------------------------------------------------------------------------------------


def test_each_chunk_of_z_goes_to_its_own_layer():
    g = random(CONFIGS["chunks"], seed=3).to(dtype=torch.float64)
    z = g.sample(1)
    for k, name in enumerate(("linear", "blocks.0", "blocks.1")):
        moved = z.values.clone()
        moved[:, 4 * k : 4 * k + 4] += 1
        changed = (g.lift(z.at(moved), "s").values - g.lift(z, "s").values)[0] != 0
        layer = next(layer for layer in g.layers if layer.name == name)
        assert changed[layer.style].any()
        assert changed.sum() == changed[layer.style].sum()


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_affines_are_the_maps_into_styles(kind, space):
    g = random(CONFIGS[kind], seed=3).to(dtype=torch.float64)
    code = g.lift(g.sample(1), space)
    through = torch.func.jacrev(lambda v: g.lift(code.at(v), "s").values)(code.values)[0].flatten(2)[:, 0]
    if space == "w+":
        through = through.view(len(through), *code.values.shape[1:])
    maps = g.affines(space)
    for layer in g.layers:
        if layer.row is None:
            continue
        want = through[layer.style] if space != "w+" else through[layer.style, layer.row]
        want = g.net.linear.weight @ want if layer.name == "linear" else want
        if layer.name in maps:
            close(maps[layer.name], want, 1e-9)
        else:
            assert float(want.abs().max()) == 0  # z does not reach it
    with pytest.raises(SpaceError, match="has affine maps out of 'z', 'w' and 'w\\+', not out of 's'"):
        g.affines("s")


def test_samples_lie_within_the_bound(deep):
    z = torch.cat([z.values for _, z in deep.blocks(20_000, seed=1)])
    assert float(z.abs().max()) <= 2
    assert float(z.abs().max()) > 1.99
    # The variance of a normal distribution cut off at two deviations.
    cut = math.sqrt(2 / math.pi) * 2 * math.exp(-2) / math.erf(math.sqrt(2))
    assert float(deep.moments("z").cov[0, 0]) == pytest.approx(1 - cut)
    assert float(z.var()) == pytest.approx(1 - cut, rel=0.01)
    free = random(CONFIGS["one-z"])
    assert float(free.sample(400).values.abs().max()) > 3
    assert float(free.moments("z").cov[0, 0]) == 1


def test_truncation_scales_z_takes_its_statistics_and_leaves_the_class(deep):
    z = deep.sample(2, seed=3)
    short = deep.truncate(z, 0.5)
    assert torch.equal(short.values, 0.5 * z.values)
    assert short.inputs["truncation"].tolist() == [0.5, 0.5]
    for space in ("w", "w+", "s"):
        close(deep.truncate(deep.lift(z, space), 0.5).values, deep.lift(short, space).values, 1e-9)
    assert torch.equal(deep.truncate(deep.lift(z, "w"), 0.0).values[:, 7:], deep.lift(z, "w").values[:, 7:])
    assert torch.equal(deep.truncate(z, 1.0).values, z.values)
    each = deep.truncate(z, torch.tensor([0.2, 1.0]))
    close(deep.synthesize(each)[1:], deep.synthesize(z)[1:], 1e-12)
    rows = deep.truncate(z, 0.0, cutoff=2).values
    assert torch.equal(rows[:, 2:], deep.lift(z, "w+").values[:, 2:])
    assert float(rows[:, :2, :7].abs().max()) == 0
    with pytest.raises(SettingError, match="psi must be a finite number"):
        deep.truncate(z, float("nan"))


def test_statistics_are_linear_between_truncations(deep):
    norm = deep.net.blocks[0].norms[0]
    assert len(norm.mean) == 5
    mean, var = norm.statistics(torch.tensor([0.25, 0.3, 1.0, 1.5], dtype=torch.float64))
    close(mean[0], norm.mean[1], 1e-12)
    close(mean[1], 0.8 * norm.mean[1] + 0.2 * norm.mean[2], 1e-12)
    close(var[1], 0.8 * norm.var[1] + 0.2 * norm.var[2], 1e-12)
    close(mean[2], norm.mean[4], 1e-12)
    close(mean[3], norm.mean[4], 1e-12)
    z = deep.sample(1)
    t = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    render(deep, z, [SetInput("truncation", t)]).square().sum().backward()
    assert float(t.grad.abs()) > 0


def test_the_class_is_part_of_w(deep):
    z = deep.sample(1, seed=1)
    pictures = [render(deep, z, [SetInput("label", torch.eye(3, dtype=torch.float64)[k : k + 1])]) for k in range(3)]
    assert not torch.equal(pictures[0], pictures[1])
    w = [deep.lift(codes(deep, z, [SetInput("label", torch.eye(3)[k : k + 1])]), "w") for k in range(2)]
    half = w[0].at((w[0].values + w[1].values) / 2)
    mixed = render(deep, z, [SetInput("label", torch.tensor([[0.5, 0.5, 0.0]]))])
    close(render(deep, half), mixed, 1e-7)
    with pytest.raises(SettingError, match=r"needs an input 'label' \[n 3\] to go from z to w"):
        deep.synthesize(Latents(z.values, z.space))


def test_a_move_of_z_can_be_made_on_later_codes(deep):
    z = deep.sample(2, seed=2)
    d = Direction(name="d", vector=torch.full((7,), 7**-0.5), space=deep.space("z"), unit=1.0).at(1.5)
    for space in ("w", "w+", "s"):
        close(render(deep, deep.lift(z, space), [d]), render(deep, z, [d]), 1e-9)


def test_a_configuration_that_cannot_be_is_refused():
    for wrong, message in (
        ({"ups": (True,)}, "widths has one number more than ups"),
        ({"z_dim": 13}, "z is dealt out in 3 equal chunks"),
        ({"attention": (1,)}, "8 channels wide at least"),
        ({"bound": 0.0}, "bound is above 0"),
        ({"deep": True, "widths": (8, 8, 8, 16)}, "cannot grow wider"),
    ):
        with pytest.raises(SettingError, match=message):
            Config.tiny(**wrong)
