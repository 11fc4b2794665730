"""StyleGAN2 as each writer's code stores it: the file opens and makes the pictures of the same weights in our own net."""

import copy
import re
from contextlib import suppress

import pytest
import torch
import written as w

from steerable import checkpoints
from steerable.edit import Truncate
from steerable.errors import ArtifactError, SettingError
from steerable.generators import stylegan2, stylegan2_critic
from steerable.generators.stylegan2 import Config, random
from steerable.render import render

CONFIGS = {
    "skip": Config.tiny(),
    "resnet-classes": Config.tiny(architecture="resnet", c_dim=3, w_dim=9, z_dim=7, depth=3),
    "orig-gray-clamp": Config.tiny(architecture="orig", colors=1, clamp=0.5, mapping_lr=0.1),
    "quiet-clamp": Config.tiny(noise=False, clamp=0.4, c_dim=2),
    "one-size": Config.tiny(widths=(6,)),
    "oblong": Config.tiny(const=(4, 2)),
}
FULL = {"skip": CONFIGS["skip"], "wide": Config.tiny(widths=(10, 8, 8, 6), depth=3), "one-size": CONFIGS["one-size"]}


def same(read, g, exact=False):
    """Pictures of the same codes, plain and truncated; within 1e-5 of the largest value, or bit by bit."""
    z = g.sample(2, seed=4)
    for edits in ([], [Truncate(0.6)] if g.net.w_avg is not None and read.net.w_avg is not None else []):
        a, b = render(read, z, edits), render(g, z, edits)
        assert a.shape == b.shape
        assert torch.equal(a, b) if exact else float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def opened(data, **options):
    part = options.pop("part", None)
    return checkpoints.opened(data, part=part, options=options)


# -- NVIDIA, PyTorch --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "protocol"), list(zip(CONFIGS, (2, 4) * 3, strict=True)))
def test_nvidia_s_snapshots(kind, protocol):
    g, other = random(CONFIGS[kind], seed=3), random(CONFIGS[kind], seed=4)
    parts = {name: (w.nvidia2(net), *w.nvidia2_arguments(net)) for name, net in (("G", other), ("G_ema", g))}
    data = w.nvidia_pickle(parts, protocol)
    found = opened(data)
    assert found.config == g.net.config
    assert (found.layout, found.family, found.critic) == ("NVIDIA (PyTorch)", "stylegan2", None)
    assert list(found.held) == ["G", "G_ema", "training_set_kwargs", "augment_pipe"]
    assert "half precision" in found.notes[0]
    same(found.generator("theirs"), g)
    if kind == "skip":
        same(opened(data, part="G").generator("theirs"), other)


def test_snapshots_in_other_wrappings():
    g = random(CONFIGS["skip"], seed=3)
    part = (w.nvidia2(g), *w.nvidia2_arguments(g))
    same(opened(w.nvidia_pickle({"G": part}, bare=True)).generator("x"), g)
    same(opened(w.torch_file({"snapshot": {"G_ema": part[0]}})).generator("x"), g)
    same(opened(w.torch_file(part[0])).generator("x"), g)
    half = opened(w.nvidia_pickle({"G": part}, half=True)).generator("x")
    assert half.dtype == torch.float32
    rounded = copy.deepcopy(g.net)
    rounded.load_state_dict({key: t.half().float() for key, t in g.net.state_dict().items()})
    same(half, stylegan2.StyleGAN2("rounded", rounded))


