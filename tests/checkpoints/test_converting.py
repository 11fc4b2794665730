"""Loading by `st.load`, converting to our own files and to rosinality's, and what the command line says of a file."""

import json

import pytest
import torch
import written as w
from test_other_files import dcgan, lucid_file
from test_stylegan2_files import CRITICS, critic_of

import steerable as st
from steerable import checkpoints
from steerable.cli import main
from steerable.errors import ArtifactError, SettingError, UnknownName
from steerable.generators import progan, stylegan1, stylegan2, stylegan3
from steerable.generators.stylegan2 import Config, random


def files():
    """One checkpoint of each family."""
    g = random(Config.tiny(clamp=0.5), seed=3)
    yield "stylegan2", w.nvidia_pickle({"G_ema": (w.nvidia2(g), *w.nvidia2_arguments(g))})
    yield "stylegan2-tf", w.tensorflow_pickle([None, None, w.tensorflow2(random(Config.tiny(c_dim=3, joined=True)))])
    state, arguments = w.nvidia3(stylegan3.random(stylegan3.Config.tiny(radial=True)))
    yield "stylegan3", w.nvidia_pickle({"G_ema": (state, arguments, {})})
    one = stylegan1.random(stylegan1.Config.tiny())
    yield "stylegan1", w.tensorflow_pickle([w.stylegan1(one, False, "tensorflow")])
    yield "progan", w.tensorflow_pickle([w.progan_tf(progan.random(progan.Config.tiny()), True)])
    yield "dcgan", w.torch_file(dcgan().state_dict())
    yield "stylegan2_bilinear", w.torch_file(lucid_file())


FILES = dict(files())


@pytest.fixture
def file(tmp_path):
    g, other = random(Config.tiny(), seed=3), random(Config.tiny(), seed=4)
    content = {
        "g": w.chained(other, w.ROSINALITY),
        "g_ema": w.chained(g, w.ROSINALITY),
        "latent_avg": w.weights(g)["w_avg"],
    }
    path = tmp_path / "faces.pt"
    path.write_bytes(w.torch_file(content))
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as code:
        main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code.value.code, said.out, said.err


def test_load(file, tmp_path):
    g = st.load(file, device="cpu")
    assert (g.name, g.resolution) == ("faces", 16)
    z = g.sample(1)
    assert torch.allclose(g.synthesize(z), random(Config.tiny(), seed=3).synthesize(z), atol=1e-4)
    other = st.load(str(file), device="cpu", part="g")
    assert torch.allclose(other.synthesize(z), random(Config.tiny(), seed=4).synthesize(z), atol=1e-4)
    assert st.load(file, device="cpu", options={"mapping_lr": 0.02}).net.config.mapping_lr == 0.02
    with pytest.raises(SettingError, match="rosinality files have no option 'lr'; there is: mapping_lr"):
        st.load(file, options={"lr": 1})
    with pytest.raises(SettingError, match="part and options are for checkpoint files; 'tiny-style' is none"):
        st.load("tiny-style", part="g")
    with pytest.raises(UnknownName, match="no generator is called"):
        st.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(ArtifactError, match="text.pt is damaged, or of no kind that is read"):
        st.load(tmp_path / "text.pt")


def test_the_fingerprint_is_that_of_the_file_as_read(file, monkeypatch):
    hashed = []
    original = checkpoints.checkpoint.fingerprint
    monkeypatch.setattr(checkpoints.checkpoint, "fingerprint", lambda tensors: hashed.append(1) or original(tensors))
    g = st.load(file, device="cpu")
    assert not hashed  # until somebody asks for it
    mark = g.fingerprint
    assert mark == g.fingerprint == checkpoints.opened(file).fingerprint
    assert g.to(dtype=torch.float64).fingerprint == mark
    assert mark != st.load(file, device="cpu", part="g").fingerprint


