"""Judging by known truth, on the generator that comes with the package."""

import pytest
import torch

from steerable.discover import discover
from steerable.edit import OnLayers, Truncate
from steerable.errors import MethodFailed, SettingError
from steerable.generators import heads
from steerable.generators.tiny import TinyStyle
from steerable.measure.truth import Truth, interventions, set_scores
from steerable.path import Direction, Paths
from steerable.score import Table, score
from steerable.score.labels import label


@pytest.fixture(scope="module")
def g():
    return heads.load("heads-64")


@pytest.fixture(scope="module")
def truth(g):
    found = Truth.of(g)
    assert found is not None
    return found


def test_who_knows_the_truth(g):
    assert Truth.of(g) is not None
    assert Truth.of(TinyStyle()) is None


def test_factors_of_edits_of_codes_are_known_and_of_others_not(g, truth):
    people, smile = g.sample(3), g.truth()["smile"]
    plain, edited = truth.factors(people, []), truth.factors(people, [smile.at(1.0)])
    moved = (edited - plain)[:, truth.names.index("smile")]
    assert float(moved.min()) > 0.3
    assert torch.allclose((edited - plain).sum(1), moved, atol=1e-4)
    assert truth.factors(people, [OnLayers(smile.at(1.0), "0-3")]) is None
    style = Direction.along("s", torch.ones(g.space("s").shape), g.space("s"))
    assert truth.factors(people, [style.at(0.1)]) is None


def test_the_true_direction_is_the_true_edit(g, truth):
    """And one that is mixed with another is not, by an angle that is known."""
    true = truth.truly_edited(g.sample(6, seed=11), [], "smile", 0.3)
    paths, directions = g.truth(), g.directions()
    step = 0.3 * float(directions[truth.names.index("smile")].norm()) / paths["smile"].unit
    found = true.compared(paths["smile"].at(step), distance=lambda a, b: (a - b).abs().mean((1, 2, 3)))
    assert float(found.angle.max()) < 0.1
    assert float(found.correlation.min()) > 0.999
    assert float(found.psnr.min()) > 50
    assert float(found.perceptual.max()) < 1e-3
    a, b = paths["smile"].vector.double(), paths["background"].vector.double()
    mixed = Direction.along("mixed", a + b, g.space("w"), g)
    worse = true.compared(mixed.at(1.0))
    cosine = (1 + float(a @ b)) / float((a + b).norm())
    assert worse.angle.mean() == pytest.approx(float(torch.tensor(cosine).acos().rad2deg()), abs=0.1)
    assert float(worse.correlation.mean()) < 0.5
    assert worse.perceptual is None


def test_people_at_the_limit_are_left_out(g, truth):
    people = g.sample(12, seed=11)
    some = truth.truly_edited(people, [], "age", 0.9)
    assert 0 < len(some.people) < 12
    after = g.factors(some.codes)[:, truth.names.index("age")]
    assert float(after.max()) <= 1.001
    with pytest.raises(MethodFailed, match="none of 1 people"):
        truth.truly_edited(people[:1], [], "age", 3.0)


def test_interventions_see_the_truth_and_the_controls(g, truth):
    true = list(g.truth())[:6]
    right = set_scores(truth, true, [], n=1500)
    assert right["SAP"] > 0.9 * 6 / 20
    codes, changes = interventions(truth, Paths(tuple(true)), [], n=1500)
    assert codes.std(0).tolist() == pytest.approx([1.0] * 6, abs=0.05)
    assert float(changes[:, 6:].abs().max()) < 1e-3  # factors that no path of these moves
    again = set_scores(truth, [*g.truth(), *discover("random", g, k=4)], [], n=1500)
    everything = set_scores(truth, list(g.truth()), [], n=1500)
    assert everything["MIG"] > 0.9
    assert everything["DCI-D"] > 0.95
    assert again["MIG"] < everything["MIG"]
    layered = Direction.along("one layer", g.truth()[0].vector, g.space("w"), g, layers="0-1")
    assert set_scores(truth, [layered], [], n=100) == {}


def test_truncation_comes_first(g, truth):
    people = g.sample(64)
    assert truth.spread([Truncate(0.5)], 512).mean() == pytest.approx(float(truth.spread([], 512).mean()) / 2, rel=0.01)
    assert truth.factors(people, [Truncate(0.0)]).std(0).max() < 1e-4


# -- the truth as labels ------------------------------------------------------------------------------------------------------------


def test_labels_by_the_truth(g):
    told = score("heads-truth")
    assert isinstance(told, Table)
    labels = label(g, told, 30, seed=5, psi=0.8)
    assert labels.seeds.tolist() == list(range(5, 35))
    expected = g.factors(g.truncate(g.sample(30, seed=5), 0.8))
    assert torch.allclose(labels.scores, expected, atol=1e-5)
    assert labels.names == heads.NAMES
    paths = discover("boundary", g, supervision=told, n=400, learn="tone")
    true = g.truth()["tone"].vector
    assert abs(float(paths["tone"].vector @ true)) > 0.5


def test_the_truth_of_others_is_not_known(g):
    with pytest.raises(SettingError, match="tiny-style does not know the factors"):
        label(TinyStyle(), score("heads-truth"), 30)
    with pytest.raises(SettingError, match="before its generator was"):
        score("heads-truth").rows([1])
