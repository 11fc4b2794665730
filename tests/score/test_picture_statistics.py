import pytest
import torch

from steerable.score import Statistics, score


def flat(red, green, blue, size=64):
    return (torch.tensor([float(red), green, blue]).view(1, 3, 1, 1) * 2 - 1).expand(1, 3, size, size).contiguous()


def told(images):
    return dict(zip(Statistics.names, score("statistics")(images)[0].tolist(), strict=True))


def test_half_black_half_white():
    x = flat(0, 0, 0)
    x[:, :, :, 32:] = 1
    s = told(x)
    assert s["brightness"] == pytest.approx(0.5)
    assert s["contrast"] == pytest.approx(0.5)
    assert s["light-right"] == pytest.approx(1)
    assert s["saturation"] == s["warmth"] == s["tint"] == 0
    assert told(x.flip(3))["light-right"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("color", "brightness", "saturation", "warmth", "tint"),
    [
        ((1.0, 0, 0), 0.2126, 1, 1, -0.5),
        ((0, 1.0, 0), 0.7152, 1, 0, 1),
        ((0, 0, 1.0), 0.0722, 1, -1, -0.5),
        ((0.5, 0.5, 0.5), 0.5, 0, 0, 0),
    ],
)
def test_pure_colors(color, brightness, saturation, warmth, tint):
    s = told(flat(*color))
    assert [s["brightness"], s["saturation"], s["warmth"], s["tint"]] == pytest.approx(
        [brightness, saturation, warmth, tint], abs=1e-6
    )
    assert [s["contrast"], s["sharpness"], s["light-right"]] == pytest.approx([0, 0, 0], abs=1e-6)


def test_sharpness_of_a_checkerboard_falls_when_it_is_blurred():
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = ((x + y) % 2 * 2.0 - 1).expand(1, 3, 64, 64)
    # A mean over 3 x 3 of the board is 5/9 where the board is 1, and 4/9 where it is 0.
    assert told(board)["sharpness"] == pytest.approx(4 / 9, abs=0.02)
    soft = torch.nn.functional.avg_pool2d(board, 3, 1, 1)
    assert told(soft)["sharpness"] < 0.2


def test_values_out_of_range_are_cut_off_and_size_does_not_matter():
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    s = score("statistics")
    assert torch.equal(s(x), s(x.clamp(-1, 1)))
    big, small = s(x.repeat_interleave(4, 2).repeat_interleave(4, 3)), s(x)
    assert torch.allclose(big[:, :5], small[:, :5], atol=1e-5)
    assert torch.allclose(big[:, 6], small[:, 6], atol=1e-5)


def test_gradients_are_finite_even_on_a_flat_picture():
    x = flat(0.2, 0.4, 0.6).requires_grad_()
    score("statistics")(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0
