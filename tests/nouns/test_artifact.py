"""Files: whole or not at all, and an error in one line for everything that is not ours."""

import errno
import json

import pytest
import torch
from safetensors.torch import save_file

from steerable import artifact
from steerable.edit import Inversion, Masked, Truncate
from steerable.errors import ArtifactError, MismatchError
from steerable.generators.tiny import TinyStyle
from steerable.path import Direction, Paths, between
from steerable.record import Record, tree_equal


def direction(g, name="d", **more):
    return Direction.along(name, torch.arange(1.0, 17.0), g.space("w"), g, **more)


def everything(g):
    z = g.sample(2)
    d = direction(g, layers="1-2", range=(-2.0, 3.0))
    return [
        d,
        Paths((d, direction(g, "e")), {"r2": 0.5}),
        d.at(1.5),
        d.at(torch.tensor([1.0, 2.0])),
        Truncate(0.7, 2),
        Masked(d.at(1), torch.ones(1, 1, 4, 4), "1"),
        Inversion(z, (d.at(2), Truncate(0.5)), {"steps": 10, "loss": torch.ones(3)}),
        z,
        between(g.lift(z[0], "w"), g.lift(z[1], "w")),
    ]


@pytest.mark.parametrize("i", range(9))
def test_what_is_saved_comes_back(style, tmp_path, i):
    thing = everything(style)[i]
    file = artifact.save(thing, tmp_path / "x.safetensors", generator=style)
    back = artifact.load(file, generator=style)
    assert tree_equal(back, thing)
    assert artifact.header(file)["generator"]["fingerprint"] == style.fingerprint


def test_a_tensor_that_is_shared_is_stored_once(style, tmp_path):
    d = direction(style)
    paths = Paths((d, Direction(name="e", vector=d.vector, space=d.space)))
    assert len(paths.tensors()) == 1
    assert tree_equal(artifact.load(artifact.save(paths, tmp_path / "x.safetensors")), paths)


def test_other_weights_are_refused_by_name(style, tmp_path):
    file = artifact.save(direction(style), tmp_path / "x.safetensors", generator=style)
    other = TinyStyle(seed=9)
    with pytest.raises(
        MismatchError, match=r"x.safetensors was made with tiny-style, whose weights differ from tiny-style's"
    ):
        artifact.load(file, generator=other)
    assert artifact.load(file, generator=other, allow_mismatch=True)


def test_fingerprints_do_not_depend_on_dtype(style):
    assert (
        style.to(dtype=torch.float64).fingerprint
        == style.fingerprint
        == TinyStyle().fingerprint
        != TinyStyle(1).fingerprint
    )


def test_damaged_foreign_and_wrong_files(style, tmp_path):
    good = artifact.save(direction(style), tmp_path / "good.safetensors", generator=style)
    data = good.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for cut in (0, 4, 50, len(data) - 4):
        bad.write_bytes(data[:cut])
        with pytest.raises(ArtifactError, match=r"bad.safetensors is not a safetensors file, or is damaged"):
            artifact.load(bad)
    save_file({"a": torch.ones(1)}, bad)
    with pytest.raises(ArtifactError, match="not one of ours: it has no 'steerable' header"):
        artifact.load(bad)
    save_file({"a": torch.ones(1)}, bad, metadata={"steerable": json.dumps({"format": 99})})
    with pytest.raises(ArtifactError, match="of a format this version does not know; it reads format 1"):
        artifact.load(bad)
    with pytest.raises(ArtifactError, match="there is no file"):
        artifact.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"record": "Nonsense"}, "the file holds a 'Nonsense', which this version does not know"),
        ({"record": "Truncate", "psi": 1.0, "evil": 1}, "the file's Truncate has unknown fields: evil"),
        ({"record": "Truncate"}, "the file's Truncate is incomplete"),
        ({"tensor": "a"}, "names a tensor 'a' that is not in the file"),
        ({"record": "Truncate", "psi": {"what": 1}}, "the header holds a value of an unknown kind"),
    ],
)
def test_headers_that_describe_nothing_of_ours(content, message):
    with pytest.raises(ArtifactError, match=message):
        Record.of(content, {})


def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(style, tmp_path, monkeypatch):
    file = artifact.save(direction(style), tmp_path / "x.safetensors")
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact, "save_file", full)
    with pytest.raises(ArtifactError, match="could not write .*No space left on device; nothing was left behind"):
        artifact.save(direction(style, "e"), file)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["x.safetensors"]


def test_an_interrupt_leaves_nothing(style, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        artifact.save(direction(style), tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(style, tmp_path):
    with pytest.raises(ArtifactError, match="there is no folder"):
        artifact.save(direction(style), tmp_path / "no" / "x.safetensors")
