"""The renderer gives what `render` gives, for less; a preview gives it smaller; `stop` gives nothing."""

import pytest
import torch
from test_render import Brighter, Damp, Scale, direction, weight

from steerable.edit import Masked, Noise
from steerable.errors import SettingError
from steerable.lending import Stopped
from steerable.render import render
from steerable.renderer import Renderer


class Counting:
    """Counts the layers that a generator runs."""

    def __init__(self, generator, monkeypatch):
        self.ran, original = [], type(generator).layer
        monkeypatch.setattr(
            type(generator), "layer", lambda g, i, *rest, **more: (self.ran.append(i), original(g, i, *rest, **more))[1]
        )


def test_the_same_pictures_as_render_whatever_changes(tiny):
    z, d = tiny.sample(1), direction(tiny)
    r = Renderer(tiny)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12] = 1
    sequence = [
        [],
        [d.at(0.5)],
        [d.at(0.5), Damp("all", 0.9)],
        [d.at(0.5), Damp("all", 0.8)],
        [d.at(0.5), Scale(weight(tiny), 1.1)],
        [d.at(0.5), Scale(weight(tiny), 1.2)],
        [Brighter(0.1)],
        [Masked(d.at(1.0), mask, "all")],
        [Masked(d.at(2.0), mask, "all")],
        [Masked(d.at(2.0), mask)],
        [Noise("none")],
        [],
    ]
    for edits in sequence:
        assert torch.equal(r(z, edits), render(tiny, z, edits)), edits


@pytest.mark.parametrize(("layers", "first"), [("2", 3), ("1", 1)])
def test_a_change_of_late_styles_costs_only_late_layers(style, monkeypatch, layers, first):
    z, d = style.sample(1), direction(style, "w")
    r = Renderer(style)
    r(z, [d.at(0.5, layers=layers)])
    r(z, [d.at(0.7, layers=layers)])
    counted = Counting(style, monkeypatch)
    got = r(z, [d.at(0.9, layers=layers)])
    # The head of a block shares its row with the next block, so it is the first to change.
    assert counted.ran
    assert min(counted.ran) <= first
    assert len(counted.ran) < len(style.layers)
    counted.ran.clear()
    assert torch.equal(got, render(style, z, [d.at(0.9, layers=layers)]))


def test_nothing_changed_costs_next_to_nothing(style, monkeypatch):
    z = style.sample(1)
    r = Renderer(style)
    first = r(z)
    r(z)
    counted = Counting(style, monkeypatch)
    assert torch.equal(r(z), first)
    assert len(counted.ran) <= 2


def test_without_memory_it_is_still_right(style):
    z, d = style.sample(2), direction(style, "w")
    r = Renderer(style, memory_mb=0)
    for t in (0.0, 0.5, 1.0):
        assert torch.equal(r(z, [d.at(t, layers="2")]), render(style, z, [d.at(t, layers="2")]))


def test_a_preview_has_the_size_asked_for_and_obeys_pixels_too(tiny):
    z, d = tiny.sample(1), direction(tiny)
    r = Renderer(tiny)
    for size in (4, 8, 12, 16, 64):
        assert r(z, [d.at(1)], size=size).shape[-1] == min(size, 16)
    torch.testing.assert_close(r(z, [Brighter(0.5)], size=8), r(z, size=8) + 0.5)
    with pytest.raises(SettingError, match="size is a number of px; got 0"):
        r(z, size=0)


def test_it_can_be_stopped_and_goes_on_afterwards(tiny):
    z = tiny.sample(1)
    r = Renderer(tiny)
    calls = iter([False, True])
    with pytest.raises(Stopped, match="the rendering was stopped"):
        r(z, stop=lambda: next(calls))
    assert torch.equal(r(z), render(tiny, z))


def test_threads_are_put_back(style):
    before = torch.get_num_threads()
    Renderer(style, threads=2)(style.sample(1))
    assert torch.get_num_threads() == before
