"""StyleGAN3 against the published formulas, with zeros stuffed in and samples thrown away; its filters; and that its picture moves as a
whole."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import firwin

from generators.shapes import STYLEGAN3 as CONFIGS
from generators.shapes import close
from steerable.edit import Masked, SetInput, Truncate
from steerable.errors import SettingError
from steerable.generators import stylegan3
from steerable.generators.stylegan3 import (
    Config,
    Motion,
    MovePicture,
    Net,
    StyleGAN3,
    bands,
    chain,
    random,
)
from steerable.nn import alias_free, winograd
from steerable.nn.alias_free import Rates, filtered_lrelu, lowpass
from steerable.path import Direction
from steerable.render import Rendering, render
from steerable.renderer import Renderer


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> StyleGAN3:
    return random(CONFIGS[request.param], seed=3)


@pytest.fixture(scope="module")
def t() -> StyleGAN3:
    return random(CONFIGS["t"], seed=3).to(dtype=torch.float64)


def moved(g, latents, edit):
    """Codes in s with the input `transform` that an edit leaves."""
    return edit.latents(g.lift(latents, "s"), g)


# -- the formulas -------------------------------------------------------------------------------------------------------------------


def resampled(x, f, up, down, before, after, gain):
    """Zeros between samples and around, a convolution with f, every down-th sample (appendix B)."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h, up, w, up)
    wide[:, :, :, 0, :, 0] = x
    x = F.pad(wide.reshape(n * c, 1, h * up, w * up), (before, after, before, after)) * gain
    for kernel in [f[:, None], f[None]] if f.ndim == 1 else [f]:
        x = F.conv2d(x, kernel.flip(0, 1).to(x)[None, None])
    return x.unflatten(0, (n, c))[:, :, 0, ::down, ::down]


