"""With the real nets, on a photograph of a smiling woman who looks into the camera (and on what is no face)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from steerable import catalogue
from steerable.errors import SettingError
from steerable.nn import fetched
from steerable.score import Face, Identity, identity, kept, landmarks, score, segment
from steerable.score.attributes import GLASSES

pytest.importorskip("ai_edge_litert", reason="the extra 'faces' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'faces' is not installed")
pytestmark = pytest.mark.weights("landmarks")


def told(images, name="face"):
    scorer = score(name)
    return dict(zip(scorer.names, scorer(images)[0].tolist(), strict=True))


def noise(n=1, size=96):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_smiling_face_that_looks_ahead(photo):
    s = told(photo.face)
    assert s["smile"] > 0.55
    assert 0.08 < s["mouth-open"] < 0.3
    assert abs(s["yaw"]) < 6
    assert abs(s["pitch"]) < 20
    assert 0.2 < s["eyes-open"] < 0.45


def test_the_mirrored_face_looks_to_the_other_side_and_does_the_same(photo):
    here, there = told(photo.face), told(photo.face.flip(3))
    assert here["yaw"] + there["yaw"] == pytest.approx(0, abs=4)
    assert here["smile"] == pytest.approx(there["smile"], abs=0.08)
    assert here["pitch"] == pytest.approx(there["pitch"], abs=3)


def test_a_face_cut_out_and_the_same_face_in_its_box_are_one(photo):
    width = photo.whole.shape[3]
    x, y, side = landmarks.ALIGNED
    box = ((photo.left + x * photo.side) / width, (photo.top + y * photo.side) / width, side * photo.side / width)
    assert torch.allclose(Face(box)(photo.whole), score("face")(photo.face), atol=1e-3)
    with pytest.raises(SettingError, match="center x, center y and side of a square in picture widths"):
        Face((0.5, 0.5, 0.0))(photo.face)


def test_size_hardly_matters(photo):
    small = F.interpolate(photo.face, size=[128, 128], mode="area")
    big = F.interpolate(photo.face, size=[512, 512], mode="bicubic").clamp(-1, 1)
    for other in (told(small), told(big)):
        assert other["smile"] == pytest.approx(told(photo.face)["smile"], abs=0.06)
        assert other["yaw"] == pytest.approx(told(photo.face)["yaw"], abs=2)


@pytest.mark.weights("landmarks", "age-gender", "identity-sface")
def test_where_there_is_no_face_there_is_no_score(photo):
    x = torch.cat([noise(), torch.zeros(1, 3, 96, 96), F.interpolate(photo.face, size=[96, 96], mode="area")])
    for name in ("face+age+gender", "face-regions"):
        assert score(name)(x).isnan().all(1).tolist() == [True, True, False]
    assert identity(x).isnan().all(1).tolist() == [True, True, False]


def test_threads_share_the_net(photo):
    pictures = [photo.face, noise(), photo.face.flip(3), F.interpolate(photo.face, size=[96, 96], mode="area")]
    alone = [score("face")(x) for x in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(score("face"), pictures * 4))
    for one, other in zip(alone * 4, together, strict=True):
        assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


def test_regions_lie_where_they_should(photo):
    masks = dict(zip(segment("face-regions").names, segment("face-regions")(photo.face)[0], strict=True))
    assert all(((m >= 0) & (m <= 1)).all() for m in masks.values())
    y, x = torch.meshgrid(torch.arange(190.0), torch.arange(190.0), indexing="ij")
    at = {name: ((m * x).sum() / m.sum(), (m * y).sum() / m.sum()) for name, m in masks.items()}
    assert at["left-eye"][0] < at["nose"][0] < at["right-eye"][0]
    assert at["brows"][1] < at["left-eye"][1] < at["nose"][1] < at["mouth"][1]
    assert masks["left-eye"][97, 76] == 1  # the pupil on the picture's left
    assert masks["mouth"][142, 94] == 1  # her teeth
    assert masks["face"][60, 95] == masks["face"][185, 95] == 0  # hair and collar
    inside = torch.stack([masks[name] for name in ("left-eye", "right-eye", "nose", "mouth")]).amax(0)
    assert (inside * (1 - masks["face"])).sum() < 0.02 * inside.sum()


def test_mirrored_regions_change_sides(photo):
    here, there = segment("face-regions")(photo.face)[0], segment("face-regions")(photo.face.flip(3))[0].flip(2)
    for mine, other in ((1, 2), (2, 1), (0, 0), (5, 5)):
        assert torch.minimum(here[mine], there[other]).sum() > 0.7 * torch.maximum(here[mine], there[other]).sum()


@pytest.mark.weights("landmarks", "age-gender")
def test_age_and_gender(photo):
    s = told(photo.face, "age+gender")
    assert 20 < s["age"] < 50
    assert s["gender"] < -2
    assert told(photo.face.flip(3), "age")["age"] == pytest.approx(s["age"], abs=8)


@pytest.mark.weights("landmarks", "glasses")
def test_painted_glasses_are_seen(photo):
    painted = photo.face.clone()
    y, x = torch.meshgrid(torch.arange(190.0), torch.arange(190.0), indexing="ij")
    for eye in (75, 117):
        ring = (((x - eye) / 19) ** 2 + ((y - 98) / 15) ** 2).sqrt()
        painted[:, :, (ring > 0.88) & (ring < 1.06)] = -0.95
    painted[:, :, 94:97, 93:100] = -0.95
    assert told(painted, "glasses")["glasses"] > told(photo.face, "glasses")["glasses"] + 3
    assert told(photo.face, "glasses")["glasses"] < -3


@pytest.mark.weights("glasses")
def test_weights_without_a_license_say_so(caplog):
    fetched.path_of.cache_clear()
    fetched.path_of(*GLASSES)
    fetched.path_of(*GLASSES)
    assert [record.message for record in caplog.records if "glasses" in record.message] == [
        catalogue.entry("glasses").notice
    ]
    assert "no license is stated" in caplog.text


@pytest.mark.weights("landmarks", "identity-sface")
def test_a_person_is_the_same_in_the_mirror_and_in_the_dark(photo):
    assert identity(photo.face).norm() == pytest.approx(1, abs=1e-5)
    assert kept(photo.face, photo.face).item() == pytest.approx(1, abs=1e-5)
    assert kept(photo.face, photo.face.flip(3)) > 0.8
    assert kept(photo.face, photo.face * 0.7 - 0.2) > 0.8
    aside = F.interpolate(photo.face[:, :, 4:176, 10:182], size=[190, 190], mode="bicubic")
    assert kept(photo.face, aside) > 0.8
    scorer = Identity(photo.face)
    assert scorer(torch.cat([photo.face, photo.face.flip(3)])).shape == (2, 1)
    assert scorer.key == Identity(photo.face).key != Identity(photo.face.flip(3)).key
