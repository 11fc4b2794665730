"""Alignment, crops and pasting: planted geometry, and the one real photograph."""

from importlib.resources import files

import pytest
import torch

from steerable import artifact
from steerable.edit import Inversion
from steerable.errors import ArtifactError, MismatchError, SettingError
from steerable.images import read_images
from steerable.photo import Crop, Portrait, Sighting, aligned, centered, paste
from steerable.photo.alignment import ffhq
from steerable.photo.crop import blurred
from steerable.photo.faces import distinct, overlap, yunet
from steerable.photo.likeness import likeness
from steerable.record import tree_equal
from steerable.render import render

FACE = torch.tensor([[40.0, 50], [60, 50], [50, 60], [42, 72], [58, 72]])


def sighting(points=FACE, score=0.9):
    low, high = points.min(0).values, points.max(0).values
    return Sighting(torch.cat([low - 10, high + 10]), points, score)


def smooth(h, w, seed=0):
    return blurred(torch.randn(1, 3, h, w, generator=torch.Generator().manual_seed(seed)), 4.0) * 3


def turned(points, degrees, scale, shift):
    a = torch.tensor(degrees).deg2rad()
    turn = torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
    return points @ turn.T * scale + torch.tensor(shift)


def test_ffhq_square_of_an_upright_face_by_hand():
    matrix = ffhq(FACE, 100)
    # eyes at (50, 50) 20 apart, mouth at (50, 72): e2m 22, x = (42, 0) / 42 · max(40, 39.6); center (50, 52.2)
    torch.testing.assert_close(matrix @ torch.tensor([50.0, 50, 1]).double(), torch.tensor([50.0, 52.2]).double())
    torch.testing.assert_close(matrix[:, :2], torch.eye(2).double() * 0.8)


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 3.0), (25.0, 1.0), (-160.0, 0.5)])
def test_the_crop_turns_and_grows_with_the_face(degrees, scale):
    there = turned(FACE, degrees, scale, [200.0, 300.0])
    inside = torch.tensor([[0.0, 0, 1], [64, 0, 1], [64, 64, 1], [30, 11, 1]]).double()
    expected = turned((inside @ ffhq(FACE, 64).T).float(), degrees, scale, [200.0, 300.0])
    torch.testing.assert_close((inside @ ffhq(there, 64).T).float(), expected, atol=1e-3, rtol=1e-5)


def test_which_face_is_asked_for_where_there_are_several():
    photo, two = torch.zeros(1, 3, 200, 200), [sighting(), sighting(FACE / 2 + 100)]
    find = lambda found: lambda photo: found
    assert torch.equal(aligned(photo, 64, detector=find(two), which=1).points, two[1].points.double())
    assert aligned(photo, 64, detector=find(two[:1])).size == (64, 64)
    with pytest.raises(SettingError, match=r"shows 2 faces; choose one .*0 at \(50, 61\) 42 px high, 1 at"):
        aligned(photo, 64, detector=find(two))
    with pytest.raises(SettingError, match="shows 10 faces"):
        aligned(photo, 64, detector=find([sighting()] * 10))
    with pytest.raises(SettingError, match="there is no face 2: the photograph shows 2"):
        aligned(photo, 64, detector=find(two), which=2)
    with pytest.raises(SettingError, match="no face was found.*turn it upright"):
        aligned(photo, 64, detector=find([]))
    with pytest.raises(SettingError, match="has 1x1 px; at least 16"):
        aligned(torch.zeros(1, 3, 1, 1), 64, detector=find(two))


def test_the_middle_keeps_the_shape_that_is_asked_for():
    photo = torch.zeros(1, 3, 100, 300)
    assert centered(photo, 50).corners.tolist() == [[100, 0], [200, 0], [200, 100], [100, 100]]
    tall = centered(photo, (64, 32))
    assert tall.corners.tolist() == [[125, 0], [175, 0], [175, 100], [125, 100]]
    assert tall.cut(photo).shape == (1, 3, 64, 32)


