"""What all tests share: one thread, a cache of their own, and generators without downloads."""

import pytest
import torch

from steerable.errors import SourceError
from steerable.generators.tiny import TinyPlain, TinyStyle

torch.set_num_threads(1)

TINY = {"tiny-style": TinyStyle, "tiny-plain": TinyPlain, "tiny-class": lambda: TinyPlain(classes=3)}


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(request, monkeypatch, cache_folder):
    """Tests write to a cache of their own, except those that need downloaded weights."""
    if request.node.get_closest_marker("weights") is None:
        monkeypatch.setenv("STEERABLE_CACHE", str(cache_folder))


def pytest_runtest_setup(item):
    """@pytest.mark.weights("ffhq-1024"): fetch these, or skip with the reason why they cannot be had."""
    marker = item.get_closest_marker("weights")
    for name in marker.args if marker else ():
        from steerable import catalogue

        try:
            catalogue.fetch(name)
        except SourceError as error:
            pytest.skip(str(error))


@pytest.fixture(params=sorted(TINY))
def tiny(request):
    """Each of the tiny generators in turn."""
    return TINY[request.param]()


@pytest.fixture
def style():
    return TinyStyle()


@pytest.fixture
def plain():
    return TinyPlain()
