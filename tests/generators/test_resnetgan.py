"""Residual generators against the published formulas, written out plainly here; classes, attention, every way around a block."""

import pytest
import torch
import torch.nn.functional as F

from generators.shapes import RESNETGAN as CONFIGS
from generators.shapes import close
from steerable.edit import FeatureEdit, SetInput
from steerable.errors import SettingError
from steerable.generators import resnetgan
from steerable.generators.opening import made
from steerable.generators.resnetgan import Config, ResNetGAN, chain, random
from steerable.render import render
from steerable.space import Latents


@pytest.fixture(scope="module", params=CONFIGS)
def net(request) -> ResNetGAN:
    return random(CONFIGS[request.param], seed=3)


def plain(g: ResNetGAN, z, label=None):
    """The picture of z, as in appendix B.4 of the paper: BN, ReLU, up, conv, BN, ReLU, conv, plus up and conv around them."""
    c, p = g.net.config, {k: v.detach() for k, v in g.net.state_dict().items()}
    mode = {"mode": "bilinear", "align_corners": False} if c.linear else {"mode": "nearest"}
    up = lambda x: F.interpolate(x, scale_factor=2.0, **mode)

    def conv(x, name):
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=p[f"{name}.weight"].shape[-1] // 2)

    def normalized(x, name, gain, bias):
        mean, var = (p[f"{name}.{leaf}"][0][:, None, None] for leaf in ("mean", "var"))
        return ((x - mean) / (var + c.epsilon).sqrt() * gain[:, :, None, None] + bias[:, :, None, None]).clamp(min=0)

    x = (z @ p["linear.weight"].T + p["linear.bias"]).view(len(z), c.widths[0], c.side, c.side)
    for i, skip in enumerate(c.skips):
        y = x
        for j in (0, 1):
            tables = [p[f"tables.{i}.{leaf}.{j}"] for leaf in ("gain", "bias")]
            gain, bias = (t if label is None else t[label.argmax(1)] for t in tables)
            y = normalized(y, f"blocks.{i}.norms.{j}", gain, bias)
            y = conv(up(y) if j == 0 else y, f"blocks.{i}.convs.{j}")
        x = y + (conv(up(x), f"blocks.{i}.skip") if skip else up(x))
        if i == c.attention:
            theta, phi, v = (F.conv2d(x, p[f"attention.{i}.{k}"]) for k in ("theta", "phi", "g"))
            phi, v = (F.max_pool2d(m, 2).flatten(2) for m in (phi, v))
            weights = torch.softmax(torch.einsum("ncq,nck->nqk", theta.flatten(2), phi), 2)
            out = torch.einsum("nqk,nck->ncq", weights, v).view(len(x), -1, *x.shape[2:])
            x = x + p[f"attention.{i}.gamma"] * F.conv2d(out, p[f"attention.{i}.o"])
    x = normalized(x, "torgb.norm", p["torgb.gain"][None], p["torgb.bias"][None])
    return conv(x, "torgb.conv").tanh().expand(-1, 3, -1, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_pictures_are_those_of_the_formulas(net, dtype):
    g = net.to(dtype=dtype)
    z = g.sample(3, seed=5)
    want = plain(g, z.values, z.inputs.get("label"))
    for grad in (False, True):
        close(render(g, z, grad=grad), want, 1e-4 if dtype == torch.float32 else 1e-9)


def test_the_paper_s_sizes():
    for size, widths in (
        (32, [256] * 3),
        (48, [256, 128, 64]),
        (64, [512, 256, 128, 64]),
        (128, [1024, 512, 256, 128, 64]),
    ):
        config = Config.published(size)
        layers = chain(config)
        assert layers[-1].size == (size, size)
        assert [layer.channels for layer in layers[1:-1]] == widths
        weights = sum(p.numel() for p in made("x", resnetgan.Net, config).parameters())
        assert (
            weights == {32: 4_276_739, 48: 4_878_083, 64: 12_220_675, 128: 32_150_787}[size]
        )  # as torch_mimicry counts
    with pytest.raises(SettingError, match="resolution is 32, 48, 64 or 128 px; got 100"):
        Config.published(100)


def test_the_map_of_z(net):
    z = net.sample(1)
    first = next(state for _, state in net.states(z))
    close((net.affines("z")["linear"] @ z.values[0] + net.net.linear.bias).view_as(first.x[0]), first.x[0], 1e-5)


def test_a_class_can_be_mixed_and_set_in_one_place():
    """Of two classes in one picture (Miyato and Koyama, section 5; spatially as in Suzuki et al. 2018)."""
    g = random(CONFIGS["classes-linear"])
    z = g.sample(1, seed=1)
    label = lambda *row: SetInput("label", torch.tensor([row]))
    one, other, half = (render(g, z, [label(*row)]) for row in ((1.0, 0, 0), (0, 1.0, 0), (0.5, 0.5, 0)))
    assert not torch.equal(one, other)
    assert not torch.equal(half, one)
    with pytest.raises(SettingError, match=r"needs an input 'label' \[n 3\]"):
        g.synthesize(Latents(z.values, z.space))

    class Left(FeatureEdit):
        """The left half of a layer as the second class would have it."""

        layers = "blocks.1"

        def features(self, state, latents, again):
            given = Latents(latents.values, latents.space, {"label": torch.tensor([[0.0, 1, 0]])})
            x = state.x.clone()
            x[..., :8] = again(given).x[..., :8]
            return type(state)(x, state.rgb), latents

    first = SetInput("label", torch.tensor([[1.0, 0, 0]]))
    mixed = render(g, z, [first, Left()])
    assert torch.equal(mixed[..., 9:], one[..., 9:])  # the last convolution looks one px further
    assert not torch.equal(mixed[..., :8], one[..., :8])


def test_a_configuration_that_cannot_be_is_refused():
    for wrong, message in (
        ({"widths": (9,), "skips": ()}, "widths .two at least."),
        ({"skips": (0, 5)}, "skips has a kernel of 0, 1 or 3 px"),
        ({"skips": (1, 0)}, "a block that changes the width needs a convolution around it"),
        ({"attention": 1}, "8 channels wide at least"),
    ):
        with pytest.raises(SettingError, match=message):
            Config.tiny(**wrong)