@pytest.mark.parametrize("kind", FILES)
def test_converted_files_make_the_same_pictures(kind, tmp_path):
    path, ours = tmp_path / "theirs", tmp_path / "ours.safetensors"
    path.write_bytes(FILES[kind])
    found = checkpoints.opened(path)
    assert checkpoints.converted(found, ours, name="theirs") == []
    before, after = found.generator("theirs"), checkpoints.opened(ours)
    assert (after.layout, after.family, after.config) == ("steerable", found.family, found.config)
    assert tuple(after.notes) == tuple(found.notes)
    read = after.generator("theirs")
    z = before.sample(2, seed=7)
    assert torch.equal(read.synthesize(z), before.synthesize(z))
    assert read.fingerprint == before.fingerprint == found.fingerprint
    again = tmp_path / "again.safetensors"
    checkpoints.converted(after, again)
    assert checkpoints.opened(again).fingerprint == found.fingerprint


def test_the_critic_is_left_out(tmp_path):
    g, critic = random(Config.tiny(), seed=3), critic_of(CRITICS["resnet"])
    parts = {"G_ema": (w.nvidia2(g), *w.nvidia2_arguments(g)), "D": (w.critic_state(critic), {}, {})}
    path = tmp_path / "network.pkl"
    path.write_bytes(w.nvidia_pickle(parts))
    assert st.load(path, device="cpu").critic is not None
    checkpoints.converted(checkpoints.opened(path), tmp_path / "model.safetensors")
    assert st.load(tmp_path / "model.safetensors", device="cpu").critic is None


def test_to_rosinality(tmp_path, monkeypatch):
    g = random(Config.tiny(mapping_lr=0.1), seed=3)
    (tmp_path / "network.pkl").write_bytes(w.nvidia_pickle({"G": (w.nvidia2(g), *w.nvidia2_arguments(g))}))
    found = checkpoints.opened(tmp_path / "network.pkl")
    lost = checkpoints.converted(found, tmp_path / "g.pt", "rosinality")
    assert lost == ["its widths are of no channel_multiplier 1 or 2"]
    held = torch.load(tmp_path / "g.pt", weights_only=True)
    assert held["latent_avg"].shape == (12,)
    assert held["g_ema"].keys() == w.chained(g, w.ROSINALITY).keys() | {
        "to_rgbs.0.upsample.kernel",
        "to_rgbs.1.upsample.kernel",
    }
    read, z = st.load(tmp_path / "g.pt", device="cpu"), g.sample(2)
    want = st.render(found.generator("x"), z, [st.Truncate(0.7)])
    assert float((st.render(read, z, [st.Truncate(0.7)]) - want).abs().max()) <= 1e-5 * float(want.abs().max())
    for kind, reason in (
        ({"c_dim": 2}, "it has classes"),
        ({"architecture": "resnet"}, "its architecture is resnet, theirs skip"),
        ({"noise": False, "colors": 1}, "it has no noise; it has 1 color, theirs 3"),
        ({"const": (4, 2), "z_dim": 5}, r"z and w differ in width; its first size is \(4, 2\), theirs \(4, 4\)"),
    ):
        other = random(Config.tiny(**kind))
        data = w.nvidia_pickle({"G": (w.nvidia2(other), *w.nvidia2_arguments(other))})
        with pytest.raises(SettingError, match=f"rosinality's files cannot hold this StyleGAN2: {reason}"):
            checkpoints.converted(checkpoints.opened(data), tmp_path / "no.pt", "rosinality")
    assert not (tmp_path / "no.pt").exists()
    with pytest.raises(SettingError, match="rosinality's files hold a StyleGAN2; this is dcgan"):
        checkpoints.converted(checkpoints.opened(FILES["dcgan"]), tmp_path / "no.pt", "rosinality")


