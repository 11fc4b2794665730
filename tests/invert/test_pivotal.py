"""Pivotal tuning: weights explain what codes could not, and nothing else changes more than it must."""

from dataclasses import replace

import pytest
import torch

from steerable.edit import Noise
from steerable.errors import SettingError, UnknownName
from steerable.generators.tiny import TinyStyle
from steerable.invert import Optimize, Pivotal, Tuned, invert
from steerable.measure.fidelity import psnr
from steerable.render import render

G = TinyStyle()
PIVOT = Optimize(space="w", coordinates="plain", steps=20, lpips=0.0)
QUICK = {"pivot": PIVOT, "steps": 30, "rate": 0.02, "lpips": 0.0, "enough": 0.0}


def picture():
    """One that no code has: of two samples the left and the right half."""
    a, b = render(G, G.sample(2, seed=31))
    return torch.cat([a[..., :8], b[..., 8:]], -1)[None]


@pytest.fixture(scope="module")
def tuned():
    return Pivotal(**QUICK).invert(G, picture())


def test_weights_explain_what_codes_could_not(tuned):
    pivot = replace(tuned, edits=())
    assert psnr(render(G, tuned), picture()) > psnr(render(G, pivot), picture()) + 3
    assert torch.equal(tuned.latents.values, PIVOT.invert(G, picture()).latents.values)
    assert float(tuned.notes["loss"]) == pytest.approx(float((render(G, tuned) - picture()).square().mean()), rel=1e-3)
    assert tuned.notes["pivot"] == "optimize"


def test_only_what_draws_is_kept_in_half_precision(tuned):
    (edit,) = tuned.edits
    assert isinstance(edit, Tuned)
    assert {v.dtype for v in edit.change.values()} == {torch.float16}
    assert not any(name.startswith("mapping") or "affine" in name for name in edit.change)
    assert {name.split(".")[1] for name in edit.change if name.startswith("blocks")} == {"0", "1", "2"}
    whole = Pivotal(**QUICK | {"half": False, "steps": 2}).invert(G, picture())
    assert {v.dtype for v in whole.edits[0].change.values()} == {torch.float32}


def test_small_changes_keep_their_digits_in_half_precision():
    before = {"a": torch.full((4,), 8e-4), "b": torch.zeros(2)}
    after = {"a": before["a"] + torch.tensor([1e-7, -2e-7, 3e-8, 0.0]), "b": torch.zeros(2)}
    moved = Tuned.of_weights(before, after, half=True).weights(before)
    assert (moved["a"] - after["a"]).abs().max() < 1e-10
    assert torch.equal(moved["b"], before["b"])


def test_layers_hold_the_tuning():
    (edit,) = Pivotal(**QUICK | {"layers": "16px", "steps": 2}).invert(G, picture()).edits
    assert set(edit.change) == {"blocks.2.weight", "blocks.2.head"}


def test_locality_keeps_other_pictures():
    others = G.lift(G.sample(6, seed=70), "w")
    far = lambda inv: float((render(G, others, inv.edits) - render(G, others)).square().mean())
    told = QUICK | {"radius": 3.0, "psi": 1.0}
    free, held = Pivotal(**told).invert(G, picture()), Pivotal(**told, locality=5.0).invert(G, picture())
    assert far(held) < 0.8 * far(free)


def test_it_stops_when_it_is_enough_and_when_it_is_told():
    assert Pivotal(**QUICK | {"enough": 10.0}).invert(G, picture()).notes["steps of weights"] == 0

    class Told:
        def over(self, items, /, title, total=None):
            for i, item in enumerate(items):
                if "weights" in title and i == 5:
                    raise KeyboardInterrupt
                yield item

        def note(self, text, /):
            pass

    found = Pivotal(**QUICK).invert(G, picture(), progress=Told())
    assert found.notes["interrupted"].endswith("of 30 steps of weights")
    assert isinstance(found.edits[0], Tuned)


def test_the_pivot_may_be_any_inverter_by_name():
    told = {"steps": 2, "lpips": 0.0, "pivot_steps": 3, "space": "z"}
    found = invert("pivotal", G, picture(), pivot="creswell-bharath", **told)
    assert found.latents.space.name == "z"
    assert found.notes["pivot"] == "creswell-bharath"
    for name in ("pivotal", "nothing"):
        with pytest.raises(UnknownName, match="pivotal can take codes from"):
            invert("pivotal", G, picture(), pivot=name)


def test_edits_go_on_top_and_other_generators_are_refused(tuned):
    assert not torch.equal(render(G, tuned, [Noise("none")]), render(G, tuned))
    with pytest.raises(SettingError, match="this edit belongs to another one"):
        render(TinyStyle(widths=(8, 8, 8, 4)), tuned)
    with pytest.raises(SettingError, match="invert them one by one"):
        Pivotal(**QUICK).invert(G, picture().repeat(2, 1, 1, 1))
