import numpy as np
import pytest
import torch
from PIL import Image

from steerable.errors import ArtifactError, SettingError
from steerable.images import film, grid, read_images, to_bytes, write
from steerable.path import Direction
from steerable.sheet import drawn, page, sheet, strips


def picture(n=1, size=8):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_png_comes_back_to_within_rounding(tmp_path):
    x = picture()
    back = read_images(write(x, tmp_path / "a.png"))
    assert (back - x).abs().max() <= 1 / 255 + 1e-6
    assert to_bytes(torch.tensor([[[[-3.0]], [[0.0]], [[3.0]]]])).tolist() == [[[[0, 128, 255]]]]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "LA", "1"])
def test_every_mode_is_read_as_rgb(tmp_path, mode):
    source = (
        Image.fromarray(np.full((5, 7), 40000, np.uint16))
        if mode == "I;16"
        else Image.new("RGB", (7, 5), (200, 100, 50)).convert(mode)
    )
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    source.save(file)
    assert read_images(file).shape == (1, 3, 5, 7)


def test_alpha_lies_on_white_and_pictures_stand_upright(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert torch.equal(read_images(tmp_path / "a.png"), torch.ones(1, 3, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "b.jpg", exif=exif)
    assert read_images(tmp_path / "b.jpg").shape == (1, 3, 6, 4)


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match=r"a.png is not a picture that can be read, or is damaged"):
        read_images(tmp_path / "a.png")
    whole = write(picture(size=64), tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"b.png is not a picture"):
        read_images(tmp_path / "b.png")
    with pytest.raises(ArtifactError, match="there is no file"):
        read_images(tmp_path / "c.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="there is no picture in the folder"):
        read_images(tmp_path / "empty")
    with pytest.raises(SettingError, match="pictures are written as"):
        write(picture(), tmp_path / "a.docx")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.png", "b.png", "empty"]


def test_folders_and_sizes(tmp_path):
    write(picture(size=8), tmp_path / "a.png")
    write(picture(size=12), tmp_path / "b.png")
    assert read_images(tmp_path, size=8).shape == (2, 3, 8, 8)
    with pytest.raises(SettingError, match="the pictures have different sizes"):
        read_images(tmp_path)


def test_grids_hold_every_picture():
    for n in range(1, 13):
        w, h = grid(picture(n, 4)).size
        assert (w // 4) * (h // 4) >= n


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films_have_the_frames_given(tmp_path, suffix):
    if suffix == ".mp4":
        av = pytest.importorskip("av", reason="films other than gif need the extra 'video'")
    file = film(iter(picture(5, 32)), tmp_path / f"a{suffix}", fps=10)
    if suffix == ".gif":
        with Image.open(file) as g:
            assert g.n_frames == 5
    else:
        with av.open(str(file)) as f:
            assert sum(1 for _ in f.decode(video=0)) == 5


def test_sheets_have_a_row_for_each_path_and_person_and_escape_text(style):
    d = Direction.along("<b>smile</b>", torch.ones(16), style.space("w"), style, about="age +0.8 & more")
    e = Direction.along("age", torch.arange(16.0), style.space("w"), style)
    z = style.sample(2)
    rows = strips(style, z, [d, e], (-1, 0, 1), size=16)
    assert [r.name for r in rows] == ["<b>smile</b>", "<b>smile</b>", "age", "age"]
    torch.testing.assert_close(rows[0].pictures[1:2], style.synthesize(z[0]))
    assert drawn(rows, "a title that is much too long for the page " * 9).size[0] >= 48
    text = page(rows, "<script>")
    assert "<script>" not in text
    assert "&lt;b&gt;smile&lt;/b&gt;" in text
    assert text.count("<img") == 12
    assert sheet(style, z, [e]).size[1] > 0
    with pytest.raises(SettingError, match="a sheet needs at least one t"):
        strips(style, z, [d], ())
