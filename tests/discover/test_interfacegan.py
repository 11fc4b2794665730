"""InterFaceGAN: the authors' recipe against their solver, planted truth, and their own published conditional boundaries."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from planted import FACTORS, Factors, Planted, cosine
from steerable.discover import InterFaceGAN
from steerable.discover.supervised import conditioned
from steerable.errors import MethodFailed, SettingError
from steerable.generators.tiny import TinyPlain
from steerable.path import Direction
from steerable.score import Scorer

DATA = os.environ.get("STEERABLE_TEST_DATA")


@pytest.fixture
def planted():
    return Planted()


def test_finds_planted_directions_from_the_ends_of_the_scores(planted):
    paths = InterFaceGAN(n=1500, ratio=0.2).discover(planted, supervision=Factors())
    assert paths.names == FACTORS
    for path in paths:
        fit = paths.notes["fits"][path.name]
        # 18 degrees: where the ends can be told apart, few pictures decide
        assert cosine(path.vector, planted.truth(path.name)) > 0.95
        assert fit["from each end"] == 300
        assert fit["validation accuracy"] > 0.97
        assert fit["remainder accuracy"] > 0.7  # of the threshold half-way between the extremes
        assert path.published == pytest.approx(1 / path.unit)


def test_is_the_authors_svm(planted):
    """The same ends, the same 70 %, libsvm as they call it."""
    from sklearn.svm import SVC

    n, count = 600, 120
    w = planted.lift(planted.sample(n), "w").values.double()
    score = (w @ planted.truth("red")) + torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    [(normal, notes)] = InterFaceGAN(n=n, chosen=count).fit(w, score[:, None], ("red",))
    order = score.argsort()
    shuffle = torch.randperm(count, generator=__import__("steerable.workers", fromlist=["generator"]).generator(0))[:84]
    chosen = torch.cat([order[-count:][shuffle], order[:count][shuffle]])
    theirs = SVC(kernel="linear").fit(w[chosen].numpy(), [1] * 84 + [0] * 84)
    assert cosine(normal, torch.tensor(theirs.coef_)) > 0.9999
    assert notes["from each end"] == count
    assert notes["converged"]
    assert 0.5 < notes["validation accuracy"] <= 1


def test_the_share_of_two_percent_and_the_cap_of_half(planted):
    fit = InterFaceGAN(n=400).discover(planted, supervision=Factors()).notes["fits"]["red"]
    assert fit["from each end"] == 8
    half = InterFaceGAN(n=40, chosen=1000).discover(planted, supervision=Factors()).notes["fits"]["red"]
    assert half["from each end"] == 20
    assert "remainder accuracy" not in half


def test_conditions(planted):
    paths = InterFaceGAN(n=400, ratio=0.2, conditions="red").discover(planted, supervision=Factors(noise=1.0))
    assert abs(cosine(paths["checker"].vector, paths["red"].vector)) < 1e-6
    assert paths["checker"].published == pytest.approx(1 / paths["checker"].unit)


def test_ends_that_share_a_value_are_an_error(planted):
    class Few(Scorer):
        name, names, units = "few", ("red",), ("yes",)

        def read(self, images):
            return (Factors().read(images)[:, :1] > 2).float()

    with pytest.raises(MethodFailed, match="the 50 highest and the 50 lowest scores of 'red' share the value 0"):
        InterFaceGAN(n=100, chosen=50).discover(planted, supervision=Few())
    with pytest.raises(SettingError, match="2 pictures from each end of 100 are too few; raise n, ratio or chosen"):
        InterFaceGAN(n=100).discover(planted, supervision=Few())


@pytest.mark.parametrize("conditions", [("eyeglasses",), ("gender",), ("gender", "eyeglasses")], ids=" and ".join)
def test_the_authors_conditional_boundaries_come_out(conditions):
    if not DATA or not (Path(DATA) / "directions").is_dir():
        pytest.skip("STEERABLE_TEST_DATA names no folder with directions/ in it")
    space = TinyPlain(d=512).space("z")
    read = lambda what: torch.from_numpy(
        np.load(Path(DATA) / "directions" / f"interfacegan_pggan_celebahq_{what}_boundary.npy", allow_pickle=False)
    )
    raw = {name: Direction.along(name, read(name)[0], space) for name in ("age", *conditions)}
    cleaned, shares = conditioned(raw, conditions, TinyPlain(d=512))
    assert cosine(cleaned["age"].vector, read(f"age_c_{'_'.join(conditions)}")) > 0.99999
    assert cosine(raw["age"].vector, read(f"age_c_{'_'.join(conditions)}")) < 0.95
    assert shares["age"] == pytest.approx(cosine(raw["age"].vector, cleaned["age"].vector), abs=1e-6)


@pytest.mark.parametrize("space", ["w+", "s"])
def test_boundaries_in_the_spaces_behind_w(planted, space):
    """Rows of w+ are alike in the pictures that are labeled, so the normal is that of w in every row; in s, channels that no row of the
    picture uses stay out of its way."""
    paths = InterFaceGAN(n=1000, ratio=0.2, space=space).discover(planted, supervision=Factors())
    codes = planted.lift(planted.sample(64, seed=80_000), space)
    before = Factors()(planted.synthesize(codes))
    spread = Factors()(planted.synthesize(planted.sample(1000, seed=90_000))).std(0)
    for i, path in enumerate(paths):
        assert path.space.name == space
        moved = (Factors()(planted.synthesize(path.at(1.0).latents(codes, planted))) - before).mean(0) / spread
        assert moved[i] == pytest.approx(1, abs=0.3)
        assert moved.abs().argmax() == i
        if space == "w+":
            assert torch.allclose(path.vector, path.vector[:1].expand(3, -1), atol=1e-3)


def test_any_number_of_conditions_in_s(planted):
    paths = InterFaceGAN(n=600, ratio=0.2, space="s", conditions="red,left-right,top-bottom").discover(
        planted, supervision=Factors()
    )
    for name in ("red", "left-right", "top-bottom"):
        assert abs(cosine(paths["checker"].vector, paths[name].vector)) < 1e-5
