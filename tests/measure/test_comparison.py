"""Comparisons: a known truth and its controls come out where they must, work is kept, and who cannot take part says why."""

import json
import tomllib
from dataclasses import replace

import pytest
import torch

from planted import FACTORS, Factors, Listening, Planted
from steerable import artifact
from steerable.discover import DISCOVERERS, Boundary, Random, SeFa, Voynov
from steerable.errors import MethodFailed, SettingError, UnknownName
from steerable.generators import heads
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.measure import compare
from steerable.measure.compare import Rules, _combined, planned
from steerable.measure.directions import Choice, Trial
from steerable.measure.entrants import QUICK, Limited
from steerable.method import quiet
from steerable.record import tree_equal

FEW = {"labels": 40, "people": 4, "chosen_on": 2, "pictures": 3}


@pytest.fixture(scope="module")
def g():
    return heads.load("heads-64")


@pytest.fixture(scope="module")
def found(g, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEERABLE_CACHE", str(tmp_path_factory.mktemp("compared")))
        methods = [Boundary(n=100), "sefa", "lowrankgan"]
        told = {
            "lowrankgan": {"region": ""},
            "duplicated": {"n": 40, "k": 3},
            "random": {"k": 5},
            "sefa": {"k": 5},
            "stylespace": {"codes": 500, "positives": 5},
        }
        return compare("discover", g, methods, targets=["yaw", "tone"], settings=told, **FEW)


def test_the_truth_is_the_ceiling(found):
    truth = found["truth"]
    assert truth.control
    assert truth.reached == 2
    for j in truth.judged:
        assert j.exact
        assert j.effect.mean == pytest.approx(1.0, abs=1e-3)
        assert j.leakage.mean < 1e-3
        assert j.angle.mean < 0.1
        assert j.correlation.mean > 0.999
        assert j.rising.mean == 1.0
    assert truth.sets["MIG"] > 0.9


def test_a_supervised_method_lies_between_truth_and_chance(found):
    truth, boundary, random = found["truth"], found["boundary"], found["random"]
    for figure in ("correlation", "angle", "leakage"):
        assert boundary.figure(figure) is not None
    assert random.figure("correlation").mean < boundary.figure("correlation").mean < truth.figure("correlation").mean
    assert truth.figure("angle").mean < boundary.figure("angle").mean < random.figure("angle").mean
    assert boundary["tone"].path.name == "tone"
    assert boundary["tone"].effect.mean == pytest.approx(1.0, abs=0.02)
    assert 0 < boundary["tone"].leakage.mean < 1
    assert boundary["tone"].worst[0] in heads.NAMES
    assert boundary.seeds == (0, 1)
    assert 0 < boundary["yaw"].stability < 1
    assert found["sefa"].seeds == (0,)
    assert found["sefa"]["yaw"].stability is None


def test_controls_are_beside_without_being_asked_for(found):
    controls = {c.name for c in found.taking_part if c.control}
    assert controls == {"truth", *(name for name, m in DISCOVERERS.items() if "control" in m.tags)}
    assert found["duplicated"].sets["SAP"] < found["boundary"].sets["SAP"] + 0.1
    order = [c.control for c in found.taking_part]
    assert order == sorted(order)


def test_paths_of_styles_are_judged_by_pictures(g):
    told = {"stylespace": {"codes": 300, "positives": 5, "k": 1}}
    found = compare("discover", g, ["stylespace"], targets=["tone"], settings=told, controls=False, seeds=1, **FEW)
    space = found["stylespace"]
    assert not space["tone"].exact
    assert space.sets == {}
    assert space["tone"].angle is None
    assert space["tone"].correlation is not None


def test_who_cannot_take_part_says_why(found):
    (out,) = found.left_out
    assert out.name == "lowrankgan"
    assert "region" in out.reason


def test_a_comparison_is_data(found, g, tmp_path):
    file = artifact.save(found, tmp_path / "c.safetensors", generator=g)
    assert tree_equal(artifact.load(file, generator=g), found)
    text = json.dumps(found.json(), allow_nan=False)
    methods = {m["name"]: m for m in json.loads(text)["methods"]}
    assert methods["boundary"]["judged"][0]["effect"]["n"] == 4
    assert methods["boundary"]["settings"]["n"] == 100
    assert json.loads(text)["how"]["psi"] == 1.0


def test_the_same_again_costs_nothing_and_says_the_same(found, g, monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path))
    rules = Rules(controls=False, **FEW)
    plan = planned("discover", g, [SeFa(k=4)], rules, targets=["yaw"])
    first = plan.contender(plan.entrants[0])

    def never(*_, **__):
        raise AssertionError("it was made again")

    monkeypatch.setattr(SeFa, "discover", never)
    again = planned("discover", g, [SeFa(k=4)], rules, targets=["yaw"])
    assert tree_equal(again.contender(again.entrants[0]), first)
    other = planned("discover", g, [SeFa(k=5)], rules, targets=["yaw"])
    with pytest.raises(AssertionError, match="made again"):
        other.contender(other.entrants[0])


def test_generators_without_a_truth_are_judged_by_scores():
    g = Planted()
    told = compare("discover", g, ["boundary", Random(k=3)], scores=Factors(), seeds=1, **FEW)
    boundary = told["boundary"]
    assert told["random"].judged
    assert told["random"].settings["k"] == 3
    assert [j.target for j in boundary.judged] == list(FACTORS)
    for j in boundary.judged:
        assert not j.exact
        assert j.path.name == j.target
        assert j.effect.mean == pytest.approx(1.0, abs=0.05)
        assert j.leakage.mean < 0.1
        assert j.correlation is None
    assert boundary.sets == {}
    assert "truth" not in [c.name for c in told.contenders]


