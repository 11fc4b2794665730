"""StyleCLIP's global directions: relevance against planted truth, words to channels, and a real (random, tiny) CLIP."""

import sys

import pytest
import torch
from judged import Smooth

import tinyclip
from planted import FACTORS, STYLES, Listening, Planted
from steerable import cache
from steerable.discover import StyleCLIP
from steerable.discover.styleclip import Clip
from steerable.errors import MethodFailed, SettingError
from steerable.generators.tiny import TinyStyle
from steerable.render import render


class Told(Clip):
    """Embeds pictures by their factors, and phrases by the factor that they name."""

    def __init__(self):
        self.width, self.seen = 5, 0

    @property
    def key(self):
        return "told"

    def pictures(self, images):
        self.seen += len(images)
        return torch.nn.functional.normalize(torch.cat([Smooth()(images), torch.ones(len(images), 1)], 1))

    def phrase(self, text):
        at = FACTORS.index(text) if text in FACTORS else 4
        return torch.nn.functional.normalize(torch.nn.functional.one_hot(torch.tensor(at), 5).float(), dim=0)


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def told(monkeypatch):
    clip = Told()
    monkeypatch.setattr(sys.modules[StyleCLIP.__module__], "Clip", lambda folder, device: clip)
    return clip


@pytest.fixture
def planted():
    return Planted()


def test_a_channel_is_relevant_to_what_it_changes(planted, told):
    method = StyleCLIP(n=8, codes=2000)
    mean, std = method.population(planted)
    R = method.relevance(planted, told, mean, std, method.allowed(planted), Listening())
    used = {next(c for c, (_, _, f) in enumerate(STYLES) if f == factor): factor for factor in range(4)}
    for column, row in enumerate(R):
        if column in used:
            assert row[:4].abs().argmax() == used[column]
            assert row.norm() == pytest.approx(1, abs=1e-5)
        else:
            assert row.abs().max() < 1e-5  # the planted picture does not use it
    assert told.seen == 2 * 8 * len(STYLES)


def test_words_move_what_they_name(planted, told):
    paths = StyleCLIP(n=8, codes=2000, target="red; checker", neutral="anything", beta=0.3).discover(planted)
    assert paths.names == ("red", "checker")
    s = planted.lift(planted.sample(32, seed=800), "s")
    for path, factor in zip(paths, (0, 3), strict=True):
        change = (Smooth()(render(planted, s, [path.at(1.0)])) - Smooth()(render(planted, s))).mean(0)
        assert change[factor] > 0
        assert change.abs().argmax() == factor
        assert paths.notes["phrases"][path.name]["channels"] == 1
        _, std = StyleCLIP(n=8, codes=2000).population(planted)
        column = int(path.vector.abs().argmax())
        far = path.at(1, unit="published").latents(s, planted).values - s.values
        assert far[0, column] == pytest.approx(
            float(std[column]), rel=1e-3
        )  # α = 1: one σ of the most relevant channel


def test_relevance_is_remembered_layer_by_layer(planted, told):
    method = StyleCLIP(n=2, codes=200, target="red", neutral="anything")
    stopped = Listening(stops_after=1)
    with pytest.raises(KeyboardInterrupt):
        method.discover(planted, progress=stopped)
    first, told.seen = told.seen, 0
    method.discover(planted)
    assert told.seen == 2 * 2 * len(STYLES) - first
    told.seen = 0
    method.discover(planted)
    assert told.seen == 0


def test_what_no_channel_says_is_an_error(planted, told):
    with pytest.raises(MethodFailed, match="no channel is relevant to 'red' .*; lower beta, which is 2"):
        StyleCLIP(n=2, codes=200, target="red", neutral="anything", beta=2).discover(planted)
    with pytest.raises(SettingError, match="needs a target phrase and a neutral one"):
        StyleCLIP(target=" ; ").discover(planted)
    with pytest.raises(SettingError, match="up to 4 px hold no channel"):
        StyleCLIP(target="red", layers="1-2", largest=4, codes=200).discover(planted)


def test_heads_and_large_layers_are_left_alone():
    generator = TinyStyle()
    allowed = StyleCLIP(largest=8).allowed(generator)
    for layer in generator.layers:
        assert bool(allowed[layer.style].all()) == (not layer.head and layer.size[0] <= 8)
        assert bool(allowed[layer.style].any()) == (not layer.head and layer.size[0] <= 8)


def test_a_folder_without_a_checkpoint(planted, tmp_path):
    with pytest.raises(SettingError, match="clip='' is no folder; give one with a CLIP checkpoint"):
        StyleCLIP().discover(planted)
    pytest.importorskip("transformers", reason="the extra `clip` (transformers) is not installed")
    with pytest.raises(SettingError, match="holds no CLIP checkpoint"):
        StyleCLIP(clip=str(tmp_path)).discover(planted)


def test_a_tiny_clip_reads_pictures_and_phrases():
    clip = Clip(tinyclip.made(cache.root() / "clip"), torch.device("cpu"))
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen, said = clip.pictures(images), clip.phrase("a smiling face")
    assert seen.shape == (3, clip.width)
    assert said.shape == (clip.width,)
    assert torch.allclose(seen.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(said.norm(), torch.ones(()), atol=1e-5)
    assert not torch.allclose(said, clip.phrase("a face"))
    assert torch.equal(said, clip.phrase("a smiling face"))
    # as the model's own doors have it: one template, pixels as its documentation scales them
    tokens = clip.tokenizer(["a photo of red"], return_tensors="pt")
    whole = clip.model(**tokens, pixel_values=torch.zeros(1, 3, 16, 16))
    gray = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None].expand(1, 3, 16, 16) * 2 - 1
    assert torch.allclose(whole.image_embeds, clip.pictures(gray), atol=1e-4)
