"""Questions asked of paths, answered exactly on a generator whose factors are known."""

import pytest
import torch

from planted import FACTORS, Factors, Planted
from steerable.errors import SettingError
from steerable.measure.directions import (
    Choice,
    Figure,
    Reader,
    chosen,
    locality,
    matched,
    outside,
    rescoring,
    same,
    told_apart,
    trial,
)
from steerable.measure.effects import Look
from steerable.measure.ppl import inner, path_length, profile, slerp
from steerable.path import Direction, Paths, between
from steerable.score.labels import label

MEAN_SQUARE = lambda a, b: (a - b).square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def pure(planted):
    w = planted.space("w")
    return Paths(tuple(Direction.along(name, planted.truth(name), w, planted) for name in FACTORS))


@pytest.fixture(scope="module")
def mixed(planted):
    """red, with as much of the checkerboard in it."""
    vector = planted.truth("red") + planted.truth("checker")
    return Direction.along("mixed", vector, planted.space("w"), planted)


@pytest.fixture(scope="module")
def reader(planted):
    known = label(planted, Factors(), 500).spread()
    return Reader(Look(planted, Factors(), 1.0, None, None), torch.tensor([known[n] for n in FACTORS]).double())


def test_the_rescoring_matrix_of_pure_paths_is_diagonal(planted, reader, pure):
    matrix, errors = rescoring(reader, planted.sample(4, seed=7), pure)
    for i, path in enumerate(pure):
        for k, name in enumerate(FACTORS):
            expected = path.unit / float(reader.spreads[k]) if name == path.name else 0.0
            assert float(matrix[i, k]) == pytest.approx(expected, abs=1e-4)
    assert float(errors.max()) < 1e-4


def test_the_path_that_leaks_least_is_chosen_among_those_that_reach():
    slopes = torch.tensor([[1.0, 0.9, 0.0], [0.5, 0.05, 0.0], [-0.4, 0.0, 0.0], [0.1, 0.0, 0.0]]).double()
    none = torch.zeros_like(slopes)
    choice = chosen(slopes, none, 0, reach=4.0)
    assert (choice.number, choice.t, choice.reached) == (2, pytest.approx(-2.5), True)
    assert chosen(slopes, none, 0, reach=2.0).number == 1
    unsure = torch.tensor([[0.0], [0.0], [0.3], [0.0]]).double().expand(4, 3)
    assert chosen(slopes, unsure, 0, reach=4.0).number == 1
    far = chosen(slopes, none, 2, reach=3.0)
    assert (far.t, far.reached) == (3.0, False)
    assert chosen(-slopes[:1], none[:1], 0, reach=0.5).t == -0.5


def test_a_matched_strength_raises_the_target_by_one_deviation(planted, reader, pure, mixed):
    people = planted.sample(6, seed=30)
    for path in (pure["red"], mixed):
        slopes, errors = rescoring(reader, people, [path])
        choice = matched(reader, people, path, 0, chosen(slopes, errors, 0, 4.0), 4.0)
        done = trial(reader, people, path, choice.t, 0)
        assert done.change[:, 0].tolist() == pytest.approx([1.0] * 6, abs=1e-4)
        assert done.rising.tolist() == [1.0] * 6
        assert done.linear.tolist() == pytest.approx([1.0] * 6, abs=1e-6)
        assert not done.exact
    leak = trial(reader, people, mixed, choice.t, 0).leaks(0)  # as much checker as red, in levels
    expected = float(reader.spreads[0] / reader.spreads[3])
    assert leak.mean(0).tolist() == pytest.approx([0.0, 0.0, expected], abs=1e-3)


def test_a_wrong_first_guess_is_corrected_once(planted, reader, pure):
    people, path = planted.sample(4, seed=50), pure["red"]
    right = float(reader.spreads[0]) / path.unit
    assert matched(reader, people, path, 0, Choice(0, 2 * right, True), 4.0).t == pytest.approx(right, rel=1e-3)
    beyond = matched(reader, people, path, 0, Choice(0, 2 * right, True), right / 2)
    assert (beyond.t, beyond.reached) == (pytest.approx(right / 2), False)
    wrong = matched(reader, people, pure["checker"], 0, Choice(0, 1.0, True), 4.0)  # it does not move the target at all
    assert (wrong.t, wrong.reached) == (1.0, False)
    lost = Choice(0, 1.0, False)
    assert matched(reader, people, path, 0, lost, 4.0) is lost


