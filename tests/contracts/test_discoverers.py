"""What every discovery method keeps to, on every tiny generator that has the spaces it needs."""

import json
import re
from dataclasses import replace

import pytest
import torch

import tinyclip
from steerable import artifact, cache
from steerable.discover import DISCOVERERS, Discoverer, discover
from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.path import Direction, Paths
from steerable.record import tree_equal
from steerable.render import codes, render
from steerable.score import score

TINY = {"tiny-style": TinyStyle(), "tiny-plain": TinyPlain(), "tiny-class": TinyPlain(classes=3)}
QUICK = {"n": 64, "k": 3}  # taken where a method has such a setting
CORNER = {"region": "0,0,0.5,0.5", "size": 16, "n": 2}
OWN = {  # what a method needs beside
    "ganspace": {"n": 2048},
    "interfacegan": {"chosen": 16},
    "higan": {"method": "boundary", "rescored": 8},
    "stylespace": {"codes": 500, "positives": 5},
    "lowrankgan": {**CORNER, "lam": 0.5, "relax": 6},
    "resefa": CORNER,
    "geometry": {"size": 16, "n": 2},
    "spingarn": {"n": 400},
    "dfi": {"features": "pixels", "neighbors": 8, "axes": 16},
    "interfacegan-nonlinear": {"hidden": "8", "steps": 3},
    "styleflow": {"hidden": "8", "steps": 2, "batch": 8, "tolerance": 1e-2},
    "latent2im": {"content": "pixels", "kind": "local", "hidden": "8", "steps": 2},
    "guidedstyle": {"hidden": "8", "steps": 2, "batch": 2},
    "subspace-search": {"rounds": 2, "size": 16},
    "styleclip-global": {"n": 2, "beta": 0.01, "codes": 200},
    "steerability": {"steps": 3, "transforms": "zoom,red"},
    "plumerault": {"n": 4, "block": 4, "inner": 2, "epochs": 2, "transforms": "shift-x,brightness"},
    "ganalyze": {"n": 16, "batch": 16, "steps": 20, "rate": 0.02, "learn": "warmth"},
    "voynov": {"net": "lenet", "width": 4, "steps": 3, "batch": 4},
    "warpedganspace": {"net": "lenet", "width": 4, "steps": 3, "batch": 4, "dipoles": 4},
    "latentclr": {"steps": 3, "batch": 2},
    "hessian-penalty": {"steps": 3, "batch": 2},
    "orojar": {"steps": 3, "batch": 2},
    "spectral": {"n": 4},
}


def _cases():
    for name, method in DISCOVERERS.items():
        for which, generator in TINY.items():
            if {s.name for s in generator.spaces} >= set(method.needs):
                yield pytest.param(name, generator, id=f"{name}-{which}")


CASES = list(_cases())


def made(name, generator) -> Discoverer:
    method = DISCOVERERS[name]
    known = method.schema()
    settings = {k: v for k, v in (QUICK | OWN.get(name, {})).items() if k in known}
    if "space" in known:
        settings["space"] = "w" if any(s.name == "w" for s in generator.spaces) else generator.spaces[0].name
    if name == "styleclip-global":
        settings["clip"] = tinyclip.made(cache.root() / "tiny-clip")
    return method.with_settings(settings)


_FOUND: dict[tuple[str, str], Paths] = {}


def found(name, generator) -> Paths:
    """The paths of this method, discovered once for all tests."""
    if (name, generator.name) not in _FOUND:
        _FOUND[name, generator.name] = made(name, generator).discover(generator, supervision=score("statistics"))
    return _FOUND[name, generator.name]


