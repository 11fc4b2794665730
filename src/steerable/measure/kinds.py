"""Comparing methods of a verb: one call for discoverers and inverters."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, quiet
from ..path import Paths
from ..score import Scorer, Table
from .compare import Methods, Rules
from .compare import planned as planned_discovery
from .comparison import Comparison
from .effects import Same
from .inversions import Inversions, Picture
from .inversions import planned as planned_inversion
from .truth import Distance


def compare(
    kind: str,
    generator: Generator,
    methods: Methods,
    *,
    scores: str | Scorer | None = None,
    targets: Sequence[str] | None = None,
    psi: float | None = None,
    pictures: int | Sequence[Picture] | None = None,
    labels: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    identity: Same | None = None,
    progress: Progress = quiet,
    supervision: Scorer | Table | None = None,
    seeds: int | None = None,
    people: int | None = None,
    chosen_on: int | None = None,
    size: int | None = None,
    reach: float | None = None,
    controls: bool | None = None,
    distance: Distance | None = None,
    paths: Paths | None = None,
    which: Sequence[str] | None = None,
    look: int | None = None,
) -> Comparison | Inversions:
    """Compare methods of one verb: by name, configured, or any of these under a name of their own ({"w": st.Optimize(space="w")}).

    kind "discover" makes a Comparison. Names take the quick settings of quick.toml. `scores` judges pictures and supervises the methods
    that learn: a scorer, or names such as "age,smile,yaw", which are then the targets; a generator that knows its truth needs none.
    `supervision` teaches in its place (a table, the truth). The others, from `seeds` to `distance`, are told in `Rules`, with the defaults
    (psi 1, 12 `pictures`).

    kind "invert" makes Inversions (measure.inversions) of `pictures`: so many of the generator's own (4) truncated by `psi` (0.7 where
    there is a w), or a list of `Picture`. `scores` asks for edits towards its targets, by `paths` of these names or by learned ones.
    `which` are names of `measure.fidelity`, `look` (256) the px at which LPIPS looks.

    A method that cannot take part is listed with its reason. Raises UnknownName and SettingError for what does not exist or fit.
    """
    shared = {"psi": psi, "pictures": pictures, "labels": labels, "settings": settings, "identity": identity}
    own: dict[str, dict[str, Any]] = {
        "discover": {"supervision": supervision, "seeds": seeds, "people": people, "chosen_on": chosen_on, "size": size,
                     "reach": reach, "controls": controls, "distance": distance},
        "invert": {"paths": paths, "which": which, "look": look},
    }  # fmt: skip
    if kind not in own:
        raise UnknownName("verb with methods to compare", kind, own)
    if foreign := [name for k in own if k != kind for name, value in own[k].items() if value is not None]:
        raise SettingError(f"compare({kind!r}) takes no {', '.join(foreign)}; of its own it has {', '.join(own[kind])}")
    given: dict[str, Any] = {name: value for name, value in {**shared, **own[kind]}.items() if value is not None}
    if kind == "invert":
        contest = planned_inversion(
            generator, methods, given.pop("pictures", 4), scores=scores, targets=targets, progress=progress, **given
        )
        return contest.made(contest.rival(e, progress) for e in contest.entries)
    taught = given.pop("supervision", None)
    plan = planned_discovery(kind, generator, methods, Rules(**given), scores, targets, taught, progress)
    return plan.made(plan.contender(e, progress) for e in plan.entrants)
