"""Rendered heads: what factors mean, seeds, files; and, where the assets can be had, the pictures themselves."""

import numpy as np
import pytest
from PIL import Image

from steerable.data import heads
from steerable.data.heads import anatomy, assets, glasses, picture, world
from steerable.errors import ArtifactError, MissingExtra, SettingError, SourceError

NAMES = world.NAMES


def row(**set_):
    made = np.zeros((1, len(NAMES)))
    for name, value in set_.items():
        made[0, NAMES.index(name)] = value
    return made


def test_a_larger_set_begins_with_the_smaller_one():
    small, large = heads.factors(150, seed=3), heads.factors(420, seed=3)
    assert np.array_equal(large[:150], small)
    assert not np.array_equal(heads.factors(150, seed=4), small)
    assert large.min() >= -1
    assert large.max() <= 1
    assert np.abs(np.corrcoef(heads.factors(5000).T) - np.eye(len(NAMES))).max() < 0.06


def test_labels_are_what_can_be_seen():
    at = np.linspace(-1, 1, 201)
    rows = np.repeat(row(), 201, 0)
    rows[:, NAMES.index("glasses")] = at
    seen = heads.labels(rows)
    low, high = world.RAMPS["glasses"]
    glasses_seen = seen[:, NAMES.index("glasses")]
    assert (glasses_seen[at < low] == -1).all()
    assert (glasses_seen[at > high] == 1).all()
    assert (np.diff(glasses_seen) >= 0).all()
    others = [i for i, n in enumerate(NAMES) if n not in world.RAMPS]
    assert np.array_equal(seen[:, others], rows[:, others].astype(np.float32))


def test_factors_in_physical_terms():
    head = world.head(row(age=1, gender=-1, glasses=1, hair_light=-1, yaw=0.5)[0])
    assert head.age == pytest.approx(0.95)
    assert head.gender == pytest.approx(-0.2)
    assert head.glasses == 1
    assert head.hair == pytest.approx(world.DARK)
    assert head.yaw == pytest.approx(0.16)


def test_factors_outside_the_cube_are_refused():
    with pytest.raises(SettingError, match=r"in \[-1, 1\]; smile of row 0 is 1.5"):
        heads.render(row(smile=1.5))
    with pytest.raises(SettingError, match="age of row 0 is nan"):
        heads.render(row(age=np.nan))
    with pytest.raises(SettingError, match=r"factors are \[n, 20\]: yaw, .*; got the shape \(2, 3\)"):
        heads.render(np.zeros((2, 3)))
    with pytest.raises(SettingError, match="at least one picture"):
        heads.heads(0)


def test_without_numba(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(
        MissingExtra, match=r'rendering heads needs the package \'numba\': pip install "steerable\[render\]"'
    ):
        heads.render(row())


def test_sets_in_files(tmp_path):
    made = heads.Heads(np.zeros((4, 8, 8, 3), np.uint8), heads.factors(4))
    file = heads.write(made, tmp_path / "heads.npz")
    back = heads.read(file)
    assert np.array_equal(back.factors, made.factors)
    assert np.array_equal(back.labels, made.labels)
    assert len(back) == 4
    with pytest.raises(ArtifactError, match="one row of 20 factors a picture"):
        heads.Heads(made.images, made.factors[:3])


def test_files_that_are_not_sets(tmp_path):
    with pytest.raises(ArtifactError, match="there is no file"):
        heads.read(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not a set")
    with pytest.raises(ArtifactError, match="not a set of rendered heads, or is damaged"):
        heads.read(tmp_path / "text.npz")
    np.savez(tmp_path / "old.npz", images=np.zeros((1, 8, 8, 3)), factors=np.zeros((1, 2)), names=np.array(["a", "b"]))
    with pytest.raises(ArtifactError, match="another world, with the factors a, b"):
        heads.read(tmp_path / "old.npz")
    np.savez(tmp_path / "hostile.npz", images=np.array([print], dtype=object), factors=[0], names=[0])
    with pytest.raises(ArtifactError, match="damaged"):
        heads.read(tmp_path / "hostile.npz")


def test_a_tube_is_closed_and_has_its_radius():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(12)], 1)
    vertices, triangles = glasses.tube(ring, 0.05, closed=True)
    nearest = np.linalg.norm(vertices[:, None] - ring[None], axis=2).min(1)
    assert nearest == pytest.approx(0.05, abs=1e-9)
    edges = {}
    for a, b, c in triangles:
        for edge in ((a, b), (b, c), (c, a)):
            edges[frozenset(edge)] = edges.get(frozenset(edge), 0) + 1
    assert set(edges.values()) == {2}


