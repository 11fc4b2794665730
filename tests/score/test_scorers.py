import pytest
import torch

from steerable import catalogue
from steerable.errors import SettingError, UnknownName
from steerable.nn import fetched
from steerable.score import (
    SCORERS,
    SEGMENTERS,
    Area,
    Face,
    FaceRegions,
    Identity,
    Statistics,
    identity,
    kept,
    score,
    segment,
)
from steerable.score.scorer import checked


def pictures(n=2, size=32, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def one_black(size=32):
    return torch.cat([pictures(1, size), torch.full((1, 3, size, size), -1.0)])


def test_every_scorer_says_what_it_counts_and_has_a_key_without_a_download(monkeypatch):
    monkeypatch.setattr(catalogue, "fetch", lambda *_: pytest.fail("downloaded"))
    made = [score(name) for name in (*SCORERS, *SEGMENTERS)]
    for scorer in made:
        assert len(scorer.names) == len(set(scorer.names)) == len(scorer.units) == len(scorer.previews)
        assert all(scorer.units)
        assert scorer.name in repr(scorer)
    assert len({scorer.key for scorer in made}) == len(made)
    assert Face().key != Face((0.5, 0.5, 0.9)).key


def test_a_file_that_the_catalogue_does_not_name():
    with pytest.raises(UnknownName, match="no file of landmarks is called 'face.onnx'.*face_landmarker.task"):
        fetched.digest("landmarks", "face.onnx")


def test_names_columns_and_joins():
    both = score("statistics+face")
    assert both.names == Statistics.names + Face.names
    assert both.previews == Statistics.previews + Face.previews
    assert score("yaw").names == ("yaw",)
    assert score("yaw").units == ("degrees",)
    assert score("yaw").key != score("pitch").key
    x = pictures()
    assert torch.equal(score("warmth")(x), score("statistics")(x)[:, 3:4])
    assert torch.equal(score("warmth + brightness")(x), score("statistics")(x)[:, [3, 0]])
    assert torch.equal(score("statistics")["tint"](x), score("tint")(x))
    assert score(both) is both


def test_unknown_and_doubled_names():
    with pytest.raises(UnknownName, match="no score is called 'smlie'; did you mean 'smile'"):
        score("smlie")
    with pytest.raises(UnknownName, match="no score is called 'hat'"):
        score("face")["hat"]
    with pytest.raises(UnknownName, match="no segmenter is called 'hair'.*face-regions"):
        segment("hair")
    with pytest.raises(SettingError, match="several of these scorers give yaw"):
        score("face+yaw")
    unchecked = getattr(score, "__wrapped__", score)  # the test run checks annotations, a user's program does not
    with pytest.raises(SettingError, match="a name, a CSV file or a function of pictures; got int"):
        unchecked(3)


def test_a_function_is_a_scorer():
    def redness(images):
        return images[:, 0].mean((1, 2))

    x = pictures(3)
    assert score(redness)(x).shape == (3, 1)
    assert score(redness).names == ("score",)
    assert score(redness).key != score(lambda images: images[:, 0].mean((1, 2))).key
    redness.names, redness.units, redness.key = ("red",), ("of the range",), "redness/1"
    assert (score(redness).names, score(redness).units, score(redness).key) == (
        ("red",),
        ("of the range",),
        "redness/1",
    )
    with pytest.raises(SettingError, match=r"gave shape \(3, 2\), \(3, 1\) was expected"):
        score(lambda images: images.mean((2, 3))[:, :2])(x)
    with pytest.raises(SettingError, match="gave a float; a tensor"):
        score(lambda images: 0.5)(x)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 8, 8), [0.0]]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(SettingError, match=r"pictures are a float tensor \[n, 3, h, w\] in \[-1, 1\]; got"):
        checked(wrong)


@pytest.mark.parametrize("name", ["face", "age", "gender", "glasses", "face-regions"])
def test_where_no_face_is_found_a_score_is_nan(no_nets, monkeypatch, name):
    if name in ("age", "gender", "glasses"):  # the stand-in for the nets has 128 outputs
        monkeypatch.setattr(SCORERS[name], "_judge", lambda self, crops: crops.mean((1, 2, 3))[:, None])
    scores = score(name)(one_black())
    assert scores[0].isfinite().all()
    assert scores[1].isnan().all()


def test_masks_are_nan_without_a_face_and_areas_are_their_means(no_nets):
    masks = segment("face-regions")(one_black())
    assert masks.shape == (2, 6, 32, 32)
    assert masks[1].isnan().all()
    assert ((masks[0] >= 0) & (masks[0] <= 1)).all()
    area = Area(FaceRegions())
    assert area.names == FaceRegions.names
    assert torch.allclose(area(one_black())[0], masks[0].mean((1, 2)))
    assert torch.equal(score(FaceRegions())(one_black())[0], area(one_black())[0])


def test_identity_is_a_cosine_with_the_reference(no_nets):
    x = pictures(3)
    assert torch.allclose(identity(x).norm(dim=1), torch.ones(3))
    assert torch.allclose(kept(x, x), torch.ones(3))
    assert Identity(x[:1])(x).shape == (3, 1)
    assert kept(one_black(), pictures()).isnan().tolist() == [False, True]
    assert kept(pictures(), one_black()).isnan().tolist() == [False, True]
    with pytest.raises(SettingError, match="2 reference pictures for 3 pictures; give one, or one for each"):
        Identity(x[:2])(x)


def test_no_pictures_have_no_scores(no_nets):
    none = torch.zeros(0, 3, 16, 16)
    assert score("face")(none).shape == (0, 6)
    assert score("statistics+age")(none).shape == (0, 8)
    assert segment("face-regions")(none).shape == (0, 6, 16, 16)
    assert identity(none).shape == (0, 128)
