"""How the generator of heads and its judge, which come with the package, are made from nothing: render, train, keep.

`planted.Planted()` is the recipe; generators/heads.py says how what is kept here becomes a family of generators.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..artifact import replacing
from ..data.heads import Heads
from ..generators import heads
from ..method import Progress, quiet
from ..score import judge
from . import planted
from .loop import Report
from .planted import Planted, embedding


def make(
    data: Heads,
    folder: str | Path,
    recipe: Planted | None = None,
    *,
    devices: int = 1,
    accelerator: str = "auto",
    report: Callable[[Report], None] | None = None,
    progress: Progress = quiet,
) -> tuple[Path, Path]:
    """Train generator and judge on rendered heads; the files heads64.safetensors and judge.safetensors in `folder`.

    Goes on where it was interrupted. Raises what `planted.train` raises.
    """
    folder, recipe = Path(folder), recipe or Planted()
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous()
    net = planted.train(
        images,
        torch.from_numpy(data.factors),
        folder,
        recipe,
        devices=devices,
        accelerator=accelerator,
        report=report,
        progress=progress,
    )
    matrix, notes = embedding(data.factors.shape[1], recipe.d), {"recipe": repr(recipe), "renders": str(len(data))}
    generator = heads.keep(net, matrix, folder / heads.WEIGHTS.name, notes)
    return generator, keep_judge(data, folder / judge.WEIGHTS.name, recipe.held_out)


def keep_judge(data: Heads, file: Path, held_out: int, steps: int = 1500) -> Path:
    """Train the judge on rendered heads and write it. Raises ArtifactError if it cannot be written."""
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous()
    tensors = judge.fit(images, torch.from_numpy(data.labels), held_out=held_out, steps=steps)
    with replacing(file) as part:
        save_file(tensors, part)
    return file
