"""Observation operators: adjoints, pseudo-inverses, consistency, and how they are written."""

import pytest
import torch

from steerable.errors import SettingError, UnknownName
from steerable.images import write
from steerable.invert.observe import Blur, Downsample, Function, Gray, Identity, Mask, Operator, Then, observation

SIZE = (12, 16)


def half() -> Mask:
    mask = torch.ones(1, 1, *SIZE)
    mask[..., 4:9, 3:11] = 0
    return Mask(mask)


LINEAR: dict[str, Operator] = {
    "identity": Identity(),
    "mask": half(),
    "downsample": Downsample(4),
    "gray": Gray(),
    "blur": Blur(0.8),
    "gray+downsample": Then(Gray(), Downsample(2)),
    "mask+blur": Then(half(), Blur(0.6)),
    "function": Function(lambda x: x.flip(3)[:, [2, 0, 1], ::2] * 0.5, linear=True),
}


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", LINEAR)
def test_the_adjoint_is_one(name):
    A, x = LINEAR[name], pictures(3, 3, *SIZE)
    y = pictures(*A(x).shape, seed=1)
    here, there = (A(x) * y).flatten(1).sum(1), (x * A.adjoint(y, SIZE)).flatten(1).sum(1)
    assert torch.allclose(here, there, atol=1e-10)


@pytest.mark.parametrize("name", LINEAR)
def test_the_pseudo_inverse_meets_penrose(name):
    A, x = LINEAR[name], pictures(2, 3, *SIZE)
    back = A.pinv(A(x), SIZE)
    assert torch.allclose(A(back), A(x), atol=1e-6)  # A A⁺ A = A
    assert torch.allclose(A.pinv(A(back), SIZE), back, atol=1e-6)  # A⁺ A A⁺ = A⁺
    assert torch.allclose(
        (back * (x - back)).flatten(1).sum(1), torch.zeros(2, dtype=x.dtype), atol=1e-5
    )  # A⁺A is orthogonal


@pytest.mark.parametrize("name", LINEAR)
def test_a_consistent_picture_is_observed_as_asked_and_changes_no_more_than_needed(name):
    A, truth, x = LINEAR[name], pictures(2, 3, *SIZE), pictures(2, 3, *SIZE, seed=5)
    y = A(truth)
    made = A.consistent(x, y)
    assert torch.allclose(A(made), y, atol=1e-6)
    assert (made - x).norm() <= (truth - x).norm() + 1e-6
    assert torch.allclose(A.consistent(truth, y), truth, atol=1e-6)


@pytest.mark.parametrize("name", ["identity", "mask", "downsample", "gray"])
def test_a_coarse_operator_sees_what_the_fine_one_saw(name):
    A = LINEAR[name]
    small, seen = A.coarse(2)
    x = pictures(1, 3, 6, 8).repeat_interleave(2, 2).repeat_interleave(2, 3)  # each coarse pixel is four alike
    assert torch.allclose(small(torch.nn.functional.avg_pool2d(x, 2)), seen(A(x)), atol=1e-12)


def test_a_coarse_downsample_may_be_coarser_than_what_was_seen():
    A, x = Downsample(2), pictures(1, 3, *SIZE)
    small, seen = A.coarse(4)
    assert torch.allclose(small(torch.nn.functional.avg_pool2d(x, 4)), seen(A(x)), atol=1e-12)
    assert Downsample(3).coarse(2) is None


def test_operators_are_written_as_text(tmp_path):
    x = pictures(1, 3, *SIZE)
    assert torch.equal(observation("downsample:4", SIZE)(x), Downsample(4)(x))
    assert torch.equal(observation("gray+blur:1.5", SIZE)(x), Blur(1.5)(Gray()(x)))
    assert observation(None, SIZE).spec == observation("identity", SIZE).spec == "identity"
    boxed = observation("box:0.25,0,0.75,0.5", SIZE)(torch.ones(1, 3, *SIZE))
    assert float(boxed.sum()) == 3 * (12 * 16 - 6 * 8)
    assert not boxed[..., :6, 4:12].any()
    seen = torch.full((1, 3, *SIZE), -1.0)
    seen[..., :5] = 1.0
    file = write(seen, tmp_path / "seen.png")
    assert float(observation(f"mask:{file}", SIZE)(torch.ones(1, 3, *SIZE)).sum()) == 3 * 12 * 5
    assert observation(lambda x: x.square(), SIZE)(x).min() >= 0


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("down:8", UnknownName, "no observation is called 'down:8'"),
        ("downsample:x", UnknownName, "downsample:K"),
        ("downsample:0", SettingError, "1 or more"),
        ("blur:0", SettingError, "positive number"),
        ("box:0,0,2,1", SettingError, "fractions of the picture"),
        ("box:0,0,1,1", SettingError, "the mask is empty"),
    ],
)
def test_text_that_means_nothing_is_refused(text, error, match):
    with pytest.raises(error, match=match):
        observation(text, SIZE)


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingError, match="12x16 px cannot be divided by 5"):
        Downsample(5)(pictures(1, 3, *SIZE))
    with pytest.raises(SettingError, match="the mask has 12x16 px, the pictures have 8x8"):
        half()(pictures(1, 3, 8, 8))
    with pytest.raises(SettingError, match="nothing between"):
        Mask(torch.full((1, 1, 4, 4), 0.5))
    with pytest.raises(SettingError, match="not known to be linear"):
        Function(torch.tanh).consistent(pictures(1, 3, *SIZE), pictures(1, 3, *SIZE))