def test_generators_without_w_get_methods_in_their_own_space():
    g = TinyPlain()
    told = compare("discover", g, ["random", "stylespace"], scores="brightness", controls=False, seeds=1, **FEW)
    assert told["random"].settings["space"] == "z"
    assert told.targets == ("brightness",)
    assert "contrast" in told.scores  # leakage is looked for beyond the targets
    assert "has no space 's'" in told["stylespace"].reason


@pytest.mark.parametrize(("psi", "space"), [(0.7, "w"), (1.0, "z")])
def test_what_searches_z_goes_to_w_where_pictures_are_truncated(psi, space):
    rules = Rules(**FEW, psi=psi, controls=False)
    (plumerault,) = planned("discover", TinyStyle(), ["plumerault"], rules, "brightness").entrants
    assert (plumerault.method.space, plumerault.method.psi) == (space, psi)


def test_a_method_that_takes_too_long_is_stopped_and_listed(g):
    clock = Limited(quiet, 0.0, "slow")
    with pytest.raises(MethodFailed, match="slow was stopped after 0 CPU seconds"):
        list(clock.over(range(10_000), "work"))
    assert list(Limited(Listening(), None, "slow").over([1, 2], "work")) == [1, 2]


def test_quick_settings_are_settings():
    """Every one can be set; only the reserved words are no settings."""
    for table in tomllib.loads(QUICK.read_text()).values():
        assert table["labels"] > 0
        for name, told in table.items():
            if name != "labels" and name in DISCOVERERS:
                schema = DISCOVERERS[name].schema()
                assert set(told) - {"seconds", "seeds"} <= set(schema), name
                DISCOVERERS[name].with_settings({k: v for k, v in told.items() if k in schema})


def test_what_does_not_exist(g):
    plain = TinyPlain()
    with pytest.raises(UnknownName, match="no verb with methods to compare is called 'find'"):
        compare("find", g, ["sefa"])
    with pytest.raises(UnknownName, match="did you mean 'sefa'"):
        compare("discover", plain, ["sefaa"], scores="statistics", **FEW)
    with pytest.raises(UnknownName, match="no target among the scores is called 'smiel'"):
        compare("discover", g, ["sefa"], targets=["smiel"])
    with pytest.raises(SettingError, match="say which scores judge"):
        compare("discover", plain, ["sefa"])
    with pytest.raises(SettingError, match="cannot look at pictures"):
        compare("discover", g, ["sefa"], scores="heads-truth")
    with pytest.raises(SettingError, match="takes a seed and two people"):
        compare("discover", g, ["sefa"], people=1)


def test_methods_have_names_of_their_own():
    plain, few = TinyPlain(), {**FEW, "scores": "brightness", "controls": False, "seeds": 1}
    found = compare(
        "discover", plain, {"one": Random(space="z", k=2), "other": "random"}, settings={"random": {"k": 3}}, **few
    )
    assert [(c.name, c.method, c.paths) for c in found.contenders] == [("one", "random", 2), ("other", "random", 3)]
    assert found.how["psi"] == 1.0


def test_options_of_another_kind_are_refused():
    with pytest.raises(
        SettingError, match=r"compare\('discover'\) takes no which, look; of its own it has supervision"
    ):
        compare("discover", TinyPlain(), ["random"], scores="brightness", which=["psnr"], look=64)
    with pytest.raises(SettingError, match=r"compare\('invert'\) takes no seeds; of its own it has paths, which, look"):
        compare("invert", TinyPlain(), ["optimize"], seeds=2)


def test_seeds_that_are_not_judged_still_tell_stability():
    g = Planted()
    plan = planned("discover", g, ["boundary"], Rules(seeds=2, judged_seeds=1, controls=False, **FEW), Factors())
    for j in plan.contender(plan.entrants[0]).judged:
        assert j.stability > 0.9
        assert j.alike is None
        assert j.reached == 2
        assert j.over_seeds == {}


def test_where_nobody_can_be_read_nothing_is_said(tmp_path):
    g, gone = Planted(), torch.full((3, 4), torch.nan, dtype=torch.float64)
    path = Random(k=1).discover(g)[0]
    lost = Trial(gone, gone[:, 0], gone[:, 0], gone[:, 0], False)
    judged = _combined("red", 0, FACTORS, [path], [Choice(0, 4.0, False)], [lost], [])
    assert (judged.effect, judged.leakage, judged.worst, judged.changes) == (None, None, ("", 0.0), {})
    assert tree_equal(artifact.load(artifact.save(judged, tmp_path / "j.safetensors"), generator=g), judged)
    known = gone.clone()
    known[:, :2] = 1
    partly = _combined("red", 0, FACTORS, [path], [Choice(0, 4.0, False)], [replace(lost, change=known)], [])
    assert partly.worst == (FACTORS[1], 1.0)


def test_a_configured_method_may_take_its_time():
    """The quick settings, their limits too, are for methods that are only named."""
    rules = Rules(controls=False, **FEW)
    named, configured = planned("discover", TinyStyle(), ["voynov", Voynov()], rules, "brightness").entrants
    assert (named.budget, named.seeds) == (90, (0,))
    assert (configured.budget, configured.seeds) == (None, (0, 1))
