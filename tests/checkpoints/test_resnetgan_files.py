"""Residual generators as five codes write them, made here from nets of ours: what is read is the net again, up-sampling included."""

import io

import numpy as np
import pytest
import torch

from steerable import foreign
from steerable.checkpoints.resnetgan import recognized
from steerable.errors import ArtifactError
from steerable.generators.resnetgan import Config, random

PAPER = {"skips": (1, 1)}


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return foreign.read(file.getvalue())


def numbered(g, conditional="tables", prefix=""):
    """The names that torch ports of sngan_projection share: l1, block2.c1, block2.b1, block2.c_sc … b4, c4."""
    p, n, found = g.net.state_dict(), len(g.net.config.skips), {}
    for leaf in ("weight", "bias"):
        found[f"l1.{leaf}"] = p[f"linear.{leaf}"]
        found[f"c{n + 2}.{leaf}"] = p[f"torgb.conv.{leaf}"]
        for i in range(n):
            for j in (0, 1):
                found[f"block{i + 2}.c{j + 1}.{leaf}"] = p[f"blocks.{i}.convs.{j}.{leaf}"]
            if g.net.config.skips[i]:
                found[f"block{i + 2}.c_sc.{leaf}"] = p[f"blocks.{i}.skip.{leaf}"]
    for i in range(n):
        for j in (0, 1):
            at, gain, bias = f"block{i + 2}.b{j + 1}", p[f"tables.{i}.gain.{j}"], p[f"tables.{i}.bias.{j}"]
            inner = f"{at}.bn" if g.net.config.classes and conditional == "embed" else at
            found |= {f"{inner}.running_{leaf}": p[f"blocks.{i}.norms.{j}.{leaf}"][0] for leaf in ("mean", "var")}
            if not g.net.config.classes:
                found |= {f"{at}.weight": gain[0], f"{at}.bias": bias[0], f"{at}.num_batches_tracked": torch.tensor(9)}
            elif conditional == "embed":
                found[f"{at}.embed.weight"] = torch.cat([gain, bias], 1)
            else:
                found |= {f"{at}.weight": gain, f"{at}.bias": bias}
    found |= {f"b{n + 2}.running_{leaf}": p[f"torgb.norm.{leaf}"][0] for leaf in ("mean", "var")}
    found |= {f"b{n + 2}.weight": p["torgb.gain"], f"b{n + 2}.bias": p["torgb.bias"]}
    return {prefix + k: v for k, v in found.items()}


def chainer(g):
    """The same as Chainer saves it: arrays, and other words for the same."""
    words = {"weight": "W", "bias": "b"}
    norm = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "avg_mean",
        "running_var": "avg_var",
        "num_batches_tracked": "N",
    }
    found = {}
    for key, tensor in numbered(g).items():
        *path, leaf = key.split(".")
        table = path[-1].startswith("b") and not path[-1].startswith("block")
        if table and tensor.ndim == 2:
            path, leaf = [*path, f"{norm[leaf]}s"], "W"
        else:
            leaf = (norm if table else words)[leaf]
        if path[-1].startswith("c") and "block" not in path[0]:
            path = ["l" + path[-1][1:]]
        found["/".join([*path, leaf])] = np.asarray(tensor)
    return found