def test_snapshots_saved_from_a_graphics_card(monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:1")
    g = random(CONFIGS["skip"], seed=3)
    data = w.nvidia_pickle({"G_ema": (w.nvidia2(g), *w.nvidia2_arguments(g))})
    assert data.count(b"cuda:1") > 20
    same(opened(data).generator("x"), g)


def test_a_state_dict_alone_does_not_tell_everything():
    g = random(Config.tiny(clamp=0.4, mapping_lr=0.1), seed=3)
    file = w.torch_file({"G_ema": w.nvidia2(g)})
    found = opened(file)
    assert [note.partition(" ")[0] for note in found.notes] == ["mapping_lr", "conv_clamp"]
    assert (found.config.mapping_lr, found.config.clamp) == (0.01, None)
    told = opened(file, mapping_lr=0.1, conv_clamp=0.4)
    assert not told.notes
    same(told.generator("x"), g)
    with pytest.raises(
        SettingError, match=r"NVIDIA \(PyTorch\) files have no option 'lr'; there is: mapping_lr, conv_clamp"
    ):
        opened(file, lr=0.1)
    with pytest.raises(ArtifactError, match="the data says mapping_lr='fast'; a number is expected"):
        opened(file, mapping_lr="fast")
    with pytest.raises(ArtifactError, match="there is no generator 'Gs' in it; there is: G_ema"):
        opened(file, part="Gs")


def test_without_a_mean_truncation_takes_that_of_its_own_codes():
    g = random(CONFIGS["skip"], seed=3)
    state = {key: t for key, t in w.nvidia2(g).items() if not key.endswith("w_avg")}
    found = opened(w.nvidia_pickle({"G_ema": (state, *w.nvidia2_arguments(g))}))
    assert "the file holds no mean w" in found.notes[-1]
    read = found.generator("theirs")
    same(read, g)
    mean = read.truncate(read.lift(read.sample(1), "w"), 0.0).values[0]
    assert torch.allclose(mean.double(), read.moments("w").mean)


def test_other_filters_and_activations_are_refused():
    g = random(CONFIGS["skip"], seed=3)
    state, (arguments, attributes) = w.nvidia2(g), w.nvidia2_arguments(g)
    wrong = state | {"synthesis.b8.resample_filter": torch.full((4, 4), 1 / 16)}
    with pytest.raises(ArtifactError, match=r"was made with another filter than \[1, 3, 3, 1\] \(synthesis.b8"):
        opened(w.nvidia_pickle({"G": (wrong, arguments, attributes)}))
    with pytest.raises(ArtifactError, match="was made with activation='relu'; only activation='lrelu' is known here"):
        opened(w.nvidia_pickle({"G": (state, arguments, attributes | {"mapping.fc0": {"activation": "relu"}})}))


# -- NVIDIA, TensorFlow -----------------------------------------------------------------------------------------------------------------

STATIC = {"resolution": 16, "truncation_psi": 0.5, "fmap_base": 100, "randomize_noise": True}


@pytest.mark.parametrize(
    ("kind", "protocol"), list(zip([*CONFIGS, "joined-classes"], (4, 2, 4, 2, 4, 2, 4), strict=True))
)
def test_tensorflow_s_networks(kind, protocol):
    config = Config.tiny(c_dim=3, joined=True) if kind == "joined-classes" else CONFIGS[kind]
    g, other = random(config, seed=3), random(config, seed=4)
    static = STATIC | {"mapping_lrmul": config.mapping_lr, "conv_clamp": config.clamp}
    data = w.tensorflow_pickle([w.tensorflow2(other), None, w.tensorflow2(g)], static, protocol)
    found = opened(data)
    assert (found.config, found.layout, list(found.held)) == (config, "NVIDIA (TensorFlow)", ["G", "Gs"])
    same(found.generator("theirs"), g)
    if kind == "skip":
        same(opened(data, part="G").generator("theirs"), other)
        with pytest.raises(ArtifactError, match="holds no network 'D'; it holds G, Gs"):
            opened(data, part="D")


def test_growing_nets_have_a_head_for_each_size():
    g = random(Config.tiny(architecture="orig"), seed=3)
    state = w.tensorflow2(g, head="ToRGB_lod0") | {"synthesis/ToRGB_lod1/weight": torch.zeros(1, 1, 8, 3)}
    same(opened(w.tensorflow_pickle([state])).generator("theirs"), g)
    with pytest.raises(ArtifactError, match="is still growing"):
        opened(w.tensorflow_pickle([state | {"lod": torch.tensor(0.5)}]))


def test_other_networks_of_theirs_are_said():
    with pytest.raises(
        ArtifactError, match="holds G, a TensorFlow network 'G_main' that is not known here; there is: ProGAN"
    ):
        opened(w.tensorflow_pickle([{"a/weight": torch.zeros(3)}, None, None]))
    g = random(CONFIGS["skip"])
    with pytest.raises(ArtifactError, match=r"was made with resample_kernel=\[1, 2, 1\]; only"):
        opened(w.tensorflow_pickle([w.tensorflow2(g)], {"resample_kernel": [1, 2, 1]}))


# -- rosinality, mmgeneration, genforce -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "legacy"), list(zip(FULL, (False, True, False), strict=True)))
def test_rosinality_s_files(kind, legacy):
    g, other = random(FULL[kind], seed=3), random(FULL[kind], seed=4)
    content = {
        "g": w.chained(other, w.ROSINALITY),
        "g_ema": w.chained(g, w.ROSINALITY),
        "latent_avg": w.weights(g)["w_avg"],
        "g_optim": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    }
    data = w.torch_file(content, _use_new_zipfile_serialization=not legacy)
    found = opened(data)
    assert (found.layout, found.config, list(found.held)) == ("rosinality", g.net.config, list(content))
    same(found.generator("theirs"), g)
    same(opened(data, part="g").generator("theirs"), other)


def test_rosinality_s_names_inside_larger_models():
    g = random(FULL["skip"], seed=3)
    own, mean = w.chained(g, w.ROSINALITY), w.weights(g)["w_avg"]
    decoder = {f"decoder.{key}": t for key, t in own.items()} | {
        "encoder.input_layer.0.weight": torch.zeros(2, 3, 3, 3)
    }
    rows = mean.expand(6, -1).clone()
    same(opened(w.torch_file({"state_dict": decoder, "latent_avg": rows, "opts": {"size": 16}})).generator("x"), g)
    uneven = opened(w.torch_file({"state_dict": decoder, "latent_avg": rows + torch.arange(6)[:, None]}))
    assert "differs from layer to layer" in uneven.notes[1]
    assert uneven.generator("x").net.w_avg is None


def test_files_without_noise_maps():
    g = random(FULL["skip"], seed=3)
    state = {key: t for key, t in w.chained(g, w.ROSINALITY).items() if not key.startswith("noises")}
    found = opened(w.torch_file({"g_ema": state}))
    assert "the file holds no noise maps" in found.notes[1]
    read = found.generator("x")
    assert float(read.net.b16.conv1.noise.abs().max()) == 0
    given = {
        f"noise.{layer.name}": g.net.get_submodule(layer.name).noise[None, None] for layer in g.layers if layer.reads
    }
    z = g.sample(1)
    assert torch.allclose(read.synthesize(read.sample(1, inputs=given)), g.synthesize(z), atol=1e-4)


@pytest.mark.parametrize(("order", "module"), [("rgb", "generator_ema."), ("bgr", "generator_ema.module.")])
def test_mmgeneration_s_files(order, module):
    g, other = random(FULL["wide"], seed=3), random(FULL["wide"], seed=4)
    state = {f"generator.{key}": t for key, t in w.chained(other, w.MMGENERATION).items()}
    own = w.chained(g, w.MMGENERATION)
    if order == "bgr":
        own |= {
            key: t.flip(1) for key, t in own.items() if re.fullmatch(r"to_rgb(1|s\.\d+)\.(bias|conv\.weight_orig)", key)
        }
    state |= {f"{module}{key}": t for key, t in own.items()}
    found = opened(w.torch_file({"meta": {"iter": 1}, "state_dict": state}), channels=order)
    assert (found.layout, found.config) == ("mmgeneration and mmagic", g.net.config)
    same(found.generator("theirs"), g)
    with pytest.raises(ArtifactError, match="has pictures of channels rgb or bgr; got 'gray'"):
        opened(w.torch_file(state), channels="gray")


@pytest.mark.parametrize("hammer", [False, True], ids=["genforce", "hammer"])
@pytest.mark.parametrize("kind", ["skip", "resnet-classes", "quiet-clamp", "joined-classes"])
def test_genforce_s_files(kind, hammer):
    config = Config.tiny(c_dim=3, joined=True) if kind == "joined-classes" else CONFIGS[kind]
    g, other = random(config, seed=3), random(config, seed=4)
    models = {"generator": w.genforce2(other, hammer), "generator_smooth": w.genforce2(g, hammer)}
    told = {"mapping_lr_mul": 0.01, "conv_clamp": config.clamp, "resolution": 16}
    kept = {"model_kwargs_init": {"generator_smooth": told}} if hammer else {}
    options = {} if hammer else {key: told[key] for key in ("conv_clamp",) if config.clamp}
    found = opened(w.torch_file({"models": models} | kept if hammer else models), **options)
    assert (found.layout, found.config) == ("genforce and Hammer", config)
    same(found.generator("theirs"), g)
    with pytest.raises(ArtifactError, match="was made with demodulate=False; only demodulate=True is known here"):
        opened(w.torch_file({"models": models, "model_kwargs_init": {"generator_smooth": {"demodulate": False}}}))


# -- the discriminator ------------------------------------------------------------------------------------------------------------------

CRITICS = {
    "resnet": stylegan2_critic.Config((10, 8, 6)),
    "skip-classes-clamp": stylegan2_critic.Config((10, 8, 6), "skip", c_dim=3, cmap_dim=5, depth=2, clamp=0.7),
    "orig-gray": stylegan2_critic.Config((10, 8), "orig", colors=1, features=2, group=None),
}


def critic_of(config, seed=0):
    source, net = torch.Generator().manual_seed(seed), stylegan2_critic.Critic(config)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=source) * (1.0 if p.ndim > 1 else 0.1))
    return net.eval()


