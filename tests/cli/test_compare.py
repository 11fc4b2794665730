"""`steerable compare` and `steerable measure`: what they write, print and refuse."""

import json
import re

import pytest

from steerable import artifact
from steerable.cli.compare import html, settings
from steerable.errors import SettingError, UnknownName
from steerable.measure.comparison import Comparison, Contender

QUICK = ("--labels", "40", "--people", "3", "--seeds", "1", "--targets", "tone", "--set", "duplicated.n=40")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One cache for this file, so that the second command finds the work of the first."""
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(autouse=True)
def _shared(monkeypatch, kept):
    monkeypatch.setenv("STEERABLE_CACHE", str(kept))
    monkeypatch.setattr("steerable.cli.comparing.lpips", lambda kind, bars: None)


@pytest.mark.parametrize("suffix", ["html", "json", "safetensors"])
def test_compare_writes_a_page_or_data(run, tmp_path, suffix):
    methods = ("sefa", "boundary", "lowrankgan")
    told = ("--set", "lowrankgan.region=nowhere-at-all", "-o", f"report.{suffix}")
    code, out, err = run("compare", "discover", "heads-64", *methods, *QUICK, *told)
    assert code == 0, err
    assert re.search(r"boundary +1 of 1 +1\.00", out)
    assert "lowrankgan took no part" in err
    file = tmp_path / f"report.{suffix}"
    if suffix == "safetensors":
        assert isinstance(artifact.load(file), Comparison)
    elif suffix == "json":
        found = json.loads(file.read_text())
        assert found["targets"] == ["tone"]
        assert found["how"]["psi"] == 1.0
        assert {m["name"] for m in found["methods"]} >= {"sefa", "boundary", "lowrankgan", "random", "truth"}
    else:
        page = file.read_text()
        assert page.startswith("<!doctype html>")
        assert "Truncation psi 1." in page
        assert page.count("<img ") == 5 * 5  # sefa, boundary, random, permuted and the truth, five strengths each
        assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is asked of anybody
        assert "Took no part" in page


def test_a_generator_without_truth_is_told_what_judges(run):
    code, _, err = run("compare", "discover", "tiny-style", "sefa")
    assert code == 1
    assert "say which scores judge" in err
    options = (
        "--scores",
        "brightness,contrast",
        "--labels",
        "40",
        "--people",
        "3",
        "--no-controls",
        "--set",
        "sefa.k=2",
    )
    code, out, _ = run("compare", "discover", "tiny-style", "sefa", *options, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["how"]["psi"] == 0.7
    assert found["methods"][0]["settings"]["k"] == 2
    assert [j["target"] for j in found["methods"][0]["judged"]] == ["brightness", "contrast"]


def test_what_is_written_wrongly_is_said_before_any_work(run):
    for arguments, said in (
        (("compare", "discover", "tiny-style", "sefaa", "--scores", "contrast"), "did you mean 'sefa'"),
        (("compare", "discover", "tiny-style", "sefa", "-o", "r.pdf"), "written as .html, .json or .safetensors"),
        (("compare", "invert", "tiny-style", "sefa"), "no inverter is called 'sefa'"),
        (("compare", "discover", "tiny-style", "sefa", "--set", "k=3"), "written as ganspace.k=20"),
    ):
        code, _, err = run(*arguments)
        assert code == 1
        assert said in err


def test_settings_are_read_as_the_methods_own():
    assert settings(["ganspace.k=3", "sefa.skip-gain=true", "boundary.kind=logistic"]) == {
        "ganspace": {"k": 3},
        "sefa": {"skip_gain": True},
        "boundary": {"kind": "logistic"},
    }
    with pytest.raises(UnknownName, match="no setting of sefa is called 'kk'"):
        settings(["sefa.kk=3"])
    with pytest.raises(SettingError, match="a number is expected"):
        settings(["sefa.k=many"])
    with pytest.raises(SettingError, match="true or false"):
        settings(["sefa.whiten=1"])


def test_text_from_files_is_escaped():
    hostile = "<script>alert(1)</script>"
    how = {
        "psi": 1.0,
        "labels": 1,
        "supervision": hostile,
        "reach": 4.0,
        "chosen_on": 2,
        "people": 2,
        "scorer": hostile,
    }
    how |= {"chosen on": 2, "first person": 0, "seeds": 1, "truth": False, "size": None}
    out = Contender(name=hostile, method="sefa", reason=hostile)
    page = html(
        Comparison(
            generator=hostile, fingerprint="", targets=(hostile,), scores=(hostile,), how=how, contenders=(out,)
        ),
        {},
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page


# -- measure ----------------------------------------------------------------------------------------------------------------------


def test_measure_effects_and_reconstructor(run, tmp_path):
    assert run("discover", "sefa", "tiny-style", "--k", "3", "-o", "p.safetensors")[0] == 0
    told = (
        "--paths",
        "p.safetensors",
        "--scores",
        "statistics",
        "--people",
        "3",
        "-o",
        "measured.safetensors",
        "--json",
    )
    code, out, _ = run("measure", "effects", "tiny-style", *told)
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 3
    assert rows[0]["psi"] == 0.7
    assert artifact.load(tmp_path / "measured.safetensors")[0].effects
    code, out, _ = run("measure", "reconstructor", "tiny-style", "--paths", "p.safetensors", "-n", "40", "--json")
    assert code == 0
    assert json.loads(out)["chance"] == pytest.approx(1 / 3)


def test_measure_disentanglement_needs_a_truth(run):
    assert run("discover", "sefa", "heads-64", "--k", "3", "-o", "h.safetensors")[0] == 0
    code, out, _ = run("measure", "disentanglement", "heads-64", "--paths", "h.safetensors", "-n", "500", "--json")
    assert code == 0
    mine, random = json.loads(out)
    assert mine["paths"] == "these paths"
    assert random["paths"] == "random"
    assert 0 <= mine["MIG"] <= 1
    assert run("discover", "sefa", "tiny-style", "--k", "3", "-o", "t.safetensors")[0] == 0
    code, _, err = run("measure", "disentanglement", "tiny-style", "--paths", "t.safetensors")
    assert code == 1
    assert "does not know the factors" in err


@pytest.mark.weights("lpips")
def test_measure_ppl(run):
    code, out, _ = run("measure", "ppl", "heads-64", "-n", "10", "--psi", "1", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["low"] < found["mean"] < found["high"]
