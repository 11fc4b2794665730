"""Boundaries: ridge against brute force and planted truth, logistic, conditions, and labels that are missing or alike."""

import pytest
import torch

from planted import FACTORS, Factors, Listening, Planted, cosine
from steerable.discover import Boundary, discover
from steerable.discover.boundary import LAMBDAS, logistic, ridge
from steerable.errors import MethodFailed, SettingError, SpaceError, UnknownName
from steerable.score import Scorer, Table


@pytest.fixture
def planted():
    return Planted()


class Sign(Scorer):
    """Whether factors are above a threshold: 0 or 1."""

    name, names, units = "sign", FACTORS, ("yes",) * 4

    def __init__(self, threshold: float = 0.0):
        self.threshold, self.name = threshold, f"sign {threshold}"

    def read(self, images):
        return (Factors().read(images) > self.threshold).float()


def rows(n, d, seed=0):
    source = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=source, dtype=torch.float64) * torch.linspace(2, 0.2, d, dtype=torch.float64) + 1
    Y = X[:, :2] - 0.3 * X[:, 2:4] + torch.randn(n, 2, generator=source, dtype=torch.float64)
    return X, Y


@pytest.mark.parametrize(("n", "d"), [(40, 9), (12, 20)], ids=["tall", "wide"])
def test_ridge_is_the_one_with_the_least_leave_one_out_error(n, d):
    """Against refitting without each row, for every strength."""
    X, Y = rows(n, d)
    beta, strength, r2 = ridge(X, Y)
    centered = X - X.mean(0)
    scatter = torch.linalg.eigvalsh(centered.T @ centered)
    lams = LAMBDAS * scatter[scatter > 1e-9].mean()

    def slopes(x, y, lam):
        x, y = x - x.mean(0), y - y.mean(0)
        return torch.linalg.solve(x.T @ x + lam * torch.eye(d, dtype=torch.float64), x.T @ y)

    errors = torch.zeros(len(lams), 2, dtype=torch.float64)
    base = torch.zeros(2, dtype=torch.float64)
    for i in range(n):
        rest = torch.arange(n) != i
        x, y = X[rest], Y[rest]
        base += (Y[i] - y.mean(0)).square() / n
        for j, lam in enumerate(lams):
            errors[j] += (Y[i] - y.mean(0) - (X[i] - x.mean(0)) @ slopes(x, y, lam)).square() / n
    assert torch.allclose(strength, lams[errors.argmin(0)])
    assert torch.allclose(r2, 1 - errors.min(0).values / base, atol=1e-8)
    for column in range(2):
        assert torch.allclose(beta[:, column], slopes(X, Y, strength[column])[:, column], atol=1e-8)


def test_finds_every_planted_direction_at_once(planted):
    paths = discover("boundary", planted, n=300, supervision=Factors())
    assert paths.names == FACTORS
    for path in paths:
        assert cosine(path.vector, planted.truth(path.name)) > 0.9999
        assert paths.notes["fits"][path.name]["held-out R2"] > 0.999
        assert path.published is None


def test_is_near_the_truth_with_noisy_labels_and_says_how_well_it_predicts(planted):
    paths = Boundary(n=600).discover(planted, supervision=Factors(noise=1.0))
    cov = planted.moments("w").cov
    for path in paths:
        truth = planted.truth(path.name)
        signal = float(truth @ cov @ truth)
        assert cosine(path.vector, truth) > 0.9
        assert paths.notes["fits"][path.name]["held-out R2"] == pytest.approx(signal / (signal + 1), abs=0.09)


def test_learns_nothing_from_labels_dealt_out_at_random(planted):
    notes = Boundary(n=300, permuted=True).discover(planted, supervision=Factors()).notes["fits"]
    assert all(abs(fit["held-out R2"]) < 0.05 for fit in notes.values())


def test_works_in_every_space_and_with_fewer_pictures_than_numbers(planted):
    z = Boundary(space="z", n=300).discover(planted, supervision=Factors())["red"]
    through = planted.net.axes.double().T @ planted.truth("red") * planted.net.deviations.double()
    assert cosine(z.vector, through) > 0.9999
    assert Boundary(space="w+", n=25).discover(planted, supervision=Factors())["red"].vector.shape == (3, 12)


def test_codes_are_those_of_the_truncated_pictures(planted):
    """With a w that is truncated but codes that are not, the slope would be psi times too small; the direction tells nothing."""
    labels = Boundary(n=64, psi=0.5).discover(planted, supervision=Factors())
    assert labels.notes["labels"]["psi"] == 0.5
    assert labels.notes["fits"]["red"]["held-out R2"] > 0.999


def test_conditions_are_projected_out(planted):
    plain = Boundary(n=200).discover(planted, supervision=Factors(noise=2.0))
    clean = Boundary(n=200, conditions="red,checker").discover(planted, supervision=Factors(noise=2.0))
    for name in ("red", "checker"):
        assert torch.equal(clean[name].vector, plain[name].vector)
        assert abs(cosine(clean["left-right"].vector, plain[name].vector)) < 1e-6
    assert clean["left-right"].about == "without red, checker"
    assert clean["left-right"].unit == pytest.approx(planted.spread(clean["left-right"].vector, "w"))
    share = clean.notes["fits"]["left-right"]["share left"]
    assert share == pytest.approx(cosine(clean["left-right"].vector, plain["left-right"].vector), abs=1e-6)
    assert share < 1


