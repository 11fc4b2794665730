"""Names from effects: the largest clear one, turned to grow; no name where nothing is clear."""

from dataclasses import replace

import pytest
import torch

from planted import FACTORS, Factors, Planted, cosine
from steerable.discover import Random, SeFa
from steerable.errors import SettingError
from steerable.measure import clear, effects, named, summary
from steerable.path import Between, Direction, Effect, Paths
from steerable.space import Space

W = Space("w", (3,))


def effect(score, per_sd, half, sd=1.0, n=8):
    return Effect(score, per_sd, per_sd - half, per_sd + half, sd, "years", 0.7, n)


def path(name, *found, span=(-3.0, 5.0)):
    return Direction(name=name, vector=torch.eye(3)[0], space=W, unit=1.0, effects=found, range=span)


def test_planted_factors_get_their_names():
    g = Planted()
    found = SeFa(k=4).discover(g)
    measured = effects(g, found, Factors(noise=0.05), limit=0)
    called = named(measured)
    assert called.names == FACTORS
    for p in called:
        assert cosine(p.vector, g.truth(p.name)) > 0.999  # turned so that the factor grows
        assert p.about.startswith(f"{p.name} +")
        assert p.about.endswith(f"(was {next(o.name for o in found if abs(cosine(o.vector, p.vector)) > 0.99)})")


def test_random_directions_of_a_scorer_that_sees_nothing_stay_unclear():
    g = Planted()

    class Blank(Factors):
        def read(self, images):
            return super().read(torch.zeros_like(images) + 0 * images) + torch.randn(
                len(images), 4, generator=torch.Generator().manual_seed(int(images.abs().sum() * 1e4))
            )

    called = named(effects(g, Random(k=5).discover(g), Blank(), limit=0))
    assert sum(p.name.startswith("random-") for p in called) >= 4
    assert all(p.about.startswith("unclear: ") for p in called if p.name.startswith("random-"))


def test_the_largest_in_standard_deviations_names_and_turns():
    paths = Paths(
        (path("pc-0", effect("age", -8.1, 1.0, sd=10.0), effect("glasses", -0.06, 0.01, sd=0.2)),),
        {"identity": {"pc-0": (0.8, 0.7, 0.9)}},
    )
    (turned,) = called = named(paths)
    assert turned.name == "age"
    assert turned.about == "age +0.81, glasses +0.30 (was pc-0)"
    assert torch.equal(turned.vector, -paths[0].vector)
    assert turned.range == (-5.0, 3.0)
    assert turned.effects[0].per_sd == pytest.approx(8.1)
    assert (turned.effects[0].low, turned.effects[0].high) == pytest.approx((7.1, 9.1))
    assert called.notes["identity"] == {"age": (0.8, 0.7, 0.9)}


def test_names_are_unique_and_unclear_paths_keep_theirs():
    paths = Paths(
        (
            path("pc-0", effect("age", 0.5, 0.1)),
            path("age-2", effect("age", 0.1, 0.3)),
            path("pc-2", effect("age", 0.9, 0.1)),
            path("pc-3", effect("age", 0.1, 0.01)),
        )
    )
    called = named(paths)
    assert called.names == ("age", "age-2", "age-3", "pc-3")
    assert named(called)[0].about == "age +0.50"  # it was so called before
    assert called[1].about == "unclear: age +0.10"
    assert called[3].about == "unclear: age +0.10"  # sure, but too small to name it
    assert named(paths, least=0.05).names[3] == "age-4"


def test_an_interval_is_widened_for_the_number_of_scores_looked_at():
    alone = path("a", effect("age", 1.0, 0.9))
    among = path("b", effect("age", 1.0, 0.9), *(effect(f"s{i}", 0.0, 0.9) for i in range(19)))
    assert [e.score for e in clear(alone)] == ["age"]
    assert clear(among) == ()
    assert clear(path("c", effect("age", 1.0, 0.1, sd=0.0))) == ()


def test_a_path_that_cannot_be_turned_says_so_in_its_name():
    way = Between(name="between", way=torch.ones(3), space=W, effects=(effect("age", -1.0, 0.1),))
    assert named(Paths((way,))).names == ("less-age",)


def test_paths_have_to_be_measured_first():
    with pytest.raises(SettingError, match=r"'pc-0' was not measured; run effects\(\) first"):
        named(Paths((path("pc-0"),)))


def test_a_summary_is_rows_of_json():
    import json

    paths = Paths(
        (path("pc-0", effect("age", 8.0, 1.0, sd=10.0), effect("hat", 0.1, 1.0)),),
        {"identity": {"pc-0": (0.8, 0.7, 0.9)}},
    )
    (row,) = json.loads(json.dumps(summary(replace(paths))))
    assert row["name"] == "pc-0"
    assert row["identity"] == [0.8, 0.7, 0.9]
    assert row["range"] == [-3.0, 5.0]
    assert (row["psi"], row["n"], row["space"], row["layers"]) == (0.7, 8, "w", "all")
    assert [(e["score"], e["clear"]) for e in row["effects"]] == [("age", True), ("hat", False)]
    assert row["effects"][0]["standardized"] == pytest.approx(0.8)
    assert summary(Paths((path("x"),)))[0]["effects"] == []
