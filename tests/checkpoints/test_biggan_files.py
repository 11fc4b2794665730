"""Files as HuggingFace's and ajbrock's code write them, made here from nets of ours: what is read from them is the net again."""

import io
from collections import OrderedDict

import pytest
import torch

from steerable import foreign
from steerable.checkpoints.biggan import recognized
from steerable.errors import ArtifactError
from steerable.generators.biggan import Config, random

DEEP = {
    "widths": (16, 16, 8, 8, 8),
    "ups": (False, True, False, True),
    "deep": True,
    "hierarchical": False,
    "z_dim": 7,
    "attention": (1,),
}


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return foreign.read(file.getvalue())


def torch_s(weight, name, source):
    """What torch keeps of a spectrally normalized weight: the vectors need not be the singular ones."""
    v = torch.randn(weight[0].numel(), generator=source)
    u = weight.flatten(1) @ v
    u = u / u.square().sum()  # u·Wv = 1
    return {f"{name}.weight_orig": 3 * weight, f"{name}.weight_u": u, f"{name}.weight_v": v}


def ajbrock_s(weight, name, source):
    return {
        f"{name}.weight": weight,
        f"{name}.u0": torch.randn(1, len(weight), generator=source),
        f"{name}.sv0": torch.ones(1),
    }


def normalized(weight, u):
    """W / |W v| with v along uW."""
    W = weight.flatten(1)
    v = (u @ W)[0]
    return weight / (W @ (v / v.norm())).norm()


def huggingface(g):
    """The state dict of pytorch-pretrained-BigGAN with these weights; its colors are as many as channels."""
    p, source, c = g.net.state_dict(), torch.Generator().manual_seed(1), g.net.config
    rows = lambda t: t.unflatten(0, (-1, 4, 4)).movedim(0, 2).flatten(0, 2)  # c h w to h w c
    found = {"embeddings.weight": p["embed"].T.contiguous(), "generator.gen_z.bias": rows(p["linear.bias"])}
    found |= torch_s(rows(p["linear.weight"]), "generator.gen_z", source)
    j = 0
    for i in range(len(c.ups)):
        at = f"generator.layers.{j}"
        for k in range(4):
            found |= torch_s(p[f"blocks.{i}.convs.{k}.weight"], f"{at}.conv_{k}", source)
            found[f"{at}.conv_{k}.bias"] = p[f"blocks.{i}.convs.{k}.bias"]
            for leaf, theirs in (("mean", "running_means"), ("var", "running_vars")):
                found[f"{at}.bn_{k}.{theirs}"] = p[f"blocks.{i}.norms.{k}.{leaf}"]
            for leaf, theirs in (("gain", "scale"), ("bias", "offset")):
                found |= torch_s(p[f"maps.{i}.{leaf}.{k}"], f"{at}.bn_{k}.{theirs}", source)
        j += 1
        if i in c.attention:
            at, j = f"generator.layers.{j}", j + 1
            for leaf in ("theta", "phi", "g", "o"):
                theirs = {"o": "o_conv"}.get(leaf, leaf)
                found |= torch_s(p[f"attention.{i}.{leaf}"], f"{at}.snconv1x1_{theirs}", source)
            found[f"{at}.gamma"] = p[f"attention.{i}.gamma"][None]
    for leaf, theirs in (
        ("norm.mean", "running_means"),
        ("norm.var", "running_vars"),
        ("gain", "weight"),
        ("bias", "bias"),
    ):
        found[f"generator.bn.{theirs}"] = p[f"torgb.{leaf}"]
    extra = torch.randn(c.widths[-1] - 3, c.widths[-1], 3, 3, generator=source)
    found |= torch_s(torch.cat([p["torgb.conv.weight"], extra]), "generator.conv_to_rgb", source)
    found["generator.conv_to_rgb.bias"] = torch.cat([p["torgb.conv.bias"], torch.ones(c.widths[-1] - 3)])
    return OrderedDict(found)


