"""StyleFlow: the attribute goes to where it was sent, the others stay; the flow inverts; no step depends on torch's own random state."""

import pytest
import torch
from judged import Smooth, changes, leak

from planted import FACTORS, Planted
from steerable import artifact
from steerable.discover import StyleFlow
from steerable.errors import SettingError
from steerable.record import tree_equal
from steerable.render import codes, render

pytest.importorskip("zuko", reason="the extra `train` (zuko) is not installed")
QUICK = {"n": 500, "hidden": "32", "steps": 75, "batch": 64, "tolerance": 1e-2, "rate": 1e-2}


@pytest.fixture(scope="module")
def planted():
    return Planted()


@pytest.fixture(scope="module")
def paths(planted):
    return StyleFlow(**QUICK).discover(planted, supervision=Smooth())


def test_one_attribute_moves_by_its_deviations_and_the_others_are_held(planted, paths):
    assert paths.names == FACTORS
    for i, path in enumerate(paths):
        for t in (1.0, -1.0):
            change = changes(planted, [path.at(t)], n=24)
            assert change[:, i].mean() == pytest.approx(t, abs=0.25)
            assert leak(change, path.name) < 0.25


def test_an_attribute_can_be_set_to_a_value(planted, paths):
    w = planted.lift(planted.sample(24, seed=700), "w")
    path = paths["left-right"]
    for value in (path.center - path.deviation, path.center + path.deviation):
        found = Smooth()(render(planted, w, [path.to_value(value)]))[:, 1]
        assert (found - value).abs().mean() < 0.3 * path.deviation
    with pytest.raises(SettingError, match="t must be finite"):
        path.to_value(float("nan"))


def test_values_that_are_set_are_saved(planted, paths, tmp_path):
    w, edit = planted.lift(planted.sample(3, seed=700), "w"), paths["checker"].to_value(1.0)
    again = artifact.load(artifact.save(edit, tmp_path / "e.safetensors"))
    assert tree_equal(again, edit)
    assert torch.equal(codes(planted, w, [again]).values, codes(planted, w, [edit]).values)


def test_the_flow_comes_back_to_where_it_was(planted, paths):
    """In with the old attributes and out with the same: nothing but the integration's tolerance is left."""
    w = planted.lift(planted.sample(16, seed=700), "w").values
    left = paths[0].flow.moved(w, torch.zeros(16, 4)) - w
    assert left.abs().max() < 0.05
    assert paths.notes["training"]["history"][-1] < 0


def test_neither_takes_from_nor_depends_on_torchs_random_state(planted):
    quick = QUICK | {"steps": 2, "n": 60}
    torch.manual_seed(1)
    one = StyleFlow(**quick).discover(planted, supervision=Smooth())
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    torch.manual_seed(2)
    other = StyleFlow(**quick).discover(planted, supervision=Smooth())
    assert tree_equal(one, other)
