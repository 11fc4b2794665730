"""Labeled sets: remembered, resumed after an interruption, shared between processes, read on previews where that is allowed."""

import os

import pytest
import torch
from together import two

from planted import Factors, Listening, Planted
from steerable import artifact
from steerable.discover import Boundary, GANSpace
from steerable.edit import Truncate
from steerable.errors import SettingError
from steerable.generators.mobilestylegan import Config, untrained
from steerable.record import tree_equal
from steerable.render import render
from steerable.score import Scorer, Table
from steerable.score import labels as labels_module
from steerable.score.labels import batches, drawing, label


@pytest.fixture
def planted():
    return Planted()


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path / "cache"))


def test_scores_belong_to_the_pictures_of_the_seeds(planted):
    labels = label(planted, Factors(), 40, seed=5, psi=0.7)
    pictures = render(planted, planted.sample(40, seed=5), [Truncate(0.7)])
    assert torch.allclose(labels.scores, Factors()(pictures), atol=1e-5)
    assert torch.equal(labels.latents.values, planted.sample(40, seed=5).values)
    assert labels.seeds.tolist() == list(range(5, 45))
    truncated = planted.truncate(planted.lift(planted.sample(40, seed=5), "w"), 0.7)
    assert torch.equal(labels.codes(planted, "w"), truncated.values)
    assert torch.equal(labels.codes(planted, "z"), labels.latents.values)
    assert torch.equal(labels.codes(planted, "s"), planted.lift(truncated, "s").values)


def test_a_second_look_renders_nothing_and_a_longer_one_only_the_rest(planted):
    scorer = Factors()
    first = label(planted, scorer, 70, seed=0)
    assert scorer.seen == 70
    assert tree_equal(label(planted, scorer, 70, seed=0), first)
    assert scorer.seen == 70
    longer = label(planted, scorer, 100, seed=0)
    assert scorer.seen == 70 + 36  # two blocks of 32 were whole
    assert torch.equal(longer.scores[:70], first.scores)


@pytest.mark.parametrize("change", [{"psi": 0.9}, {"seed": 1}, {"scorer": "another"}, {"generator": "lent"}])
def test_what_would_change_the_scores_is_not_taken_from_the_cache(planted, change):
    scorer = Factors(name=change.get("scorer", "factors"))
    label(planted, Factors(), 8, seed=0)
    lent = planted.lent({"mean": planted.net.mean + 1}) if "generator" in change else planted
    labels = label(lent, scorer, 8, seed=change.get("seed", 0), psi=change.get("psi", 1.0))
    assert scorer.seen == 8
    assert len(labels) == 8


def test_an_interrupted_run_goes_on_where_it_stopped(planted):
    scorer = Factors(noise=0.5)
    with pytest.raises(KeyboardInterrupt):
        label(planted, scorer, 100, seed=0, progress=Listening(stops_after=2))
    assert scorer.seen == 64
    resumed = label(planted, scorer, 100, seed=0)
    assert scorer.seen == 100
    whole = Factors(noise=0.5)
    os.environ["STEERABLE_CACHE"] += "-other"
    assert tree_equal(label(planted, whole, 100, seed=0), resumed)
    assert whole.seen == 100


def test_pictures_are_rendered_a_few_at_a_time(planted):
    assert [s.stop - s.start for s in batches(planted, 100, None)] == [100]
    wide = Planted()
    wide.layers = (*wide.layers[:-1], type(wide.layers[-1])("big", (512, 1024), 3, 2))
    assert [s.stop - s.start for s in batches(wide, 5)] == [2, 2, 1]
    assert [s.stop - s.start for s in batches(wide, 50, 128)] == [32, 18]