@pytest.mark.parametrize("size", [40, 80, 200])
def test_a_crop_holds_the_pixels_that_its_matrix_names(size):
    h, w = 120, 160
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    photo = torch.stack([x / w, y / h, x * 0])[None]
    crop = Crop(ffhq(FACE, size), (size, size), (h, w))
    cut = crop.cut(photo)
    middle = size // 2
    at = crop.matrix @ torch.tensor([middle + 0.5, middle + 0.5, 1.0]).double()
    torch.testing.assert_close(cut[0, :2, middle, middle].double(), at / torch.tensor([w, h]), atol=0.004, rtol=0)


def test_outside_of_the_photograph_is_its_reflection_faded():
    photo = smooth(100, 100)
    crop = Crop(ffhq(FACE - torch.tensor([35.0, 10.0]), 64), (64, 64), (100, 100))
    assert crop.corners[0, 0] < -20
    cut = crop.cut(photo)
    assert torch.isfinite(cut).all()
    assert cut[:, :, :, :4].std() < 0.5 * photo[:, :, :, :20].std()  # far out it is nearly the median
    inside = Crop(crop.matrix + torch.tensor([[0, 0, 60.0], [0, 0, 20.0]]), (64, 64), (100, 100))
    assert inside.cut(photo)[:, :, :, :4].std() > cut[:, :, :, :4].std()


def test_hostile_crops_are_refused():
    good = ffhq(FACE, 64)
    for matrix in (good * torch.nan, good * 0, good * 1e9, good + torch.tensor([[0, 0, 1e6], [0, 0, 0.0]])):
        with pytest.raises(ArtifactError):
            Crop(matrix, (64, 64), (200, 200))
    with pytest.raises(ArtifactError, match="heights and widths"):
        Crop(good, (0, 64), (200, 200))


# -- paste --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene():
    """A photograph, the crop of a face that is turned by 20 degrees, and the crop's pixels."""
    photo = smooth(240, 320).clamp(-0.8, 0.8)
    crop = Crop(ffhq(turned(FACE, 20.0, 1.5, [110.0, 20.0]), 96), (96, 96), (240, 320))
    return photo, crop, crop.cut(photo)


def disk(size=96, radius=0.4):
    line = torch.linspace(-1, 1, size)
    return ((line[:, None].square() + line[None].square()) < radius**2).float()[None, None]


def test_an_edit_that_does_nothing_changes_no_bit(scene):
    photo, crop, seen = scene
    assert torch.equal(paste(photo, crop, seen), photo)
    inversion = seen * 0.5 + 0.2  # a poor one
    assert torch.equal(paste(photo, crop, inversion, plain=inversion), photo)


def test_only_what_the_edit_changed_is_pasted_and_it_takes_on_the_photographs_colors(scene):
    photo, crop, seen = scene
    plain = seen - 0.15  # the inversion missed the tone by so much
    edited = torch.lerp(plain, plain + 0.3, blurred(disk(), 5.0))
    out = paste(photo, crop, edited, plain=plain)
    moved = (out - photo).abs().amax(1)[0] > 1e-6
    y, x = moved.nonzero().float().mean(0)
    middle = crop.matrix @ torch.tensor([48.0, 48, 1]).double()
    assert (torch.stack([x, y]).double() - middle).norm() < 2
    assert (
        0.4**2 * torch.pi / 4 < moved.sum() / crop.side**2 < 0.65**2 * torch.pi / 4
    )  # the disk, and a little around it
    at = middle.long()
    got = (out - photo)[0, :, at[1], at[0]]
    torch.testing.assert_close(got, torch.full((3,), 0.3), atol=0.03, rtol=0)  # not 0.15: the tone is put right
    assert (out - photo).diff(dim=3).abs().max() < 0.06  # the change comes in over many pixels: no seam


def test_a_change_of_everything_fades_at_the_rim(scene):
    photo, crop, seen = scene
    change = paste(photo, crop, seen + 0.4, plain=seen) - photo
    assert change.diff(dim=2).abs().max() < 0.15
    assert change.abs().max() > 0.35
    outside = (crop.inverse @ torch.tensor([10.0, 10, 1]).double() < 0).any()
    assert outside
    assert change[0, :, 10, 10].abs().max() == 0


