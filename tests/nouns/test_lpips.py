import numpy as np
import pytest
import torch

from steerable.errors import ArtifactError, SettingError, UnknownName
from steerable.nn import fetched
from steerable.nn.perceptual import LPIPS

NETS = ("alex", "vgg")
# By a second implementation of the formula, on the pictures of `waves(64)`.
GOLDEN = {"alex": 0.2009066641, "vgg": 0.4956744611}


@pytest.fixture(scope="module")
def nets():
    return {}


@pytest.fixture(params=NETS)
def lpips(request, nets):
    if request.param not in nets:
        nets[request.param] = LPIPS(request.param)
    return nets[request.param]


def unchecked(function):
    """The function as users have it: the test run checks annotations, their programs do not."""
    function = getattr(function, "__func__", function)
    return getattr(function, "__wrapped__", function)


def waves(size=32):
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    a = torch.stack([torch.sin(x / 5), torch.cos(y / 7), torch.sin((x + y) / 9)])
    b = 0.8 * torch.stack([torch.sin(x / 4 + 1), torch.cos(y / 7), torch.sin((x - y) / 6)])
    return a[None], b[None]


@pytest.mark.weights("lpips")
def test_known_distances(lpips):
    a, b = waves(64)
    assert lpips(a, b).item() == pytest.approx(GOLDEN[lpips.net], abs=1e-5)
    assert lpips(b, a).item() == pytest.approx(GOLDEN[lpips.net], abs=1e-5)
    assert lpips(a, a).item() == 0


@pytest.mark.weights("lpips")
def test_a_batch_is_its_pictures_one_by_one(lpips):
    a, b = waves()
    together = lpips(torch.cat([a, b, a]), torch.cat([b, b, a * 0.5]))
    alone = torch.cat([lpips(a, b), lpips(b, b), lpips(a, a * 0.5)])
    assert together.shape == (3,)
    assert torch.allclose(together, alone, atol=1e-5)
    target = lpips.features(a)
    assert torch.allclose(
        lpips.between(lpips.features(torch.cat([a, b])), target), torch.cat([lpips(a, a), lpips(b, a)]), atol=1e-5
    )


@pytest.mark.weights("lpips")
def test_gradients_reach_the_picture_and_not_the_weights(lpips):
    a, b = waves()
    a.requires_grad_()
    lpips(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().sum() > 0
    step = a.detach() - 0.05 * a.grad / a.grad.abs().max()
    assert lpips(step, b) < lpips(a.detach(), b)
    assert not any(p.requires_grad for p in lpips.parameters())
    same = b.clone().requires_grad_()
    lpips(same, b).sum().backward()
    assert same.grad is not None
    assert (same.grad == 0).all()


@pytest.mark.weights("lpips")
def test_features_and_sizes(lpips):
    features = lpips.features(waves()[0])
    channels = {"alex": [64, 192, 384, 256, 256], "vgg": [64, 128, 256, 512, 512]}[lpips.net]
    assert [f.shape[1] for f in features] == channels
    assert all((f >= 0).all() for f in features)
    with pytest.raises(SettingError, match=r"LPIPS compares pictures of one shape; got"):
        unchecked(lpips.forward)(lpips, torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))
    with pytest.raises(SettingError, match=rf"LPIPS \({lpips.net}\) needs pictures of \d+ px or more; got 8 × 64"):
        lpips.features(torch.zeros(1, 3, 8, 64))
    smallest = {"alex": 31, "vgg": 16}[lpips.net]
    assert min(lpips.features(torch.zeros(1, 3, smallest, smallest))[-1].shape[2:]) >= 1


def test_what_is_not_there_or_not_it(monkeypatch):
    with pytest.raises(UnknownName, match="no LPIPS net is called 'squeeze'"):
        unchecked(LPIPS.__init__)(LPIPS.__new__(LPIPS), "squeeze")
    monkeypatch.setattr(fetched, "path_of", lambda *_: "nowhere")
    monkeypatch.setattr(
        fetched, "unpickled", lambda _: {"AlexNet_0": {"Conv_0": {"kernel": np.zeros((11, 11, 3, 64))}}}
    )
    with pytest.raises(ArtifactError, match="the LPIPS weights hold no AlexNet_0/Conv_0/bias; fetch them again"):
        LPIPS("alex")