def test_identity_is_judged_at_the_matched_strength(planted, pure):
    same_person = lambda before, after: 1 - (before - after).abs().amax((1, 2, 3))
    reader = Reader(Look(planted, Factors(), 1.0, None, same_person), torch.ones(4).double())
    done = trial(reader, planted.sample(3, seed=3), pure["checker"], 2.0, 3)
    assert done.identity.tolist() == pytest.approx([1 - 0.1 * 2 * pure["checker"].unit] * 3, abs=1e-4)


def test_paths_are_told_apart_unless_they_are_the_same(planted, pure):
    assert told_apart(planted, pure, n=60).mean > 0.9
    twice = Paths((pure[0], Direction.along("again", pure[0].vector, planted.space("w"), planted)))
    assert told_apart(planted, twice, n=60).mean < 0.8
    with pytest.raises(SettingError, match="two or more"):
        told_apart(planted, pure[:1])


def test_stability_is_a_cosine_and_asks_for_straight_paths(planted, pure, mixed):
    assert same([pure["red"]], [pure["red"].flipped()]) == pytest.approx(1.0, abs=1e-6)
    assert same([pure["red"]], [mixed]) == pytest.approx(2**-0.5, abs=1e-6)
    flat = planted.lift(planted.sample(2), "w")
    assert same([pure["red"]], [between(flat[0], flat[1])]) is None


def test_what_changes_outside_of_a_mask():
    before, after, mask = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1  # the left half
    after[0, :, :, 1:3], after[1, 0, 0, 3] = -0.3, 0.9
    found = outside(before, after, mask)
    assert found.shape == (2, 1, 4, 4)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 0.0, 0.3, 0.0]]).expand(4, 4))
    torch.testing.assert_close(found[1].sum(), torch.tensor(0.3))


def test_locality_of_a_change_in_one_half():
    before = torch.zeros(2, 3, 4, 4)
    after = before.clone()
    after[0, :, :2], after[1] = 1.0, 1.0
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1
    found = locality(before, after, mask)
    assert found["inside"].tolist() == pytest.approx([1.0, 0.5])
    assert found["In-MSE"].tolist() == pytest.approx([1.0, 1.0])
    assert found["Out-MSE"].tolist() == pytest.approx([0.0, 1.0])


def test_figures_leave_out_what_is_not_known():
    assert Figure.of(torch.tensor([torch.nan])) is None
    assert Figure.of(torch.tensor([2.0, torch.nan])) == Figure(2.0, None, None, 1)
    found = Figure.of(torch.tensor([1.0, 3.0, torch.nan]))
    assert (found.mean, found.n) == (2.0, 2)
    assert found.low < 2.0 < found.high


# -- path length ------------------------------------------------------------------------------------------------------------------


def test_path_length_of_a_linear_generator(planted):
    """Pictures are linear in w, so d/ε² is the squared length of the difference of the two ends, whatever t."""
    g = planted.to(dtype=torch.float64)
    seed, n = 4_000_000, 12
    a, b = (g.lift(g.sample(n, seed=s), "w") for s in (seed, seed + n))
    exact = inner(MEAN_SQUARE(g.synthesize(a), g.synthesize(b))).mean()
    for where in ("full", "end"):
        found = path_length(g, MEAN_SQUARE, n=n, where=where)
        assert found.mean == pytest.approx(float(exact), rel=1e-3)
        assert found.low < found.mean < found.high
    assert path_length(g, MEAN_SQUARE, n=n, psi=0.5).mean == pytest.approx(float(exact) / 4, rel=1e-3)
    with pytest.raises(SettingError, match="where is full or end"):
        path_length(g, MEAN_SQUARE, where="middle")


def test_the_profile_of_a_straight_path_is_flat(planted, pure):
    g = planted.to(dtype=torch.float64)
    found = profile(g, pure["red"], MEAN_SQUARE, g.sample(2), t=(-1, 0, 2))
    assert found.flatten().tolist() == pytest.approx([(0.1 * pure["red"].unit) ** 2] * 6, rel=1e-3)


def test_slerp_stays_on_the_sphere_and_meets_its_ends():
    a, b = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = lambda v: v / v.norm(dim=1, keepdim=True)
    t = torch.zeros(5, 1, dtype=torch.float64)
    assert torch.allclose(slerp(a, b, t), unit(a))
    assert torch.allclose(slerp(a, b, t + 1), unit(b))
    assert torch.allclose(slerp(a, b, t + 0.5), unit(unit(a) + unit(b)))


def test_the_extremes_are_left_out():
    values = torch.arange(101.0)
    assert inner(values).tolist() == list(map(float, range(1, 100)))