def ajbrock(g, spectral=True, statistics="stored", shared=True):
    """The state dict of BigGAN-PyTorch with these weights, and the weights after spectral normalization."""
    p, source, c = g.net.state_dict(), torch.Generator().manual_seed(1), g.net.config
    found, want = OrderedDict(), dict(p)

    def put(ours, theirs, turned=lambda m: m, back=lambda m: m):
        weight = turned(p[ours])
        found.update(ajbrock_s(weight, theirs, source) if spectral else {f"{theirs}.weight": weight})
        want[ours] = back(normalized(weight, found[f"{theirs}.u0"])) if spectral else p[ours]

    def stats(ours, theirs):
        for leaf in ("mean", "var"):
            name = {"stored": "stored", "mybn": "bn.stored", "cross": "bn.running"}[statistics]
            found[f"{theirs}.{name}_{leaf}"] = p[f"{ours}.{leaf}"][0] * (4 if statistics == "mybn" else 1)
        if statistics == "mybn":
            found[f"{theirs}.bn.accumulation_counter"] = torch.full((1,), 4.0)

    first = lambda m: torch.cat([m[:, -c.embedding :], m[:, : -c.embedding]], 1)  # the class first
    last = lambda m: torch.cat([m[:, c.embedding :], m[:, : c.embedding]], 1)
    mixed = (first, last) if c.deep or c.hierarchical else ()
    if shared:
        found["shared.weight"] = p["embed"]
    put("linear.weight", "linear", *(mixed if c.deep else ()))
    found["linear.bias"] = p["linear.bias"]
    for i in range(len(c.ups)):
        at = f"blocks.{i}.0"
        for k in range(4 if c.deep else 2):
            put(f"blocks.{i}.convs.{k}.weight", f"{at}.conv{k + 1}")
            found[f"{at}.conv{k + 1}.bias"] = p[f"blocks.{i}.convs.{k}.bias"]
            stats(f"blocks.{i}.norms.{k}", f"{at}.bn{k + 1}")
            for leaf in ("gain", "bias"):
                if shared:
                    put(f"maps.{i}.{leaf}.{k}", f"{at}.bn{k + 1}.{leaf}", *mixed)
                else:
                    found[f"{at}.bn{k + 1}.{leaf}.weight"] = p[f"maps.{i}.{leaf}.{k}"].T
        if not c.deep:
            put(f"blocks.{i}.skip.weight", f"{at}.conv_sc")
            found[f"{at}.conv_sc.bias"] = p[f"blocks.{i}.skip.bias"]
        if i in c.attention:
            for leaf in ("theta", "phi", "g", "o"):
                put(f"attention.{i}.{leaf}", f"blocks.{i}.1.{leaf}")
            found[f"blocks.{i}.1.gamma"] = p[f"attention.{i}.gamma"]
    stats("torgb.norm", "output_layer.0")
    found["output_layer.0.gain"], found["output_layer.0.bias"] = p["torgb.gain"], p["torgb.bias"]
    put("torgb.conv.weight", "output_layer.2")
    found["output_layer.2.bias"] = p["torgb.conv.bias"]
    return found, want


def same(read, want):
    state = read.net.state_dict()
    assert state.keys() == want.keys()
    for key, tensor in want.items():
        assert torch.allclose(state[key], tensor, rtol=1e-5, atol=1e-7), key


def test_huggingface_s_net():
    g = random(Config.tiny(**DEEP, levels=51), seed=3)
    found = recognized(saved(huggingface(g)), {})
    assert (found.layout, found.family, found.config) == ("BigGAN of HuggingFace", "biggan", g.net.config)
    assert ["layers" in note or "eps" in note for note in found.notes] == [True, True]
    read = found.generator("theirs")
    same(read, g.net.state_dict())
    z = g.truncate(g.sample(2), 0.43)
    assert torch.allclose(read.synthesize(z), g.synthesize(z), atol=1e-5)


