"""Pictures in and out of files. In memory they are float32 [n 3 h w] RGB in [-1, 1], everywhere."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from .artifact import replacing
from .errors import ArtifactError, SettingError, SteerableError, need

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MOVING = (".gif", ".mp4", ".webm")
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # what is opened, told by the content
LARGEST = 64_000_000  # pixels of a file that is opened
HEAVIEST = 256 << 20  # bytes of one
SMALLEST = 8  # px of a side of a picture that is brought to another size


def to_bytes(images: Float[Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Values of 0-255, rounded; what lies outside [-1, 1] is cut off."""
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pil(images: Float[Tensor, "n 3 h w"]) -> list[Image.Image]:
    """As PIL pictures, which show themselves in notebooks."""
    return [Image.fromarray(p) for p in to_bytes(images)]


def read_images(
    source: str | Path | Sequence[str | Path], size: int | tuple[int, int] | None = None
) -> Float[Tensor, "n 3 h w"]:
    """Pictures from a file, several files or a folder (in the order of their names), turned upright, alpha on white.

    Gray, palette, 16-bit and CMYK pictures become RGB; colors come from the file's own profile into sRGB. With `size` (px, or height and
    width) each is cropped at its center and scaled; without, all must have one size.
    Raises ArtifactError for what is not one still picture, is damaged, or is too large; SettingError for pictures of different sizes.
    """
    found = files(source)
    pictures = [_open(f) for f in found]
    if size is not None:
        h, w = (size, size) if isinstance(size, int) else size
        for file, p in zip(found, pictures, strict=True):
            if min(p.size) < min(SMALLEST, h, w):
                raise ArtifactError(f"{file} has {p.width}x{p.height} px: too small to be brought to {w}x{h}")
        pictures = [ImageOps.fit(p, (w, h), Image.Resampling.LANCZOS) for p in pictures]
    sizes = {p.size for p in pictures}
    if len(sizes) > 1:
        raise SettingError(
            f"the pictures have different sizes ({', '.join(f'{w}x{h}' for w, h in sorted(sizes)[:4])}); give a size to bring them to"
        )
    return from_bytes(np.stack([np.asarray(p) for p in pictures]))


def files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The picture files of a file, a folder (in the order of their names), or several of these. Raises ArtifactError if there is none."""
    if not isinstance(source, (str, Path)):
        return [f for s in source for f in files(s)]
    path = Path(source)
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
        if not found:
            raise ArtifactError(f"there is no picture in the folder {path}; it reads {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    return [path]


def _open(file: Path) -> Image.Image:
    if (size := file.stat().st_size) > HEAVIEST:
        raise ArtifactError(f"{file} has {size >> 20} MB; pictures up to {HEAVIEST >> 20} MB are read")
    try:
        with Image.open(file, formats=KINDS) as picture:
            if picture.width * picture.height > LARGEST:
                raise Image.DecompressionBombError(f"{picture.width}x{picture.height}")
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # an MPO shows its first
            if frames > 1:
                raise ArtifactError(f"{file} holds {frames} frames or pages; save the one you mean as a picture")
            return _rgb(ImageOps.exif_transpose(picture))
    except SteerableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ArtifactError(
            f"{file} is too large ({error}); pictures up to {LARGEST // 1_000_000} megapixels are read: scale it down first"
        ) from error
    except UnidentifiedImageError as error:
        raise ArtifactError(
            f"{file} is not a picture that can be read, or is damaged; {', '.join(KINDS)} are (save HEIC and raw files as JPEG)"
        ) from error
    except Exception as error:  # whatever else a damaged file makes the decoders stumble over
        raise ArtifactError(f"{file} is not a picture that can be read, or is damaged: {error}") from error


def _rgb(picture: Image.Image) -> Image.Image:
    """Eight bits, RGB, sRGB; alpha on white."""
    profile = picture.info.get("icc_profile")
    if picture.mode == "F":
        raise ValueError("it holds floating-point numbers, whose white is not known")
    if picture.mode.startswith("I"):
        wide = np.asarray(picture, dtype=np.float64)
        picture = Image.fromarray((wide / 257).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        return _srgb(picture, profile)
    return picture.convert("RGB")


def _srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Colors as the embedded profile means them. A profile that is damaged, or for another mode, is left out, as viewers do."""
    try:
        theirs = ImageCms.ImageCmsProfile(BytesIO(profile))
        made = ImageCms.profileToProfile(picture, theirs, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        made = None
    return made or picture.convert("RGB")


def write(images: Float[Tensor, "n 3 h w"] | Image.Image, file: str | Path, *, fps: float = 24) -> Path:
    """Write one picture, several as a grid, or (gif, mp4, webm) as the frames of a film. The file appears whole or not at all.

    Raises ArtifactError if it cannot be written, SettingError for a kind of file that is not known.
    """
    file = Path(file)
    suffix = file.suffix.lower()
    if suffix not in (*SUFFIXES, *MOVING):
        raise SettingError(
            f"cannot write {file.name}: pictures are written as {', '.join(SUFFIXES)}, films as {', '.join(MOVING)}"
        )
    if suffix in MOVING:
        if isinstance(images, Image.Image):
            raise SettingError(f"one picture is no film; write it as {', '.join(SUFFIXES)}")
        return film(images, file, fps=fps)
    picture = images if isinstance(images, Image.Image) else grid(images)
    with replacing(file) as part:
        picture.save(
            part,
            format=Image.registered_extensions()[suffix],
            **({"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}),
        )
    return file


def film(frames: Iterable[Float[Tensor, "3 h w"]], file: str | Path, *, fps: float = 24) -> Path:
    """Write frames, as they come, to a gif, mp4 or webm (these two with the extra "video")."""
    file = Path(file)
    if file.suffix.lower() == ".gif":
        pictures = [p for f in frames for p in to_pil(f[None])]
        with replacing(file) as part:
            pictures[0].save(
                part, format="GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
            )
        return file
    av = need("av", "video", f"writing {file.suffix} films")
    with replacing(file) as part, av.open(str(part), "w", format=file.suffix[1:].lower()) as container:
        stream = None
        for frame in frames:
            pixels = to_bytes(frame[None])[0]
            pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = container.add_stream(
                    "libx264" if file.suffix.lower() == ".mp4" else "libvpx-vp9", rate=round(fps)
                )
                stream.height, stream.width, stream.pix_fmt = pixels.shape[0], pixels.shape[1], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
    return file


def there_and_back(frames: int) -> list[float]:
    """The shares of an edit in a film: 0, slowly up to 1, and back to 0."""
    return (0.5 - 0.5 * torch.cos(torch.linspace(0, 2 * torch.pi, frames, dtype=torch.float64))).tolist()


def grid(images: Float[Tensor, "n 3 h w"], columns: int | None = None) -> Image.Image:
    """All pictures in one, row by row; as square as it gets unless `columns` is given."""
    pixels = to_bytes(images)
    n, h, w, _ = pixels.shape
    across = columns or next((c for c in range(int(n**0.5), n + 1) if n % c == 0 and c * c >= n), int(np.ceil(n**0.5)))
    across = across if across <= 2 * n**0.5 + 1 or columns else int(np.ceil(n**0.5))
    down = -(-n // across)
    whole = np.full((down * h, across * w, 3), 255, np.uint8)
    for i, p in enumerate(pixels):
        whole[i // across * h : i // across * h + h, i % across * w : i % across * w + w] = p
    return Image.fromarray(whole)
