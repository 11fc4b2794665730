"""Comparing inverters: numbers are those of their definitions, work is kept, who cannot take part says why; the curve of a photograph."""

import json
from dataclasses import replace

import pytest
import torch

from steerable import artifact
from steerable.edit import Inversion, Truncate
from steerable.errors import SettingError, UnknownName
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.invert import Optimize, Pivotal
from steerable.measure import compare
from steerable.measure.editability import Editing, curve, edited_by
from steerable.measure.fidelity import psnr
from steerable.measure.inversions import Picture, own, planned, possible
from steerable.path import Direction, Paths
from steerable.record import tree_equal
from steerable.render import render
from steerable.score import score

G = TinyStyle()
W = Optimize(space="w", coarse="", lpips=0.0, steps=25)
WPLUS = Optimize(space="w+", coarse="", lpips=0.0, steps=25)
TUNED = Pivotal(pivot=W, steps=15, rate=0.02, lpips=0.0, enough=0.0)


def halves(n=2):
    """Pictures that no code has: of two samples the left and the right half."""
    made = render(G, G.sample(2 * n, seed=31))
    joined = torch.cat([made[:n, ..., :8], made[n:, ..., 8:]], -1)
    return [Picture(f"halves {i}", joined[i : i + 1]) for i in range(n)]


