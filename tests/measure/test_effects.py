"""Effects against known slopes, their error bars, ranges, and what is refused."""

import pytest
import torch

from planted import FACTORS, Factors, Listening, Planted
from steerable import artifact
from steerable.discover import Random, SeFa
from steerable.errors import SettingError, SpaceError
from steerable.measure import effects
from steerable.measure.effects import interval, student
from steerable.path import Direction, Paths, between
from steerable.record import tree_equal
from steerable.score import Scorer, Table
from steerable.score.labels import label


@pytest.fixture
def planted():
    return Planted()


@pytest.fixture
def paths(planted):
    """Along each factor alone."""
    w = planted.space("w")
    return Paths(tuple(Direction.along(name, planted.truth(name), w, planted) for name in FACTORS), {"kept": 1})


def by_name(path):
    return {e.score: e for e in path.effects}


def test_effects_are_the_known_slopes(planted, paths):
    labels = label(planted, Factors(), 500)
    measured = effects(planted, paths, Factors(), labels=labels, limit=0)
    for path in measured:
        for effect in path.effects:
            expected = path.unit if effect.score == path.name else 0.0  # levels are w along the factor
            assert effect.per_sd == pytest.approx(expected, abs=1e-4)
            assert effect.low - 1e-4 <= expected <= effect.high + 1e-4
            assert (effect.n, effect.psi, effect.unit) == (8, 1.0, "levels")
        own = by_name(path)[path.name]
        assert own.sd == pytest.approx(path.unit, rel=0.1)  # the spread of a factor is that of w along it
        assert own.standardized == pytest.approx(1.0, rel=0.1)
        assert path.range is None
    assert measured.notes["kept"] == 1
    assert measured.notes["measured"]["people"] == 8
    assert "identity" not in measured.notes


def test_a_slope_is_taken_over_all_strengths_and_truncated_people(planted, paths):
    measured = effects(planted, paths, Factors(), t=(-2, -1, 0.5, 2), psi=0.5, n_people=3, limit=0)
    assert by_name(measured["red"])["red"].per_sd == pytest.approx(paths["red"].unit, abs=1e-4)
    assert by_name(measured["red"])["red"].psi == 0.5


def test_error_bars_hold_the_truth_nineteen_times_in_twenty(planted, paths):
    """Noisy readings of the same pictures: 120 intervals, of which about 114 must hold the truth."""
    held = total = 0
    for seed in range(1_000_000, 1_000_300, 10):
        measured = effects(planted, paths[:1], Factors(noise=1.0), n_people=8, seed=seed, limit=0)
        for effect in measured[0].effects:
            truth = paths[0].unit if effect.score == "red" else 0.0
            held, total = held + (effect.low <= truth <= effect.high), total + 1
    assert total == 120
    assert 106 <= held <= 120
    assert held < 120


def test_few_people_get_students_interval():
    assert student(8) == pytest.approx(2.3646, abs=1e-4)
    mean, low, high = interval(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert (mean, high - mean, mean - low) == pytest.approx((2.0, 2.4841, 2.4841), abs=1e-3)


@pytest.mark.parametrize("n", [8, 24])
def test_more_people_are_drawn_again(n):
    """Of normal values the interval is about Student's, of skewed ones it leans; it holds the truth as often as it says, or nearly."""
    source = torch.Generator().manual_seed(n)
    normal = torch.randn(400, n, generator=source, dtype=torch.float64)
    ends = torch.tensor([interval(row) for row in normal])
    assert 0.90 <= float(((ends[:, 1] <= 0) & (ends[:, 2] >= 0)).double().mean()) <= 0.98
    width = student(n) * normal.std(1) / n**0.5
    assert float(((ends[:, 2] - ends[:, 1]) / 2 / width).mean()) == pytest.approx(1, abs=0.1)
    mean, low, high = interval(normal[0].exp())
    assert high - mean > mean - low
    assert normal[0].exp().min() <= low
    assert (mean, low, high) == interval(normal[0].exp())


def test_an_interval_of_many_values_is_the_normal_one():
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, low, high = interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * float(values.std()) / 20_000**0.5, rel=0.1)
    assert low < mean < high


def test_people_without_a_score_are_left_out_of_its_effect(planted, paths):
    levels = Factors()
    red = levels(planted.synthesize(planted.sample(8, seed=1_000_000)))[:, 0]
    step = paths["red"].unit
    blind = float((red + step).sort().values[4:6].mean())  # the edit takes the face from the three reddest people
    measured = effects(planted, paths[:1], Factors(blind=blind), limit=0)
    assert {e.n for e in measured[0].effects} == {5}
    listening = Listening()
    measured = effects(planted, paths[:1], Factors(blind=-9.0), limit=0, progress=listening)
    assert measured[0].effects == ()
    assert "red: too few people have a score for checker, left-right, red, top-bottom" in listening.told


def test_identity_kept_is_told_with_its_interval(planted, paths):
    same = lambda before, after: 1 - (before - after).abs().amax((1, 2, 3))
    measured = effects(planted, paths, Factors(), identity=same, limit=0)
    for path in paths:
        mean, low, high = measured.notes["identity"][path.name]
        peak = {"red": 3**0.5, "left-right": 3**0.5, "top-bottom": 3**0.5, "checker": 1.0}[path.name]
        assert mean == pytest.approx(1 - 0.1 * path.unit * peak, abs=1e-4)
        assert low <= mean <= high


