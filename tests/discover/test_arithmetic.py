"""Latent arithmetic and the controls: means of codes against planted truth, and what permuted labels and duplicates give."""

import pytest
import torch
from judged import Smooth, changes

from planted import FACTORS, Factors, Planted, cosine
from steerable.discover import Arithmetic, Boundary, Duplicated, Permuted
from steerable.errors import MethodFailed, SettingError, UnknownName
from steerable.score import Scorer, Table


@pytest.fixture
def planted():
    return Planted()


def test_the_difference_of_means_is_the_truth_seen_through_the_covariance(planted):
    """For normal codes E[w | score high] − E[w | score low] lies along cov·truth, not along the truth."""
    paths = Arithmetic(n=1500).discover(planted, supervision=Smooth())
    cov = planted.moments("w").cov
    assert paths.names == FACTORS
    for path in paths:
        truth = planted.truth(path.name)
        assert cosine(path.vector, cov @ truth) > 0.98
        assert cosine(path.vector, truth) < 0.92
        fit = paths.notes["fits"][path.name]
        assert (fit["with"], fit["without"]) == (750, 750)
        assert fit["cosine of halves"] > 0.95


def test_whitened_it_is_the_truth(planted):
    for path in Arithmetic(n=1500, whiten=True).discover(planted, supervision=Smooth()):
        assert cosine(path.vector, planted.truth(path.name)) > 0.96


def test_few_exemplars_are_less_stable(planted):
    few = Arithmetic(n=800, exemplars=3, learn="red").discover(planted, supervision=Smooth())
    many = Arithmetic(n=800, exemplars=200, learn="red").discover(planted, supervision=Smooth())
    assert few.notes["fits"]["red"]["with"] == 3
    assert few.notes["fits"]["red"]["cosine of halves"] < many.notes["fits"]["red"]["cosine of halves"] - 0.1


def test_the_published_one_is_the_difference_itself(planted):
    [path] = Arithmetic(n=400, learn="red").discover(planted, supervision=Smooth())
    w = planted.lift(planted.sample(400), "w").values.double()
    red = Smooth()(planted.synthesize(planted.lift(planted.sample(400), "w")))[:, 0]
    difference = w[red > red.median()].mean(0) - w[red <= red.median()].mean(0)
    edit = path.at(1, unit="published")
    moved = edit.latents(planted.lift(planted.sample(1), "w"), planted).values - w[:1].float()
    assert torch.allclose(moved[0].double(), difference, atol=1e-4)


def test_conditions_are_left_alone(planted):
    paths = Arithmetic(n=400, conditions="red").discover(planted, supervision=Smooth())
    assert abs(cosine(paths["checker"].vector, paths["red"].vector)) < 1e-6


def test_samples_picked_by_eye_need_no_scores(planted):
    [path] = Arithmetic(positive="3, 17,25", negative="4,8,99").discover(planted)
    codes = lambda seeds: planted.lift(planted.sample(seeds=seeds), "w").values.double().mean(0)
    assert cosine(path.vector, codes([3, 17, 25]) - codes([4, 8, 99])) == pytest.approx(1, abs=1e-6)
    for wrong in ({"positive": "1,2"}, {"positive": "1,x", "negative": "2"}, {"positive": "-1", "negative": "2"}):
        with pytest.raises(SettingError, match="names seeds of samples, such as 3,17,25"):
            Arithmetic(**wrong).discover(planted)


def test_ends_of_one_kind_are_an_error(planted):
    class Rare(Scorer):
        name, names, units = "rare", ("rare",), ("yes",)

        def read(self, images):
            return (torch.arange(len(images)) == 0).float()[:, None]

    with pytest.raises(MethodFailed, match="do not hold 30 of each kind"):
        Arithmetic(n=100, exemplars=30).discover(planted, supervision=Rare())


def test_permuted_labels_teach_nothing(planted):
    paths = Permuted(n=1500).discover(planted, supervision=Smooth())
    assert paths.names == tuple(f"permuted {name}" for name in FACTORS)
    learned = Boundary(n=1500).discover(planted, supervision=Smooth())
    for name in FACTORS:
        assert paths.notes["fits"][name]["held-out R2"] < 0.02
        assert learned.notes["fits"][name]["held-out R2"] > 0.99
        assert abs(cosine(paths[f"permuted {name}"].vector, planted.truth(name))) < 0.8
    assert changes(planted, [paths[0].at(1.0)])[:, 0].mean().abs() < 0.9


def test_permuted_deals_out_whole_rows_of_a_table_too(planted, tmp_path):
    scores = Factors()(planted.synthesize(planted.sample(200)))
    lines = ["seed,red,checker", *(f"{i},{row[0]},{row[3]}" for i, row in enumerate(scores.tolist()))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    table = Table(tmp_path / "labels.csv")
    one = Permuted(n=200).discover(planted, supervision=table)
    other = Permuted(n=200, seed=1).discover(planted, supervision=Smooth())
    assert one.names == ("permuted red", "permuted checker")
    assert not torch.equal(one[0].vector, other[0].vector)
    with pytest.raises(SettingError, match="permuted deals out scores; pass supervision="):
        Permuted().discover(planted)


def test_duplicated_gives_every_path_twice(planted):
    paths = Duplicated(method="sefa", k=3).discover(planted)
    assert paths.names == ("sefa-0", "sefa-1", "sefa-2", "sefa-0 again", "sefa-1 again", "sefa-2 again")
    for name in paths.names[:3]:
        assert torch.equal(paths[name].vector, paths[f"{name} again"].vector)


@pytest.mark.parametrize("control", [Permuted, Duplicated])
def test_controls_take_paths_from_other_methods_only(planted, control):
    with pytest.raises(UnknownName, match=f"no method that {control.name} can take paths from is called 'permuted'"):
        control(method="permuted", n=20).discover(planted, supervision=Smooth())
