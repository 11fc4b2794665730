"""Pictures in, `Inversion` out: codes whose picture is the one given, and the edits that codes could not explain.

INVERTERS are the methods; PRESETS are published systems, as settings of a method; KNOWN are both. `invert` takes any of these names.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..edit import Inversion
from ..errors import UnknownName
from ..generator import Generator
from ..method import Progress, quiet, table
from .exact import Exact
from .inverter import Inverter, Observed
from .observe import Function, Mask, Operator, observation
from .optimize import Optimize
from .pivotal import Pivotal, Tuned
from .presets import Preset, presets

INVERTERS: dict[str, type[Inverter]] = table(Optimize, Pivotal, Exact)
PRESETS: dict[str, Preset] = presets(INVERTERS)
KNOWN: Mapping[str, type[Inverter] | Preset] = {**INVERTERS, **PRESETS}


def invert(
    name: str,
    generator: Generator,
    images: Float[Tensor, "n 3 h w"],
    *,
    observe: Observed = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Inversion:
    """Run an inverter or a preset by its name: `invert("optimize", g, photo, space="w")`, `invert("projector", g, photo, steps=300)`.

    `images` [n 3 h w] in [-1, 1] have the generator's size, or are what `observe` makes of such: "downsample:8", "gray", "box:0,0,1,.5",
    an Operator, or a function. Raises UnknownName, SpaceError, SettingError, MethodFailed.
    """
    if name not in KNOWN:
        raise UnknownName("inverter", name, KNOWN)
    method = KNOWN[name]
    for space in method.needs:
        generator.space(space)
    made: Any = method.with_settings(settings)
    found: Inversion = made.invert(generator, images, observe=observe, progress=progress)
    return replace(found, notes={**found.notes, "preset": name}) if isinstance(method, Preset) else found


__all__ = [
    "INVERTERS",
    "KNOWN",
    "PRESETS",
    "Exact",
    "Function",
    "Inverter",
    "Mask",
    "Operator",
    "Optimize",
    "Pivotal",
    "Preset",
    "Tuned",
    "invert",
    "observation",
]