def npz(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return foreign.read(file.getvalue())


def sequential(g, prefix="model.", dense=False):
    """Names of a Sequential of a linear map, a reshape and blocks, each of which lists its convolutions twice."""
    p, n, found = g.net.state_dict(), len(g.net.config.skips), {}
    first = 0 if dense else 2
    for leaf in ("weight", "bias"):
        found["dense." + leaf if dense else f"{prefix}0.{leaf}"] = p[f"linear.{leaf}"]
        found[f"{prefix}{first + n + 2}.{leaf}"] = p[f"torgb.conv.{leaf}"]
        if dense:
            found[f"final.{leaf}"] = p[f"torgb.conv.{leaf}"]
        for i in range(n):
            at = f"{prefix}{first + i}"
            for j, twice in ((0, 3), (1, 6)):
                found[f"{at}.conv{j + 1}.{leaf}"] = found[f"{at}.model.{twice}.{leaf}"] = p[
                    f"blocks.{i}.convs.{j}.{leaf}"
                ]
            if g.net.config.skips[i]:
                found[f"{at}.bypass.1.{leaf}"] = p[f"blocks.{i}.skip.{leaf}"]
    norms = [
        (f"{prefix}{first + i}.model.{4 * j}", f"blocks.{i}.norms.{j}", f"tables.{i}", f".{j}")
        for i in range(n)
        for j in (0, 1)
    ]
    norms.append((f"{prefix}{first + n}", "torgb.norm", "torgb", ""))
    for at, stats, tables, j in norms:
        found |= {f"{at}.running_{leaf}": p[f"{stats}.{leaf}"][0] for leaf in ("mean", "var")}
        found |= {
            f"{at}.{theirs}": p[f"{tables}.{ours}{j}"].flatten()
            for theirs, ours in (("weight", "gain"), ("bias", "bias"))
        }
    return found


def same(found, g, layout):
    assert (found.layout, found.family) == (f"ResNet GAN ({layout})", "resnetgan")
    assert found.config == g.net.config
    read, want = found.generator("theirs").net.state_dict(), g.net.state_dict()
    assert read.keys() == want.keys()
    for key, tensor in want.items():
        assert torch.allclose(read[key], tensor, rtol=1e-5, atol=1e-7), key


@pytest.mark.parametrize("classes", [0, 3])
def test_chainer_s_arrays(classes):
    g = random(Config.tiny(**PAPER, classes=classes, epsilon=2e-5), seed=3)
    same(recognized(npz(chainer(g)), {}), g, "pfnet")


@pytest.mark.parametrize("classes", [0, 3])
def test_mimicry_s_files(classes):
    g = random(Config.tiny(**PAPER, side=6, classes=classes, linear=True), seed=3)
    same(
        recognized(
            saved({"model_state_dict": numbered(g, "embed"), "optimizer_state_dict": None, "global_step": 3}), {}
        ),
        g,
        "mimicry",
    )


def test_attention_and_spectral_normalization():
    g = random(Config.tiny(widths=(16, 16, 16, 16), skips=(1, 1, 1), classes=3, linear=True, attention=1), seed=3)
    state, p = numbered(g, "embed"), g.net.state_dict()
    state |= {f"attn_block.{leaf}.weight": p[f"attention.1.{leaf}"] for leaf in ("theta", "phi", "g", "o")}
    for key in [k for k in state if k.endswith(".weight") and state[k].ndim > 1 and "embed" not in k]:
        weight, part = state.pop(key), key.removesuffix("weight")
        v = torch.ones(weight[0].numel())
        u = weight.flatten(1) @ v
        state |= {f"{part}weight_orig": 2 * weight, f"{part}weight_u": u / u.square().sum(), f"{part}weight_v": v}
    state["attn_block.gamma"] = p["attention.1.gamma"]
    same(recognized(saved(state), {}), g, "mimicry")


def test_the_averaged_weights_of_a_checkpoint_come_first():
    g, other = (random(Config.tiny(**PAPER), seed=s) for s in (1, 2))
    tree = saved(
        {"gen_state_dict": numbered(g), "avg_gen_state_dict": numbered(other), "dis_state_dict": {}, "epoch": 7}
    )
    same(recognized(tree, {}), other, "GongXinyuu")
    same(recognized(tree, {"part": "gen_state_dict"}), g, "GongXinyuu")


@pytest.mark.parametrize("dense", [False, True])
def test_a_sequential_s_names(dense):
    g = random(
        Config.tiny(
            skips=(0, 0) if dense else (0, 3), widths=(9, 9, 9) if dense else (9, 9, 5), colors=3 if dense else 1
        ),
        seed=3,
    )
    same(recognized(saved(sequential(g, dense=dense)), {}), g, "Sequential")


def test_what_the_file_does_not_say_has_to_be_told():
    g = random(Config.tiny(**PAPER, classes=3), seed=3)
    tree = saved(numbered(g))
    with pytest.raises(ArtifactError, match=r"does not say how maps grow .* give options=\{'upsampling': 'nearest'\}"):
        recognized(tree, {})
    same(recognized(tree, {"upsampling": "nearest"}), g, "unknown code")
    assert recognized(tree, {"upsampling": "bilinear", "eps": 1e-3}).config == Config.tiny(
        **PAPER, classes=3, linear=True, epsilon=1e-3
    )


def test_other_files_are_others():
    assert recognized(saved({"weight": torch.zeros(2)}), {}) is None
    assert recognized(npz({"lat_comp": np.zeros((2, 3))}), {}) is None


@pytest.mark.parametrize("kind", ["numbered", "sequential"])
def test_whatever_the_tensors_only_our_errors(kind):
    g = random(Config.tiny())
    state = numbered(g) if kind == "numbered" else sequential(g)
    for i, key in enumerate(state):
        if (
            key in ("block2.c1.bias",)
            or "tracked" in key
            or ".model.3." in key
            or ".model.6." in key
            or "bypass" in key
            or "c_sc" in key
        ):
            continue
        for change in ({key: (torch.zeros(()), torch.zeros(2), torch.zeros(0, 4, 2))[i % 3]}, None):
            changed = {**state, **change} if change else {k: v for k, v in state.items() if k != key}
            if change is None and ".model.4.running_mean" in key:
                continue
            with pytest.raises(ArtifactError, match=r"^[^\n]+$"):
                recognized(foreign.Tree(changed, "torch-zip"), {"upsampling": "nearest"}).generator("x")
