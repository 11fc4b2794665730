"""Steerability and GANalyze and Plumerault on a spot whose place, size and brightness are known functions of the code."""

import math

import pytest
import torch
from blob import FACTORS, SIDE, Blob, Level

from planted import Listening
from steerable.discover import GANalyze, Plumerault, Steerability
from steerable.discover.fields import Curve
from steerable.discover.transforms import changed, listed, spaced
from steerable.edit import LatentEdit
from steerable.errors import MethodFailed, SettingError, SpaceError, UnknownName
from steerable.render import render
from steerable.score import score
from steerable.space import Space


@pytest.fixture(scope="module")
def blob():
    return Blob()


def spot(x=0.0, y=0.0, size=0.16):
    at = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    away = (at[None] - x).square() + (at[:, None] - y).square()
    return (-away / (2 * size**2)).exp().expand(1, 3, -1, -1)


def factors(blob, edit: LatentEdit, codes):
    """How an edit changes each factor: mean and deviation over samples."""
    change = blob.factors(edit.latents(codes, blob).values) - blob.factors(codes.values)
    return change.mean(0), change.std(0)


def seen(blob, vector, name):
    """The cosine of a direction with the true one, of what shows in pictures at all."""
    shown = blob.net.truth.double() @ vector.double()
    return float(shown[FACTORS.index(name)] / shown.norm())


# -- what a person would do to a picture --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "amount", "wanted"),
    [
        ("shift-x", 0.125, spot(x=0.125)),
        ("shift-y", -0.125, spot(y=-0.125)),
        ("zoom", math.log(1.5), spot(size=0.24)),
        ("rotate", 1.0, spot()),
        ("brightness", 0.2, (spot() + 0.2).clamp(max=1)),
    ],
)
def test_transformations_do_what_they_say(name, amount, wanted):
    target, known = changed(name, spot(), torch.tensor([amount]))
    assert float(((target - wanted) * known).abs().max()) < 0.03
    nothing, everywhere = changed(name, spot(), torch.tensor([0.0]))
    assert torch.allclose(nothing, spot(), atol=1e-5)
    assert bool(everywhere.all())


def test_what_comes_from_beyond_the_frame_is_not_known():
    _, known = changed("shift-x", spot(), torch.tensor([0.25]))
    assert known[0, 0].mean(0).tolist() == [0.0] * 4 + [1.0] * 12
    _, known = changed("zoom", spot(), torch.tensor([-math.log(2)]))
    assert float(known.mean()) == pytest.approx(0.25, abs=0.02)


def test_rotation_goes_against_the_clock():
    turned, _ = changed("rotate", spot(x=0.25), torch.tensor([2.0]))
    assert float((turned - spot(y=-0.25)).abs().max()) < 0.03


def test_colors_move_alone():
    gray = torch.zeros(1, 3, 8, 8)
    red, _ = changed("red", gray, torch.tensor([0.3]))
    assert torch.allclose(red[0, :, 0, 0], torch.tensor([0.3, 0.0, 0.0]))
    light, _ = changed("lightness", gray, torch.tensor([0.1]))
    assert float(light.mean()) > 0.1
    assert float((light.amax(1) - light.amin(1)).max()) < 0.01
    tinted, _ = changed("a", gray, torch.tensor([0.2]))
    assert bool((tinted[:, 0] > tinted[:, 1] + 0.1).all())


def test_blur_softens_and_the_other_way_sharpens():
    soft, hard = (changed("blur", spot(size=0.05), torch.tensor([a]))[0] for a in (1.0, -1.0))
    assert float(soft.max()) < float(spot(size=0.05).max()) < float(hard.max())


def test_zoom_is_drawn_half_below_and_half_above_one():
    factor = spaced("zoom", torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])).exp()
    assert factor.tolist() == pytest.approx([0.25, 0.625, 1.0, 2.5, 4.0], rel=1e-5)
    with pytest.raises(UnknownName, match="did you mean 'zoom'"):
        listed("zom")


# -- Jahanian et al. ----------------------------------------------------------------------------------------------------------------


def test_straight_walks_are_the_planted_ones_within_fifteen_degrees(blob):
    how = {"space": "z", "transforms": ",".join(FACTORS), "steps": 120, "rate": 0.05, "batch": 6, "reach": 0.25}
    paths = Steerability(**how).discover(blob)
    codes = blob.sample(64, seed=9)
    for i, path in enumerate(paths):
        assert seen(blob, path.vector, path.name) > math.cos(math.radians(15)), path.name
        mean, _ = factors(blob, path.at(0.1, unit="published"), codes)
        assert float(mean[i]) == pytest.approx(0.1, abs=0.035), path.name


def test_nets_step_both_ways_and_keep_the_length_of_z(blob):
    how = {"space": "z", "transforms": "shift-x", "steps": 100, "rate": 0.03, "batch": 8, "reach": 0.4, "walk": "net"}
    (path,) = Steerability(**how).discover(blob)
    codes = blob.sample(64, seed=9)
    for wanted in (0.12, -0.12):
        edit = path.at(wanted, unit="published")
        mean, _ = factors(blob, edit, codes)
        assert float(mean[0]) == pytest.approx(wanted, abs=0.06)
        assert float(mean[1:].abs().max()) < 0.03
        assert torch.allclose(edit.latents(codes, blob).values.norm(dim=1), codes.values.norm(dim=1), atol=1e-4)