def test_meshes_of_another_kind_are_refused():
    with pytest.raises(ArtifactError, match="faces of a kind that is not read here"):
        assets.parse({"faces": [64, 0, 1, 2], "vertices": [0] * 9, "uvs": [[]]})


def test_quads_are_split():
    mesh = assets.parse({"faces": [1 | 2, 0, 1, 2, 3, 5], "vertices": list(range(12)), "uvs": [[]]})
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.material.tolist() == [5, 5]


def test_assets_that_cannot_be_had(monkeypatch):
    def refuse(entry, member):
        raise SourceError("offline")

    pytest.importorskip("numba", reason="rendering needs the extra 'render'")
    for cached in (assets.body, assets.proxy, anatomy.bust, anatomy.kept, anatomy.part, anatomy.skin_window):
        cached.cache_clear()
    monkeypatch.setattr(assets.fetched, "path_of", refuse)
    with pytest.raises(SourceError, match="offline"):
        heads.render(row())


needs_assets = pytest.mark.weights("makehuman-heads")


@pytest.fixture
def numba():
    return pytest.importorskip("numba", reason="rendering needs the extra 'render'")


@needs_assets
def test_renders_are_what_they_were(numba, request):
    """The shipped generator was trained on these; the pictures must not drift."""
    with Image.open(request.path.with_name("heads-seed1.png")) as sheet:
        kept = np.asarray(sheet).reshape(4, 64, 4, 64, 3).swapaxes(1, 2).reshape(16, 64, 64, 3)
    made = heads.render(heads.factors(16, seed=1))
    different = np.abs(made.astype(int) - kept.astype(int))
    assert different.mean() < 0.05
    assert np.array_equal(made, heads.render(heads.factors(16, seed=1)))


@needs_assets
@pytest.mark.slow
def test_a_set_does_not_depend_on_the_number_of_processes(numba, tmp_path):
    alone = heads.heads(110, tmp_path / "heads.npz", seed=2, size=16)
    shared = heads.heads(110, seed=2, size=16, processes=2)
    assert np.array_equal(alone.images, shared.images)
    assert np.array_equal(heads.read(tmp_path / "heads.npz").images, alone.images)


@needs_assets
@pytest.mark.parametrize("name", NAMES)
def test_every_factor_changes_the_picture(numba, name):
    around = row(eyes=0.6) if name == "eye_color" else row()
    low, high = around.copy(), around.copy()
    low[0, NAMES.index(name)], high[0, NAMES.index(name)] = -1, 1
    change = np.abs(picture.render(low).astype(int) - picture.render(high)).max(3)[0]
    assert (change > 12).sum() >= 6


def test_heads_turn_the_way_they_say():
    """Yaw and light +1 are at the picture's right, pitch +1 is up; the camera looks along -z, x is right, y is up."""
    ahead = np.array([0, 0, 1.0])
    right, up = world.head(row(yaw=1)[0]), world.head(row(pitch=1)[0])
    assert (picture.rotation(right.yaw, 0) @ ahead)[0] > 0.3
    assert (picture.rotation(0, up.pitch) @ ahead)[1] > 0.07
    assert np.sin(world.head(row(light=1)[0]).light) > 0.8
