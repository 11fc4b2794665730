"""The generator that comes with the package: its truth is exact for every code, in every variant."""

import numpy as np
import pytest
import torch
from PIL import Image

from steerable.data.heads import factors
from steerable.errors import ArtifactError, SpaceError, UnknownName
from steerable.generators import heads
from steerable.generators.stylegan2 import Config, Net
from steerable.images import from_bytes
from steerable.score import judge
from steerable.space import Latents
from steerable.train.beginning import fresh
from steerable.train.planted import embedding, psnr

NAMES = heads.NAMES
PSNR = 26.5  # dB, of renders that were not trained on


@pytest.fixture(scope="module")
def trained():
    """A net of the right shape as training leaves it, on w = f · matrix."""
    return fresh(Net(Config((6, 6, 6, 6, 6), z_dim=128, w_dim=128, depth=1, noise=False)), seed=5)


@pytest.fixture(scope="module")
def synthesis(trained, tmp_path_factory):
    return heads.kept(heads.keep(trained, embedding(len(NAMES), 128), tmp_path_factory.mktemp("heads") / "kept"))


@pytest.fixture(scope="module", params=list(heads.VARIANTS))
def g(request, synthesis):
    return heads.attached(request.param, synthesis, heads.VARIANTS[request.param])


@pytest.fixture(scope="module")
def plain(synthesis):
    return heads.attached("heads-64", synthesis, heads.VARIANTS["heads-64"])


def test_factors_are_uniform_and_their_own_codes_fill_the_cube(g):
    f = g.factors(g.sample(2000))
    assert f.shape == (2000, len(NAMES))
    assert f.abs().max() < 1.2
    assert f.mean(0).abs().max() < 0.06
    torch.testing.assert_close(f.std(0), torch.full((len(NAMES),), 3**-0.5), atol=0.04, rtol=0)


@pytest.mark.parametrize("name", [name for name, variant in heads.VARIANTS.items() if not variant.bend])
def test_an_edit_along_a_direction_changes_that_factor_alone(name, synthesis):
    g = heads.attached(name, synthesis, heads.VARIANTS[name])
    w = g.lift(g.sample(16), "w")
    before = g.factors(w)
    for k, step in enumerate(g.directions()):
        change = g.factors(w.moved(0.7 * step)) - before
        wanted = torch.zeros_like(change)
        wanted[:, k] = 0.7
        torch.testing.assert_close(change, wanted, atol=1e-4, rtol=0)


def test_the_truth_as_paths(plain):
    smile = plain.truth()["smile"]
    z = plain.sample(4)
    edited = render_factors(plain, z, smile.at(1.0)) - plain.factors(z)
    moved = float(edited[0, NAMES.index("smile")])
    assert 0.3 < moved < 1  # one standard deviation of codes along the direction, part of which is other factors' doing
    wanted = torch.zeros_like(edited)
    wanted[:, NAMES.index("smile")] = moved
    torch.testing.assert_close(edited, wanted, atol=1e-4, rtol=0)


def render_factors(g, z, edit):
    return g.factors(edit.latents(g.lift(z, "w"), g))


def test_factors_of_any_w_are_what_the_picture_is_made_of(g):
    """Not only on the mapping's surface: the same factors give the same picture, wherever in w they lie."""
    w = g.lift(g.sample(4), "w").values + torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    w = Latents(w, g.space("w"))
    elsewhere = g.to_factors(g.sample(4, seed=50), {}).at(g.lift(g.sample(4, seed=50), "w").values)
    elsewhere = g.to_factors(elsewhere, {})
    f = g.factors(w)
    rows = [g.to_factors(elsewhere[i], {n: float(f[i, k]) for k, n in enumerate(NAMES)}) for i in range(4)]
    same = Latents.cat(rows)
    assert (same.values - w.values).abs().max() > 0.5
    torch.testing.assert_close(g.factors(same), f, atol=1e-3, rtol=0)
    torch.testing.assert_close(g.synthesize(same), g.synthesize(w), atol=2e-2, rtol=1e-2)


def test_to_factors_sets_what_is_asked_for_and_nothing_else(g):
    z = g.sample(8)
    before, after = g.factors(z), g.factors(g.to_factors(z, {"smile": 0.9, "age": -0.5}))
    wanted = before.clone()
    wanted[:, NAMES.index("smile")], wanted[:, NAMES.index("age")] = 0.9, -0.5
    torch.testing.assert_close(after, wanted, atol=1e-3, rtol=0)
    with pytest.raises(UnknownName, match="no factor is called 'smiel'; did you mean 'smile'"):
        g.to_factors(z, {"smiel": 1.0})


def test_truncation_pulls_the_factors_to_the_middle(plain):
    w = plain.lift(plain.sample(64), "w")
    pulled, center = plain.factors(plain.truncate(w, 0.5)), plain.factors(plain.truncate(w, 0.0))
    torch.testing.assert_close(pulled, center + 0.5 * (plain.factors(w) - center), atol=1e-4, rtol=0)
    assert center.abs().max() < 0.1


