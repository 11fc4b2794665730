"""Layer-wise inversion of plain chains: codes come back where the papers prove it, and other generators are refused."""

import pytest
import torch
from chains import ReLUChain
from torch import Tensor

from steerable.errors import MethodFailed, SettingError
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.invert import Mask, invert
from steerable.invert.chain import chain
from steerable.render import render
from steerable.space import Latents


def known(g: ReLUChain, n: int = 2) -> tuple[Latents, Tensor]:
    z = g.sample(n, seed=11)
    return z, render(g, z)


@pytest.mark.parametrize(("slope", "bounded"), [(0.0, False), (0.0, True), (0.2, True)])
def test_codes_of_expansive_nets_come_back_layer_by_layer(slope, bounded):
    g = ReLUChain(slope, bounded=bounded)
    z, images = known(g)
    found = invert("lei", g, images)
    assert found.notes["preset"] == "lei"
    atol = 1e-2 if bounded else 1e-4  # a tanh in single precision hides what is near 1
    assert torch.allclose(found.latents.values, z.values, atol=atol)
    assert torch.allclose(render(g, found), images, atol=atol)


@pytest.mark.parametrize("bounded", [False, True])
def test_in_double_precision_they_come_back_to_rounding(bounded):
    g = ReLUChain(bounded=bounded).to(dtype=torch.float64)
    z, images = known(g, 1)
    assert torch.allclose(invert("exact", g, images).latents.values, z.values, atol=1e-8)


def test_a_little_noise_moves_the_code_a_little():
    g = ReLUChain()
    z, images = known(g, 1)
    noise = (torch.rand(images.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 1e-3
    found = invert("exact", g, images + noise, noise=1e-3)
    error = (found.latents.values - z.values).abs().max()
    assert 0 < error < 2e-2


def test_half_of_the_pixels_are_enough_for_descent():
    g = ReLUChain(widths=(8, 6))
    z, images = known(g, 2)
    mask = (torch.rand(1, 1, *g.size, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    found = invert("ma", g, images * mask, observe=Mask(mask), steps=600)
    error = (found.latents.values - z.values).norm(dim=1) / z.values.norm(dim=1)
    assert error.max() < 1e-4


def test_the_chain_is_read_off_the_fold():
    found = chain(ReLUChain(0.2, bounded=True), {})
    assert [s.name for s in found.steps] == ["dense", "conv0", "conv1"]
    assert [s.slope for s in found.steps] == pytest.approx([0.2, 0.2, 1.0])
    assert found.bounded
    assert all(bool(s.known.all()) for s in found.steps)


def test_classes_are_part_of_the_chain():
    found = chain(TinyPlain(classes=3), {"label": torch.eye(3)[[1]]})
    assert [s.slope for s in found.steps] == pytest.approx([0.2, 0.2, 0.2, 1.0])


@pytest.mark.parametrize(
    ("generator", "match"),
    [
        (lambda: TinyStyle(), "tiny-style has the spaces z -> w"),
        (lambda: TinyPlain(), r"has \d+ outputs for \d+ inputs"),
        (lambda: ReLUChain(d=30), r"layer dense of chain has 24 outputs for 30 inputs; 2 times"),
    ],
)
def test_generators_that_do_not_qualify_are_refused(generator, match):
    g = generator()
    with pytest.raises(SettingError, match=match):
        invert("exact", g, torch.zeros(1, 3, *g.size))


def test_pictures_that_do_not_determine_a_code_fail():
    g = ReLUChain(bounded=True)
    with pytest.raises(SettingError, match="a tanh never reaches"):
        invert("exact", g, torch.ones(1, 3, *g.size))
    with pytest.raises(SettingError, match="whole or through a mask"):
        invert("exact", g, torch.zeros(1, 3, 4, 4), observe="downsample:2")
    with pytest.raises(MethodFailed, match="do not determine its"):
        invert("exact", ReLUChain(), torch.zeros(1, 3, *g.size))
