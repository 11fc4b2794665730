"""`steerable invert` and `steerable edit --paste` on a tiny generator: files, folders, resume, bad input, Ctrl-C, a full disk."""

import errno
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import steerable as st
from steerable.cli.inverters import OWN
from steerable.images import read_images
from steerable.invert import KNOWN
from steerable.invert.optimize import Optimize
from steerable.photo import Portrait

QUICK = ("--steps", "2", "--lpips", "0", "--coordinates", "plain", "--json")


def photograph(file, seed=0, size=(48, 40)):
    low = np.random.RandomState(seed).randint(0, 255, (6, 5, 3), np.uint8)
    Image.fromarray(low).resize(size, Image.Resampling.BICUBIC).save(file)
    return file


@pytest.fixture
def paths(style, tmp_path):
    return st.save(st.discover("random", style, space="w", k=2), tmp_path / "paths.safetensors", generator=style)


def test_a_photograph_goes_in_and_comes_out_edited(run, tmp_path, paths):
    photograph(tmp_path / "me.png")
    code, out, err = run("invert", "optimize", "tiny-style", "me.png", *QUICK, "-o", "me.safetensors")
    assert code == 0, err
    (line,) = json.loads(out)["photographs"]
    assert line["photograph"] == "me.png"
    assert line["psnr"] == pytest.approx(10 * np.log10(4 / line["mse"]), abs=1e-3)
    page = (tmp_path / "me.html").read_text()
    assert page.count("<img") == 3
    assert "psnr" in page
    g = st.load("tiny-style", device="cpu")
    portrait = st.read("me.safetensors", generator=g)
    assert isinstance(portrait, Portrait)
    assert portrait.crop.photo == (40, 48)
    target, picture = portrait.crop.cut(read_images("me.png")), st.render(g, portrait)
    assert float((target - picture).square().mean()) == pytest.approx(line["mse"], abs=1e-5)
    notes = st.header("me.safetensors")
    assert notes["method"]["settings"]["steps"] == 2
    assert notes["notes"]["crop"] == "center"

    code, _, err = run("edit", "me.safetensors", "--paths", paths, "random-0:4", "--paste", "me.png", "-o", "out.png")
    assert code == 0, err
    before, after = read_images("me.png"), read_images("out.png")
    assert after.shape == before.shape
    assert not torch.equal(after, before)
    assert torch.equal(after[:, :, :, :4], before[:, :, :, :4])  # beside the crop
    code, _, _ = run("edit", "me.safetensors", "--paths", paths, "random-0:0", "--paste", "me.png", "-o", "same.png")
    assert torch.equal(read_images("same.png"), before)
    code, _, _ = run(
        "edit", "me.safetensors", "--paths", paths, "0:1", "--paste", "me.png", "--frames", "3", "-o", "out.gif"
    )
    assert code == 0
    with Image.open("out.gif") as film:
        assert film.n_frames >= 2
        assert film.size == (48, 40)
    code, _, _ = run("edit", "me.safetensors", "--paths", paths, "0:1", "-o", "alone.png")
    assert Image.open("alone.png").size == (16, 16)


def test_folders_go_in_and_out_and_what_is_done_is_not_done_again(run, tmp_path, paths, monkeypatch):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        photograph(tmp_path / "photos" / f"p{i}.png", i)
    code, out, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert code == 0, err
    assert [Path(f).name for f in json.loads(out)["files"]] == ["p0.safetensors", "p1.safetensors", "p2.safetensors"]
    assert (tmp_path / "codes" / "index.html").read_text().count("<img") == 9

    calls, real = [], Optimize.invert
    monkeypatch.setattr(Optimize, "invert", lambda self, *a, **k: calls.append(1) or real(self, *a, **k))
    (tmp_path / "codes" / "p1.safetensors").write_bytes(b"cut short")
    photograph(tmp_path / "photos" / "p2.png", 9)  # another photograph of the same name
    code, out, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert code == 0, err
    assert len(calls) == 2
    assert "p0.png: done before" in err
    assert len(json.loads(out)["files"]) == 3
    run("invert", "optimize", "tiny-style", "photos", *QUICK, "--seed", "1", "-o", "codes")
    assert len(calls) == 5  # other settings: none of them fits

    code, out, err = run("edit", "codes", "--paths", paths, "random-1:3", "--paste", "photos", "-o", "edited", "--json")
    assert code == 0, err
    assert [Path(f).name for f in json.loads(out)["files"]] == ["p0.png", "p1.png", "p2.png"]
    assert Image.open("edited/p1.png").size == (48, 40)
    code, _, err = run("edit", "codes", "--paths", paths, "random-1:3", "--paste", "photos/p0.png")
    assert code == 1
    assert "pasted into a folder of photographs" in err


def bad(kind, file):
    if kind == "corrupt":
        photograph(file.with_suffix(".jpg"))
        data = file.with_suffix(".jpg").read_bytes()
        file.with_suffix(".jpg").write_bytes(data[: len(data) // 2])
    elif kind == "pixel":
        Image.new("RGB", (1, 1)).save(file)
    elif kind == "huge":
        part = lambda kind, data: (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
        head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)  # what a PNG says before its pixels come
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"")))
    elif kind == "animated":
        frames = [Image.new("RGB", (32, 32), c) for c in ("red", "blue")]
        frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    elif kind == "heic":
        file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    return next(f for f in (file, file.with_suffix(".jpg")) if f.exists())


