"""How near a reconstruction is to its photograph."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MissingExtra, SourceError
from ..method import Progress, quiet
from ..nn.perceptual import LPIPS, SMALLEST
from ..score import kept


def likeness(
    target: Float[Tensor, "1 3 h w"],
    picture: Float[Tensor, "1 3 h w"],
    *,
    faces: bool = False,
    progress: Progress = quiet,
) -> dict[str, float]:
    """mse (in [-1, 1]²), psnr (dB; peak 2), lpips (AlexNet), and with `faces` identity (cosine of SFace).

    lpips needs 31 px; what nets cannot be had for is left out, and `progress` is told.
    """
    mse = float((target - picture).double().square().mean())
    numbers = {"mse": mse, "psnr": float(10 * torch.log10(torch.tensor(4 / max(mse, 1e-12))))}
    try:
        if min(target.shape[-2:]) >= SMALLEST["alex"]:
            with torch.no_grad():
                numbers["lpips"] = float(LPIPS("alex")(target, picture))
        if faces:
            numbers["identity"] = float(kept(target, picture))
    except (SourceError, MissingExtra) as error:
        progress.note(f"some numbers are left out: {error}")
    return {k: v for k, v in numbers.items() if v == v}
