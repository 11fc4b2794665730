"""GANSpace: exact components from a stream, of codes and of layers small and large, and the way back to the codes."""

import pytest
import torch

from planted import Planted, cosine
from steerable.discover import GANSpace, Reach, ganspace
from steerable.errors import SettingError, SpaceError, UnknownName
from steerable.generators.tiny import TinyPlain
from steerable.render import render


@pytest.fixture
def planted():
    return Planted()


def samples(generator, n, seed=1, space="w"):
    return torch.cat([generator.lift(z, space).values for _, z in generator.blocks(n, seed=seed)]).double()


def test_streamed_components_are_those_of_an_exact_svd(style):
    w = samples(style, 5000)
    exact = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    paths = GANSpace(k=10, n=5000).discover(style)
    for path, v in zip(paths, exact.Vh, strict=False):
        assert abs(cosine(path.vector, v)) > 0.9999
    share = exact.S.square() / exact.S.square().sum()
    assert paths.notes["variance explained"] == pytest.approx(share[:10].tolist(), rel=1e-5)


def test_finds_planted_axes_and_their_deviations(planted):
    paths = GANSpace(k=4, n=20_000).discover(planted)
    for i, path in enumerate(paths):
        assert abs(cosine(path.vector, planted.net.axes[:, i])) > 0.998  # 3.6 degrees, from sampling alone
        assert path.unit == pytest.approx(float(planted.net.deviations[i]), rel=0.02)


@pytest.mark.parametrize("width", [4096, 0], ids=["covariance", "blockwise"])
def test_components_of_a_layer_are_those_of_an_exact_svd(style, width, monkeypatch):
    monkeypatch.setattr(ganspace, "WHOLE", width)
    seen = {}
    real = ganspace.regressed
    monkeypatch.setattr(
        ganspace, "regressed", lambda batches, found, d: seen.update(found=found) or real(batches, found, d)
    )
    paths = GANSpace(k=4, n=1500, layer="conv1", passes=8).discover(style)
    x = []
    for _, z in style.blocks(1500, seed=1):
        *_, (_, state) = style.states(z, until=3)
        x.append(state.x.flatten(1).double())
    x = torch.cat(x)
    exact = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    found = seen["found"]
    assert torch.allclose(found.mean, x.mean(0), atol=1e-5)
    for vector, v in zip(found.vectors, exact.Vh, strict=False):
        assert abs(cosine(vector, v)) > 0.9999
    assert found.variances.tolist() == pytest.approx((exact.S[:4].square() / 1499).tolist(), rel=1e-3)
    assert found.total == pytest.approx(float(exact.S.square().sum() / 1499), rel=1e-4)
    assert len(paths) == 4


def test_a_layer_leads_back_to_the_codes_that_move_it(planted):
    """The first layer holds one factor; its component, carried back, moves codes as their covariance with that factor."""
    path = GANSpace(k=1, n=20_000, layer="row0").discover(planted)[0]
    expected = planted.moments("w").cov @ planted.truth("red")
    assert abs(cosine(path.vector, expected)) > 0.998


def test_classes_can_be_mixed_or_chosen():
    g = TinyPlain(classes=3)
    settings = {"space": "z", "layer": "conv0", "k": 2, "n": 1024}
    mixed, first = GANSpace(**settings).discover(g), GANSpace(**settings, label=1).discover(g)
    assert abs(cosine(mixed[0].vector, first[0].vector)) < 0.999
    with pytest.raises(SettingError, match="label=3, but tiny-class has 3 classes"):
        GANSpace(**settings, label=3).discover(g)


def test_reach_brings_every_sample_to_one_place(planted):
    path = GANSpace(k=1, n=2000).discover(planted)[0]
    w = planted.lift(planted.sample(5), "w")
    moved = Reach(path, 1.5).latents(w, planted)
    place = (moved.values - planted.moments("w").mean.float()) @ path.vector
    assert torch.allclose(place, torch.full((5,), 1.5 * path.unit), atol=1e-5)
    across = torch.eye(12) - torch.outer(path.vector, path.vector)
    assert torch.allclose(moved.values @ across, w.values @ across, atol=1e-5)
    assert torch.equal(render(planted, planted.sample(5), [Reach(path, 1.5)]), render(planted, moved))
    each = Reach(path, torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])).latents(w, planted)
    assert ((each.values - w.values) @ path.vector).std() > 0
    with pytest.raises(SpaceError, match="only codes of 'w' have a place along 'pc-0'; these are in 'w\\+'"):
        Reach(path, 0.0).latents(planted.lift(w, "w+"), planted)
    with pytest.raises(SettingError, match="t must be finite"):
        Reach(path, float("inf")).latents(w, planted)
    with pytest.raises(SettingError, match="t has 2 values for 5 samples"):
        Reach(path, torch.zeros(2)).latents(w, planted)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"space": "w+"}, SpaceError, "a space of plain codes, not in 'w\\+'; use w or z"),
        ({"k": 13}, SettingError, "k=13, but there is variance in 12 directions only"),
        ({"layer": "0-1"}, SettingError, "names 2 layers; name one of row0, row1, row2"),
        ({"layer": "nose"}, UnknownName, "no layer is called 'nose'"),
        ({"layers": "0-3"}, SettingError, "there are 3 rows: 0-2"),
    ],
)
def test_says_what_cannot_be(planted, settings, error, message):
    with pytest.raises(error, match=message):
        GANSpace(**{"n": 1024, **settings}).discover(planted)


def test_says_when_a_layer_is_too_large(planted, monkeypatch):
    monkeypatch.setattr(ganspace, "WHOLE", 0)
    with pytest.raises(SettingError, match="768 numbers needs 7 MB for k=5000, more than memory_mb=5"):
        GANSpace(n=1024, k=5000, layer="row2", memory_mb=5).discover(planted)
