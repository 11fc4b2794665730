"""Differential subspace search: what is asked, what is told, and where a simulated user gets."""

import pytest
import torch
from judged import Blind, Smooth

from planted import Listening, Planted, cosine
from steerable import artifact
from steerable.discover import Search, SubspaceSearch
from steerable.discover.subspace import chooser
from steerable.errors import MethodFailed, SettingError
from steerable.generators import load
from steerable.generators.tiny import TinyPlain, TinyStyle
from steerable.record import tree_equal
from steerable.render import render
from steerable.renderer import fitted
from steerable.score import Table, score


@pytest.fixture(scope="module")
def planted():
    return Planted()


def begun(generator, **more):
    return Search.begin(generator.sample(1, seed=7), generator, size=16, **more)


def test_a_simulated_user_gets_what_is_wanted(planted):
    scorer = Smooth()["red"]
    choose, search = chooser(planted, scorer), begun(planted, patience=12)
    scores = [float(scorer(render(planted, search.latents)))]
    while not search.done and len(search.choices) < 40:
        slider = search.ask(planted)
        t, said = choose(search, slider)
        search = search.tell(slider, t)
        scores.append(float(scorer(render(planted, search.latents))))
        assert scores[-1] == pytest.approx(float(said), abs=1e-4)
    spread = float(scorer(render(planted, planted.sample(500))).std())
    assert all(b >= a - 1e-5 for a, b in zip(scores, scores[1:], strict=False))
    assert scores[-1] - scores[0] > 1.5 * spread
    path = search.path(planted, "redder")
    assert cosine(path.vector, typical(planted, "red")) > 0.5
    there = render(planted, search.began, [path.at(1, unit="published")])
    assert torch.allclose(there, render(planted, search.latents), atol=1e-4)


def typical(planted, factor):
    """The way in w that is typical of the factor: of all that change it as much, the one the codes themselves go furthest along."""
    return planted.moments("w").cov @ planted.truth(factor)


def test_ways_are_drawn_by_how_much_they_change(planted):
    """Of four factors in twelve directions, singular vectors span the four ways to change one of them that codes are typical along."""
    drawn = [begun(planted, seed=s, axes=12).ask(planted) for s in range(24)]
    ways = torch.stack([typical(planted, name) for name in ("red", "left-right", "top-bottom", "checker")])
    Q = torch.linalg.qr(ways.T).Q
    for slider in drawn:
        v = slider.vector.double()
        assert float((Q.T @ v).norm()) == pytest.approx(1, abs=1e-3)
    assert len({slider.about for slider in drawn}) == 4


def test_what_is_beyond_the_first_axes_can_still_come_up(planted):
    abouts = [begun(planted, seed=s, axes=2).ask(planted).about for s in range(16)]
    assert {"axis 0 of 2", "axis 1 of 2", "across the first 2 axes"} == set(abouts)
    assert abouts.count("across the first 2 axes") < 8


@pytest.mark.parametrize("space", ["w", "s"])
def test_sliders_of_a_net_with_a_crowded_w_reach_changes_that_are_seen(space):
    """Nearly all of what this generator's w can vary lies in a sixth of its entries."""
    g = load("heads-64", device="cpu")
    search, changes = Search.begin(g.sample(seeds=[3]), g, space=space, axes=8, size=32), []
    for turn in range(3):
        slider = search.ask(g)
        before, after = (fitted(render(g, search.latents, [slider.at(t)]), 64) for t in (0.0, slider.range[turn % 2]))
        changes.append(float((after - before).square().mean().sqrt()))
        search = search.tell(slider, slider.range[turn % 2] / 2)
    assert min(changes) > 0.05
    assert max(changes) > 0.12


def test_sliders_end_where_it_says(planted):
    search = begun(planted, visible=0.1)
    slider = search.ask(planted)
    _, high = slider.range
    before, after = (render(planted, search.latents, [slider.at(t)]) for t in (0.0, high))
    assert float((after - before).square().mean().sqrt()) == pytest.approx(0.1, rel=0.02)  # this generator is linear
    far = begun(planted, visible=100.0, reach=2.0).ask(planted)
    assert max(far.range) <= 2.0


def test_sliders_go_to_both_sides_from_anywhere(planted):
    far = planted.lift(planted.sample(1), "w").moved(torch.full((1, 12), 20.0))
    for seed in range(6):
        low, high = Search.begin(far, planted, size=16, seed=seed).ask(planted).range
        assert low < -0.1
        assert high > 0.1


def test_a_search_is_kept_and_gone_on_with(planted, tmp_path):
    search = begun(planted)
    slider = search.ask(planted)
    search = search.tell(slider, slider.range[1] / 2)
    file = artifact.save(search, tmp_path / "search.safetensors", generator=planted)
    again = artifact.load(file)
    assert tree_equal(again, search)
    assert tree_equal(again.ask(planted), search.ask(planted))
    assert again.choices == (slider.range[1] / 2,)


def test_it_ends_when_nobody_moves_the_slider(planted):
    search = begun(planted, patience=2)
    assert not search.done
    for _ in range(2):
        search = search.tell(search.ask(planted), 0.0)
    assert search.done
    with pytest.raises(SettingError, match="so it points nowhere"):
        search.path(planted)


def test_what_cannot_be_told(planted):
    search = begun(planted)
    slider = search.ask(planted)
    with pytest.raises(SettingError, match="the slider goes from"):
        search.tell(slider, 99.0)
    with pytest.raises(SettingError, match="'slider-0' is not the slider in hand; ask for the next one"):
        search.tell(slider, 0.1).tell(slider, 0.1)
    with pytest.raises(SettingError, match="a search begins with one sample; got 2"):
        Search.begin(planted.sample(2), planted)


def test_the_method_searches_for_each_score(planted, tmp_path):
    paths = SubspaceSearch(rounds=6, size=16, starts=2, learn="red").discover(planted, supervision=Blind())
    assert paths.names == ("red 0", "red 1")
    (tmp_path / "t.csv").write_text("seed,red\n0,1\n")
    with pytest.raises(SettingError, match="asks somebody what is better"):
        SubspaceSearch().discover(planted, supervision=Table(tmp_path / "t.csv"))
    listening = Listening()
    with pytest.raises(MethodFailed, match="found nothing better on any slider"):
        SubspaceSearch(rounds=2, size=16).discover(planted, supervision=score(constant), progress=listening)
    assert listening.told == ["no slider made 'score' any better; it is left out"]


def constant(images):
    return torch.zeros(len(images))


@pytest.mark.parametrize(("generator", "space"), [(TinyPlain(), "z"), (TinyStyle(), "w+"), (TinyStyle(), "s")])
def test_in_every_space(generator, space):
    search = Search.begin(generator.sample(1), generator, space=space, size=16)
    slider = search.ask(generator)
    assert slider.space.name == space
    assert search.tell(slider, slider.range[0]).latents.space.name == space
