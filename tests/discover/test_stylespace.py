"""StyleSpace: channels whose attribute, region and side effects are known."""

import pytest
import torch
from painted import Painted, box, orthogonal

from steerable.discover import stylespace
from steerable.discover.stylespace import StyleSpace, disjoint, overlapped
from steerable.errors import MethodFailed, SettingError
from steerable.score import Table, score

LEFT, RIGHT = slice(0, 8), slice(8, 16)


def reading(images):
    return torch.stack([images[:, :, LEFT, LEFT].mean((1, 2, 3)), images[:, :, RIGHT, RIGHT].mean((1, 2, 3))], 1)


reading.names, reading.units, reading.key = ("a", "b"), ("x", "x"), "reading/2"


@pytest.fixture
def planted():
    """Channel paint1.1 darkens the upper left only, paint2.0 brightens the lower right and, half as much, the upper left."""
    strong = box(8, 8, 16, 16, 1.0) + box(0, 0, 8, 8, 0.5)
    patterns = [
        torch.stack([box(8, 0, 16, 8), box(0, 8, 8, 16)]),
        torch.stack([box(9, 1, 15, 7), box(0, 0, 8, 8, -1.0), box(1, 9, 7, 15)]),
        torch.stack([strong, box(0, 8, 16, 12)]),
    ]
    Q = orthogonal(7)
    return Painted(patterns, [Q[:2], Q[2:5], Q[5:]])


def test_the_channel_of_an_attribute(planted):
    found = StyleSpace(k=1, n=400, positives=20, codes=2000, dependency=8).discover(planted, supervision=score(reading))
    assert found.names == ("a paint1.1", "b paint2.0")
    a, b = found
    assert float(a.vector[3]) == -1  # it darkens, so a brighter upper left is the other way
    assert a.space.name == "s"
    effect = {e.score: e.per_sd for e in b.effects}
    assert effect["b"] == pytest.approx(b.unit, rel=1e-3)
    assert effect["a"] == pytest.approx(b.unit / 2, rel=1e-3)
    assert found.notes["dependency"]["a paint1.1"] == pytest.approx({"a": 1.0, "b": 0.0}, abs=1e-4)
    ratio = found.notes["dependency"]["b paint2.0"]["a"]
    spread = {e.score: e.sd for e in b.effects}
    assert ratio == pytest.approx(0.5 * spread["b"] / spread["a"], rel=1e-3)


def test_channels_of_a_region(planted):
    found = StyleSpace(region="0,0,0.5,0.5", k=5, pictures=3, codes=500).discover(planted)
    assert found.names == ("0,0,0.5,0.5 paint1.1",)  # paint2.0 is there too, but more elsewhere
    assert StyleSpace(region="0,0.5,0.5,1", k=5, pictures=3, codes=500).discover(planted).names == (
        "0,0.5,0.5,1 paint0.1",
        "0,0.5,0.5,1 paint1.2",
    )


def test_an_attribute_within_a_region(planted):
    """Of the channels that tell b, none keeps to the upper left, of those that tell a, one does."""
    method = StyleSpace(region="0,0,0.5,0.5", k=2, n=400, positives=20, codes=2000, pictures=3, candidates=2)
    assert method.discover(planted, supervision=score(reading)).names == ("a paint1.1",)
    with pytest.raises(MethodFailed, match="no channel was seen to keep to"):
        StyleSpace(region="0.2,0.2,0.21,0.9", pictures=2, codes=500).discover(planted)


def test_a_segmenters_regions(planted, monkeypatch):
    from steerable.score import Segmenter

    class Quarters(Segmenter):
        name, names = "quarters", ("upper-left", "all-left")

        def read(self, images):
            masks = torch.zeros(len(images), 2, 16, 16)
            masks[:, 0, LEFT, LEFT], masks[:, 1, :, LEFT] = 1, 1
            return masks

    monkeypatch.setitem(stylespace.places.SEGMENTERS, "quarters", Quarters)
    found = StyleSpace(region="upper-left", k=5, pictures=2, codes=500).discover(planted)
    assert found.names == ("upper-left paint1.1",)
    found = StyleSpace(region="all-left", k=5, pictures=2, codes=500).discover(planted)
    assert found.names == ("all-left paint0.1", "all-left paint1.2")  # what no smaller region owns


def test_labels_of_ones_own(planted, tmp_path):
    """A dozen pictures marked by hand are enough to find the channel of what they share."""
    s = planted.lift(planted.sample(60, seed=0), "s").values[:, 0]
    rows = "\n".join(f"{i},{int(v > s.sort(descending=True).values[12])}" for i, v in enumerate(s.tolist()))
    file = tmp_path / "mine.csv"
    file.write_text("seed,bright\n" + rows + "\n")
    found = StyleSpace(k=1, n=60, positives=12, codes=2000, psi=1.0).discover(planted, supervision=Table(file))
    assert found.names == ("bright paint0.0",)


def test_overlap_is_counted_against_chance():
    owner = torch.zeros(4, 4, dtype=torch.long)
    owner[0, :2] = 1
    maps = torch.zeros(3, 4, 4)
    maps[0, 0, :2] = 5  # there
    maps[1, 3] = 5  # elsewhere
    maps[2] = torch.arange(16.0).flip(0).reshape(4, 4)  # everywhere, most of all there
    assert overlapped(maps, owner, 2).tolist() == [1, 0, 1]
    nested = torch.zeros(2, 4, 4)
    nested[0], nested[1, :2, :2] = 1, 1
    assert disjoint(nested)[0, 0] == 1
    assert disjoint(nested)[3, 3] == 0


def test_wrong_settings(planted, style, tmp_path):
    with pytest.raises(SettingError, match="needs scores .* or a region"):
        StyleSpace().discover(planted)
    with pytest.raises(SettingError, match="image heads only"):
        StyleSpace(layers="head1", region="0,0,1,0.5").discover(style)
    with pytest.raises(SettingError, match="positives must be at least 3"):
        StyleSpace(positives=2)
    file = tmp_path / "mine.csv"
    file.write_text("seed,x\n" + "\n".join(f"{i},{i}" for i in range(20)) + "\n")
    with pytest.raises(SettingError, match="a CSV will not do"):
        StyleSpace(n=20, codes=500, dependency=4).discover(planted, supervision=Table(file))
    file.write_text("seed,x\n" + "\n".join(f"{i},1" for i in range(20)) + "\n")
    with pytest.raises(MethodFailed, match="tell too little about 'x'"):
        StyleSpace(n=20, codes=500).discover(planted, supervision=Table(file))
