"""What `read_images` makes of unusual pictures, and what it says of those it does not read."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from steerable import images
from steerable.errors import ArtifactError
from steerable.images import read_images


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("L", 51, (51, 51, 51)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 102), (255, 153, 153)),
        ("LA", (0, 127), (128, 128, 128)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_colors_of_every_mode(tmp_path, mode, value, rgb):
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (9, 8), value).save(file)
    got = ((read_images(file)[0, :, 4, 4] + 1) * 127.5).round().int().tolist()
    assert np.abs(np.array(got) - rgb).max() <= 1


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    got = read_images(tmp_path / "a.png")[0, 0, 0]
    torch.testing.assert_close(got, torch.linspace(-1, 1, 256), atol=1 / 127.5, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_stands_upright(tmp_path, orientation):
    upright = Image.fromarray(np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3) // 2)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of PIL.Image.Transpose: what the camera did
    held = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    held.save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_images(tmp_path / "a.png"), images.from_bytes(np.array(upright)[None]))


def test_profiles_are_followed_and_damaged_ones_left_out(tmp_path):
    picture = Image.new("RGB", (9, 9), (200, 100, 50))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "srgb.png", icc_profile=srgb)
    picture.save(tmp_path / "broken.png", icc_profile=b"no profile")
    plain = read_images(tmp_path / "plain.png")
    assert (read_images(tmp_path / "srgb.png") - plain).abs().max() < 3 / 127.5
    assert torch.equal(read_images(tmp_path / "broken.png"), plain)
    swapped = bytearray(srgb)  # a profile whose red and blue are exchanged
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red + 4 : red + 8], swapped[blue + 4 : blue + 8] = swapped[blue + 4 : blue + 8], swapped[red + 4 : red + 8]
    picture.save(tmp_path / "swapped.png", icc_profile=bytes(swapped))
    got = read_images(tmp_path / "swapped.png")[0, :, 4, 4]
    assert got[2] > got[0]  # what was red is blue now


def test_limits_of_bytes_pixels_and_frames(tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    with pytest.raises(ArtifactError, match="one.png has 1x1 px: too small to be brought to 16x16"):
        read_images(tmp_path / "one.png", size=16)
    with monkeypatch.context() as m:
        m.setattr(images, "LARGEST", 4000)
        with pytest.raises(ArtifactError, match="too large .64x64.*scale it down first"):
            read_images(tmp_path / "a.png")
    with monkeypatch.context() as m:
        m.setattr(images, "HEAVIEST", 50)
        with pytest.raises(ArtifactError, match="MB are read"):
            read_images(tmp_path / "a.png")
    for suffix in ("gif", "png", "webp", "tiff"):
        frames = [Image.new("RGB", (16, 16), c) for c in ("red", "green", "blue")]
        frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:])
        with pytest.raises(ArtifactError, match="holds 3 frames or pages"):
            read_images(tmp_path / f"moving.{suffix}")


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_never_get_past(tmp_path, seed):
    """Cut or garbled files are read or refused in one line; nothing else comes out."""
    source, kind = np.random.RandomState(seed), ("JPEG", "PNG", "TIFF", "BMP", "WEBP")[seed % 5]
    noise = source.randint(0, 255, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "a", format=kind, **({} if kind == "BMP" else {"exif": exif}))
    data = bytearray((tmp_path / "a").read_bytes())
    for _ in range(1 + seed % 7):
        data[source.randint(len(data) if seed % 2 else min(len(data), 120))] = source.randint(256)
    (tmp_path / "a").write_bytes(data[: source.randint(1, len(data))] if seed % 3 else data)
    said = ""
    try:
        shape = read_images(tmp_path / "a").shape[:2]
    except ArtifactError as error:
        shape, said = (1, 3), str(error)
    assert shape == (1, 3)
    assert "\n" not in said


@pytest.mark.filterwarnings("ignore:::PIL")
def test_a_small_file_that_claims_to_be_vast_is_not_unpacked(tmp_path):
    part = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for side in (10_000, 20_000, 100_000):
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"")))
        with pytest.raises(ArtifactError, match="too large"):
            read_images(tmp_path / "a.png")


def test_what_could_run_something_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    with pytest.raises(ArtifactError, match="is not a picture that can be read"):
        read_images(tmp_path / "a.png")
