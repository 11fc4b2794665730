import math

import pytest
import torch

from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.path import Direction, Effect, Paths
from steerable.render import render
from steerable.space import Space

W = Space("w", (16,))


def along(*numbers, name="d", **more):
    v = torch.zeros(16)
    v[: len(numbers)] = torch.tensor(numbers, dtype=torch.float)
    return Direction.along(name, v, W, **more)


def test_t_counts_standard_deviations_of_the_generators_codes(style):
    d = along(1, 2, 3, name="d")
    w = torch.cat([style.lift(z, "w").values for _, z in style.blocks(20_000, seed=9)])
    measured = (w @ d.vector).std()
    assert Direction.along("d", d.vector, W, style).unit == pytest.approx(float(measured), rel=0.03)
    # Without a unit of its own, the generator's spread is taken when it is applied.
    z = style.sample(1)
    torch.testing.assert_close(
        render(style, z, [d.at(1.0)]), render(style, z, [Direction.along("d", d.vector, W, style).at(1.0)])
    )


def test_spread_in_style_space_is_that_of_the_columns(style):
    column = torch.zeros(style.space("s").shape)
    column[5] = 2.0
    s = torch.cat([style.lift(z, "s").values for _, z in style.blocks(20_000, seed=9)])
    assert style.spread(column, "s") == pytest.approx(float(s[:, 5].std()), rel=0.03)


def test_straight_paths_add(style):
    z, d = style.lift(style.sample(2), "w"), along(1, -1, 0.5)
    torch.testing.assert_close(
        render(style, z, [d.at(0.5), d.at(1.0)]), render(style, z, [d.at(1.5)]), rtol=1e-4, atol=1e-5
    )


def test_one_strength_for_each_sample(style):
    z, d = style.sample(3), along(1, 1)
    t = torch.tensor([-1.0, 0.0, 2.0])
    each = torch.cat([render(style, z[i], [d.at(float(t[i]))]) for i in range(3)])
    torch.testing.assert_close(render(style, z, [d.at(t)]), each, rtol=1e-4, atol=1e-5)
    with pytest.raises(SettingError, match="t has 2 values for 3 samples"):
        render(style, z, [d.at(torch.tensor([1.0, 2.0]))])


@pytest.mark.parametrize("t", [math.inf, -math.inf, math.nan, torch.tensor([1.0, math.inf])])
def test_t_must_be_finite(t):
    with pytest.raises(SettingError, match="t must be finite"):
        along(1).at(t)


def test_the_published_unit(style):
    d = along(1, published=0.25)
    assert d.at(4, unit="published").t == 1.0
    with pytest.raises(SettingError, match="has no published unit"):
        along(1).at(4, unit="published")
    with pytest.raises(SettingError, match="unit is std or published"):
        d.at(4, unit="sigma")


def test_the_cosine_says_what_is_left_of_a_cleaned_direction():
    w = Space("w", (3,))
    a, b = (Direction.along(name, torch.tensor(v), w) for name, v in (("a", [3.0, 0, 4]), ("b", [0, 0, 2.0])))
    assert a.cosine(b) == pytest.approx(0.8)
    assert a.cosine(a.flipped()) == pytest.approx(-1)
    assert a.cosine(a.without(b)) == pytest.approx(0.6)
    with pytest.raises(SpaceError, match="'a' lies in 'w', 'z' in 'z'"):
        a.cosine(Direction.along("z", torch.ones(3), Space("z", (3,))))


def test_without_leaves_nothing_along_the_span_of_several(style):
    d, a, b = along(1, 1, 1, 1), along(1, 0, 0), along(1, 1, 0)
    clean = d.without(a, b)
    assert abs(float(clean.vector @ a.vector)) < 1e-6
    assert abs(float(clean.vector @ b.vector)) < 1e-6
    torch.testing.assert_close(clean.vector, along(0, 0, 1, 1).vector)
    torch.testing.assert_close(d.without(a, b, a).vector, clean.vector)  # dependent conditions
    with pytest.raises(SettingError, match="nothing of 'd' is left without"):
        a.without(d, a)
    with pytest.raises(SpaceError, match="lies in 'w'"):
        d.without(Direction.along("z", torch.ones(16), Space("z", (16,))))
    assert render(style, style.sample(1), [clean.at(1.0)]).isfinite().all()


def test_to_uses_the_measured_effect():
    yaw = Effect("yaw", 5.0, 4.0, 6.0, 12.0, "degrees")
    nothing = Effect("age", 0.1, -1.0, 1.0, 10.0, "years")
    d = along(1, effects=(yaw, nothing))
    assert d.to(15, score="yaw").t == pytest.approx(3.0)
    with pytest.raises(UnknownName, match="measured effect of 'd' is called 'yow'; did you mean 'yaw'"):
        d.to(15, score="yow")
    with pytest.raises(SettingError, match="was not seen to change 'age'"):
        d.to(15, score="age")
    assert d.flipped().to(15, score="yaw").t == pytest.approx(-3.0)


def test_bundles_by_number_name_and_slice():
    paths = Paths((along(1, name="a"), along(0, 1, name="b"), along(0, 0, 1, name="c")))
    assert paths["b"].name == paths[1].name == "b"
    assert paths[1:].names == ("b", "c")
    assert paths.renamed({"a": "age"}).names == ("age", "b", "c")
    assert paths.vectors.shape == (3, 16)
    with pytest.raises(UnknownName, match="no path is called 'd'"):
        paths["d"]
    with pytest.raises(SettingError, match="two paths have the same name: a"):
        Paths((along(1, name="a"), along(0, 1, name="a")))


def test_eigenvectors_get_one_sign(style):
    vectors = torch.tensor([[0.1, -0.9], [0.9, 0.1]]) @ torch.eye(2, 16)
    a, b = Paths.spanning(vectors, W, style, prefix="x"), Paths.spanning(-vectors, W, style, prefix="x")
    assert torch.equal(a.vectors, b.vectors)
    assert a.names == ("x-0", "x-1")


@pytest.mark.parametrize("vector", [torch.zeros(16), torch.full((16,), math.inf)])
def test_a_direction_that_points_nowhere_is_refused(vector):
    with pytest.raises(SettingError, match="points nowhere"):
        Direction.along("d", vector, W)


def test_layers_without_wplus_are_refused(plain):
    d = Direction.along("d", torch.ones(12), plain.space("z"), plain)
    with pytest.raises(SettingError, match="tiny-plain has no w\\+, so a code cannot differ between layers"):
        render(plain, plain.sample(1), [d.at(1, layers="0-1")])