@pytest.mark.parametrize("kind", CRITICS)
def test_the_discriminator_becomes_the_critic(kind):
    c, g = CRITICS[kind], random(CONFIGS["skip"], seed=3)
    critic = critic_of(c)
    attributes = {"b4.conv": {"conv_clamp": c.clamp}, "b4.mbstd": {"group_size": c.group}}
    attributes["mapping.fc0"] = {"bias_gain": c.mapping_lr}
    state = w.critic_state(critic) | {"b4.mbstd.resample_filter": torch.zeros(1)}
    parts = {"G_ema": (w.nvidia2(g), *w.nvidia2_arguments(g)), "D": (state, {}, attributes)}
    read = opened(w.nvidia_pickle(parts)).generator("theirs").critic
    assert read.config == c
    x = torch.randn(4, 3, 4 << len(c.widths) - 1, 4 << len(c.widths) - 1, generator=torch.Generator().manual_seed(0))
    label = torch.eye(3)[[0, 1, 2, 0]] if c.c_dim else None
    assert torch.equal(read(x, label), critic(x, label))
    assert read(x, label).shape == (4,)
    if c.c_dim:
        with pytest.raises(SettingError, match=r"this critic needs a label \[n 3\]"):
            read(x)


def test_the_critic_is_that_of_the_formulas():
    """Section 4.1 with zeros around and the filter written out, of a residual net."""
    c = CRITICS["resnet"]
    critic = critic_of(c).double()
    p = {key: t.detach() for key, t in critic.state_dict().items()}
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    act = lambda x: torch.where(x > 0, x, 0.2 * x) * 2**0.5
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8

    def conv(x, name, pad=0, stride=1):
        weight = p[f"{name}.weight"]
        bias = p.get(f"{name}.bias")
        return torch.nn.functional.conv2d(x, weight / weight[0].numel() ** 0.5, bias, stride, pad)

    def smoothed(x, pad):
        for kernel in (taps[:, None], taps[None]):
            around = (pad, pad) if kernel.shape[0] == 4 else (0, 0)
            sides = (pad, pad) if kernel.shape[1] == 4 else (0, 0)
            x = torch.nn.functional.pad(x, (*sides, *around))
            x = torch.nn.functional.conv2d(x, kernel.expand(x.shape[1], 1, *kernel.shape), groups=x.shape[1])
        return x

    y = act(conv(x, "b16.fromrgb"))
    for b in (16, 8):
        beside = conv(smoothed(y, 1)[:, :, ::2, ::2], f"b{b}.skip")
        y = act(conv(y, f"b{b}.conv0", 1))
        y = (beside + act(conv(smoothed(y, 2), f"b{b}.conv1", 0, 2))) / 2**0.5
    mean = y.mean(0, keepdim=True)
    deviation = ((y - mean).square().mean(0) + 1e-8).sqrt().mean()
    y = act(conv(torch.cat([y, deviation.expand(4, 1, 4, 4)], 1), "b4.conv", 1)).flatten(1)
    y = act(y @ p["b4.fc.weight"].T / 160**0.5 + p["b4.fc.bias"])
    want = (y @ p["b4.out.weight"].T / 10**0.5 + p["b4.out.bias"])[:, 0]
    assert float((critic(x).detach() - want).abs().max() / want.abs().max()) < 1e-9


