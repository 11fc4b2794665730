"""lucidrains' StyleGAN2, DCGAN, the wrappings of TorchScript and ONNX, and files that are none of these."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import written as w
from torch import nn

from foreign import lookalikes as like
from steerable import checkpoints, foreign
from steerable.edit import Noise
from steerable.errors import ArtifactError, SettingError
from steerable.generators import stylegan2
from steerable.render import render
from steerable.renderer import Renderer

# -- lucidrains -------------------------------------------------------------------------------------------------------------------------

WIDTHS, D, DEPTH = (9, 7, 5), 12, 3


def lucidrains(seed=0, attention=False, channels=3):
    """The tensors of one generator and its mapping, by the names of that code."""
    source = torch.Generator().manual_seed(seed)
    numbers = lambda *shape: torch.randn(shape, generator=source)
    g = {"initial_block": numbers(1, WIDTHS[0], 4, 4)}
    g |= {"initial_conv.weight": numbers(WIDTHS[0], WIDTHS[0], 3, 3) / 9, "initial_conv.bias": numbers(WIDTHS[0])}
    for b, (into, out) in enumerate(zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)):
        for j, width in ((1, into), (2, out)):
            g |= {f"blocks.{b}.to_style{j}.weight": numbers(width, D), f"blocks.{b}.to_style{j}.bias": numbers(width)}
            g |= {f"blocks.{b}.to_noise{j}.weight": numbers(out, 1), f"blocks.{b}.to_noise{j}.bias": numbers(out)}
            g[f"blocks.{b}.conv{j}.weight"] = numbers(out, width, 3, 3)
        at = f"blocks.{b}.to_rgb"
        g |= {f"{at}.to_style.weight": numbers(out, D), f"{at}.to_style.bias": numbers(out)}
        g[f"{at}.conv.weight"] = numbers(channels, out, 1, 1)
        if b < len(WIDTHS) - 1:
            g[f"{at}.upsample.1.f"] = torch.tensor([1.0, 2.0, 1.0])
    if attention:
        g["attns.1.0.fn.norm.g"] = torch.zeros(1, 9, 1, 1)
    s = {}
    for i in range(DEPTH):
        s |= {f"net.{2 * i}.weight": 4 * numbers(D, D), f"net.{2 * i}.bias": numbers(D)}
    return g, s


def plain(g, s, z, noise, lr=0.1):
    """The picture, step by step; `noise` [n 16 16] is one map, of which each layer takes the corner, with its axes swapped."""
    x = z / z.norm(dim=1, keepdim=True)
    for i in range(DEPTH):
        x = F.leaky_relu(x @ (s[f"net.{2 * i}.weight"] * lr).T + s[f"net.{2 * i}.bias"] * lr, 0.2)
    style, rgb = x, None
    x = F.conv2d(
        g["initial_block"].expand(len(z), -1, -1, -1), g["initial_conv.weight"], g["initial_conv.bias"], padding=1
    )

    def linear(name):
        return style @ g[f"{name}.weight"].T + g[f"{name}.bias"]

    def modulated(x, name, style_name, demodulate):
        weight = g[f"{name}.weight"][None] * (linear(style_name) + 1)[:, None, :, None, None]
        if demodulate:
            weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        padding = weight.shape[-1] // 2
        return torch.cat([F.conv2d(x[k : k + 1], weight[k], padding=padding) for k in range(len(x))])

    for b in range(len(WIDTHS)):
        at = f"blocks.{b}"
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False) if b else x
        side = x.shape[-1]
        for j in (1, 2):
            drawn = noise[:, :side, :side, None] @ g[f"{at}.to_noise{j}.weight"].T + g[f"{at}.to_noise{j}.bias"]
            x = F.leaky_relu(modulated(x, f"{at}.conv{j}", f"{at}.to_style{j}", True) + drawn.permute(0, 3, 2, 1), 0.2)
        head = modulated(x, f"{at}.to_rgb.conv", f"{at}.to_rgb.to_style", False)
        rgb = head if rgb is None else rgb + head
        if b < len(WIDTHS) - 1:
            rgb = F.interpolate(rgb, scale_factor=2, mode="bilinear", align_corners=False)
            taps = torch.tensor([1.0, 2.0, 1.0]) / 4
            rgb = F.conv2d(
                F.pad(rgb, (1, 1, 1, 1), mode="reflect"), torch.outer(taps, taps).expand(3, 1, 3, 3), groups=3
            )
    return 2 * rgb - 1


def lucid_file(**options):
    (g, s), (ge, se) = lucidrains(1), lucidrains(2, **options)
    state = {
        f"{head}.{key}": t for head, part in (("S", s), ("G", g), ("SE", se), ("GE", ge)) for key, t in part.items()
    }
    return {"GAN": state | {"D_aug.D.blocks.0.conv_res.weight": torch.zeros(2, 3, 1, 1)}, "version": "1.8.9"}


@pytest.mark.parametrize("part", [None, "G"])
def test_lucidrains_pictures_are_those_of_its_code(part):
    found = checkpoints.opened(w.torch_file(lucid_file()), part=part)
    assert (found.layout, found.family) == ("lucidrains", "stylegan2_bilinear")
    read, (g, s) = found.generator("theirs"), lucidrains(2 if part is None else 1)
    z = read.sample(2, seed=3)
    noise = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs = {
        f"noise.{layer.name}": (noise[:, : layer.size[0], : layer.size[0]].mT[:, None] - 0.5) * math.sqrt(12)
        for layer in read.layers
        if layer.reads
    }
    want = plain(g, s, z.values, noise)
    for grad in (False, True):
        got = read.synthesize(read.sample(2, seed=3, inputs=inputs), grad=grad)
        assert float((got - want).abs().max() / want.abs().max()) < 1e-5
    assert not torch.equal(render(read, z), render(read, z, [Noise("random")]))
    assert torch.equal(Renderer(read)(z, []), render(read, z))
    assert read.space("w+").shape == (3, D)


def test_lucidrains_learning_rate_is_told():
    file = w.torch_file(lucid_file())
    g, s = lucidrains(2)
    read = checkpoints.opened(file, options={"lr_mlp": 0.3}).generator("x")
    z = read.sample(1)
    want = plain(g, s, z.values, torch.full((1, 16, 16), 0.5), lr=0.3)
    assert float((read.synthesize(z) - want).abs().max() / want.abs().max()) < 1e-5


def test_lucidrains_variants_that_are_not_known():
    with pytest.raises(
        ArtifactError, match="is a StyleGAN2 of lucidrains' with attention layers, which is not known here"
    ):
        checkpoints.opened(w.torch_file(lucid_file(attention=True)))
    with pytest.raises(ArtifactError, match="that makes 4 channels; pictures of 3 are known here"):
        checkpoints.opened(w.torch_file(lucid_file(channels=4)))
    broken = lucid_file()
    del broken["GAN"]["GE.blocks.1.conv1.weight"]
    with pytest.raises(ArtifactError, match=r"holds \d+ tensors that belong to nothing, the first is 'blocks.1"):
        checkpoints.opened(w.torch_file(broken))


# -- chains of transposed convolutions --------------------------------------------------------------------------------------------------


def dcgan(d=6, seed=0):
    torch.manual_seed(seed)  # initial weights have no generator argument
    net = nn.Sequential(
        *(nn.ConvTranspose2d(d, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.ConvTranspose2d(8, 5, 4, 2, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU()),
        *(nn.ConvTranspose2d(5, 3, 4, 2, 1), nn.Tanh()),
    )
    for part in net:
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize("wrapping", ["alone", "two nets", "torchscript"])
def test_dcgan(wrapping):
    net = dcgan()
    critic = nn.Sequential(nn.Conv2d(3, 5, 4, 2, 1), nn.Conv2d(5, 1, 4))
    data = {
        "alone": lambda: w.torch_file(net.state_dict()),
        "two nets": lambda: w.torch_file({"netD": critic.state_dict(), "netG": net.state_dict(), "epoch": 3}),
        "torchscript": lambda: like.script(net),
    }[wrapping]()
    found = checkpoints.opened(data)
    assert found.family == "dcgan"
    g = found.generator("theirs")
    z = g.sample(2)
    assert torch.allclose(g.synthesize(z), net(z.values[:, :, None, None]), atol=1e-6)


def test_a_label_of_a_dcgan_is_told():
    net, file = dcgan(8), w.torch_file(dcgan(8).state_dict())
    assert "a label cannot be told from z by shapes" in checkpoints.opened(file).notes[0]
    g = checkpoints.opened(file, options={"classes": 2}).generator("theirs")
    assert g.inputs == {"label": (2,)}
    z = g.sample(2)
    whole = torch.cat([z.values, z.inputs["label"]], 1)[:, :, None, None]
    assert torch.allclose(g.synthesize(z), net(whole), atol=1e-6)
    with pytest.raises(ArtifactError, match="from z with fewer classes than inputs"):
        checkpoints.opened(file, options={"classes": 8})
    with pytest.raises(SettingError, match=r"\(DCGAN\) files have no option 'class'; there is: classes"):
        checkpoints.opened(file, options={"class": 2})
    with pytest.raises(ArtifactError, match="there is no chain 'netG' in it; there is: one without a name"):
        checkpoints.opened(file, part="netG")


# -- other wrappings, and what is no checkpoint ------------------------------------------------------------------------------------------


def test_a_state_dict_in_other_formats(tmp_path):
    from safetensors.torch import save_file

    g = stylegan2.random(stylegan2.Config.tiny(), seed=3)
    state = {f"g_ema.{key}": t.contiguous() for key, t in w.chained(g, w.ROSINALITY).items()}
    save_file(state, tmp_path / "theirs.safetensors")
    onnx = like.onnx(*(like.initializer(key, t, 1) for key, t in state.items()))
    arrays = like.npz(**{key: t.numpy() for key, t in state.items()})
    z = g.sample(1)
    for source in (tmp_path / "theirs.safetensors", onnx, arrays):
        read = checkpoints.opened(source).generator("x")
        assert torch.allclose(read.synthesize(z), g.synthesize(z), atol=1e-4)


def test_what_is_no_generator_is_said():
    cases = {
        w.torch_file(
            {"a.weight": torch.zeros(3), "b.weight": torch.zeros(2)}
        ): "a torch-zip file, but of no generator that is known here: it holds a.weight, b.weight; known layouts: NVIDIA",
        like.script(like.module()): "a TorchScript program, which is not run, and its tensors are of no generator",
        like.onnx(
            like.initializer("weight", torch.zeros(2, 2), 1)
        ): "an ONNX graph, which is not run, and its tensors are of no generator",
        like.npy(
            np.zeros(3, np.float32)
        ): "a npy file, but of no generator that is known here: it holds no named tensors",
        w.torch_file({"epoch": 3}): "a torch-zip file, but of no generator that is known here: it holds epoch",
    }
    for data, message in cases.items():
        with pytest.raises(ArtifactError, match=f"^the data is {message}") as error:
            checkpoints.opened(data)
        assert "\n" not in str(error.value)
    with pytest.raises(ArtifactError, match="asks to run os.system; steerable reads data only"):
        checkpoints.opened(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactError, match="^the data is damaged: a frame of"):
        checkpoints.opened(w.nvidia_pickle({"G": ({}, {}, {})})[:-9])
    assert foreign.read(w.nvidia_pickle({"G": ({}, {}, {})}), keep=True).value["G"].name == "Generator"
