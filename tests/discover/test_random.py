"""The control: where random directions point."""

import pytest
import torch

import steerable as st
from planted import Planted
from steerable.errors import SettingError


def test_evenly_drawn_directions_know_nothing_and_those_of_codes_know_where_codes_lie():
    planted = Planted()
    wide = planted.net.axes[:, 0]  # codes vary most along the first axis: 2 against 0.3
    shares = {}
    for drawn in ("evenly", "codes"):
        paths = st.discover("random", planted, space="w", k=200, drawn=drawn)
        vectors = torch.stack([p.vector for p in paths])
        assert torch.allclose(vectors.norm(dim=1), torch.ones(200), atol=1e-5)
        shares[drawn] = float((vectors @ wide).square().mean())
    cov = planted.moments("w").cov
    assert shares["evenly"] == pytest.approx(1 / 12, rel=0.3)
    assert shares["codes"] == pytest.approx(float(wide.double() @ cov @ wide.double() / cov.trace()), rel=0.3)
    with pytest.raises(SettingError, match="drawn is one of evenly, codes"):
        st.discover("random", planted, drawn="well")


def test_the_same_seed_draws_the_same(tiny):
    space = tiny.spaces[-1].name
    for drawn in ("evenly", "codes"):
        a, b, c = (st.discover("random", tiny, space=space, k=2, seed=s, drawn=drawn) for s in (3, 3, 4))
        assert all(torch.equal(p.vector, q.vector) for p, q in zip(a, b, strict=True))
        assert not torch.equal(a[0].vector, c[0].vector)
