"""Other projects' files of codes: what is written comes back, what does not fit is refused, nothing is executed."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from steerable import artifact
from steerable.edit import Inversion, Noise, Truncate
from steerable.errors import ArtifactError, MismatchError, SettingError, SpaceError, UnknownName
from steerable.generators.tiny import TinyPlain
from steerable.invert.files import LAYOUTS, Held, read_codes, write_codes
from steerable.layer import State
from steerable.record import tree_equal
from steerable.render import codes, render

ROWS, WIDTH = 3, 16


@pytest.fixture
def wide(style):
    """Codes of w+ that differ from row to row."""
    w = style.lift(style.sample(2), "w+")
    return w.at(w.values + torch.arange(ROWS)[:, None] * 0.1)


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k != "barbershop"])
def test_codes_come_back_bit_by_bit(tmp_path, style, wide, layout):
    one = wide[0] if layout == "puzer" else wide
    file = write_codes(one, tmp_path / f"a{LAYOUTS[layout][0]}", generator=style, layout=layout)
    back = read_codes(file, generator=style)
    assert back.latents.space.name == "w+"
    assert torch.equal(back.latents.values, one.values)
    assert torch.equal(render(style, back), render(style, one))


def test_layouts_are_what_the_others_read(tmp_path, style, wide):
    assert np.load(write_codes(wide, tmp_path / "projected_w.npz", generator=style))["w"].shape == (2, ROWS, WIDTH)
    tf = write_codes(wide, tmp_path / "dlatents.npz", generator=style, layout="nvidia-tf")
    assert np.load(tf)["dlatents"].dtype == np.float32
    assert np.load(write_codes(wide, tmp_path / "inverted_codes.npy", generator=style)).shape == (2, ROWS, WIDTH)
    one = write_codes(wide[1], tmp_path / "face.npy", generator=style, layout="puzer")
    assert np.load(one).shape == (ROWS, WIDTH)
    latents = torch.load(write_codes(wide, tmp_path / "latents.pt", generator=style), weights_only=True)
    assert torch.equal(latents, wide.values)
    theirs = torch.load(write_codes(wide, tmp_path / "p.pt", generator=style, layout="rosinality"), weights_only=True)
    assert list(theirs) == ["0000.png", "0001.png"]
    assert theirs["0001.png"]["img"].shape == (3, 16, 16)


def test_one_w_in_all_rows_is_a_w_and_edits_of_codes_are_applied(tmp_path, style):
    z = style.sample(2)
    base = Inversion(z, (Truncate(0.5),))
    back = read_codes(write_codes(base, tmp_path / "a.npz", generator=style), generator=style)
    assert back.latents.space.name == "w"
    assert torch.equal(back.latents.values, codes(style, base).values)


def test_noise_is_kept_by_rosinality_and_said_to_be_lost_by_others(tmp_path, style, wide):
    noisy = codes(style, wide, [Noise("random", seed=3)])
    own = replace(wide, inputs=noisy.inputs)
    file = write_codes(own, tmp_path / "a.pt", generator=style, layout="rosinality")
    back = read_codes(file, generator=style)
    assert torch.equal(back.latents.inputs["noise.conv1"], noisy.inputs["noise.conv1"])
    assert torch.equal(render(style, back), render(style, wide, [Noise("random", seed=3)]))
    with pytest.raises(SettingError, match="cannot hold noise maps"):
        write_codes(back, tmp_path / "b.npz", generator=style)
    write_codes(back, tmp_path / "b.npz", generator=style, loose=True)
    assert (tmp_path / "b.npz").is_file()
    value = torch.load(file, weights_only=True)
    for entry in value.values():
        entry["noise"] = entry["noise"][:2]
    torch.save(value, tmp_path / "c.pt")
    with pytest.raises(MismatchError, match="2 noise maps that do not fit the 3 of"):
        read_codes(tmp_path / "c.pt", generator=style)
    assert not read_codes(tmp_path / "c.pt", generator=style, loose=True).latents.inputs


def test_barbershop_starts_again_from_its_features(tmp_path, style, wide):
    features = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    features = features[:, : next(la.channels for la in style.layers if la.size == (8, 8) and not la.head)]
    np.savez(tmp_path / "FS.npz", latent_in=wide.values.numpy(), latent_F=features.numpy())
    base = read_codes(tmp_path / "FS.npz", generator=style)
    assert base.edits[0].layers == "head1"
    s = style.lift(wide, "s")
    state = State(features, torch.zeros(2, 3, 8, 8))
    for i in range(4, len(style.layers)):
        state = style.layer(i, state, s, grad=False)
    assert torch.equal(render(style, base), style.finish(state, s))
    again = write_codes(base, tmp_path / "again.npz", generator=style, layout="barbershop")
    assert np.array_equal(np.load(again)["latent_F"], features.numpy())
    ours = artifact.load(artifact.save(base, tmp_path / "ours.safetensors", generator=style), generator=style)
    assert tree_equal(ours, base)
    with pytest.raises(SettingError, match="cannot hold Held"):
        write_codes(base, tmp_path / "b.npz", generator=style)
    with pytest.raises(SpaceError, match="features of layer"):
        render(style, Inversion(wide, (Held("head1", features[:, :, :4]),)))


def test_the_last_step_of_restyle_and_single_entries_are_read(tmp_path, style, wide):
    steps = {f"{i}.jpg": [np.zeros((ROWS, WIDTH), np.float32), v.numpy()] for i, v in enumerate(wide.values)}
    np.save(tmp_path / "latents.npy", steps, allow_pickle=True)
    base = read_codes(tmp_path / "latents.npy", generator=style)
    assert torch.equal(base.latents.values, wide.values)
    assert base.notes["names"] == "0.jpg\n1.jpg"
    entry = {"img": torch.zeros(3, 16, 16), "latent": wide.values[:1], "injected_noise": None}
    torch.save(entry, tmp_path / "project_result.pt")
    assert torch.equal(read_codes(tmp_path / "project_result.pt", generator=style).latents.values, wide.values[:1])


def test_what_does_not_fit_is_said(tmp_path, style, wide):
    more = torch.cat([wide.values, wide.values[:, -1:]], 1)
    torch.save(more, tmp_path / "a.pt")
    with pytest.raises(SpaceError, match="has 4 rows of w\\+, .* has 3"):
        read_codes(tmp_path / "a.pt", generator=style)
    assert torch.equal(read_codes(tmp_path / "a.pt", generator=style, loose=True).latents.values, wide.values)
    np.save(tmp_path / "b.npy", np.ones((2, WIDTH), np.float32))
    with pytest.raises(SettingError, match="pass space= 'z' or 'w'"):
        read_codes(tmp_path / "b.npy", generator=style)
    assert read_codes(tmp_path / "b.npy", generator=style, space="w").latents.values.shape == (2, WIDTH)
    with pytest.raises(SpaceError, match="holds codes"):
        read_codes(tmp_path / "a.pt", generator=TinyPlain())
    np.savez(tmp_path / "c.npz", latent_in=wide.values.numpy(), latent_F=np.ones((2, 5, 64, 64), np.float32))
    with pytest.raises(MismatchError, match="has features"):
        read_codes(tmp_path / "c.npz", generator=style)
    with pytest.raises(UnknownName, match="no layout of codes"):
        write_codes(wide, tmp_path / "a.docx", generator=style)
    with pytest.raises(SettingError, match="one code; got 2"):
        write_codes(wide, tmp_path / "a.npy", generator=style, layout="puzer")
    with pytest.raises(SpaceError, match="cannot take 's' codes back"):
        write_codes(style.lift(wide, "s"), tmp_path / "d.npz", generator=style)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/steerable-was-executed",)


def test_hostile_and_damaged_files_are_refused(tmp_path, style):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"latent": Bomb()}))
    with pytest.raises(ArtifactError, match="system"):
        read_codes(tmp_path / "a.pt", generator=style)
    assert not os.path.exists("/tmp/steerable-was-executed")
    np.save(tmp_path / "b.npy", np.full((ROWS, WIDTH), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="finite"):
        read_codes(tmp_path / "b.npy", generator=style)
    torch.save({"g_ema": torch.ones(2), "d": torch.ones(2)}, tmp_path / "c.pt")
    with pytest.raises(ArtifactError, match="holds no codes in a layout that is known"):
        read_codes(tmp_path / "c.pt", generator=style)
    with pytest.raises(ArtifactError, match="does not exist"):
        read_codes(tmp_path / "d.pt", generator=style)