def test_factors_in_later_spaces(g):
    z = g.sample(3)
    rows = g.lift(z, "w+")
    torch.testing.assert_close(g.factors(rows), g.factors(z), atol=1e-5, rtol=0)
    mixed = rows.values.clone()
    mixed[:, 4:] = rows.values[[1, 2, 0], 4:]
    with pytest.raises(SpaceError, match="rows of these w\\+ codes differ"):
        g.factors(rows.at(mixed))
    assert g.row_factors(rows.at(mixed)).shape == (3, 10, len(NAMES))
    with pytest.raises(SpaceError, match="styles of 's'"):
        g.factors(g.lift(z, "s"))


def test_the_correlated_variant_follows_its_leaders(synthesis):
    g = heads.attached("heads-64-correlated", synthesis, heads.VARIANTS["heads-64-correlated"])
    found = torch.corrcoef(g.factors(g.sample(3000)).T)
    wanted = torch.eye(len(NAMES))
    for name, leader, rho in g.variant.correlations:
        i, j = NAMES.index(name), NAMES.index(leader)
        wanted[i, j] = wanted[j, i] = rho
    both = NAMES.index("hair_warm"), NAMES.index("glasses")
    wanted[both] = wanted[both[::-1]] = -0.6 * 0.5  # through age
    torch.testing.assert_close(found, wanted, atol=0.07, rtol=0)


def test_the_bent_variant_has_no_straight_truth_in_w_but_one_in_w_plus(synthesis):
    g = heads.attached("heads-64-bent", synthesis, heads.VARIANTS["heads-64-bent"])
    w = g.lift(g.sample(400), "w")
    line = torch.cat([w.values, torch.ones(400, 1)], 1).double()
    f = g.factors(w).double()
    missed = f - line @ torch.linalg.lstsq(line, f, driver="gelsd").solution
    assert (missed.var(0) / f.var(0)).max() > 0.02  # the best linear reading leaves that much
    with pytest.raises(SpaceError, match="curved in 'w\\+'"):
        g.carry(torch.zeros(1, 128), "w", "w+")
    with pytest.raises(SpaceError, match="out of 'w\\+'"):
        g.affines("w")
    assert g.affines("w+").keys() == {layer.name for layer in g.layers}


def test_spectra_and_rotations_are_what_they_say(synthesis):
    shares = {}
    for name, variant in heads.VARIANTS.items():
        m = heads.embedded(variant)
        values = torch.linalg.svdvals(m)
        shares[name] = float(values[0] / values[-1])
        assert float((m / 3**0.5).square().sum() / m.shape[1]) == pytest.approx(1, abs=1e-6)
    assert shares["heads-64-rotated"] == pytest.approx(1, abs=1e-6)
    assert shares["heads-64-steep"] == pytest.approx(10**1.3, rel=1e-3)


def test_export_keeps_the_pictures(trained, plain):
    """Through keep, kept and attached, the net makes what it made of the same factors in training."""
    w = plain.lift(plain.sample(4), "w")
    trained_form = heads.StyleGAN2("trained", trained)
    codes = Latents(plain.factors(w) @ embedding(len(NAMES), 128), trained_form.space("w"))
    torch.testing.assert_close(plain.synthesize(w), trained_form.synthesize(codes), atol=3e-2, rtol=3e-2)


@pytest.fixture(scope="module")
def renders(request):
    """Renders that are kept with the tests, and their factors; none was trained on."""
    with Image.open(request.path.parents[1] / "data" / "heads-seed1.png") as sheet:
        tiles = np.asarray(sheet).reshape(4, 64, 4, 64, 3).swapaxes(1, 2).reshape(16, 64, 64, 3)
    return from_bytes(tiles), factors(16, seed=1)


def codes(g, rows):
    z = g.sample(1)
    return Latents.cat([g.to_factors(z, dict(zip(NAMES, map(float, row), strict=True))) for row in rows])


def test_the_weights_of_the_package_make_the_renders_of_their_factors(renders):
    images, rows = renders
    g = heads.load("heads-64")
    made = g.synthesize(codes(g, rows)).clamp(-1, 1)
    assert psnr(made, images) > PSNR
    shuffled = images.roll(1, 0)
    assert psnr(made, images) > psnr(made, shuffled) + 8


def test_all_variants_are_one_net(renders):
    rows = renders[1][:4]
    made = {name: heads.load(name).synthesize(codes(heads.load(name), rows)) for name in heads.VARIANTS}
    for name, images in made.items():
        torch.testing.assert_close(images, made["heads-64"], atol=0.02, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
    assert len({heads.load(name).fingerprint for name in heads.VARIANTS}) == len(heads.VARIANTS)


def test_what_comes_with_the_package_is_small():
    assert heads.WEIGHTS.stat().st_size + judge.WEIGHTS.stat().st_size < 3_000_000


def test_bad_files(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        heads.kept(tmp_path / "nothing")
    (tmp_path / "broken").write_bytes(b"\0" * 100)
    with pytest.raises(ArtifactError, match="cannot be read"):
        heads.kept(tmp_path / "broken")
    with pytest.raises(UnknownName, match="heads-65"):
        heads.load("heads-65")
