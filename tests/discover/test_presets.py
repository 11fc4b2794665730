"""Settings that suit a generator."""

import pytest

from steerable.discover import DISCOVERERS, discover, presets
from steerable.generators import FAMILIES, TINY, names
from steerable.generators.heads import VARIANTS


def rows():
    return [(who, method, told) for who, row in presets._read().items() for method, told in row.items()]


@pytest.mark.parametrize(("who", "method", "told"), rows(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_row_is_of_a_known_generator_and_makes_a_method(who, method, told):
    assert who in {*names(), *FAMILIES, *VARIANTS, *TINY, "heads"}
    made = DISCOVERERS[method].with_settings(told)
    assert {name: getattr(made, name) for name in told} == told


def test_a_preset_fills_what_is_not_given(style, monkeypatch):
    monkeypatch.setattr(
        presets, "_read", lambda: {"tiny": {"sefa": {"k": 2, "space": "w"}}, "tiny-style": {"sefa": {"k": 3}}}
    )
    assert len(discover("sefa", style, preset=True)) == 3
    assert len(discover("sefa", style, preset=True, k=1)) == 1
    assert len(discover("sefa", style, k=4)) == 4
    assert presets.preset("ganspace", style) == {}
