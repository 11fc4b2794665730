"""ProGAN and StyleGAN as each writer's code stores them."""

import json

import pytest
import torch
import written as w

from steerable import checkpoints, foreign
from steerable.errors import ArtifactError
from steerable.generators import progan, stylegan1
from steerable.generators.opening import made

PROGAN = {"odd": progan.Config.tiny(), "classes-gray": progan.Config.tiny(c_dim=3, colors=1, z_dim=5)}
STYLEGAN1 = {"odd": stylegan1.Config.tiny(), "classes-gray": stylegan1.Config.tiny(c_dim=3, colors=1, z_dim=5, depth=1)}


def same(read, g):
    z = g.sample(2)
    a, b = read.synthesize(z), g.synthesize(z)
    assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def theirs(state, static=None, **options):
    return checkpoints.identified(w.read(state, static), "x", options=options).generator("x")


# -- ProGAN -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", PROGAN)
def test_tensorflow_s_progan(kind, fused):
    """Its code of 2017 has the module tfutil."""
    g, other = progan.random(PROGAN[kind], seed=3), progan.random(PROGAN[kind], seed=4)
    static = {"label_size": g.net.config.c_dim, "fused_scale": fused, "resolution": 16}
    networks = [w.progan_tf(other, fused), None, w.progan_tf(g, fused)]
    found = checkpoints.opened(w.tensorflow_pickle(networks, static, 2, "tfutil"))
    assert (found.family, found.config, found.notes) == ("progan", g.net.config, [])
    same(found.generator("theirs"), g)


@pytest.mark.parametrize("fused", [False, True])
def test_genforce_s_progan(fused):
    g = progan.random(PROGAN["odd"], seed=3)
    state = {f"generator_smooth.{key}": t for key, t in w.progan_genforce(g, fused).items()}
    same(theirs(state, fused_scale=fused), g)
    with pytest.raises(ArtifactError, match="x was made with final_tanh=True; only final_tanh=False is known here"):
        theirs(state, final_tanh=True)


def test_a_graph_of_tensorflow_js():
    """As the conversion of google/progan-128: gains are in the weights, and the last layer's bias is half of x plus a half."""
    g = progan.random(PROGAN["odd"], seed=3)
    tensors, nodes = {}, []
    parts = ["b4.dense", "b4.conv", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "torgb"]
    for i, part in enumerate(parts):
        weight, bias = (w.weights(g)[f"{part}.{leaf}"] for leaf in ("weight", "bias"))
        gain = weight.shape[1] ** -0.5 if part == "torgb" else (2 / weight[0].numel()) ** 0.5
        weight = (weight.flip(2, 3) if i == 0 else weight) * gain
        tensors[f"w{i}"] = weight.permute(2, 3, 1, 0).contiguous()
        tensors[f"b{i}"] = bias / 2 + 0.5 if part == "torgb" else bias
        nodes += [{"name": f"conv{i}", "op": "Conv2D", "input": ["x", f"w{i}"]}]
        nodes += [{"name": f"add{i}", "op": "Add", "input": [f"conv{i}", f"b{i}"]}]
    held = [{"name": name, "shape": list(t.shape), "dtype": "float32"} for name, t in tensors.items()]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": [{"paths": ["shard"], "weights": held}]}
    shard = b"".join(t.numpy().tobytes() for t in tensors.values())
    tree = foreign.read(json.dumps(model).encode(), beside={"shard": shard})
    found = checkpoints.identified(tree, "x")
    assert found.layout == "TensorFlow.js (ProGAN)"
    same(found.generator("theirs"), g)
    broken = foreign.Tree(tree.value, "tfjs", tuple(node for node in tree.graph if node.name != "add3"))
    with pytest.raises(
        ArtifactError, match="x is the graph of a ProGAN, but damaged or of another kind: there is no 'conv3'"
    ):
        checkpoints.identified(broken, "x")


def test_what_cannot_be_read_is_said():
    state = w.progan_tf(progan.random(PROGAN["odd"]), True)
    with pytest.raises(ArtifactError, match=r"x is still growing \(lod is not 0\); take a later checkpoint"):
        theirs(state | {"lod": torch.tensor(1.5)}, {})
    with pytest.raises(ArtifactError, match="was made with use_pixelnorm=False; only use_pixelnorm=True is known"):
        theirs(state, {"use_pixelnorm": False})
    with pytest.raises(
        ArtifactError, match="x is a ProGAN, but damaged or of another kind: there is no '8x8/Conv0/weight'"
    ):
        theirs({k: v for k, v in state.items() if k != "8x8/Conv0_up/weight"}, {})
    with pytest.raises(ArtifactError, match="it describes a net that cannot be made"):
        made("x", progan.Net, progan.Config((1 << 40,), 1 << 30))
    with pytest.raises(ArtifactError, match=r"b8.conv1.bias should have the shape \(7,\); it has \(8,\)"):
        theirs(state | {"8x8/Conv1/bias": torch.zeros(8)}, {})
    with pytest.raises(ArtifactError, match="12 inputs cannot have 12 classes among them"):
        theirs(state, {"label_size": 12})
    with pytest.raises(
        ArtifactError, match="holds 3 tensors that belong to nothing, the first is '16x16/Conv0_up/weight'"
    ):
        theirs({k: v for k, v in state.items() if k != "16x16/Conv1/weight"}, {})


