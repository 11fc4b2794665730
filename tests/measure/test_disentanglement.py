"""The closed-form fixture: a 5 x 4 grid, codes that are the factors (A), that leak (B), that mix (C). Figures are exact."""

import math

import pytest
import torch

from steerable.errors import SettingError
from steerable.measure.disentanglement import (
    Information,
    beta_vae,
    binned,
    dci,
    dcimig,
    entropy,
    explained,
    explicitness,
    factor_vae,
    holding,
    irs,
    jemmig,
    mig,
    mig_sup,
    modularity,
    quantized,
    rmig,
    sap,
    scores,
    total_correlation,
    wsepin,
)

GRID = torch.cartesian_prod(torch.arange(5.0), torch.arange(4.0)).repeat(50, 1)
A, B = GRID.T
CODES = {"A": GRID, "B": torch.stack([A, B, A + B], 1), "C": torch.stack([A + B, A - B], 1)}
EXACT = {
    "mig": (1.0, 0.686601, 0.0),
    "mig by code": (1.0, 0.759181, 0.0),
    "mig-sup": (1.0, 0.700762, 0.102286),
    "mig-sup by code": (1.0, 0.704366, 0.113099),
    "jemmig": (0.0, 0.685475, 4.321928),
    "jemmig of 10 bins": (1.0, 0.875734, 0.211063),
    "dcimig": (1.0, 1.0, 0.074487),
    "modularity": (1.0, 0.872004, 0.616012),
    "sap": (1.0, 0.5, 0.0),
    "irs": (1.0, 0.785714, 0.571429),
    "dci-d": (1.0, 0.679588, 0.038763),
    "dci-c weighted": (1.0, 0.426076, 0.0),
    "dci-c": (1.0, 0.428656, 0.0),
}


def values(codes):
    z, v = binned(codes, None), binned(GRID, None)
    info, power = Information.of(z, v), explained(codes, GRID)
    both = dci(power)
    return {
        "mig": mig(info),
        "mig by code": mig(info, "code"),
        "mig-sup": mig_sup(info),
        "mig-sup by code": mig_sup(info, "code"),
        "jemmig": jemmig(info),
        "jemmig of 10 bins": jemmig(info, 10),
        "dcimig": dcimig(info),
        "modularity": modularity(info),
        "sap": sap(power),
        "irs": irs(codes, v, quantile=1.0),
        "dci-d": both.disentanglement,
        "dci-c weighted": both.weighted,
        "dci-c": both.completeness,
    }


@pytest.mark.parametrize("column", [0, 1, 2], ids=list(CODES))
def test_the_fixture_to_its_last_digit(column):
    found = values(list(CODES.values())[column])
    for name, exact in EXACT.items():
        assert found[name] == pytest.approx(exact[column], abs=1e-6), name


def test_information_that_is_known_in_closed_form():
    info = Information.of(binned(GRID, None), binned(GRID, None))
    assert info.mutual.diagonal().tolist() == pytest.approx([math.log(5), math.log(4)], abs=1e-12)
    assert float(info.mutual[0, 1]) == pytest.approx(0.0, abs=1e-12)
    assert entropy(binned(GRID, None)) == pytest.approx(math.log(20), abs=1e-12)


