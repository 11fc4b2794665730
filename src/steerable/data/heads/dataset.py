"""Rendered heads as a data set: pictures, their factors, and what can be seen of these."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ...artifact import replacing
from ...errors import ArtifactError, SettingError
from ...method import Progress, quiet
from . import picture, world

BLOCK = 100  # pictures that share one random source


@dataclass(frozen=True)
class Heads:
    """n pictures (bytes [n s s 3]), factors (float [n f]) and labels (see `world.labels`), both in [-1, 1]."""

    images: np.ndarray
    factors: np.ndarray

    def __post_init__(self) -> None:
        if len(self.images) != len(self.factors) or self.factors.shape[1:] != (len(world.NAMES),):
            have = self.images.shape, self.factors.shape
            raise ArtifactError(f"a set of heads has one row of {len(world.NAMES)} factors a picture; got {have}")

    @property
    def labels(self) -> Float[np.ndarray, "n f"]:
        return world.labels(self.factors)

    def __len__(self) -> int:
        return len(self.images)


def factors(n: int, seed: int = 0) -> Float[np.ndarray, "n f"]:
    """Rows drawn uniformly from the cube. Row i depends on seed and i only: a larger set begins with the smaller one."""
    blocks = [np.random.default_rng([seed, b]).uniform(-1, 1, (BLOCK, len(world.NAMES))) for b in range(-(-n // BLOCK))]
    return np.concatenate(blocks)[:n].astype(np.float32)


def heads(
    n: int,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    size: int = 64,
    processes: int = 1,
    progress: Progress = quiet,
) -> Heads:
    """Render n heads (about 16 ms each on one core at 64 px); with `out`, keep them in that .npz file, which appears whole or not at all.

    The same n, seed and size give the same pictures, however many processes share the work. Raises SettingError, MissingExtra (numba),
    SourceError (assets), ArtifactError (the file cannot be written).
    """
    if n < 1 or processes < 1:
        raise SettingError(
            f"a data set has at least one picture, made by at least one process; got n={n}, {processes=}"
        )
    rows = factors(n, seed)
    jobs = [(rows[at : at + BLOCK], size) for at in range(0, n, BLOCK)]
    picture.render(rows[:1], size)  # fetches the assets and compiles before any process needs them
    if processes == 1:
        parts = list(progress.over(map(job, jobs), "rendering heads", len(jobs)))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            parts = list(progress.over(pool.imap(job, jobs), "rendering heads", len(jobs)))
    made = Heads(np.concatenate(parts), rows)
    if out is not None:
        write(made, out)
    return made


def job(rows_size: tuple[Float[np.ndarray, "n f"], int]) -> UInt8[np.ndarray, "n s s 3"]:
    return picture.render(*rows_size)


def write(made: Heads, file: str | Path) -> Path:
    """Keep a set as .npz: images, factors, labels, names. Raises ArtifactError if it cannot be written."""
    file = Path(file)
    with replacing(file) as part, part.open("wb") as stream:
        np.savez(stream, images=made.images, factors=made.factors, labels=made.labels, names=np.array(world.NAMES))
    return file


def read(file: str | Path) -> Heads:
    """A set that `write` kept. Raises ArtifactError for anything else, and for one of another world."""
    file = Path(file)
    if not file.is_file():
        raise ArtifactError(f"there is no file {file}; `steerable data heads -o {file}` makes one")
    try:
        with np.load(file, allow_pickle=False) as found:
            names, images, rows = tuple(found["names"].tolist()), found["images"], found["factors"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ArtifactError(f"{file} is not a set of rendered heads, or is damaged: {error}") from error
    if names != world.NAMES:
        raise ArtifactError(f"{file} was rendered in another world, with the factors {', '.join(names)[:200]}")
    return Heads(images, rows)
