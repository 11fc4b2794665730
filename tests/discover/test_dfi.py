"""Deep feature interpolation: neighbors in feature space, differences of means, features back to codes."""

import pytest
import torch
from judged import Smooth, changes, leak

from planted import FACTORS, Planted
from steerable import artifact
from steerable.discover import DFI
from steerable.discover.dfi import deep, ways
from steerable.record import tree_equal
from steerable.render import codes, render


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def paths(planted):
    return DFI(n=600, features="pixels", neighbors=50).discover(planted, supervision=Smooth())


def test_it_moves_the_factor_more_than_the_others(planted, paths):
    """The others move as far as they are correlated with it: means do not tell them apart."""
    assert paths.names == FACTORS
    for path in paths:
        change = changes(planted, [path.at(1.0)])
        assert change[:, FACTORS.index(path.name)].mean() > 0.8
        assert change[:, FACTORS.index(path.name)].min() > 0.3  # of 64 samples, each with neighbors of its own
        assert leak(change, path.name) < 0.7
    assert paths.notes["features kept"] > 0.999


def test_neighbors_are_the_nearest_of_each_kind(planted, paths):
    bank, shows = paths["red"].bank, paths["red"].shows
    images = render(planted, planted.sample(3, seed=700))
    features, own = deep(images, "pixels"), deep(render(planted, planted.sample(600)), "pixels")
    expected = []
    for x in features:
        far = (own - x).square().sum(1)
        nearest = lambda kind, far=far: torch.where(kind, far, torch.inf).topk(50, largest=False).indices
        expected.append(bank.codes[nearest(shows)].mean(0) - bank.codes[nearest(~shows)].mean(0))
    assert torch.allclose(ways(bank, bank.place(images), shows, 50), torch.stack(expected), atol=1e-4)


def test_published_one_adds_the_whole_difference(planted, paths):
    path, w = paths["checker"], planted.lift(planted.sample(2, seed=700), "w")
    way = ways(path.bank, path.bank.place(render(planted, w)), path.shows, path.neighbors)
    moved = codes(planted, w, [path.at(1, unit="published")]).values
    assert torch.allclose(moved - w.values, way, atol=1e-4)


def test_all_paths_share_one_bank_in_a_file(planted, paths, tmp_path):
    file = artifact.save(paths, tmp_path / "p.safetensors", generator=planted)
    assert tree_equal(artifact.load(file), paths)
    assert len(paths.tensors()) == 4 + len(FACTORS)


@pytest.mark.weights("lpips")
def test_vgg_features_of_three_stages(planted):
    found = deep(render(planted, planted.sample(2)), "vgg")
    assert found.shape == (2, (256 + 512 + 512) * 16)
    assert found.std() > 0