# -- whatever the tensors ---------------------------------------------------------------------------------------------------------------

MUTANTS = (torch.zeros(()), torch.zeros(2), torch.zeros(3, 3), torch.zeros(1, 1, 1, 2), torch.zeros(0, 4, 2, 2, 1))
UNREAD = ("kernel", "lod", "filter")


@pytest.mark.parametrize("style", ["nvidia", "tensorflow", "rosinality", "mmgeneration", "genforce"])
def test_whatever_the_tensors_only_our_errors(style):
    g = random(CONFIGS["skip"])
    state, static = {
        "nvidia": (w.nvidia2(g), None),
        "tensorflow": (w.tensorflow2(g), {}),
        "rosinality": (w.chained(g, w.ROSINALITY), None),
        "mmgeneration": (w.chained(g, w.MMGENERATION), None),
        "genforce": (w.genforce2(g), None),
    }[style]
    for i, key in enumerate(sorted(state)):
        mutant = MUTANTS[i % len(MUTANTS)]
        if any(word in key for word in UNREAD) or (mutant.numel() == 1 and state[key].numel() == 1):
            continue
        for wrong in (state | {key: mutant}, {k: v for k, v in state.items() if k != key}):
            optional = wrong.keys() != state.keys() and any(
                n in key for n in ("noise", "_avg", "torgb", "ToRGB", "output")
            )
            fails = suppress(ArtifactError) if optional else pytest.raises(ArtifactError, match=r"^x:? [^\n]+$")
            with fails:
                checkpoints.identified(w.read(wrong, static), "x").generator("x")


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_the_features_of_a_critic_are_one_for_each_size_and_of_each_picture_alone(architecture):
    net = stylegan2_critic.Critic(stylegan2_critic.Config((6, 5, 4), architecture)).requires_grad_(False)
    source = torch.Generator().manual_seed(0)
    for p in net.parameters():
        p.copy_(torch.randn(p.shape, generator=source))
    images = torch.randn(4, 3, 16, 16, generator=source)
    seen = net.features(images)
    assert [tuple(x.shape[1:]) for x in seen] == [(5, 8, 8), (6, 4, 4)]
    for whole, alone in zip(seen, net.features(images[:1]), strict=True):
        torch.testing.assert_close(whole[:1], alone)