def test_every_row_of_w_plus_has_a_walk_of_its_own(style):
    (path,) = Steerability(space="w+", transforms="red", steps=2).discover(style)
    assert tuple(path.vector.shape) == (3, 16)
    with pytest.raises(SpaceError, match="moves plain codes, not 'w\\+'"):
        Steerability(space="w+", transforms="red", walk="net").discover(style)
    with pytest.raises(SettingError, match="LPIPS needs pictures of 31 px or more"):
        Steerability(transforms="red", loss="lpips").discover(style)


# -- Plumerault et al. --------------------------------------------------------------------------------------------------------------


def test_positions_are_reached_as_asked(blob):
    how = {"transforms": "shift-y", "n": 12, "block": 12, "inner": 20, "inner_rate": 0.06, "epochs": 60, "rate": 0.02}
    paths = Plumerault(**how, reach=0.5).discover(blob)
    (path,) = paths
    assert seen(blob, path.level.vector, "shift-y") > math.cos(math.radians(15))
    assert paths.notes["fits"]["shift-y"]["R2"] > 0.9
    codes = blob.sample(64, seed=9)
    mean, _ = factors(blob, path.at(0.1, unit="published"), codes)
    assert float(mean[1]) == pytest.approx(0.1, abs=0.03)
    there = path.put(0.15).latents(codes, blob)
    assert path.value(there, blob).tolist() == pytest.approx([0.15] * 64, abs=1e-4)
    assert float(blob.factors(there.values)[:, 1].std()) < 0.4 * float(blob.factors(codes.values)[:, 1].std())
    moved = path.at(0.7).latents(codes, blob)
    change = path.value(moved, blob) - path.value(codes, blob)
    assert change.tolist() == pytest.approx([0.7 * path.unit] * 64, abs=1e-4)


# -- GANalyze -----------------------------------------------------------------------------------------------------------------------


def test_a_score_rises_by_what_was_asked_for(blob):
    paths = GANalyze(n=64, steps=200, rate=0.02, batch=16).discover(blob, supervision=Level())
    (path,) = paths
    assert paths.notes["raised"]["level"] == pytest.approx(1, abs=0.3)
    codes = blob.sample(128, seed=9)
    before = Level()(render(blob, codes))
    for amount in (-0.1, 0.05, 0.1):
        edit = path.at(amount, unit="published")
        assert float((Level()(render(blob, codes, [edit])) - before).mean()) == pytest.approx(amount, rel=0.2)
        assert torch.allclose(edit.latents(codes, blob).values.norm(dim=1), codes.values.norm(dim=1), atol=1e-4)


def test_a_score_that_nothing_raises_is_left_out(blob):
    class Both(Level):
        """The second's gradient points the wrong way, so whoever follows it comes down."""

        name, names, units = "both", ("level", "liar"), ("levels", "")

        def read(self, images):
            level = super().read(images)
            return torch.cat([level, level - 2 * level.detach()], 1)

    seen = Listening()
    paths = GANalyze(n=64, steps=200, rate=0.02, batch=16).discover(blob, supervision=Both(), progress=seen)
    assert paths.names == ("level",)
    assert any("raises 'liar'" in note for note in seen.told)
    with pytest.raises(MethodFailed, match="no direction was found that raises liar"):
        GANalyze(n=64, steps=200, rate=0.02, batch=16, learn="liar").discover(blob, supervision=Both())


def test_scores_without_a_gradient_are_refused(blob):
    class Blind(Level):
        name = "blind"

        def read(self, images):
            return super().read(images.detach())

    class Same(Level):
        def read(self, images):
            return 0 * super().read(images)

    with pytest.raises(SettingError, match="follows the gradient of a score, and 'blind' gives none"):
        GANalyze(n=8).discover(blob, supervision=Blind())
    with pytest.raises(SettingError, match="'level' says the same of all 8 pictures"):
        GANalyze(n=8).discover(blob, supervision=Same())
    with pytest.raises(SettingError, match="ganalyze learns through a scorer"):
        GANalyze().discover(blob)
    with pytest.raises(UnknownName, match="no score is called 'smile'"):
        GANalyze(learn="smile").discover(blob, supervision=score("statistics"))


# -- curves -------------------------------------------------------------------------------------------------------------------------


def test_a_curve_passes_through_its_knots_and_goes_on_beyond(blob):
    knots = torch.tensor([[-2.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 3.0]])
    knots = torch.cat([knots, torch.zeros(5, 4)], 1)
    path = Curve(name="c", knots=knots, reach=2.0, space=Space("z", (6,)), unit=0.5)
    codes = blob.sample(5, seed=1)
    moved = path.at(torch.tensor([-4.0, 0.0, 1.0, 3.0, 6.0])).latents(codes, blob).values - codes.values
    wanted = torch.tensor([[-2.0, 1.0], [0.0, 0.0], [0.5, 0.0], [1.5, 1.5], [3.0, 6.0]])
    assert torch.allclose(moved[:, :2], wanted, atol=1e-5)