@pytest.fixture(scope="module")
def found(cache_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEERABLE_CACHE", str(cache_folder))
        told = {"scores": "brightness,contrast", "labels": 60}
        return compare("invert", G, {"w": W, "w+": WPLUS, "tuned": TUNED, "exact": "exact"}, pictures=halves(), **told)


def test_more_freedom_comes_nearer(found):
    nearer = [found[name].figure("psnr").mean for name in ("w", "w+", "tuned")]
    assert nearer[0] < nearer[1]
    assert nearer[0] < nearer[2]
    assert found["w"].figure("mse").mean > found["w+"].figure("mse").mean
    assert found["tuned"].figure("steps").mean == 25 + 14  # the last look is no step
    assert all(a.seconds > 0 for r in found.taking_part for a in r.attempts)


def test_numbers_are_those_of_their_definitions(found):
    plan = planned(G, {"w+": WPLUS}, halves(), scores="brightness,contrast", labels=60)
    (entry,), picture = plan.entries, plan.pictures[0]
    base = plan.sought(entry, picture).inversion
    plain, a = render(G, base), found["w+"].attempts[0]
    assert a.scores["psnr"] == pytest.approx(float(psnr(plain.clamp(-1, 1), picture.image.clamp(-1, 1))), abs=1e-4)
    path, reader = plan.editing.paths["contrast"], score("brightness+contrast")
    change = (reader(render(G, base, [path.at(1.0)])) - reader(plain))[0, reader.names.index("contrast")]
    assert a.effect["contrast"] == pytest.approx(float(change) / plan.editing.spread["contrast"], rel=1e-4)
    assert a.value("effect") == pytest.approx((a.effect["brightness"] + a.effect["contrast"]) / 2)
    assert a.kept == a.same == {}  # nobody judged identity
    values = [x.value("effect") for x in found["w+"].attempts]
    assert found["w+"].figure("effect").mean == pytest.approx(sum(values) / 2)


def test_who_cannot_take_part_says_why(found):
    (out,) = found.left_out
    assert out.name == "exact"
    assert "plain chain" in out.reason
    assert [r.name for r in found.taking_part] == ["w", "w+", "tuned"]


def test_what_was_found_is_not_sought_again(found, monkeypatch):
    monkeypatch.setattr(Optimize, "invert", lambda *a, **k: pytest.fail("sought again"))
    again = compare("invert", G, {"w": W}, pictures=halves(), scores="brightness,contrast", labels=60)
    assert tree_equal(again["w"], found["w"])


def test_an_interrupted_search_is_not_kept(monkeypatch):
    calls = []

    def stopped(self, generator, images, **options):
        calls.append(1)
        return Inversion(generator.sample(1), notes={"interrupted": "after 1 step"})

    monkeypatch.setattr(Optimize, "invert", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            compare("invert", G, {"w": replace(W, steps=3)}, pictures=halves(1))
    assert len(calls) == 2


def test_own_pictures_have_a_control_that_is_exact():
    found = compare("invert", G, {"few": replace(W, steps=2)}, pictures=2, scores="brightness", labels=60)
    truth = found["truth"]
    assert truth.control
    assert truth.figure("psnr") is None  # infinite
    assert truth.figure("mse").mean == 0
    assert truth.figure("seconds") is None
    assert truth.figure("effect").mean > 0.2
    assert [r.name for r in found.taking_part] == ["few", "truth"]
    (first, second) = own(G, 2)
    assert first.name == "seed 1000000"
    assert torch.equal(second.image, render(G, G.sample(seeds=[1000001]), [Truncate(0.7)]))


def test_a_comparison_is_data(found, tmp_path):
    file = artifact.save(found, tmp_path / "c.safetensors", generator=G)
    assert tree_equal(artifact.load(file, generator=G), found)
    told = {m["name"]: m for m in json.loads(json.dumps(found.json(), allow_nan=False))["methods"]}
    assert told["tuned"]["settings"]["pivot"]["method"] == "optimize"
    assert told["w"]["pictures"][1]["picture"] == "halves 1"
    assert told["exact"]["reason"]


def test_given_paths_edit_and_identity_is_asked_for():
    made = Direction.along("brightness", torch.randn(16, generator=torch.Generator().manual_seed(0)), G.space("w"), G)
    asked = []

    def same(before, after):
        asked.append(before)
        return torch.tensor([0.5 if torch.equal(before, after) else 0.25])

    paths = Paths((made, replace(made, name="other")))
    found = compare("invert", G, ["optimize"], pictures=halves(1), scores="brightness", paths=paths, labels=60, identity=same,
                     settings={"optimize": {"steps": 2, "lpips": 0.0, "coarse": ""}})  # fmt: skip
    (a,) = found["optimize"].attempts
    assert found.targets == ("brightness",)
    assert a.kept == a.same == {"brightness": 0.25}
    assert len(asked) == 2
    assert found["optimize"].settings["steps"] == 2
    unread = edited_by(G, None, None, paths, 0.7, None, None)
    assert unread.targets == ("brightness", "other")


def test_the_curve_leads_from_the_rows_found_to_a_code_of_w():
    picture = halves(1)[0].image
    base = WPLUS.invert(G, picture)
    editing = edited_by(G, "brightness", None, None, 0.7, 60, None)
    points = curve(G, base, picture, editing, shares=(0.0, 0.5, 1.0))
    assert [p.share for p in points] == [0.0, 0.5, 1.0]
    assert points[0].scores["psnr"] == pytest.approx(float(psnr(render(G, base).clamp(-1, 1), picture)), abs=1e-4)
    assert points[0].scores["psnr"] > points[2].scores["psnr"]
    middle = base.latents.values.mean(1)
    at_w = render(G, Inversion(G.lift(G.sample(1), "w").at(middle)))
    assert points[2].scores["psnr"] == pytest.approx(float(psnr(at_w.clamp(-1, 1), picture)), abs=1e-3)
    assert all("brightness" in p.effect for p in points)
    with pytest.raises(SettingError, match="one w\\+ code; this is 1 in w"):
        curve(G, W.invert(G, picture), picture, Editing())


def test_generators_without_w_are_edited_in_their_own_space():
    g = TinyPlain()
    z = Optimize(space="z", coarse="", lpips=0.0, steps=3)
    found = compare("invert", g, {"z": z, "w": W}, pictures=1, scores="brightness", labels=60)
    assert found["z"].figure("effect") is not None
    assert "has no space 'w'" in found["w"].reason


def test_the_same_name_twice_is_numbered():
    plan = planned(G, [W, WPLUS], halves(1))
    assert [e.name for e in plan.entries] == ["optimize", "optimize-2"]
    assert possible((16, 16)) == ("mse", "psnr", "ssim")
    assert possible((8, 300)) == ("mse", "psnr")


def test_what_does_not_exist():
    with pytest.raises(UnknownName, match="did you mean 'optimize'"):
        compare("invert", G, ["optimise"], pictures=1)
    with pytest.raises(UnknownName, match="no method of this comparison is called 'w'"):
        compare("invert", G, ["optimize"], pictures=1, settings={"w": {}})
    with pytest.raises(SettingError, match="takes a picture or more"):
        compare("invert", G, ["optimize"], pictures=0)
    with pytest.raises(SettingError, match="say which inverters"):
        compare("invert", G, [], pictures=1)
    with pytest.raises(UnknownName, match="no target is called 'smile'"):
        compare("invert", G, ["optimize"], pictures=1, scores="brightness", targets=["smile"], labels=60)
    made = Paths((Direction.along("up", torch.ones(16), G.space("w"), G),))
    with pytest.raises(SettingError, match="no path has the name of a score"):
        compare("invert", G, ["optimize"], pictures=1, scores="brightness", paths=made, labels=60)