BAD = {
    "corrupt": "is damaged",
    "pixel": "has 1x1 px; at least 16 px",
    "huge": "too large",
    "animated": "holds 2 frames or pages",
    "heic": "save HEIC and raw files as JPEG",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_photographs_are_one_line(run, tmp_path, kind):
    file = bad(kind, tmp_path / "bad.png")
    code, out, err = run("invert", "optimize", "tiny-style", file.name, *QUICK)
    assert code == 1
    assert BAD[kind] in err
    assert err.strip().splitlines()[-1].startswith("steerable: ")
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.glob("*.safetensors"))


def test_in_a_folder_a_bad_photograph_is_left_out_and_said(run, tmp_path):
    (tmp_path / "photos").mkdir()
    photograph(tmp_path / "photos" / "good.png")
    bad("corrupt", tmp_path / "photos" / "bad.png")
    code, out, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert code == 1
    assert "1 of 2 photographs were left out: bad.jpg" in err
    assert json.loads(out)["files"] == ["codes/good.safetensors"]
    assert [f.name for f in sorted((tmp_path / "codes").iterdir())] == ["good.safetensors", "index.html"]


def test_what_cannot_be_is_said(run, tmp_path, paths):
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "b.png", size=(30, 30))
    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    fails = {
        ("invert", "nothing", "tiny-style", "a.png"): "no inverter is called 'nothing'",
        ("invert", "optimize", "tiny-style", "none.png"): "there is no file none.png",
        ("invert", "optimize", "tiny-style", "a.png", "b.png", "-o", "x.safetensors"): "-o names a folder",
        ("invert", "optimize", "tiny-style", "a.png", "-o", "x.pt"): "written as .safetensors",
        ("invert", "optimize", "tiny-style", "a.png", "--crop", "left"): "no crop is called 'left'",
        ("invert", "optimize", "tiny-style", "a.png", "--observe", "mask:mask.png"): "mask",
        ("invert", "optimize", "tiny-style", "a.png", "--observe", "sepia"): "no observation is called 'sepia'",
    }
    for command, text in fails.items():
        code, _, err = run(*command, *QUICK)
        assert code == 1, command
        assert text in err, err
    run("invert", "optimize", "tiny-style", "a.png", *QUICK)
    code, _, err = run("edit", "a.safetensors", "--paths", paths, "0:1", "--paste", "b.png")
    assert code == 1
    assert "belongs to a photograph of 48x40 px; this one has 30x30 px" in err
    g = st.load("tiny-style", device="cpu")
    st.save(st.Inversion(g.sample(1)), "codes.safetensors", generator=g)
    code, _, err = run("edit", "codes.safetensors", "--paths", paths, "0:1", "--paste", "a.png")
    assert "does not say where in a photograph it lies" in err
    twin = g.lent({k: v + 1 for k, v in g.net.named_parameters() if k.endswith("weight")})
    twin._mark = "of other weights"
    st.save(st.read("a.safetensors", generator=g), "theirs.safetensors", generator=twin)
    code, _, err = run("edit", "theirs.safetensors", "--paths", paths, "0:1", "--paste", "a.png")
    assert code == 1
    assert "was made with tiny-style, whose weights differ" in err


def test_ctrl_c_keeps_the_best_so_far_and_the_next_run_goes_on(run, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        photograph(tmp_path / "photos" / f"p{i}.png", i)
    real = Optimize.invert

    def stopped(self, generator, images, **rest):
        found = real(self, generator, images, **rest)
        return st.Inversion(found.latents, found.edits, {**found.notes, "interrupted": "after 1 of 2 steps"})

    monkeypatch.setattr(Optimize, "invert", stopped)
    code, out, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert code == 0
    assert "the best so far was kept" in err
    assert json.loads(out)["files"] == ["codes/p0.safetensors"]
    monkeypatch.setattr(Optimize, "invert", real)
    code, out, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert "done before" not in err
    assert len(json.loads(out)["files"]) == 2

    def ended(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Optimize, "invert", ended)
    (tmp_path / "codes" / "p1.safetensors").unlink()
    code, _, err = run("invert", "optimize", "tiny-style", "photos", *QUICK, "-o", "codes")
    assert code == 130
    assert sorted(f.name for f in (tmp_path / "codes").iterdir()) == ["index.html", "p0.safetensors"]


def test_a_full_disk_leaves_nothing_behind(run, tmp_path, monkeypatch):
    photograph(tmp_path / "a.png")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("steerable.artifact.save_file", full)
    code, _, err = run("invert", "optimize", "tiny-style", "a.png", *QUICK)
    assert code == 1
    assert "nothing was left behind" in err
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]


def test_the_observation_is_what_is_inverted(run, tmp_path):
    photograph(tmp_path / "a.png")
    code, _, err = run("invert", "optimize", "tiny-style", "a.png", *QUICK, "--observe", "downsample:2", "--no-page")
    assert code == 0, err
    assert st.header("a.safetensors")["notes"]["observe"] == "downsample:2"
    assert not (tmp_path / "a.html").exists()


def test_every_inverter_and_preset_is_a_command(run):
    for name, method in KNOWN.items():
        assert not set(OWN) & set(method.schema()), name
    for name in ("optimize", "projector"):
        code, out, _ = run("invert", name, "--help")
        assert code == 0
        assert "--steps" in out
        assert "--face" in out
    assert "1000" in out  # the preset's own number of steps
