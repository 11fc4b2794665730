"""HiGAN: attributes planted in known layers."""

import pytest
import torch
from painted import Painted, box

from steerable.discover.higan import HiGAN, shortest
from steerable.errors import SettingError, UnknownName
from steerable.path import Direction, Paths
from steerable.score import Table, score

A, B = (slice(0, 8), slice(0, 8)), (slice(8, 16), slice(8, 16))


def reading(images):
    """a: brightness of the upper left, b: of the lower right, c: nothing."""
    return torch.stack(
        [images[:, :, *A].mean((1, 2, 3)), images[:, :, *B].mean((1, 2, 3)), images.new_zeros(len(images))], 1
    )


reading.names, reading.units, reading.key = ("a", "b", "c"), ("x", "x", "x"), "reading/1"


@pytest.fixture
def planted():
    """Five rows; the upper left is painted by row 1 along w0, the lower right by rows 2 and 3 along w1; 0 and 4 paint the rest."""
    patterns = [
        box(8, 0, 16, 8)[None],
        box(0, 0, 8, 8)[None],
        box(8, 8, 16, 16)[None],
        box(8, 8, 16, 16)[None],
        box(0, 8, 8, 16)[None],
    ]
    e = torch.eye(6)
    return Painted(patterns, [e[[2]], e[[0]], e[[1]], e[[1]], e[[3]]])


def test_each_attribute_is_found_in_its_layers(planted):
    found = HiGAN(method="boundary", names="a,b", n=100, rescored=8).discover(planted, supervision=score(reading))
    assert (found["a"].layers, found["b"].layers) == ("1", "2-3")
    effect = {e.score: e for e in found["a"].effects}
    assert effect["a"].per_sd == pytest.approx(1.0, abs=0.05)
    assert abs(effect["b"].per_sd) < 0.05  # row 1 paints nothing there
    assert effect["a"].n == 4
    notes = found.notes["layer-wise effect per SD, with its standard error"]["b"]
    assert notes["score"] == "b"
    assert notes["layers"]["2"][0] == pytest.approx(1.0, abs=0.05)
    assert notes["layers"]["0"][0] == pytest.approx(0.0, abs=1e-5)
    assert notes["share kept"] == pytest.approx(1.0, abs=1e-4)


def test_only_the_scores_named_are_learned(planted):
    found = HiGAN(method="boundary", names="b", n=100, rescored=4).discover(planted, supervision=score(reading))
    assert found.names == ("b",)


def test_paths_of_others_get_layers_too_and_signs_do_not_matter(planted):
    space, e = planted.space("w"), torch.eye(6)
    given = Paths(
        tuple(Direction.along(n, v, space, planted) for n, v in (("one", -e[0]), ("two", e[1]), ("dead", e[5])))
    )
    said = []
    progress = type(
        "P", (), {"over": lambda s, i, /, title, total=None: iter(i), "note": lambda s, t, /: said.append(t)}
    )()
    found = HiGAN(n=20, rescored=8).rescored_by(score(reading), planted, given, progress)
    assert [p.layers for p in found] == ["1", "2-3", None]
    assert (found[0].about, found[1].about) == ("by a", "by b")
    assert any("'dead' was not seen to change" in s for s in said)


def test_rows_can_be_moved_together(planted):
    method = HiGAN(n=20, rescored=4, group=2)
    assert method.groups(planted) == ["0-1", "2-3", "4"]
    given = Paths((Direction.along("b", torch.eye(6)[1], planted.space("w"), planted),))
    assert method.rescored_by(score(reading), planted, given)[0].layers == "2-3"


def test_layers_before_the_first_one_moved_are_not_rendered_again(planted):
    given = Paths((Direction.along("a", torch.eye(6)[0], planted.space("w"), planted),))
    planted.calls = 0
    HiGAN(n=20, rescored=8).rescored_by(score(reading), planted, given)
    choosing, holding = 2 * 6 + 1, 2 * 2 + 1  # pictures of each sample: five rows and all, then two
    assert planted.calls < 0.75 * 4 * 5 * (choosing + holding)


@pytest.mark.parametrize(
    ("effects", "share", "run"),
    [
        ([0, 3, 0, 0], 0.8, (1, 2)),
        ([1, 1, 1, 1], 0.5, (0, 2)),
        ([0, 1, 2, 0], 0.9, (1, 3)),
        ([1, -5, 1, 0], 0.9, (0, 3)),
        ([1, 1], 1.0, (0, 2)),
    ],
)
def test_the_shortest_run_with_the_share(effects, share, run):
    assert shortest(torch.tensor(effects, dtype=torch.float32), share) == run


def test_wrong_settings(planted, plain, tmp_path):
    with pytest.raises(SettingError, match="scores pictures that it changes"):
        HiGAN().discover(planted)
    file = tmp_path / "labels.csv"
    file.write_text("seed,a\n0,1\n1,0\n")
    with pytest.raises(SettingError, match="a CSV will not do"):
        HiGAN().discover(planted, supervision=Table(file))
    with pytest.raises(UnknownName, match="higan can take paths from is called 'magic'"):
        HiGAN(method="magic").discover(planted, supervision=score(reading))
    with pytest.raises(UnknownName, match="'higan'"):
        HiGAN(method="higan").discover(planted, supervision=score(reading))
    with pytest.raises(SettingError, match="rescored must be at least 4"):
        HiGAN(rescored=2)