def test_wsepin_and_windin():
    """Of independent codes: entropies weighted by themselves. A code that the others tell adds nothing. Noise parts the two scores."""
    v = binned(GRID, None)
    both = (math.log(5) ** 2 + math.log(4) ** 2) / math.log(20)
    assert wsepin(v, v) == pytest.approx((both, both), abs=1e-9)
    assert wsepin(binned(CODES["B"], None), v) == pytest.approx((0.0, 0.0), abs=1e-9)
    # x = a; codes a and b of which b is noise: I(x; a) = ln 5, I(x; b) = 0
    assert wsepin(v, v[:, :1]) == pytest.approx((math.log(5), math.log(5)), abs=1e-9)
    # codes a and a + b, seen a: the second code is partly noise, and tells of the first
    z = binned(torch.stack([A, A + B], 1), None)
    separate, independent = wsepin(z, v[:, :1])
    assert separate == pytest.approx(math.log(5) * (math.log(5) - told(A + B)) / (math.log(5) + told(A + B)), abs=1e-9)
    assert independent == pytest.approx(separate, abs=1e-9)
    # the same noisy code twice: neither adds anything, and they share more than they tell
    z = binned(torch.stack([A + B, A + B], 1), None)
    separate, independent = wsepin(z, v[:, :1])
    assert separate == pytest.approx(0.0, abs=1e-9)
    assert independent == pytest.approx(told(A + B) - entropy(z[:, :1]), abs=1e-9)


def told(code):
    info = Information.of(binned(code[:, None], None), binned(A[:, None], None))
    return float(info.mutual)


def test_a_code_that_is_there_twice_takes_the_gap_away():
    twice = torch.cat([GRID, GRID], 1)
    info = Information.of(binned(twice, None), binned(GRID, None))
    assert mig(info) == pytest.approx(0.0, abs=1e-12)
    assert sap(explained(twice, GRID)) == pytest.approx(0.0, abs=1e-12)
    assert modularity(info) == pytest.approx(1.0, abs=1e-12)


def test_rmig_is_mig_in_its_own_bins():
    assert rmig(CODES["B"], binned(GRID, None)) == pytest.approx(EXACT["mig"][1], abs=1e-6)
    assert int(quantized(GRID).min()) >= 0
    assert int(quantized(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) * 9).max()) < 100


def test_scores_that_need_a_factor_held():
    z, v = CODES["A"], binned(GRID, None)
    assert factor_vae(holding(z, v), 2, groups=100) == 1.0
    assert beta_vae(holding(z, v), 2, groups=40, pairs=16) == 1.0
    mixed = CODES["C"]
    assert factor_vae(holding(mixed, v), 2, groups=100) < 0.7
    dead = torch.cat([z, 1e-4 * torch.ones(len(z), 1)], 1)
    assert factor_vae(holding(dead, v), 2, groups=100) == 1.0


def test_explicitness_is_what_a_line_can_tell():
    """Two values each: every value is separable from the codes alone, and not from noise."""
    two = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0)).repeat(100, 1)
    assert explicitness(two, binned(two, None)) == pytest.approx(1.0)
    noise = torch.randn(len(two), 2, generator=torch.Generator().manual_seed(1))
    assert abs(explicitness(noise, binned(two, None))) < 0.3
    with pytest.raises(SettingError, match="no factor has two values"):
        explicitness(two, binned(torch.zeros(len(two), 1), None))


def test_total_correlation_of_gaussians():
    draws = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rho = 0.6
    pair = torch.stack([draws[:, 0], rho * draws[:, 0] + (1 - rho**2) ** 0.5 * draws[:, 1]], 1)
    assert total_correlation(pair) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=5e-3)


def test_what_cannot_be():
    with pytest.raises(SettingError, match="not negative"):
        dci(torch.tensor([[1.0, -1.0]]))
    with pytest.raises(SettingError, match="two or more"):
        modularity(Information.of(binned(GRID, None), binned(GRID[:, :1], None)))
    assert dci(torch.zeros(2, 2)).disentanglement == 0.0


def test_all_at_once_on_noise_and_on_the_factors():
    source = torch.Generator().manual_seed(0)
    factors = torch.rand(4000, 3, generator=source)
    right, wrong = scores(factors, factors), scores(torch.rand(4000, 3, generator=source), factors)
    for name in ("DCI-D", "DCI-C", "MIG", "SAP", "modularity", "DCIMIG"):
        assert right[name] > 0.9, name
        assert wrong[name] < right[name], name
    assert wrong["MIG"] < 0.02
    assert wrong["SAP"] < 0.01