MUTANTS = (torch.zeros(()), torch.zeros(2), torch.zeros(3, 3), torch.zeros(1, 1, 1, 2), torch.zeros(0, 4, 2, 2, 1))


@pytest.mark.parametrize("style", ["progan", "progan-genforce", "tensorflow", "genforce"])
def test_whatever_the_tensors_only_our_errors(style):
    if style.startswith("progan"):
        g = progan.random(PROGAN["odd"])
        state = w.progan_tf(g, True) if style == "progan" else w.progan_genforce(g, False)
    else:
        state = w.stylegan1(stylegan1.random(STYLEGAN1["odd"]), False, style)
    static = None if "genforce" in style else {}
    for i, key in enumerate(sorted(state)):
        mutant = MUTANTS[i % len(MUTANTS)]
        if any(unread in key for unread in ("lod1", "output0", "output1", "blur", "kernel")):
            continue  # belongs to nothing that is read
        if key.endswith("lod") and mutant.numel() == 1:
            continue
        with pytest.raises(ArtifactError, match=r"^x:? [^\n]+$"):
            theirs(state | {key: mutant}, static)


# -- StyleGAN ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["tensorflow", "genforce", "hammer"])
@pytest.mark.parametrize("kind", STYLEGAN1)
@pytest.mark.parametrize("fused", ["auto", True])
def test_stylegan_of_three_codes(kind, fused, style):
    g = stylegan1.random(STYLEGAN1[kind], seed=3)
    state = w.stylegan1(g, fused is True, style)
    if style == "tensorflow":
        read = theirs(state, {"fused_scale": fused, "mapping_lrmul": 0.01})
    else:
        read = theirs({f"models.generator_smooth.{key}": t for key, t in state.items()}, fused_scale=fused)
    widths = {"mapping_width": 10} if kind == "classes-gray" else {}  # one layer has no inner width
    assert read.net.config == stylegan1.Config.tiny(**(vars(g.net.config) | widths))
    same(read, g)


def test_a_file_of_stylegan():
    g = stylegan1.random(STYLEGAN1["odd"], seed=3)
    data = w.tensorflow_pickle([w.stylegan1(g, False, "tensorflow")], {"resolution": 16})
    found = checkpoints.opened(data)
    assert (found.layout, found.family) == ("NVIDIA (TensorFlow)", "stylegan1")
    same(found.generator("theirs"), g)


def test_large_kernels_are_turned_around_by_default():
    g = stylegan1.random(stylegan1.Config.tiny(widths=(3, 2, 2, 2, 2, 2)), seed=3)
    read = theirs(w.stylegan1(g, False, "tensorflow"), {})
    assert torch.equal(read.net.b64["conv0"].conv.weight, g.net.b64["conv0"].conv.weight)
    assert torch.equal(read.net.b128["conv0"].conv.weight, g.net.b128["conv0"].conv.weight.flip(2, 3))


def test_what_cannot_be_read_of_a_stylegan_is_said():
    state = w.stylegan1(stylegan1.random(STYLEGAN1["odd"]), False, "tensorflow")
    with pytest.raises(ArtifactError, match=r"x is still growing \(lod is not 0\); take a later checkpoint"):
        theirs(state | {"synthesis/lod": torch.tensor(1.5)}, {})
    with pytest.raises(ArtifactError, match="x was made with use_noise=False; only use_noise=True is known"):
        theirs(state, {"use_noise": False})
    with pytest.raises(
        ArtifactError, match="x is a StyleGAN, but damaged or of another kind: there is no '8x8/Conv1/bias'"
    ):
        theirs({k: v for k, v in state.items() if k != "synthesis/8x8/Conv1/bias"}, {})
    with pytest.raises(ArtifactError, match=r"b8.conv1.affine.bias should have the shape \(14,\); it has \(3,\)"):
        theirs(state | {"synthesis/8x8/Conv1/StyleMod/bias": torch.zeros(3)}, {})
    with pytest.raises(ArtifactError, match=r"x says mapping_lrmul='\?'; a number is expected"):
        theirs(state, {"mapping_lrmul": "?"})
