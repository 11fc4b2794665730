"""What every inverter and preset keeps to, on every tiny generator that it takes."""

import json
import re

import pytest
import torch
from chains import ReLUChain

from steerable import artifact
from steerable.edit import ImageEdit, Inversion, Masked, OnLayers, Truncate
from steerable.errors import SettingError, UnknownName
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.invert import INVERTERS, KNOWN, PRESETS, Inverter, Optimize, Preset, invert
from steerable.invert.presets import presets
from steerable.method import quiet
from steerable.record import tree_equal
from steerable.render import render

GENERATORS = {
    "tiny-style": TinyStyle(),
    "tiny-plain": TinyPlain(),
    "tiny-class": TinyPlain(classes=3),
    "chain": ReLUChain(),
}
QUICK = {
    "steps": 2,
    "samples": 8,
    "lpips": 0.0,
    "features": 0.0,
    "pixels": 1.0,
    "generations": 1,
    "population": 4,
    "inner": 1,
}
PLAIN_ONLY = ("exact", "lei", "ma")


def _cases():
    for name, method in KNOWN.items():
        space = method.schema().get("space", {}).get("default")
        for which, g in GENERATORS.items():
            has = {s.name for s in g.spaces}
            if (which == "chain") == (name in PLAIN_ONLY) and (
                name == "pivotal" or space is None or space in has or name == "optimize"
            ):
                yield pytest.param(name, g, id=f"{name}-{which}")


CASES = list(_cases())


def made(name, g) -> Inverter:
    known = KNOWN[name].schema()
    settings = {k: v for k, v in QUICK.items() if k in known} | ({"steps": 40} if name == "ma" else {})
    if "label" in known and "label" in g.inputs:
        settings["label"] = 1
    if name == "optimize" and len(g.spaces) == 1:
        settings["space"] = "z"
    if name == "pivotal":
        inner = {k: v for k, v in QUICK.items() if k in KNOWN["optimize"].schema()} | {
            "space": g.spaces[-1].name,
            "coordinates": "plain",
        }
        settings["pivot"] = Optimize(**inner, label=settings.get("label"))
    return KNOWN[name].with_settings(settings)


def target(g):
    inputs = {"label": torch.eye(3)[[1]]} if "label" in g.inputs else None
    return render(g, g.sample(1, seed=21, inputs=inputs))


_FOUND: dict[tuple[str, str], Inversion] = {}


def found(name, g) -> Inversion:
    if name == "basincma":
        pytest.importorskip("cma")
    if (name, g.name) not in _FOUND:
        _FOUND[name, g.name] = made(name, g).invert(g, target(g))
    return _FOUND[name, g.name]


class Negative(ImageEdit):
    def image(self, edited, plain):
        return -edited


@pytest.mark.parametrize(("name", "g"), CASES)
def test_the_same_seed_finds_the_same_and_leaves_the_generator_alone(name, g):
    weights = artifact.fingerprint(g.net.state_dict())
    first = found(name, g)
    assert tree_equal(made(name, g).invert(g, target(g)), first)
    assert artifact.fingerprint(g.net.state_dict()) == weights
    assert not any(p.requires_grad for p in g.net.parameters())
    assert len(first.latents) == 1
    assert first.notes["inverter"] in INVERTERS
    assert torch.isfinite(first.notes["loss"]).all()


@pytest.mark.parametrize(("name", "g"), CASES)
def test_an_empty_mask_changes_nothing(name, g):
    inv, empty = found(name, g), torch.zeros(1, 1, *g.size)
    plain = render(g, inv)
    edits = [Negative()] + (
        [OnLayers(Truncate(0.3), "0-1"), Truncate(0.3)] if any(s.name == "w" for s in g.spaces) else []
    )
    for e in edits:
        if isinstance(e, (OnLayers, Truncate)) and inv.latents.space.name == "s":
            continue
        assert torch.equal(render(g, inv, [Masked(e, empty)]), plain)
        assert not torch.equal(render(g, inv, [Masked(e, 1 - empty)]), plain)
    if any(s.name == "w" for s in g.spaces) and inv.latents.space.name != "s":
        assert torch.equal(render(g, inv, [Masked(Truncate(0.3), empty, layers="all")]), plain)


@pytest.mark.parametrize(("name", "g"), CASES)
def test_saved_and_loaded_it_makes_the_same_picture(name, g, tmp_path):
    inv, method = found(name, g), made(name, g)
    file = artifact.save(inv, tmp_path / "me.safetensors", generator=g, method=method)
    again = artifact.load(file, generator=g)
    assert tree_equal(again, inv)
    assert torch.equal(render(g, again), render(g, inv))
    assert artifact.header(file)["method"]["settings"].keys() == method.schema().keys()


@pytest.mark.parametrize("name", KNOWN)
def test_a_method_says_what_it_is(name):
    method = KNOWN[name]
    assert method.name == name
    assert method.paper
    assert method.tags
    assert all(setting["help"] for setting in method.schema().values())
    plain = method.with_settings({})
    assert json.loads(json.dumps(plain.settings())) == plain.settings() | {}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_row_whose_values_are_defaults(name):
    preset = PRESETS[name]
    assert isinstance(preset, Preset)
    assert preset.matches
    assert preset.differs
    assert preset.about.count("\n") == 0
    for key, value in preset.settings.items():
        assert preset.schema()[key]["default"] == value
        assert getattr(preset.with_settings({}), key) == value
    assert "about" not in preset.schema()


def test_settings_win_over_a_preset():
    assert PRESETS["projector"].with_settings({"steps": 7}).settings()["steps"] == 7
    with pytest.raises(UnknownName, match="no setting of optimize is called 'step'"):
        PRESETS["projector"].with_settings({"step": 7})


def test_a_row_of_an_unknown_method_is_refused(tmp_path):
    file = tmp_path / "presets.toml"
    file.write_text('[mine]\nmethod = "optimise"\npaper = "p"\nabout = "a"\nmatches = "m"\ndiffers = "d"\n')
    with pytest.raises(UnknownName, match="did you mean 'optimize'"):
        presets(INVERTERS, file)


def test_unknown_names_are_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="no inverter is called 'projecter'; did you mean 'projector'"):
        invert("projecter", GENERATORS["tiny-style"], torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("name", [n for n in KNOWN if n not in PLAIN_ONLY])
def test_a_picture_of_another_size_is_refused(name):
    g = GENERATORS["tiny-style"]
    with pytest.raises(SettingError, match=re.escape("3x16x16 is expected; got 3x9x16")):
        KNOWN[name].with_settings({}).invert(g, torch.zeros(1, 3, 9, 16), progress=quiet)