def test_huggingface_s_net_with_its_configuration():
    widths, ups = (16, 16, 8, 8, 8), (True, True, False, False)
    g = random(Config.tiny(**DEEP | {"widths": widths, "ups": ups}, levels=6, epsilon=1e-3, head_epsilon=1e-3))
    theirs = {
        "output_dim": 16,
        "z_dim": 7,
        "class_embed_dim": 5,
        "channel_width": 8,
        "num_classes": 3,
        "eps": 1e-3,
        "n_stats": 6,
    }
    theirs |= {
        "layers": [[up, a // 8, b // 8] for up, a, b in zip(ups, widths, widths[1:], strict=False)],
        "attention_layer_position": 2,
    }
    state = huggingface(g)
    found = recognized(saved(state), theirs)
    assert (found.config, found.notes) == (g.net.config, [])
    with pytest.raises(ArtifactError, match="holds tensors of num_classes=3; the configuration says num_classes=1000"):
        recognized(saved(state), theirs | {"num_classes": 1000})
    with pytest.raises(ArtifactError, match="says eps='small'; a number is expected"):
        recognized(saved(state), {"eps": "small"})


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (Config.tiny(), {}),
        (Config.tiny(), {"spectral": False, "statistics": "mybn"}),
        (Config.tiny(hierarchical=False, attention=(), side=3), {"statistics": "cross"}),
        (Config.tiny(hierarchical=False, embedding=3), {"shared": False}),
        (Config.tiny(**DEEP, levels=1), {}),
    ],
    ids=["chunks", "standing statistics", "whole z", "tables", "deep"],
)
def test_ajbrock_s_nets(config, how):
    config = Config(**vars(config) | {"bound": None, "epsilon": 1e-5, "head_epsilon": 1e-5})
    g = random(config, seed=3)
    if not how.get("shared", True):
        with torch.no_grad():
            g.net.embed.copy_(torch.eye(3))
    state, want = ajbrock(g, **how)
    found = recognized(saved(state), {})
    assert (found.layout, found.config) == ("BigGAN of ajbrock", config)
    same(found.generator("theirs"), want)
    assert recognized(saved(state), {"BN_eps": 1e-4}).config.epsilon == 1e-4


def test_of_several_nets_the_averaged_one_or_the_one_asked_for():
    g, other = (random(Config.tiny(bound=None, epsilon=1e-5, head_epsilon=1e-5), seed=s) for s in (1, 2))
    both = saved({"G": dict(ajbrock(g, False)[0]), "G_ema": dict(ajbrock(other, False)[0]), "itr": 7})
    same(recognized(both, {}).generator("x"), other.net.state_dict())
    same(recognized(both, {"part": "G"}).generator("x"), g.net.state_dict())
    with pytest.raises(ArtifactError, match="there is no generator 'D' in it; there is: G, G_ema"):
        recognized(both, {"part": "D"})
    wrapped = saved({f"module.{k}": v for k, v in ajbrock(g, False)[0].items()})
    same(recognized(wrapped, {}).generator("x"), g.net.state_dict())


def test_a_small_file_makes_no_large_embedding():
    state = ajbrock(random(Config.tiny(hierarchical=False, embedding=3)), shared=False)[0]
    state["blocks.0.0.bn1.gain.weight"] = torch.zeros(5000, 10)
    with pytest.raises(ArtifactError, match="has tables of 5000 classes; at most 4096 are read"):
        recognized(saved(state), {})


def test_other_files_are_others():
    assert recognized(saved({"weight": torch.zeros(2)}), {}) is None
    assert recognized(saved({"epoch": 3}), {}) is None


def test_whatever_the_tensors_only_our_errors():
    hf = huggingface(random(Config.tiny(**DEEP, levels=3)))
    aj = ajbrock(random(Config.tiny()))[0]
    mutants = (torch.zeros(()), torch.zeros(2), torch.zeros(0, 4, 2, 2, 1))
    for state, mark in ((hf, "generator.gen_z.bias"), (aj, "blocks.0.0.conv1.bias")):
        for i, key in enumerate(state):
            if key.endswith((".sv0", ".u0", "weight_u", "weight_v", "gamma")):
                continue  # a number in the wrong shape may do
            changed = {**state, key: mutants[i % 3]}
            with pytest.raises(ArtifactError, match=r"^[^\n]+$"):
                recognized(foreign.Tree(changed, "torch-zip"), {}).generator("x")
            without = {k: v for k, v in state.items() if k != key}
            if key != mark and not key.startswith(("blocks.0.1", "generator.layers.2")):
                with pytest.raises(ArtifactError, match=r"^[^\n]+$"):
                    recognized(foreign.Tree(without, "torch-zip"), {}).generator("x")
