"""How near pictures are: each number against its definition, or another implementation."""

import pytest
import torch

from steerable.errors import SettingError, UnknownName
from steerable.measure.fidelity import PLAIN, fidelity, ms_ssim, psnr, ssim


def pair(size=40, noise=0.2):
    source = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 5, 5, generator=source) * 2 - 1
    a = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(-1, 1)
    return a, (a + noise * torch.randn(a.shape, generator=source)).clamp(-1, 1)


def test_the_peak_is_two():
    a = torch.zeros(1, 3, 12, 12)
    assert float(psnr(a, a + 0.2)) == pytest.approx(20.0, abs=1e-4)
    assert float(fidelity(a, a + 3.0, ["mse"])["mse"]) == pytest.approx(1.0)  # cut off at 1


def test_ssim_is_that_of_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    a, b = pair()
    for i, told in enumerate(ssim(a, b).tolist()):
        x, y = (t[i].permute(1, 2, 0).double().numpy() for t in (a, b))
        theirs = structural_similarity(
            x, y, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2
        )
        assert told == pytest.approx(theirs, abs=1e-4)


def test_ms_ssim_sees_structure_more_than_grain():
    a, b = pair(192)
    told = fidelity(b, a, PLAIN)
    assert torch.all(told["ms-ssim"] > told["ssim"] + 0.2)
    assert ms_ssim(a, a).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert torch.all(ms_ssim(a, -a) < 0.5)
    with pytest.raises(SettingError, match="176 px or more"):
        ms_ssim(*pair())


def test_names_and_shapes_are_checked():
    a, b = pair()
    with pytest.raises(UnknownName, match="measure of fidelity"):
        fidelity(a, b, ["lpips"])
    with pytest.raises(SettingError, match="one shape"):
        fidelity(a, b[..., :20])


@pytest.mark.weights("lpips")
def test_equal_pictures_are_no_distance_apart():
    a, b = pair(64)
    for name in ("lpips-alex", "lpips-vgg"):
        assert fidelity(a, a, [name])[name].abs().max() < 1e-6
        assert fidelity(a, b, [name])[name].min() > 0.05