def test_some_scores_can_be_chosen_and_conditions_come_along(planted):
    paths = Boundary(n=64, learn="checker", conditions="red", layers="1-2").discover(planted, supervision=Factors())
    assert paths.names == ("checker", "red")
    assert paths[0].layers == "1-2"


def test_a_table_of_labels_by_seed_needs_no_picture(planted, tmp_path):
    red = planted.lift(planted.sample(60, seed=7), "w").values.double() @ planted.truth("red")
    file = tmp_path / "labels.csv"
    file.write_text("seed,red\n" + "".join(f"{7 + i},{v:.6f}\n" for i, v in enumerate(red)))
    paths = Boundary(n=50).discover(planted, supervision=Table(file))
    assert cosine(paths["red"].vector, planted.truth("red")) > 0.9999
    assert paths.notes["labels"] == {
        "scorer": "labels", "n": 50, "first seed": 7, "last seed": 56, "psi": 1.0, "size": None,
    }  # fmt: skip


def test_pictures_without_a_score_are_dropped_and_counted(planted):
    notes = Boundary(n=200).discover(planted, supervision=Factors(blind=1.0)).notes["fits"]
    assert notes["red"]["n"] + notes["red"]["without score"] == 200
    assert 10 < notes["red"]["without score"] < 100


def test_scores_known_for_different_pictures_are_fitted_on_their_own(planted):
    class Patchy(Scorer):
        name, names, units = "patchy", FACTORS, ("levels",) * 4

        def read(self, images):
            levels = Factors().read(images)
            levels[:, 1][levels[:, 0] > 0.5] = torch.nan
            return levels

    paths = Boundary(n=200).discover(planted, supervision=Patchy())
    assert paths.names == FACTORS
    assert paths.notes["fits"]["red"]["without score"] == 0
    assert paths.notes["fits"]["left-right"]["without score"] > 20
    assert cosine(paths["left-right"].vector, planted.truth("left-right")) > 0.9999


def test_too_many_pictures_without_a_score_are_an_error(planted):
    with pytest.raises(MethodFailed, match=r"of 100 pictures have no score 'red' \(no face found\?\); lower psi"):
        Boundary(n=100).discover(planted, supervision=Factors(blind=-1.0))


def test_labels_of_one_kind_are_an_error_or_left_out_of_many(planted):
    with pytest.raises(MethodFailed, match="all 50 labels of 'red' are 0, so there is nothing to tell apart"):
        Boundary(n=50, learn="red").discover(planted, supervision=Sign(100.0))

    class OneFlat(Scorer):
        name, names, units = "one flat", FACTORS, ("levels",) * 4

        def read(self, images):
            levels = Factors().read(images)
            levels[:, 2] = 1.0
            return levels

    listening = Listening()
    paths = Boundary(n=50).discover(planted, supervision=OneFlat(), progress=listening)
    assert paths.names == ("red", "left-right", "checker")
    assert "all 50 labels of 'top-bottom' are 1" in paths.notes["left out"]["top-bottom"]
    assert "it is left out" in listening.told[0]


def test_logistic_regression_finds_the_boundary_between_two_kinds(planted):
    paths = Boundary(n=300, kind="logistic", learn="checker").discover(planted, supervision=Sign())
    for path in paths:
        assert cosine(path.vector, planted.truth(path.name)) > 0.95
        fit = paths.notes["fits"][path.name]
        assert fit["held-out accuracy"] > max(0.9, fit["commoner kind"])


def test_logistic_regression_needs_two_kinds_and_enough_of_both():
    X, _ = rows(60, 5)
    with pytest.raises(MethodFailed, match="labels of 'age' have 60 values, and logistic regression tells two apart"):
        logistic(X, torch.arange(60.0), "age")
    rare = torch.zeros(60)
    rare[:3] = 1
    with pytest.raises(MethodFailed, match="only 3 of 60 labels of 'hat' are of the rarer kind; 10 of each are needed"):
        logistic(X, rare, "hat")


@pytest.mark.parametrize(
    ("settings", "supervised", "error", "message"),
    [
        ({}, False, SettingError, r"boundary learns from scores; pass supervision=, such as score\('face'\)"),
        ({"learn": "redd"}, True, UnknownName, "no score is called 'redd'; did you mean 'red'"),
        ({"conditions": "hat"}, True, UnknownName, "no score is called 'hat'"),
        ({"space": "y"}, True, SpaceError, "has no space 'y'"),
        ({"layers": "0-5"}, True, SettingError, "there are 3 rows: 0-2"),
        ({"psi": float("nan")}, True, SettingError, "psi must be a finite number"),
    ],
)
def test_says_what_cannot_be(planted, settings, supervised, error, message):
    with pytest.raises(error, match=message):
        discover("boundary", planted, supervision=Factors() if supervised else None, **{"n": 30, **settings})


def test_layers_and_truncation_need_a_w(plain):
    with pytest.raises(SettingError, match=r"this generator has no w\+; leave layers out"):
        Boundary(space="z", n=30, layers="0").discover(plain, supervision=Factors())
    with pytest.raises(SettingError, match="tiny-plain has no space 'w' to truncate in"):
        Boundary(space="z", n=30, psi=0.7).discover(plain, supervision=Factors())