def base(path, generator):
    """Two samples where the path acts."""
    z = generator.sample(2, seed=3)
    return generator.lift(z, path.space.name) if isinstance(path, Direction) else z


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_the_same_seed_finds_the_same_and_leaves_the_generator_alone(name, generator):
    weights = artifact.fingerprint(generator.net.state_dict())
    again = made(name, generator).discover(generator, supervision=score("statistics"))
    assert tree_equal(again, found(name, generator))
    assert artifact.fingerprint(generator.net.state_dict()) == weights == generator.fingerprint
    assert not any(p.requires_grad for p in generator.net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in generator.net.modules())


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_paths_have_names_of_their_own_and_units(name, generator):
    paths = found(name, generator)
    assert len(paths) > 0
    assert len(set(paths.names)) == len(paths)
    for path in paths:
        assert path is paths[path.name]
        if isinstance(path, Direction):
            assert path.vector.norm() == pytest.approx(1.0, abs=1e-5)
            assert path.vector.dtype == torch.float32
            assert path.unit == pytest.approx(generator.spread(path.vector, path.space.name), rel=1e-6)


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_at_zero_nothing_happens_and_at_two_something_does(name, generator):
    for path in found(name, generator):
        z = base(path, generator)
        assert torch.equal(render(generator, z, [path.at(0)]), render(generator, z))
        assert not torch.equal(render(generator, z, [path.at(2)]), render(generator, z))


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_straight_paths_add_and_count_standard_deviations(name, generator):
    for path in found(name, generator):
        if not isinstance(path, Direction) or path.layers:
            continue
        z = base(path, generator)
        there = codes(generator, z, [path.at(0.5), path.at(1.0)]).values
        assert torch.allclose(there, codes(generator, z, [path.at(1.5)]).values, atol=1e-5)
        many = torch.cat([generator.lift(c, path.space.name).values for _, c in generator.blocks(8192, seed=77)])
        deviation = float((many.flatten(1) @ path.vector.flatten()).std())
        step = (codes(generator, z, [path.at(1.0)]).values - z.values).flatten(1) @ path.vector.flatten()
        assert step.tolist() == pytest.approx([deviation] * 2, rel=0.05)


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_a_strength_that_is_no_number_is_refused(name, generator):
    for path in found(name, generator):
        for t in (float("inf"), float("nan"), torch.tensor([1.0, float("inf")])):
            with pytest.raises(SettingError, match="t must be finite"):
                path.at(t)


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_paths_are_saved_and_read_alike(name, generator, tmp_path):
    paths, method = found(name, generator), made(name, generator)
    file = artifact.save(paths, tmp_path / "p.safetensors", generator=generator, method=method)
    assert tree_equal(artifact.load(file, generator=generator), paths)
    assert artifact.header(file)["method"]["name"] == name


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_settings_survive_json(name, generator):
    method = made(name, generator)
    assert type(method).with_settings(json.loads(json.dumps(method.settings()))) == method


@pytest.mark.parametrize(("name", "generator"), CASES)
def test_a_space_that_is_not_there_is_refused(name, generator):
    method = DISCOVERERS[name]
    if "space" not in method.schema():
        pytest.skip(f"{name} has no setting space")
    with pytest.raises(SpaceError, match=rf"{generator.name} has no space 'nowhere'; it has 'z'"):
        discover(name, generator, supervision=score("statistics"), space="nowhere")


@pytest.mark.parametrize("name", [name for name, m in DISCOVERERS.items() if {"patience", "every"} <= set(m.schema())])
def test_training_ends_when_its_criterion_gets_no_better(name):
    generator = TINY["tiny-style"]
    method = replace(made(name, generator), steps=40, every=2, rate=0.0)
    if name == "ganalyze":
        method = replace(
            method, learn="all"
        )  # where nothing is learned, some of its paths point the wrong way and are left out
    endless, patient = (
        replace(method, patience=p).discover(generator, supervision=score("statistics")) for p in (0, 2)
    )
    assert endless.notes["training"]["steps"] == 40
    assert not endless.notes["training"]["ended by its criterion"]
    ended = patient.notes["training"]
    assert ended["ended by its criterion"]
    assert 6 <= ended["steps"] < 40
    assert ended["history"] == endless.notes["training"]["history"][: len(ended["history"])]


@pytest.mark.parametrize("name", DISCOVERERS)
def test_a_method_says_what_it_is(name):
    method = DISCOVERERS[name]
    assert method.name == name
    assert method.paper
    assert method.tags
    assert all(setting["help"] for setting in method.schema().values())
    for generator in TINY.values():
        if missing := [s for s in method.needs if s not in {space.name for space in generator.spaces}]:
            with pytest.raises(SpaceError, match=f"has no space '{re.escape(missing[0])}'"):
                discover(name, generator, supervision=score("statistics"))


def test_unknown_names_are_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="no discovery method is called 'sefaa'; did you mean 'sefa'"):
        discover("sefaa", TINY["tiny-style"])
    with pytest.raises(UnknownName, match="no setting of sefa is called 'layer'; did you mean 'layers'"):
        discover("sefa", TINY["tiny-style"], layer="0")
