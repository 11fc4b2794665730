"""What a session means, without a browser: the same calls that a person would write."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

import steerable as st
from steerable.lending import Stopped
from steerable.studio import script
from steerable.studio.pictures import Easel, Opened
from steerable.studio.session import Session, Slider, meaning
from steerable.studio.shelf import Shelf
from steerable.studio.worker import FULL, LATER, LIVE, Worker


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


@pytest.fixture
def found(style):
    paths = st.discover("random", style, space="w", k=3)
    return paths.renamed({n: f"p{i}" for i, n in enumerate(paths.names)})


@pytest.fixture
def session(style, shelf, found):
    id = shelf.keep("paths", found, style)
    sliders = tuple(Slider(id=f"s{i}", bundle=id, index=i, name=f"p{i}") for i in range(3))
    return Session(generator="tiny-style", seed=4, sliders=sliders)


def at(session, index, **change):
    sliders = [s.model_copy(update=change) if i == index else s for i, s in enumerate(session.sliders)]
    return session.model_copy(update={"sliders": tuple(sliders)})


def picture(session, generator, shelf, plain=False):
    meant = meaning(session, generator, shelf)
    return st.render(generator, meant.base, meant.edits(plain))


def test_a_session_is_a_base_and_edits(style, shelf, found, session):
    first = [st.Truncate(0.7)]
    z = style.sample(seeds=[4])
    assert torch.equal(picture(session, style, shelf), st.render(style, z, first))
    moved = at(at(session, 0, t=1.5), 1, t=-2.0, layers="0-1")
    expected = st.render(style, z, [*first, found[0].at(1.5), found[1].at(-2.0, "0-1")])
    assert torch.equal(picture(moved, style, shelf), expected)
    assert torch.equal(picture(moved, style, shelf, plain=True), st.render(style, z, first))
    assert torch.equal(
        picture(at(moved, 0, hidden=True), style, shelf), st.render(style, z, [*first, found[1].at(-2.0, "0-1")])
    )


def test_turned_and_cleaned(style, shelf, found, session):
    turned = at(session, 0, t=-1.0, flip=True)
    assert torch.allclose(picture(turned, style, shelf), picture(at(session, 0, t=1.0), style, shelf), atol=1e-6)
    kept = at(session, 0, t=1.0, keep=("s1", "s2"))
    clean = found[0].without(found[1], found[2])
    expected = st.render(style, style.sample(seeds=[4]), [st.Truncate(0.7), clean.at(1.0)])
    assert torch.allclose(picture(kept, style, shelf), expected, atol=1e-5)
    easel = Easel(Opened(style, style), shelf)
    assert easel.left(kept)["s0"] == pytest.approx(float((clean.vector * found[0].vector).sum()), abs=1e-5)
    assert easel.left(session) == {}


def test_blends_reach_the_other_sample(style, shelf, session):
    whole = Session.model_validate({**session.model_dump(), "blend": [{"seed": 9, "share": 1.0}]})
    assert torch.allclose(
        picture(whole, style, shelf), picture(session.model_copy(update={"seed": 9}), style, shelf), atol=1e-4
    )


def test_sliders_under_a_mask_act_together_and_nowhere_else(style, shelf, session, tmp_path):
    from PIL import Image

    painted = Image.new("L", (16, 16), 0)
    painted.paste(255, (0, 0, 16, 8))
    painted.save(tmp_path / "m.png")
    mask = shelf.keep_mask((tmp_path / "m.png").read_bytes())
    moved = at(at(session, 0, t=2.0), 1, t=1.0)
    local = Session.model_validate({**moved.model_dump(), "local": {"mask": mask}})
    plain, all_over, held = (picture(s, style, shelf) for s in (session, moved, local))
    assert torch.allclose(held[..., 8:, :], plain[..., 8:, :], atol=1e-5)
    assert torch.allclose(held[..., :8, :], all_over[..., :8, :], atol=1e-4)
    easel = Easel(Opened(style, style), shelf)
    assert easel.preview(local, 8, plain=False).width == 8
    told = easel.leak(local, lambda: False)
    assert told["share"] < 1e-4
    features = Session.model_validate({**moved.model_dump(), "local": {"mask": mask, "layers": "all"}})
    assert easel.leak(features, lambda: False)["share"] > told["share"]


def test_generators_of_every_shape(tiny, shelf):
    space = "w" if any(s.name == "w" for s in tiny.spaces) else "z"
    id = shelf.keep("paths", st.discover("random", tiny, space=space, k=1), tiny)
    slider = Slider(id="a", bundle=id, index=0, name="a", t=1.0)
    label = 1 if "label" in tiny.inputs else None
    s = Session(generator=tiny.name, sliders=(slider,), label=label)
    easel = Easel(Opened(tiny, tiny), shelf)
    assert easel.preview(s, 8, plain=False).width == 8
    assert easel.full(s, plain=False).width == tiny.size[1]
    assert easel.full(s, plain=False).key != easel.full(s, plain=True).key
    assert len(easel.strip(s, "a", 7, 16, lambda: False)) == 7
    assert len(easel.gallery((0, 1), 0.7, label, 16, lambda: False)) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"psi": float("nan")}, {"seed": -1}, {"sliders": [{"id": "../x", "bundle": "0" * 16, "index": 0, "name": "x"}]},
     {"sliders": [{"id": "a", "bundle": "../../etc/passwd", "index": 0, "name": "x"}]}, {"other": 1},
     {"sliders": [{"id": "a", "bundle": "0" * 16, "index": 0, "name": "x", "t": float("inf")}]}, {"photo": "x"}],
)  # fmt: skip
def test_a_session_that_is_not_well_formed_is_refused(wrong):
    with pytest.raises(ValidationError):
        Session.model_validate({"generator": "tiny-style", **wrong})


def test_lines_to_copy_make_the_same_picture(style, shelf, found, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = "x'); import os; os.abort() #"
    s = at(at(session, 0, t=1.25, name=evil), 2, t=-0.5)
    s = Session.model_validate({**s.model_dump(), "blend": [{"seed": 2, "share": 0.3}]})
    easel = Easel(Opened(style, style), shelf)
    st.save(st.Paths(tuple(easel.paths(s))), "directions.safetensors", generator=style)
    scope = {}
    exec(script.python(s), scope)
    assert torch.equal(scope["x"], picture(s, style, shelf))
    assert "no word for blends" in script.command(s)
    mixed = Session.model_validate({**session.model_dump(), "mix": {"seed": 3, "layers": "coarse"}, "psi": 0.5})
    exec(script.python(mixed), scope)
    assert torch.equal(scope["x"], picture(mixed, style, shelf))


def test_what_a_shelf_holds_goes_by_its_content(style, shelf, found):
    a, b = shelf.keep("paths", found, style), shelf.keep("paths", found, style)
    assert a == b
    assert shelf.paths(a, style).names == found.names
    other = shelf.keep("paths", replace(found, items=found.items[:1]), style)
    assert other != a
    assert json.dumps(found.names)


# -- the worker ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


def test_urgent_work_goes_first_and_stops_what_is_not(worker):
    order, begun, go = [], threading.Event(), threading.Event()

    def slow(stop):
        order.append("slow begins")
        begun.set()
        go.wait(30)
        if stop():
            raise Stopped("gave way")
        order.append("slow ends")
        return "done"

    later = worker.submit(LATER, slow)
    assert begun.wait(30)
    full = worker.submit(FULL, lambda stop: order.append("full"))
    live = worker.submit(LIVE, lambda stop: order.append("live"))
    go.set()
    assert later.result(30) == "done"
    assert full.done()
    assert live.done()
    assert order == ["slow begins", "live", "full", "slow begins", "slow ends"]


def test_stale_work_is_not_done_and_a_crash_passes(worker):
    gate, done = threading.Event(), []
    worker.submit(LIVE, lambda stop: gate.wait(30))
    stale = worker.submit(LATER, lambda stop: done.append(1), stale=lambda: True)
    crash = worker.submit(LATER, lambda stop: 1 / 0)
    gate.set()
    assert isinstance(stale.exception(30), Stopped)
    assert isinstance(crash.exception(30), ZeroDivisionError)
    assert not done
    assert worker.submit(LIVE, lambda stop: 7).result(30) == 7