def test_previews_are_read_only_by_scorers_that_vouch_for_them(planted):
    class Small(Factors):
        preview = 8

        def read(self, images):
            sizes.add(images.shape[-1])
            return super().read(torch.nn.functional.interpolate(images, 16))

    sizes, listening = set(), Listening()
    assert label(planted, Factors(), 4, size=8, progress=listening).size is None
    assert listening.told == ["factors 0.0 inf was not shown to read previews, so full pictures are scored"]
    assert label(planted, Small(name="small"), 4, size=8, progress=listening).size == 8
    assert sizes == {8}
    assert label(planted, Small(name="small"), 4, size=4, progress=listening).size == 8
    assert listening.told[1] == "small 0.0 inf reads previews from 8 px, not 4"
    assert label(planted, Small(name="small"), 4, size=16).size is None
    assert label(planted, Small(name="small"), 4).size is None
    assert sizes == {8, 16}


def test_previews_are_drawn_in_bfloat16_where_the_processor_is_made_for_it(monkeypatch):
    g = untrained(Config(d=8, widths=(8, 8, 8, 8, 8, 8, 4)))
    monkeypatch.setattr(labels_module, "native", lambda device: False)
    assert drawing(g, 16) is g
    exact = label(g, Brightness(), 6, size=64)
    monkeypatch.setattr(labels_module, "native", lambda device: True)
    assert drawing(g, None) is g
    assert drawing(g, 16).net.layers[-1].weight.dtype is torch.bfloat16
    quick = label(g, Brightness(), 6, size=64)  # not the cached ones
    assert not torch.equal(quick.scores, exact.scores)
    assert torch.allclose(quick.scores, exact.scores, rtol=0.05)


class Brightness(Scorer):
    name, version, names, units, previews = "mean", 1, ("mean",), ("",), (64,)

    def read(self, images):
        return images.mean((1, 2, 3))[:, None]


def test_a_table_labels_its_own_seeds(planted, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("seed,age,hat\n9,30,1\n4,20,\n")
    listening = Listening()
    labels = label(planted, Table(file), 700, psi=0.5, progress=listening)
    assert labels.seeds.tolist() == [9, 4]
    assert torch.equal(labels.latents.values, planted.sample(seeds=[9, 4]).values)
    assert labels.scores[:, 0].tolist() == [30, 20]
    assert labels.scores[1, 1].isnan()
    assert listening.told == ["t.csv labels 2 samples, fewer than n=700"]
    assert labels.spread() == {"age": pytest.approx(7.0711, abs=1e-4)}


def test_a_labeled_set_is_saved_and_read(planted, tmp_path):
    labels = label(planted, Factors(blind=0.0), 40)
    assert labels.scores.isnan().any()
    read = artifact.load(artifact.save(labels, tmp_path / "labels.safetensors", generator=planted))
    bits = lambda t: t.scores.view(torch.int32)
    assert torch.equal(bits(read), bits(labels))
    assert torch.equal(read.codes(planted, "w"), labels.codes(planted, "w"))
    assert (read.names, read.psi, read.scorer) == (labels.names, labels.psi, labels.scorer)


def test_a_set_is_of_one_picture_at_least(planted):
    with pytest.raises(SettingError, match="a labeled set has at least one picture; got n=0"):
        label(planted, Factors(), 0)


def work(folder, name):
    os.environ["STEERABLE_CACHE"] = str(folder / f"cache-{name}")
    planted = Planted()
    paths = GANSpace(k=3, n=5000).discover(planted)
    artifact.save(paths, folder / f"pc-{name}.safetensors")
    artifact.save(GANSpace(k=2, n=2100, layer="row1").discover(planted), folder / f"layer-{name}.safetensors")
    boundaries = Boundary(n=100, psi=0.8).discover(planted, supervision=Factors(noise=0.5))
    artifact.save(boundaries, folder / f"boundary-{name}.safetensors")


def test_two_processes_find_what_one_finds(tmp_path):
    work(tmp_path, "alone")
    two(work, tmp_path)
    read = lambda what, name: artifact.load(tmp_path / f"{what}-{name}.safetensors")
    for what in ("pc", "layer", "boundary"):
        alone = read(what, "alone")
        assert tree_equal(read(what, 0), read(what, 1))
        assert torch.allclose(read(what, 0).vectors, alone.vectors, atol=1e-6 if what == "boundary" else 2e-5)
    made = [len(list((tmp_path / f"cache-{name}" / "derived" / "scores").iterdir())) for name in ("alone", 0, 1)]
    assert made == [4, 2, 2]
