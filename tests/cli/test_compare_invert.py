"""`steerable compare invert`: what it writes, prints and refuses."""

import json
import re
from pathlib import Path

import pytest
import torch

from steerable import artifact, cli
from steerable.cli import compare_invert
from steerable.cli.compare_invert import Shown, html, named, parted, settings
from steerable.errors import SettingError, SteerableError, UnknownName
from steerable.generators.tiny import TinyStyle
from steerable.images import write
from steerable.measure.inversions import Attempt, Inversions, Rival
from steerable.render import render


def few(*names):
    """Quick settings for each of these."""
    told = ("lpips=0", "steps=6", "coarse=8:0.5")
    return [f"{name}.{setting}" for name in names for setting in told]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*methods, generator="tiny-style", **options):
        compare_invert.run(generator, methods, **options)
        return capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path):
    """Two photographs, neither of them square."""
    made = tmp_path / "in"
    made.mkdir()
    for i, picture in enumerate(render(TinyStyle(), TinyStyle().sample(2, seed=5))):
        write(torch.nn.functional.pad(picture[None], (2, 3, 0, 0)), made / f"p{i}.png")
    return made


@pytest.mark.parametrize("suffix", ["html", "json", "safetensors"])
def test_own_pictures_make_a_page_or_data(run, tmp_path, suffix):
    told = few("a", "b") + ["a.space=w"]
    out, _ = run("a=optimize", "b=optimize", "exact", given=told, pictures=2, scores="brightness", labels=40,
                 curves=True, out=tmp_path / f"r.{suffix}")  # fmt: skip
    assert re.search(r"^a +0\.\d+", out, re.M)
    file = tmp_path / f"r.{suffix}"
    if suffix == "safetensors":
        assert isinstance(artifact.load(file), Inversions)
    elif suffix == "json":
        found = json.loads(file.read_text())
        assert found["pictures"] == ["seed 1000000", "seed 1000001"]
        assert [m["name"] for m in found["methods"]] == ["a", "b", "exact", "truth"]
        assert found["methods"][0]["settings"]["space"] == "w"
    else:
        text = file.read_text()
        assert text.startswith("<!doctype html>")
        assert text.count("<img ") == 2 * 3 * 4  # two pictures; a, b and the truth; given, made, error and edited
        assert text.count("likeness against editability") == 2  # of b, which is in w+
        assert "drawn to w" in text
        assert "Took no part" in text
        assert not re.search(r'(src|href)="(?!data:|#)', text)  # nothing is asked of anybody
        assert text.count('<div class="wide"><table class="strip"') == 2  # a narrow page scrolls them


def test_photographs_come_before_the_methods(run, folder):
    out, err = run(str(folder), "optimize", given=few("optimize"), as_json=True)
    found = json.loads(out)
    assert found["pictures"] == ["p0", "p1"]
    assert found["how"]["pictures"] == "given"
    assert [m["name"] for m in found["methods"]] == ["optimize"]  # no true codes are known
    assert found["methods"][0]["effect"] is None
    assert "2 pictures" in err


def test_a_damaged_photograph_is_left_out_and_one_alone_is_an_error(run, folder):
    (folder / "a.png").write_bytes(b"no picture")
    out, err = run(str(folder), "optimize", given=few("optimize"), as_json=True)
    assert json.loads(out)["pictures"] == ["p0", "p1"]
    assert "a.png is left out" in err
    with pytest.raises(SteerableError, match="not a picture"):
        run(str(folder / "a.png"), "optimize")


def test_what_is_written_wrongly_is_said_before_any_work(run, monkeypatch):
    monkeypatch.setattr(compare_invert, "opened", lambda *a: pytest.fail("work was begun"))
    for methods, options, said in (
        (["optimise"], {}, "did you mean 'optimize'"),
        (["a=optimize", "a=pivotal"], {}, "'a' stands twice"),
        (["optimize"], {"given": ["optimize.stepps=3"]}, "no setting of optimize is called 'stepps'"),
        (["optimize"], {"given": ["pivotal.steps=3"]}, "no method of this comparison is called 'pivotal'"),
        (["optimize"], {"given": ["steps=3"]}, "written as optimize.steps=100"),
        (["optimize"], {"given": ["optimize.steps=few"]}, "a number is expected"),
        (["optimize"], {"crop": "left"}, "no crop is called 'left'"),
    ):
        with pytest.raises(SteerableError, match=said):
            run(*methods, **options)
    with pytest.raises(SettingError, match="written as .html, .json"):
        compare_invert.run("tiny-style", ["optimize"], out=Path("r.pdf"))


def test_what_is_a_file_and_what_a_method(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "optimize").mkdir()  # a folder that is called like a method is the method
    (tmp_path / "me").mkdir()
    sources, names = parted(["me", "optimize", "w=optimize"])
    assert [str(s) for s in sources] == ["me"]
    assert names == ["optimize", "w=optimize"]
    assert named(names) == {"optimize": "optimize", "w": "optimize"}
    assert settings(["w.steps=3", "w.noise-rate=0.5"], named(names)) == {"w": {"steps": 3, "noise_rate": 0.5}}
    with pytest.raises(UnknownName, match="no inverter is called 'you'"):
        named(parted(["you"])[1])


def test_text_from_files_is_escaped():
    hostile = "<script>alert(1)</script>"
    rivals = (
        Rival(name=hostile, method=hostile, attempts=(Attempt(picture=hostile, scores={"mse": 1.0}),)),
        Rival(name=hostile, method=hostile, reason=hostile),
    )
    how = {
        "pictures": "given",
        "psi": 1.0,
        "look": 256,
        "t": 1.0,
        "scorer": hostile,
        "paths": "given",
        "clock": hostile,
    }
    told = Inversions(
        generator=hostile, fingerprint="", pictures=(hostile,), targets=(hostile,), how=how, rivals=rivals
    )
    image = torch.zeros(1, 3, 4, 4)
    text = html(told, Shown({hostile: image}, {(hostile, hostile): {hostile: image}}, {}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_command_hands_everything_on(monkeypatch, capsys):
    told = {}
    monkeypatch.setattr(compare_invert, "run", lambda *given, **options: told.update(options, asked=given))
    words = ["compare", "invert", "tiny-style", "holiday", "w=optimize", "--set", "w.steps=3", "--curves"]
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code in (0, None)
    assert told["asked"] == ("tiny-style", ["holiday", "w=optimize"])
    assert (told["given"], told["curves"], told["pictures"]) == (["w.steps=3"], True, 4)