def plain(g: StyleGAN3, z, label=None, psi=1.0, cutoff=99, transform=None):
    """The picture of z, step by step as in the paper and its appendices."""
    c, p, n = g.net.config, {k: v.detach() for k, v in g.net.state_dict().items()}, len(z)

    def linear(x, name, lr=1.0):
        weight = p[f"{name}.weight"]
        return x @ (weight * lr / math.sqrt(weight.shape[1])).T + p[f"{name}.bias"] * lr

    def normalized(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def modulated(x, weight, s, demodulate):
        """Eq. 1 and 3 of StyleGAN2, style and weight brought to unit mean square before."""
        k = weight.shape[-1]
        if demodulate:
            weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            s = s / s.square().mean(1, keepdim=True).sqrt()
        w = weight[None] * s[:, None, :, None, None]
        if demodulate:
            w = w / (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        return torch.cat([F.conv2d(x[j : j + 1], w[j], padding=k - 1) for j in range(n)])

    x = normalized(z)
    if c.c_dim:
        x = torch.cat([x, normalized(linear(label, "mapping.embed"))], 1)
    for i in range(c.depth):
        x = F.leaky_relu(linear(x, f"mapping.layers.{i}", c.mapping_lr), 0.2) * math.sqrt(2)
    rows = [p["w_avg"] + psi * (x - p["w_avg"]) if r < cutoff else x for r in range(c.num_layers + 2)]

    spec = bands(c)
    place = linear(rows[0], "input.affine")
    place = place / place[:, :2].norm(dim=1, keepdim=True)
    at = (torch.arange(spec[0].size, dtype=z.dtype) + 0.5 - spec[0].size / 2) / spec[0].rate
    pictures = []
    for j in range(n):
        cos, sin, right, down = place[j]
        turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=z.dtype)
        move = torch.tensor([[1, 0, -right], [0, 1, -down], [0, 0, 1]], dtype=z.dtype)
        m = turn @ move if transform is None else turn @ move @ transform[j]
        grid = torch.stack([*torch.meshgrid(at, at, indexing="xy"), torch.ones(len(at), len(at), dtype=z.dtype)], 2)
        freqs = p["input.freqs"] @ m[:2, :2]
        strength = 1 - (freqs.norm(dim=1) - spec[0].cutoff) / (spec[0].rate / 2 - spec[0].cutoff)
        waves = ((grid @ m.T)[:, :, :2] @ p["input.freqs"].T + p["input.phases"]) * 2 * math.pi
        pictures.append(waves.sin() * strength.clamp(0, 1) @ p["input.weight"].T / math.sqrt(len(freqs)))
    x = torch.stack(pictures).permute(0, 3, 1, 2)

    for i, here in enumerate(spec):
        name, last, before = "torgb" if i == c.num_layers else f"L{i}", i == c.num_layers, spec[max(i - 1, 0)]
        s, weight = linear(rows[i + 1], f"{name}.affine"), p[f"{name}.weight"]
        s = s / math.sqrt(weight[0].numel()) if last else s
        x = modulated(x, weight, s, demodulate=not last) / p[f"{name}.magnitude"].sqrt()
        x = x + p[f"{name}.bias"][:, None, None]
        if not last:
            rate = 2 * max(before.rate, here.rate)
            up, down = rate // before.rate, rate // here.rate
            total = (here.size - 1) * down + 1 - x.shape[2] * up + 6 * up + 6 * down - 2
            first = (total + up) // 2
            x = resampled(x, p[f"{name}.up_filter"], up, 1, first, total - first, up**2)
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
        x = x if c.clamp is None else x.clamp(-c.clamp, c.clamp)
        x = x if last else resampled(x, p[f"{name}.down_filter"], 1, down, 0, 0, 1)
    return (x * c.output_scale).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_pictures_are_those_of_the_formulas(kind, dtype):
    g = random(CONFIGS[kind], seed=3).to(dtype=dtype)
    z = g.sample(2, seed=5)
    where = moved(g, z, MovePicture(torch.tensor([0.1, -0.3]), 0.05, torch.tensor([20.0, 0.0]))).inputs["transform"]
    cases = [
        ([], {}),
        ([Truncate(0.6, 2), SetInput("transform", where)], {"psi": 0.6, "cutoff": 2, "transform": where}),
    ]
    for edits, rest in cases:
        want = plain(g, z.values, z.inputs.get("label"), **rest)
        for grad in (False, True):
            close(render(g, z, edits, grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    said = {
        "t": (
            "36_512 36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 1044_51 1044_32",
            32,
        ),
        "r": (
            "36_1024 36_1024 36_1024 52_1024 52_1024 84_1024 148_1024 148_1024 276_645 276_406 532_256 1044_161 1044_102 1044_64",
            64,
        ),
    }
    for which, (want, last) in said.items():
        layers = chain(getattr(Config, which)(1024))
        assert " ".join(f"{layer.size[0]}_{layer.channels}" for layer in layers) == f"{want} 1024_{last} 1024_3"
        assert [layer.row for layer in layers] == list(range(16))
    assert [layer.name for layer in layers] == ["input", *(f"L{i}" for i in range(14)), "torgb"]
    assert layers[0].reads == ("transform",)
    assert bands(Config.t(1024))[-1].cutoff == 512
    with torch.device("meta"):
        weights = [sum(p.numel() for p in Net(c).parameters()) for c in (Config.t(1024), Config.r(1024))]
    assert weights == [22_313_167, 15_093_151]  # as many as in the authors' code
    for wrong, message in (
        ({"resolution": 100}, "resolution is a power of two from 16 px up; got"),
        ({"num_critical": 14}, "num_critical is between 0 and num_layers; got"),
        ({"first_cutoff": -1.0}, "first_cutoff is between 0 and resolution / 2; got"),
        ({"first_stopband": math.nan}, "first_stopband is above first_cutoff; got"),
        ({"channel_max": 0}, "last_stopband_rel, channel_base, channel_max and depth are more than 0; got"),
        ({"margin": -1}, "margin is between 0 and resolution; got"),
        ({"conv_kernel": 2}, "conv_kernel is odd; got"),
        ({"filter_size": 10**9}, "filter_size is from 1 to 100, lrelu_upsampling from 1 to 16; got"),
        ({"clamp": -1.0}, "mapping_lr and output_scale are finite, clamp more than 0; got"),
        ({"colors": 2}, "colors are 3 or 1; got"),
    ):
        with pytest.raises(SettingError, match=message):
            Config(**({"resolution": 32} | wrong))


# -- filters ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taps", "cutoff", "width", "rate"), [(12, 2.0, 6.3, 32), (24, 11.3, 9.1, 128), (7, 1.0, 0.3, 16)]
)
def test_lowpass_filters_are_kaiser_s(taps, cutoff, width, rate):
    f = lowpass(taps, cutoff, width, rate).numpy()
    np.testing.assert_allclose(f, firwin(taps, cutoff, width=width, fs=rate), rtol=1e-12, atol=1e-15)


def test_a_radial_filter_knows_no_direction():
    f = lowpass(12, 4.0, 6.0, 32, radial=True)
    assert float(f.sum()) == pytest.approx(1)
    assert torch.allclose(f, f.T)
    assert torch.allclose(f, f.flip(0))
    at = (torch.arange(12) - 5.5) / 32
    passed = lambda x, y: abs(float((f * torch.cos(2 * math.pi * (x * at[:, None] + y * at))).sum()))
    for r in (3.0, 5.0):
        assert passed(r, 0) == pytest.approx(passed(r * math.sqrt(0.5), r * math.sqrt(0.5)), abs=0.02)
    separable = torch.outer(*[lowpass(12, 4.0, 6.0, 32)] * 2)
    assert not torch.allclose(f, separable, atol=1e-3)
    assert torch.isfinite(lowpass(11, 4.0, 6.0, 32, radial=True)).all()  # one tap is at the center


@pytest.mark.parametrize("numbers", [1, 3000, 1 << 20], ids=["thin", "some", "whole"])
@pytest.mark.parametrize(
    ("size", "out", "up", "down", "taps"),
    [
        (9, 8, 2, 2, (12, 12)),
        (7, 11, 4, 2, (24, 12)),
        (12, 6, 2, 4, (12, 24)),
        (20, 7, 2, 2, (12, 12)),
        (9, 9, 1, 1, (1, 1)),
        (5, 14, 2, 2, (5, 3)),
    ],
)
def test_blocks_are_as_good_as_the_whole(size, out, up, down, taps, numbers, monkeypatch):
    monkeypatch.setattr(alias_free, "NUMBERS", numbers)
    monkeypatch.setattr(alias_free, "CHANNELS", 2)
    source = torch.Generator().manual_seed(size)
    draw = lambda *shape: torch.randn(*shape, generator=source, dtype=torch.float64)
    x, fu, fd = draw(2, 5, size, size), draw(taps[0]), draw(taps[1])  # filters need not be symmetric
    rates, kept = Rates.centered(size, out, up, down, sum(taps)), x.clone()
    after = (out - 1) * down + sum(taps) - 1 - size * up - rates.before
    want = resampled(x, fu, up, 1, rates.before, after, up**2)
    want = (F.leaky_relu(want, 0.2) * 1.3).clamp(-2, 2)
    for shrinking in (fd, torch.outer(fd, fd.flip(0))):
        wanted = resampled(want, shrinking, 1, down, 0, 0, 1)
        for grad in (False, True):
            close(filtered_lrelu(x, rates, fu, shrinking, slope=0.2, gain=1.3, clamp=2.0, grad=grad), wanted, 1e-12)
    free = filtered_lrelu(x, rates, fu, fd, slope=0.2, gain=1.3, clamp=None, grad=True)
    close(filtered_lrelu(x, rates, fu, fd, slope=0.2, gain=1.3, clamp=1e9, grad=False), free, 1e-12)
    assert torch.equal(x, kept)


# -- executors, derivatives, batches ------------------------------------------------------------------------------------------------


def test_every_form_of_convolution_is_met(monkeypatch):
    met = set()
    for module, name in ((winograd, "convolved"), (stylegan3, "_folded"), (stylegan3, "styled")):
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, inner=inner: met.add(name) or inner(*a))
    middle = Config.tiny(channel_base=4096, channel_max=100, num_layers=2, num_critical=1)
    for config, forms in (
        (CONFIGS["t"], {"_folded"}),
        (middle, {"styled"}),
        (CONFIGS["wide"], {"convolved", "styled"}),
    ):
        g = random(config)
        image = g.synthesize(z := g.sample(1))
        assert met == forms
        close(g.synthesize(z, grad=True), image, 1e-4)
        met.clear()


# -- where the picture is -----------------------------------------------------------------------------------------------------------


def test_translation_moves_the_whole_picture():
    """With a margin wider than what a layer sees, a shift by whole samples of the lowest rate is exact."""
    wide = Config.tiny(num_layers=3, num_critical=1, margin=24)
    g = random(wide, seed=1).to(dtype=torch.float64)
    assert {band.rate for band in bands(wide)} == {16, 32}
    z = g.sample(2, seed=3)
    still, right, down = (
        render(g, z, e) for e in ([], [MovePicture(right=4 / 32)], [Motion(name="d", down=2 / 32).at(3)])
    )
    close(right[..., 4:], still[..., :-4], 1e-9)
    close(down[:, :, 6:], still[:, :, :-6], 1e-9)


def test_rotation_turns_the_whole_picture():
    """Radial filters and 1x1 convolutions: a quarter turn is exact."""
    g = random(CONFIGS["r"], seed=1).to(dtype=torch.float64)
    z = g.sample(1, seed=3)
    still, turned = render(g, z), render(g, z, [MovePicture(turn=90)])
    close(turned, still.rot90(-1, (2, 3)), 1e-9)  # clockwise
    assert float((turned - still).abs().max()) > 0.05 * float(still.abs().max())
    t = random(CONFIGS["t"], seed=1).to(dtype=torch.float64)
    other = render(t, z, [MovePicture(turn=90)]) - render(t, z).rot90(-1, (2, 3))
    assert float(other.abs().max()) > 0.01  # 3x3 kernels do not turn


def test_motions_come_one_after_another(t):
    s = t.lift(t.sample(1), "s")
    edits = [
        MovePicture(turn=30),
        MovePicture(right=0.1),
        MovePicture(turn=-30),
        MovePicture(right=-0.1 * math.cos(math.pi / 6), down=0.05),
    ]
    for e in edits:
        s = e.latents(s, t)
    assert torch.allclose(s.inputs["transform"][0], torch.eye(3, dtype=torch.float64), atol=1e-7)
    both = moved(t, s, MovePicture(0.2, 0.1, 50.0)).inputs["transform"]
    apart = moved(t, moved(t, s, MovePicture(turn=50.0)), MovePicture(0.2, 0.1)).inputs["transform"]
    assert torch.allclose(both, apart)


def test_each_sample_has_its_own_place(t):
    z = t.sample(2, seed=1)
    both = render(t, z, [Motion(name="m", right=0.1, turn=10).at(torch.tensor([1.0, -2.0], dtype=torch.float64))])
    for k, step in enumerate((1.0, -2.0)):
        close(both[k : k + 1], render(t, z[k], [Motion(name="m", right=0.1, turn=10).at(step)]), 1e-9)
    assert torch.equal(render(t, z, [MovePicture()]), render(t, z))
    where = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
    render(t, z[0], [SetInput("transform", where)]).square().sum().backward()
    assert float(where.grad.abs().max()) > 0


def test_the_net_s_own_transform_comes_first(t):
    z, right = t.sample(1), MovePicture(right=0.1)
    own = moved(t, z, MovePicture(turn=40.0, down=0.2)).inputs["transform"]
    twin = t.lent({"input.transform": own[0]})
    close(render(twin, z, [right]), render(t, z, [MovePicture(turn=40.0, down=0.2), right]), 1e-9)


def test_only_a_picture_with_a_place_can_be_moved(style):
    with pytest.raises(
        SettingError,
        match="tiny-style takes no input 'transform', so its picture cannot be moved; it takes noise.conv0",
    ):
        render(style, style.sample(1), [MovePicture(0.1)])


# -- edits, the renderer, weights ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def move(t):
    return Direction(name="d", vector=torch.full((12,), 12**-0.5), space=t.space("w"), unit=1.0).at(1.0)


def test_the_renderer_sees_where_the_picture_is(net):
    r, z = Renderer(net), net.sample(1, seed=1)
    assert net.size == (net.net.config.resolution,) * 2
    edits = [MovePicture(0.1)]
    assert torch.equal(r(z, edits), render(net, z, edits))
    assert torch.equal(r(z), net.synthesize(z))


def test_masks_are_in_the_picture_s_coordinates(t, move):
    z, mask = t.sample(1), torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    assert Renderer(t)(z, size=16).shape == (1, 3, 16, 16)
    mask[..., :8, :] = 1
    assert [(layer.margin, layer.picture[0]) for layer in t.layers] == [(4, 16)] * 3 + [(4, 32)] * 2 + [(0, 32)] * 2
    for i, end in ((0, 4 + 4), (3, 4 + 8)):
        plain = [state.x for _, state in t.states(z, grad=False)][i]
        edits = [Masked(move, mask, t.layers[i].name)]
        blended = [state.x for _, state, _ in Rendering(t, z, edits).states(until=i + 1)][-1]
        assert torch.equal(blended[:, :, end:], plain[:, :, end:])
        assert (blended[:, :, :end] != plain[:, :, :end]).all()
