"""Pictures in and out of files. In memory they are float32 [n 3 h w] RGB in [-1, 1], everywhere."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .artifact import replacing
from .errors import ArtifactError, SettingError, need

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MOVING = (".gif", ".mp4", ".webm")
LARGEST = 64_000_000  # pixels of a file that is opened


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

    With `size` (px, or height and width) each is cropped at its center and scaled; without, all must have one size.
    Raises ArtifactError for what is not a picture, SettingError for pictures of different sizes.
    """
    files = _files(source)
    pictures = [_open(f) for f in files]
    if size is not None:
        h, w = (size, size) if isinstance(size, int) else size
        pictures = [ImageOps.fit(p, (w, h), Image.Resampling.LANCZOS) for p in pictures]
    sizes = {p.size for p in pictures}
    if len(sizes) > 1:
        raise SettingError(
            f"the pictures have different sizes ({', '.join(f'{w}x{h}' for w, h in sorted(sizes)[:4])}); give a size to bring them to"
        )
    return from_bytes(np.stack([np.asarray(p) for p in pictures]))


def _files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(source, (str, Path)):
        return [f for s in source for f in _files(s)]
    path = Path(source)
    if path.is_dir():
        found = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
        if not found:
            raise ArtifactError(f"there is no picture in the folder {path}; it reads {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    return [path]


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > LARGEST:
                raise ArtifactError(
                    f"{file} has {picture.width}x{picture.height} px; pictures up to {LARGEST // 1_000_000} megapixels are read"
                )
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16") or upright.mode == "I":
                upright = Image.fromarray((np.asarray(upright, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8))
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            return upright.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ArtifactError(f"{file} is not a picture that can be read, or is damaged: {error}") from error


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
