"""Regions as people write them."""

import pytest
import torch

from steerable.errors import SettingError
from steerable.images import write
from steerable.request import Box, Mask, Named, region


def test_a_box_covers_its_share_of_every_grid():
    box = region("0.25, 0.5,0.75,0.8")
    assert box == Box(0.25, 0.5, 0.75, 0.8)
    for h, w in ((10, 4), (7, 7), (3, 5)):
        mask = box.mask(h, w)
        assert mask.shape == (1, 1, h, w)
        assert float(mask.mean()) == pytest.approx(0.5 * 0.3, abs=1e-6)
    assert box.mask(10, 4)[0, 0].nonzero().amin(0).tolist() == [5, 1]
    assert box.mask(10, 4)[0, 0].nonzero().amax(0).tolist() == [7, 2]


def test_a_painted_mask_is_read_from_a_picture(tmp_path):
    painted = -torch.ones(1, 3, 8, 8)
    painted[:, :, 4:, :2] = 1
    mask = region(str(write(painted, tmp_path / "brush.png")))
    assert isinstance(mask, Mask)
    assert torch.equal(mask.mask(4, 4)[0, 0].nonzero(), torch.tensor([[2, 0], [3, 0]]))


def test_names_stay_names():
    assert region("left-eye + right-eye") == Named(("left-eye", "right-eye"))


@pytest.mark.parametrize("spec", ["0.5,0.5,0.2,0.8", "0,0,1.2,1", "0,0,1", "a,b,c,d", "", "mouth+"])
def test_what_is_no_region_says_so(spec):
    with pytest.raises(SettingError, match="box|region"):
        region(spec)


def test_a_mask_holds_shares():
    with pytest.raises(SettingError, match="from 0 \\(elsewhere\\) to 1"):
        Mask(torch.full((1, 1, 2, 2), 1.5))
