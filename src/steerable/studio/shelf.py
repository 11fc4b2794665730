"""One person's folder: bundles of paths, masks and inversions, each under the hash of its content; no name from outside is a path."""

import hashlib
import secrets
from pathlib import Path as File

import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .. import artifact
from ..discover.subspace import Search
from ..edit import Inversion
from ..errors import ArtifactError, SettingError
from ..generator import Generator
from ..images import read_images
from ..path import Path, Paths
from ..photo import Portrait
from ..published import read
from ..record import Record

PIXELS = 24_000_000  # of a picture that comes from outside
PATHS = 1000  # in one file
FORMATS = ("PNG", "JPEG", "WEBP")


class Shelf:
    """What a session names by 16 hexadecimal digits. Things are written once and never change."""

    def __init__(self, folder: File):
        self.folder = folder
        self._held: dict[tuple[str, str], object] = {}

    def file(self, kind: str, id: str) -> File:
        """Where a thing is. `id` was matched against hexadecimal digits before; it is here again, since this is what touches the disk."""
        if len(id) != 16 or not set(id) <= set("0123456789abcdef"):
            raise SettingError(f"{id[:20]!r} is no id")
        found = self.folder / f"{kind}-{id}"
        if not found.is_file():
            raise ArtifactError(
                f"this session names a {kind} ({id}) that is not here any more; open the file, or the exported session, again"
            )
        return found

    def paths(self, id: str, generator: Generator) -> Paths:
        found = self._loaded("paths", id, generator)
        if not isinstance(found, Paths):
            raise ArtifactError(f"{id} holds no directions")
        return found

    def photo(self, id: str, generator: Generator) -> Inversion:
        found = self._loaded("photo", id, generator)
        if not isinstance(found, Inversion):
            raise ArtifactError(f"{id} holds no photo")
        return found

    def search(self, id: str, generator: Generator) -> Search:
        found = self._loaded("search", id, generator)
        if not isinstance(found, Search):
            raise ArtifactError(f"{id} holds no search")
        return found

    def portrait(self, id: str, generator: Generator) -> Portrait:
        """An inversion that knows where in its photograph it lies."""
        found = self.photo(id, generator)
        if not isinstance(found, Portrait) or found.crop is None:
            raise ArtifactError(
                "this inversion does not say where in a photograph it lies, so it cannot be pasted back"
            )
        return found

    def mask(self, id: str) -> Float[Tensor, "1 1 h w"]:
        if ("mask", id) not in self._held:
            painted = read_images(checked_picture(self.file("mask", id)))
            self._held["mask", id] = ((painted.mean(1, keepdim=True) + 1) / 2).clamp(0, 1)
        found = self._held["mask", id]
        assert isinstance(found, torch.Tensor)
        return found

    def _loaded(self, kind: str, id: str, generator: Generator) -> object:
        key = (kind, f"{id}-{generator.fingerprint}")
        if key not in self._held:
            self._held[key] = artifact.load(self.file(kind, id), generator=generator)
        return self._held[key]

    # -- putting things there -----------------------------------------------------------------------------------------------------

    def put(self, kind: str, data: bytes) -> str:
        id = hashlib.sha256(data).hexdigest()[:16]
        (self.folder / f"{kind}-{id}").write_bytes(data)
        return id

    def keep(self, kind: str, thing: Record, generator: Generator) -> str:
        """Put one of our records there. The same thing has the same id, whenever it was made."""
        part = self.folder / "part.safetensors"
        artifact.save(thing, part, generator=generator)
        try:
            return self.put(kind, part.read_bytes())
        finally:
            part.unlink()

    def keep_paths(self, file: File, generator: Generator, space: str | None = None) -> str:
        """Paths of a file of any kind that is read (ours or published), as a bundle. Nothing in it is executed."""
        found = read(file, generator=generator, space=space)
        paths = Paths((found,)) if isinstance(found, Path) else found
        if not isinstance(paths, Paths):
            raise ArtifactError(f"this file holds {type(found).__name__}, not directions")
        if not 0 < len(paths) <= PATHS:
            raise ArtifactError(f"this file holds {len(paths)} directions; 1 to {PATHS} are read")
        return self.keep("paths", paths, generator)

    def keep_original(self, data: bytes) -> str:
        """A photograph, after its size was looked at and its pixels were read once."""
        part = self.folder / f"steerable-studio-{secrets.token_hex(8)}"
        part.write_bytes(data)
        try:
            with Image.open(checked_picture(part), formats=FORMATS) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactError("this picture is damaged") from error
        finally:
            part.unlink()
        return self.put("original", data)

    def keep_mask(self, data: bytes) -> str:
        """A painted mask (white is inside), after its size was looked at."""
        id = self.put("mask", data)
        try:
            self.mask(id)
        except ArtifactError:
            (self.folder / f"mask-{id}").unlink(missing_ok=True)
            raise
        return id


def checked_picture(file: File) -> File:
    """The file, if it is a picture of a plain kind and of a size that cannot hurt; its pixels are not decoded for that."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height, frames = picture.width, picture.height, getattr(picture, "n_frames", 1)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ArtifactError(f"this is not a picture that can be read; {', '.join(FORMATS)} are") from error
    if width * height > PIXELS or frames > 1:
        raise ArtifactError(
            f"this picture has {width}x{height} px and {frames} frame(s); one frame of up to {PIXELS // 1_000_000} megapixels is read"
        )
    return file
