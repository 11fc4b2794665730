"""The judge of rendered heads, and the Fréchet distance in its features."""

import numpy as np
import pytest
import torch
from PIL import Image

from steerable.data import heads
from steerable.errors import SettingError
from steerable.images import from_bytes
from steerable.score import judge


@pytest.fixture(scope="module")
def renders(request):
    """The sixteen renders that are kept with the tests, and what can be seen of their factors."""
    with Image.open(request.path.parents[1] / "data" / "heads-seed1.png") as sheet:
        tiles = np.asarray(sheet).reshape(4, 64, 4, 64, 3).swapaxes(1, 2).reshape(16, 64, 64, 3)
    return from_bytes(tiles), torch.from_numpy(heads.labels(heads.factors(16, seed=1)))


def test_it_reads_renders_that_it_never_saw(renders):
    images, labels = renders
    scorer = judge.Judge()
    read = scorer(images)
    assert scorer.names == heads.NAMES
    agreement = {
        n: float(torch.corrcoef(torch.stack([read[:, k], labels[:, k]]))[0, 1]) for k, n in enumerate(heads.NAMES)
    }
    for name in ("yaw", "tone", "hair_light", "hair_curl", "light", "background", "collar"):
        assert agreement[name] > 0.9, agreement
    errors = torch.tensor(list(scorer.error.values()))
    assert ((read - labels).square().mean(0).sqrt() < 2 * errors + 0.15).all()


def test_gradients_pass(renders):
    images = renders[0][:2].clone().requires_grad_()
    judge.Judge()(images).sum().backward()
    assert float(images.grad.abs().mean()) > 0


def test_other_sizes_are_brought_to_its_own(renders):
    images, _ = renders
    large = torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    scorer = judge.Judge()
    assert (scorer(large) - scorer(images)).abs().mean() < 0.1
    assert scorer["smile"](images).shape == (16, 1)
    assert scorer.key.startswith("heads-judge/1/")


def test_distance_of_known_gaussians():
    source = torch.Generator().manual_seed(0)
    a = torch.randn(20_000, 3, generator=source, dtype=torch.float64)
    b = torch.randn(20_000, 3, generator=source, dtype=torch.float64) * 2 + 1
    assert judge.distance(a, a) == pytest.approx(0, abs=1e-8)
    assert judge.distance(a, b) == pytest.approx(3 * 1 + 3 * (1 + 4 - 2 * 2), rel=0.03)
    assert judge.distance(a, b) == pytest.approx(judge.distance(b, a), rel=1e-9)
    with pytest.raises(SettingError, match="at least two pictures on each side; got 20000 and 1"):
        judge.distance(a, b[:1])


@pytest.mark.slow
def test_fitting_learns_what_is_plain():
    """A factor that is the level of red is read from pictures that were held out."""
    labels = torch.rand(220, len(heads.NAMES), generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = torch.zeros(220, 3, 64, 64, dtype=torch.uint8)
    images[:, 0] = ((labels[:, 0] + 1) * 127.5).to(torch.uint8)[:, None, None]
    kept = judge.fit(images, labels, steps=30, batch=16, rate=5e-3, held_out=20)
    assert kept["errors"][0] < 0.7 * kept["errors"][1:].mean()
    assert kept["errors"].shape == (len(heads.NAMES),)
    again = judge.fit(images, labels, steps=30, batch=16, rate=5e-3, held_out=20)
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_wear_keeps_what_is_there():
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    worn = judge.worn(images, torch.Generator().manual_seed(1))
    change = (worn - images).square().mean((1, 2, 3)).sqrt()
    assert ((change > 0.02) & (change < 0.6)).all()
    assert worn.mean((2, 3)).sub(images.mean((2, 3))).abs().max() < 0.03