def test_a_large_photograph_keeps_its_own_detail_where_nothing_changed():
    photo = torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(1)) * 2 - 1
    crop = centered(photo, 32)
    plain = crop.cut(photo)
    out = paste(photo, crop, torch.lerp(plain, -plain.sign(), disk(32, 0.3)), plain=plain)
    assert out.shape == photo.shape
    kept = torch.ones(300, 300, dtype=torch.bool)
    kept[60:240, 60:240] = False
    assert torch.equal(out[0][:, kept], photo[0][:, kept])
    assert not torch.equal(out, photo)


def test_what_does_not_belong_together_is_refused(scene):
    photo, crop, seen = scene
    with pytest.raises(MismatchError, match="belongs to a photograph of 320x240 px; this one has 100x100"):
        paste(photo[:, :, :100, :100], crop, seen)
    with pytest.raises(SettingError, match="the crop has 96x96 px, the picture to paste 48x48"):
        paste(photo, crop, seen[:, :, ::2, ::2])
    with pytest.raises(SettingError, match="feather"):
        paste(photo, crop, seen, feather=2)


def test_a_portrait_is_saved_with_its_crop_and_renders_the_same(style, tmp_path, scene):
    _, crop, _ = scene
    portrait = Portrait(style.sample(1), (), {"loss": 0.25, "preset": "projector"}, crop)
    file = artifact.save(portrait, tmp_path / "me.safetensors", generator=style)
    back = artifact.load(file, generator=style)
    assert isinstance(back, Inversion)
    assert tree_equal(back, portrait)
    torch.testing.assert_close(render(style, back), render(style, portrait), atol=1e-6, rtol=0)


def test_likeness_of_a_known_error():
    a = torch.zeros(1, 3, 16, 16)
    numbers = likeness(a, a + 0.2)
    assert numbers["mse"] == pytest.approx(0.04)
    assert numbers["psnr"] == pytest.approx(20)  # 10 log10(4 / 0.04)


# -- the detector -------------------------------------------------------------------------------------------------------------------


def test_boxes_that_overlap_are_one_face():
    a, b, c = sighting(score=0.9), sighting(FACE + 2, 0.8), sighting(FACE + 60, 0.7)
    assert distinct([b, c, a]) == [a, c]
    assert overlap(a.box, a.box) == pytest.approx(1)
    assert overlap(a.box, c.box) == 0


@pytest.fixture(scope="module")
def astronaut():
    try:
        path = files("skimage") / "data" / "astronaut.png"
    except ModuleNotFoundError:
        pytest.skip("the photograph is in scikit-image, which is not installed")
    return read_images(str(path))


@pytest.mark.weights("face-yunet", "landmarks")
def test_the_astronaut_is_found_and_aligned(astronaut):
    (seen,) = yunet()(astronaut)
    assert seen.score > 0.8
    by_hand = torch.tensor(
        [[203.6, 101.5], [247, 104], [224.4, 127.8], [202.7, 139.4], [245.3, 140.9]]
    )  # read off the picture
    assert (seen.points - by_hand).norm(dim=1).max() < 8
    crop = aligned(astronaut, 256)
    assert (crop.points - by_hand).norm(dim=1).max() < 2.5
    cut = crop.cut(astronaut)
    again = aligned(cut, 256)  # an aligned face is aligned already
    assert (again.corners / 256 - torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]])).abs().max() < 0.02
    small = torch.nn.functional.interpolate(astronaut, scale_factor=2, mode="bicubic").clamp(-1, 1)
    assert (aligned(small, 256).corners / 2 - crop.corners).norm(dim=1).max() < 0.02 * crop.side


@pytest.mark.weights("face-yunet", "landmarks")
def test_two_faces_are_numbered_by_size_and_landscapes_have_none(astronaut):
    half = torch.nn.functional.interpolate(astronaut, scale_factor=0.5, mode="area")
    both = torch.zeros(1, 3, 512, 768)
    both[:, :, :, :512], both[:, :, :256, 512:] = astronaut, half
    found = yunet()(both)
    assert len(found) == 2
    assert found[0].points[0, 0] < 512 < found[1].points[0, 0]
    with pytest.raises(SettingError, match="shows 2 faces"):
        aligned(both, 64)
    assert not yunet()(smooth(200, 300))
