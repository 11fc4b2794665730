"""Whoever watches is handed the best so far, and changes nothing by it."""

import pytest
import torch

import steerable as st
from steerable.edit import Inversion
from steerable.invert.inverter import Watching
from steerable.method import Quiet, quiet
from steerable.record import tree_equal


class Audience(Quiet):
    def __init__(self, leaves_after=None):
        self.seen, self.leaves_after = [], leaves_after

    def best(self, base, /):
        self.seen.append(base)
        if len(self.seen) == self.leaves_after:
            raise KeyboardInterrupt


@pytest.fixture
def photo(style):
    return st.render(style, style.sample(seeds=[5]))


@pytest.fixture
def look(style, photo):
    return lambda base: float((st.render(style, base) - photo).square().mean())


SEARCH = {"space": "w+", "steps": 12, "lpips": 0.0, "pixels": 1.0, "start": "mean"}


def test_the_best_so_far_gets_better(style, photo, look):
    audience = Audience()
    found = st.invert("optimize", style, photo, progress=audience, **SEARCH)
    errors = [look(base) for base in audience.seen]
    assert len(errors) == 12
    assert all(b <= a + 1e-6 for a, b in zip(errors, errors[1:], strict=False))
    assert look(found) <= errors[-1] < errors[0]
    assert tree_equal(found, st.invert("optimize", style, photo, **SEARCH))


def test_weights_are_seen_on_their_way(style, photo, look):
    audience = Audience()
    settings = {"pivot_steps": 3, "steps": 6, "lpips": 0.0, "enough": 0.0, "rate": 1e-3}
    st.invert("pivotal", style, photo, progress=audience, **settings)
    tuned = [base for base in audience.seen if isinstance(base, Inversion)]
    assert len(audience.seen) > len(tuned) > 1
    assert look(tuned[-1]) < look(tuned[0])


def test_who_leaves_early_keeps_what_was_shown(style, photo, look):
    audience = Audience(leaves_after=5)
    found = st.invert("optimize", style, photo, progress=audience, **SEARCH)
    assert "interrupted" in found.notes
    assert torch.equal(found.latents.values, audience.seen[-1].values)


def test_not_everybody_watches():
    assert isinstance(Audience(), Watching)
    assert not isinstance(quiet, Watching)