def test_damaged_files_of_ours(tmp_path, file):
    ours = tmp_path / "ours.safetensors"
    checkpoints.converted(checkpoints.opened(file), ours)
    good = ours.read_bytes()
    size = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + size])
    text = json.loads(header["__metadata__"]["steerable"])

    def with_config(**change):
        content = json.loads(json.dumps(text["content"]))
        content["config"]["map"].update(change)
        made = {**header, "__metadata__": {"steerable": json.dumps({**text, "content": content})}}
        head = json.dumps(made).encode()
        head += b" " * (-len(head) % 8)
        ours.write_bytes(len(head).to_bytes(8, "little") + head + good[8 + size :])

    for change in (
        {"widths": "?"},
        {"depth": 10**9},
        {"z_dim": -1},
        {"architecture": "other"},
        {"more": 1},
        {"widths": [1 << 50]},
    ):
        with_config(**change)
        with pytest.raises(ArtifactError, match=r"^[^\n]+$"):
            checkpoints.opened(ours).generator("x")
    with_config()
    assert checkpoints.opened(ours).family == "stylegan2"
    with pytest.raises(ArtifactError, match="holds one generator; there is no part 'g' in it"):
        checkpoints.opened(ours, part="g")
    ours.write_bytes(good[:-9])
    with pytest.raises(ArtifactError, match=r"^ours.safetensors [^\n]+$"):
        checkpoints.opened(ours)


# -- the command line -------------------------------------------------------------------------------------------------------------------


def test_show_says_what_a_file_is_without_building_the_net(file, capsys, monkeypatch):
    monkeypatch.setattr(checkpoints.Checkpoint, "generator", lambda *_: pytest.fail("the net was built"))
    monkeypatch.setattr(stylegan2, "Net", lambda *_: pytest.fail("the net was built"))
    code, said, _ = run(capsys, "show", file)
    assert code == 0
    for line in (
        "layout        rosinality",
        "family        stylegan2",
        "widths        (10, 8, 6)",
        "holds         g, g_ema, latent_avg",
    ):
        assert line in said
    assert "mapping_lr is not in the file and was taken to be 0.01" in said
    code, said, _ = run(capsys, "show", file, "--json", "--option", "mapping_lr=0.1", "--part", "g")
    found = json.loads(said)
    assert (found["config"]["mapping_lr"], found["critic"]) == (0.1, False)
    assert found["fingerprint"] == checkpoints.opened(file, part="g").fingerprint
    code, _, error = run(capsys, "show", file, "--option", "mapping_lr")
    assert (code, error) == (1, "steerable: an option is KEY=VALUE, such as mapping_lr=0.01; got 'mapping_lr'\n")


def test_show_still_says_what_our_results_are(tmp_path, capsys, style):
    st.save(st.discover("random", style, k=2), tmp_path / "paths.safetensors", generator=style)
    code, said, _ = run(capsys, "show", tmp_path / "paths.safetensors")
    assert (code, "tiny-style" in said) == (0, True)


def test_convert(file, tmp_path, capsys):
    code, said, _ = run(capsys, "convert", file, "-o", tmp_path / "model.safetensors", "--json")
    assert (code, json.loads(said)["family"]) == (0, "stylegan2")
    code, said, _ = run(capsys, "show", tmp_path / "model.safetensors")
    assert "converted from a file of rosinality" in said
    code, said, _ = run(
        capsys, "convert", tmp_path / "model.safetensors", "-o", tmp_path / "back.pt", "--to", "rosinality"
    )
    assert "its widths are of no channel_multiplier 1 or 2" in said
    a, b = (st.load(path, device="cpu") for path in (file, tmp_path / "back.pt"))
    z = a.sample(1)
    assert torch.allclose(a.synthesize(z), b.synthesize(z), atol=1e-4)
    code, _, error = run(capsys, "convert", file, "-o", tmp_path / "x", "--to", "keras")
    assert (code, error) == (1, "steerable: checkpoints are written as steerable or rosinality; got 'keras'\n")
    code, said, _ = run(capsys, "sample", tmp_path / "model.safetensors", "--seeds", "0", "-o", tmp_path / "a.png")
    assert (code, (tmp_path / "a.png").is_file()) == (0, True)
