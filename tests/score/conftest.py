from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from steerable.score import face, landmarks, onnx, regions
from steerable.score.landmarks import Canon, Mesh


@pytest.fixture(scope="session")
def photo():
    """A public-domain photograph of a face that smiles, [1 3 190 190], roughly aligned as FFHQ; and where it was cut from."""
    try:
        path = files("skimage") / "data" / "astronaut.png"
    except ModuleNotFoundError:
        pytest.skip("the photograph is in scikit-image, which is not installed")
    with path.open("rb") as file:
        whole = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    return SimpleNamespace(face=whole[:, :, 5:195, 129:319].contiguous(), whole=whole, left=129, top=5, side=190)


@pytest.fixture(scope="session")
def canon():
    """A made-up mean face: random, but the points that scores look at lie where they lie in faces, mirrored left and right."""
    points = torch.randn(468, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    right = {
        263: (4.4, 2.7, 3),
        362: (1.8, 2.4, 3.5),
        291: (2.5, -4.3, 4.3),
        386: (3.1, 3.1, 3.8),
        374: (3.1, 2.1, 3.6),
    }
    right |= {
        387: (3.6, 3.1, 3.7),
        373: (3.6, 2.1, 3.5),
        385: (2.6, 3.1, 3.8),
        380: (2.6, 2.1, 3.6),
        334: (4, 4.6, 4.5),
    }
    right |= {296: (3, 4.8, 4.8), 336: (1.8, 4.4, 5)}
    twin = {
        263: 33,
        362: 133,
        291: 61,
        386: 159,
        374: 145,
        387: 160,
        373: 144,
        385: 158,
        380: 153,
        334: 105,
        296: 66,
        336: 107,
    }
    for index, (x, y, z) in right.items():
        points[index], points[twin[index]] = torch.tensor([x, y, z]), torch.tensor([-x, y, z])
    for index, place in {164: (0, -2.6, 5.2), 13: (0, -4.2, 5.1), 14: (0, -4.5, 5), 4: (0, -0.5, 7.5)}.items():
        points[index] = torch.tensor(place)
    looked_at = {*right, *twin.values(), 164, 13, 14}
    rigid = torch.tensor([i for i in range(468) if i not in looked_at][:40])
    weights = torch.rand(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    return Canon(points, rigid, weights)


@pytest.fixture
def no_nets(monkeypatch, canon):
    """Nets that need no weights: a face is found in every picture that is not black, in its middle."""

    class Net:
        def __init__(self):
            self.canon = canon

        def __call__(self, images, box=landmarks.ALIGNED):
            half, found = images.shape[3] / 2, images.mean((1, 2, 3)) > -0.99
            points = (
                torch.cat([canon.points, torch.zeros(10, 3)]) * torch.tensor([1, -1, -1]) * half / 20
                + torch.tensor([half, half, 0])
            ).repeat(len(images), 1, 1)
            points[~found] = torch.nan
            return Mesh(points, found.double())

    monkeypatch.setattr(landmarks, "net", Net)
    monkeypatch.setattr(
        onnx, "net", lambda entry, member: lambda batch: batch.flatten(1).mean(1, keepdim=True).repeat(1, 128)
    )
    assert face.landmarks is landmarks
    assert regions.landmarks is landmarks
