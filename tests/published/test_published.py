"""Direction files of other projects, look-alikes of every layout, and the real ones where they are at hand."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from steerable.errors import ArtifactError, SettingError, SpaceError
from steerable.generators.tiny import TinyStyle
from steerable.published import read

D = 16


@pytest.fixture
def unit():
    v = np.random.RandomState(0).randn(1, D).astype(np.float32)
    return v / np.linalg.norm(v)


def same(path, vector):
    torch.testing.assert_close(
        path.vector, torch.as_tensor(np.asarray(vector, dtype=np.float32)).flatten(), rtol=1e-4, atol=1e-5
    )


def test_a_boundary_needs_its_space(style, tmp_path, unit):
    np.save(tmp_path / "age_w_boundary.npy", unit)
    with pytest.raises(
        SettingError,
        match=r"age_w_boundary.npy does not say in which space .* pass space= 'z' or 'w'; its name suggests 'w'",
    ):
        read(tmp_path / "age_w_boundary.npy", generator=style)
    with pytest.raises(SettingError, match="does not say which generator its directions belong to; pass generator="):
        read(tmp_path / "age_w_boundary.npy", space="w")
    paths = read(tmp_path / "age_w_boundary.npy", generator=style, space="w")
    same(paths["age_w_boundary"], unit)
    assert paths[0].published == pytest.approx(1 / paths[0].unit)
    # Five of their units are a vector of length five.
    shift = paths[0].at(5, unit="published")
    assert shift.t * shift.unit == pytest.approx(5.0, rel=1e-5)


def test_float64_and_higan_dicts_inside_an_object_array(style, tmp_path, unit):
    np.save(
        tmp_path / "light.npy",
        {"boundary": unit.astype(np.float64), "meta_data": {"type": "attribute", "manipulate_layers": "1-2"}},
        allow_pickle=True,
    )
    path = read(tmp_path / "light.npy", generator=style)[0]
    same(path, unit)
    assert path.space.name == "w"
    assert path.layers == "1-2"


def test_torch_files_and_strided_views(style, tmp_path, unit):
    big = torch.from_numpy(np.random.RandomState(1).randn(D, D).astype(np.float32))
    torch.save(big.T[3:4], tmp_path / "view.pt")
    same(read(tmp_path / "view.pt", generator=style, space="w")[0], big[:, 3] / big[:, 3].norm())
    torch.save(torch.from_numpy(unit), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    same(read(tmp_path / "old.pt", generator=style, space="w")[0], unit)


def test_a_tiled_w_vector_is_reduced(style, tmp_path, unit):
    torch.save(torch.from_numpy(unit)[:, None].expand(1, 18, D).clone(), tmp_path / "pose.pt")
    path = read(tmp_path / "pose.pt", generator=style)[0]
    assert path.space.name == "w"
    assert "tiled" in path.about
    same(path, unit)


def test_a_real_wplus_direction_stays_one(style, tmp_path):
    v = np.random.RandomState(2).randn(1, 3, D)
    np.save(tmp_path / "rows.npy", v)
    path = read(tmp_path / "rows.npy", generator=style)[0]
    assert path.space.name == "w+"
    np.save(tmp_path / "flat.npy", v.reshape(1, -1))
    assert read(tmp_path / "flat.npy", generator=style, space="w+")[0].space.name == "w+"


def test_bundles_of_components(style, tmp_path):
    comp = np.linalg.qr(np.random.RandomState(3).randn(D, D))[0][:4].astype(np.float32)[:, None]
    std = np.array([2.0, 1.5, 1.0, 0.5], np.float32)
    torch.save(
        {"mean": torch.zeros(1, D), "std": torch.from_numpy(std), "comp": torch.from_numpy(comp)}, tmp_path / "pca.pt"
    )
    paths = read(tmp_path / "pca.pt", generator=style)
    assert len(paths) == 4
    assert paths[1].published * paths[1].unit == pytest.approx(1.5, rel=1e-4)
    keys = {"act_comp": comp, "lat_comp": comp, "lat_mean": np.zeros((1, D)), "lat_stdev": std, "var_ratio": std}
    np.savez(tmp_path / "net_w.npz", **keys)
    assert read(tmp_path / "net_w.npz", generator=style)[2].space.name == "w"
    np.savez(tmp_path / "net.npz", **{**keys, "lat_stdev": np.ones(4, np.float32)})
    assert read(tmp_path / "net.npz", generator=style)[2].space.name == "z"


def test_a_named_edit_brings_its_layers(style, tmp_path, unit):
    edit = {
        "name": "glasses",
        "component_index": 7,
        "lat_comp": unit,
        "lat_stdev": np.float32(1.5),
        "latent_space": "W",
        "edit_start": 0,
        "edit_end": 2,
    }
    (tmp_path / "edit.pkl").write_bytes(pickle.dumps(edit))
    path = read(tmp_path / "edit.pkl", generator=style)["glasses"]
    assert (path.space.name, path.layers) == ("w", "0-1")
    assert path.published * path.unit == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize("key", ["eigvec", "eigen_vector"])
def test_factors_are_columns(style, tmp_path, key):
    q = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0)))[0]
    torch.save({"ckpt": "net.pt", key: q}, tmp_path / "factor.pt")
    paths = read(tmp_path / "factor.pt", generator=style)
    same(paths[3], q[:, 3])


def test_what_does_not_fit_is_said(style, tmp_path):
    np.save(tmp_path / "other.npy", np.ones((1, 512), np.float32))
    with pytest.raises(
        SpaceError, match=r"other.npy holds \(1, 512\), which fits no space of tiny-style: z \(16,\), w \(16,\)"
    ):
        read(tmp_path / "other.npy", generator=style)
    np.save(tmp_path / "w.npy", np.ones((1, D), np.float32))
    with pytest.raises(SpaceError, match="but 's' codes of tiny-style have the shape"):
        read(tmp_path / "w.npy", generator=style, space="s")
    torch.save({"eigvec": torch.eye(D)}, tmp_path / "factor.pt")
    with pytest.raises(SettingError, match="holds directions of 'w', so space='z' cannot be meant"):
        read(tmp_path / "factor.pt", generator=style, space="z")


@pytest.mark.parametrize("value", [{"a": 1, "b": 2}, np.array([1, 2, 3]), np.full((1, D), np.nan), "text"])
def test_what_is_no_direction_is_said(style, tmp_path, value):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ArtifactError):
        read(tmp_path / "x.pkl", generator=style, space="w")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch canary",))


def test_nothing_in_a_file_is_executed(style, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", {"boundary": np.ones((1, D)), "meta_data": Evil()}, allow_pickle=True)
    with pytest.raises(ArtifactError, match="system"):
        read("x.npy", generator=style)
    torch.save({"eigvec": Evil()}, "x.pt")
    with pytest.raises(ArtifactError, match="system"):
        read("x.pt", generator=style)
    assert not Path("canary").exists()


DATA = Path(os.environ.get("STEERABLE_TEST_DATA", "nowhere")) / "directions"


@pytest.mark.skipif(not DATA.is_dir(), reason="STEERABLE_TEST_DATA does not name a folder with published directions")
@pytest.mark.parametrize(
    "name", sorted(f.name for f in DATA.glob("*.*") if f.suffix in (".npy", ".pt")) if DATA.is_dir() else []
)
def test_published_files(name):
    d = 40 if "hessian" in name else 512
    g = TinyStyle(d=d)
    told = name.startswith("higan_stylegan_bedroom_indoor") or name == "e4e_ffhq_pca.pt"
    if not told:
        with pytest.raises(SettingError, match="does not say in which space"):
            read(DATA / name, generator=g)
    paths = read(DATA / name, generator=g, space=None if told else "z" if "hessian" in name or "_z_" in name else "w")
    assert len(paths) == {"e4e_ffhq_pca.pt": 80, "hessian_penalty_biggan_goldens_mid.pt": 40}.get(name, 1)
    for path in paths:
        assert float(path.vector.norm()) == pytest.approx(1.0, abs=1e-5)
