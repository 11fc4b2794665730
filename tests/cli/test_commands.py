"""The command line on the tiny generators: what it writes, what it says, and how it ends."""

import json

import pytest
import typer
from PIL import Image

from steerable.cli import app
from steerable.cli.work import numbers


def test_sample_writes_a_grid_or_a_file_for_each_seed(run, tmp_path):
    code, out, _ = run("sample", "tiny-style", "--seeds", "0-3", "--trunc", "0.7", "-o", "grid.png", "--json")
    assert code == 0
    assert json.loads(out)["seeds"] == [0, 1, 2, 3]
    assert Image.open(tmp_path / "grid.png").size == (32, 32)
    code, _, _ = run("sample", "tiny-class", "--seeds", "5,7", "--class", "1", "--outdir", "each")
    assert code == 0
    assert sorted(f.name for f in (tmp_path / "each").iterdir()) == ["seed0005.png", "seed0007.png"]


def test_discover_sheet_and_edit(run, tmp_path):
    code, out, _ = run(
        "discover", "ganspace", "tiny-style", "--k", "3", "--n", "2000", "-o", "pcs.safetensors", "--json"
    )
    assert code == 0
    assert json.loads(out)["paths"] == ["pc-0", "pc-1", "pc-2"]
    code, out, _ = run("show", "pcs.safetensors", "--json")
    assert json.loads(out)["method"]["settings"]["k"] == 3
    for target in ("sheet.png", "sheet.html"):
        code, _, _ = run(
            "sheet",
            "tiny-style",
            "--paths",
            "pcs.safetensors",
            "--only",
            "pc-1,0",
            "--t",
            "-1,0,1",
            "--size",
            "16",
            "-o",
            target,
        )
        assert code == 0
        assert (tmp_path / target).stat().st_size > 500
    code, out, _ = run(
        "edit",
        "tiny-style",
        "--seeds",
        "0-1",
        "--paths",
        "pcs.safetensors",
        "pc-0:2",
        "1:-1@1-2",
        "-o",
        "out.png",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["edits"] == ["pc-0:2", "pc-1:-1@1-2"]
    code, _, _ = run("edit", "tiny-style", "pcs.safetensors#pc-2:1.5", "-o", "walk.gif", "--frames", "5")
    assert code == 0
    assert Image.open(tmp_path / "walk.gif").n_frames == 5


def test_a_method_takes_its_own_settings_and_scores(run):
    code, out, _ = run("discover", "boundary", "tiny-style", "--n", "60", "--scores", "statistics", "--json")
    assert code == 0
    assert "brightness" in json.loads(out)["paths"]
    code, _, err = run("discover", "sefa", "tiny-style", "--k", "0")
    assert code == 1
    assert "sefa: k must be at least 1; got 0" in err


@pytest.mark.parametrize("what", ["generators", "discover", "scores", "all"])
def test_list_says_what_there_is(run, what):
    code, out, _ = run("list", what)
    assert code == 0
    assert out.strip()
    code, out, _ = run("list", what, "--json")
    assert json.loads(out)


def test_show_draws_the_chain(run):
    code, out, _ = run("show", "tiny-style")
    assert code == 0
    assert "z 16" in out
    assert "conv0" in out
    code, out, _ = run("show", "sefa")
    assert "skip_gain" in out
    code, out, _ = run("show", "tiny-style", "--json")
    assert [s["space"] for s in json.loads(out)["spaces"]] == ["z", "w", "w+", "s"]


def test_doctor(run):
    code, out, _ = run("doctor", "--json")
    assert code == 0
    assert json.loads(out)["torch"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sample", "tiny-stile"), 1, "no generator is called 'tiny-stile'; did you mean 'tiny-style'?"),
        (("discover", "seffa", "tiny-style"), 1, "did you mean 'sefa'?"),
        (("sample", "tiny-style", "--seeds", "3-1"), 1, "seeds are written as 0-7 or 3,85,100-102; got '3-1'"),
        (("sample", "tiny-style", "--class", "1"), 1, "tiny-style has no classes"),
        (("sample", "tiny-class", "--class", "9"), 1, "tiny-class has the classes 0-2; got 9"),
        (("sample", "tiny-style", "--noise", "loud"), 1, "noise is const, random or none; got 'loud'"),
        (("sample", "tiny-plain", "--psi", "0.5"), 1, "tiny-plain has no space 'w' to truncate in"),
        (("edit", "tiny-style", "smile:2"), 1, "needs a file of paths: give --paths FILE"),
        (("edit", "tiny-style", "smile"), 1, "an edit is written as smile:2"),
        (("edit", "tiny-style", "none.pt#smile:2"), 1, "there is no file none.pt"),
        (("show", "nothing"), 1, "no generator, method or file is called 'nothing'"),
        (("sample", "tiny-style", "--device", "tpu9"), 1, "device 'tpu9' cannot be used here"),
        (("sample",), 2, "Missing argument 'generator'"),
        (("sample", "tiny-style", "--sed", "1"), 2, "No such option"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_wrong_use_gives_one_line_and_the_right_code(run, tmp_path, arguments, code, message):
    got, out, err = run(*arguments)
    assert got == code, err
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert not out
    assert list(tmp_path.iterdir()) == []


def test_strengths_that_are_not_finite_and_layers_outside(run):
    assert run("discover", "random", "tiny-style", "--k", "1", "-o", "r.safetensors")[0] == 0
    code, _, err = run("edit", "tiny-style", "--paths", "r.safetensors", "random-0:inf")
    assert code == 1
    assert "t must be finite" in err
    code, _, err = run("edit", "tiny-style", "--paths", "r.safetensors", "random-0:1@3-99")
    assert code == 1
    assert "there are 3 rows: 0-2" in err
    code, _, err = run("edit", "tiny-plain", "--paths", "r.safetensors", "random-0:1")
    assert code == 1
    assert "was made with tiny-style, whose weights differ from tiny-plain's" in err


def test_seeds():
    assert numbers("0-2, 85") == [0, 1, 2, 85]


def test_the_demo_without_a_registry_says_so_and_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setenv("STEERABLE_OFFLINE", "1")
    code, _out, err = run("demo", "--pictures", "64", "-o", "page")
    assert code == 0, err
    assert "going on with heads-64" in err
    text = (tmp_path / "page" / "index.html").read_text()
    assert text.count("<img") >= 20
    assert "http" not in text.replace("http-equiv", "")
    for method in ("boundary", "ganspace", "sefa"):
        assert f"steerable discover {method}" in text
        assert (tmp_path / "page" / f"{method}.safetensors").is_file()


def test_control_characters_from_files_do_not_reach_the_terminal():
    from steerable.cli.report import plain

    assert "\x1b" not in plain("\x1b[31mred\x07")


def test_inverters_and_presets_are_listed_and_shown(run):
    listed = {row["method"]: row for row in json.loads(run("list", "invert", "--json")[1])}
    assert {"optimize", "pivotal", "projector"} <= set(listed)
    assert "preset" in listed["projector"]["tags"]
    assert listed["projector"]["what"].startswith("The projector of StyleGAN2")
    found = json.loads(run("show", "projector", "--json")[1])
    assert (found["name"], found["settings"]["space"]["default"]) == ("projector", "w")


def test_help_says_what_is_taken_where_nothing_is_given():
    commands = typer.main.get_command(app).commands
    (psi,) = [p for p in commands["sample"].params if p.name == "psi"]
    assert psi.show_default == "0.7 where there is a w"
    groups = [commands, *(c.commands for c in commands.values() if hasattr(c, "commands"))]
    texts = [p.help or "" for group in groups for c in group.values() for p in c.params if hasattr(p, "help")]
    assert len(texts) > 80
    assert not [text for text in texts if "[default" in text]  # which is read as markup, and left out