def test_the_range_ends_where_a_face_is_lost(planted, paths):
    red = Factors()(planted.synthesize(planted.sample(4, seed=1_000_000)))[:, 0]
    step = paths["red"].unit
    blind = float(red.sort().values[2]) + 2.5 * step  # three of four people keep their face up to t = 2
    everyone = lambda before, after: torch.ones(len(before))
    measured = effects(planted, paths, Factors(blind=blind), identity=everyone, limit=3)
    assert measured["red"].range == (-3.0, 2.0)
    assert measured["checker"].range == (-3.0, 3.0)
    assert "the identity stays above the threshold" in measured.notes["measured"]["range"]


def test_the_range_ends_where_the_person_is_another(planted, paths):
    same = lambda before, after: 1 - (before - after).square().mean((1, 2, 3)).sqrt()
    reach = effects(planted, paths, Factors(), identity=same, same=1 - 0.1 * 1.5 * paths["red"].unit, limit=5)
    assert reach["red"].range == (-1.0, 1.0)


def test_the_range_ends_where_codes_are_no_longer_like_the_generators(planted):
    """A direction in which w hardly varies together with the others: no code of the generator lies there."""
    w = planted.space("w")
    outside = Direction.along("out", planted.net.axes[:, -1].double(), w, planted)
    far = Direction(name="far", vector=outside.vector, space=w, unit=outside.unit * 3)  # three deviations a step
    plus = Direction.along("plus", planted.truth("red").expand(3, 12), planted.space("w+"), planted)
    measured = effects(planted, Paths((outside, far, plus)), Factors(), limit=5)
    low, high = measured["far"].range
    assert low >= -2 and high <= 2  # noqa: PT018
    assert measured["out"].range[1] > high
    assert measured["plus"].range == (-5.0, 5.0)  # nothing is known of w+


def test_previews_are_read_where_the_scorer_vouches_for_them(planted, paths):
    sizes = set()

    class Small(Factors):
        preview = 8

        def read(self, images):
            sizes.add(images.shape[-1])
            return super().read(torch.nn.functional.interpolate(images, 16))

    effects(planted, paths[:1], Small(), size=8, limit=1)
    assert sizes == {8}


def test_the_number_of_pictures_is_as_promised(planted, paths):
    scorer = Factors()
    effects(planted, paths, scorer, n_people=6, t=(-1, 0, 1), limit=0)
    assert scorer.seen == 6 * (1 + 4 * 3)
    scorer = Factors()
    effects(planted, paths, scorer, n_people=6, limit=5)
    assert scorer.seen <= 6 * (1 + 4 * 2) + 4 * (1 + 10 * 4)


def test_paths_of_any_kind_are_measured(planted):
    a, b = planted.lift(planted.sample(2), "w")[0], planted.lift(planted.sample(2), "w")[1]
    measured = effects(planted, Paths((between(a, b),)), Factors(), t=(0, 1), limit=1)
    change = Factors()(planted.synthesize(b)) - Factors()(planted.synthesize(a))
    assert [e.per_sd for e in measured[0].effects] == pytest.approx(change[0].tolist(), abs=1e-4)


def test_measured_paths_are_saved_and_read(planted, tmp_path):
    same = lambda before, after: 1 - (before - after).abs().mean((1, 2, 3))
    measured = effects(planted, SeFa(k=3).discover(planted), Factors(), identity=same, n_people=3, limit=2)
    read = artifact.load(artifact.save(measured, tmp_path / "p.safetensors", generator=planted), generator=planted)
    assert tree_equal(read, measured)


def test_works_on_every_generator(tiny):
    paths = Random(space=tiny.spaces[min(1, len(tiny.spaces) - 1)].name, k=2).discover(tiny)

    class Level(Scorer):
        name, names, units = "level", ("level",), ("levels",)

        def read(self, images):
            return images.mean((1, 2, 3))[:, None]

    measured = effects(tiny, paths, Level(), n_people=3, limit=1)
    assert all(len(p.effects) == 1 and p.range for p in measured)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_people": 1}, "error bars need two people or more; got n_people=1"),
        ({"t": (1.0,)}, r"a slope needs two strengths or more, such as t=\(-1, 1\); got \(1.0,\)"),
        ({"t": (0.0, float("inf"))}, "t must be finite"),
        ({"seed": 45}, "the people of seeds 45 to 52 are in the labeled set, so they are not held out"),
        ({"psi": 0.7}, "the labeled set was made with psi 1, the effects with 0.7; take the same"),
    ],
)
def test_says_what_cannot_be(planted, paths, settings, message):
    with pytest.raises(SettingError, match=message):
        effects(planted, paths, Factors(), labels=label(planted, Factors(), 50), **settings)


def test_a_table_cannot_look_at_pictures(planted, paths, tmp_path):
    (tmp_path / "t.csv").write_text("seed,red\n0,1\n")
    with pytest.raises(SettingError, match=r"a scorer that looks at pictures is needed; <table t.csv"):
        effects(planted, paths, Table(tmp_path / "t.csv"))


def test_a_path_that_does_not_fit_is_refused_before_a_picture_is_made(planted):
    scorer = Factors()
    wide = Direction(name="wide", vector=torch.ones(13), space=planted.space("w"), unit=1.0)
    with pytest.raises(SpaceError, match="the direction has the shape"):
        effects(planted, Paths((wide,)), scorer)
    assert scorer.seen == 0
