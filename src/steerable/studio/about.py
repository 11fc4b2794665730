"""What the page must know to draw itself: generators and licences, the open one's parts, methods and their settings, bundles of paths."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from .. import catalogue
from ..discover import DISCOVERERS
from ..generator import Generator
from ..generators import names
from ..invert import KNOWN
from ..layer import GROUPS
from ..measure import clear
from ..path import Direction, Paths
from ..score import SCORERS
from .people import Studio


def about(studio: Studio, name: str) -> dict[str, Any]:
    """The whole page's knowledge. `open` is None until the generator is."""
    is_open = studio.is_open(name)
    return {
        "name": name,
        "generators": [listed(studio, n) for n in dict.fromkeys((studio.first, *names()))],
        "missing": studio.missing(name),
        "trouble": studio.trouble(name),
        "open": parts(studio.generator(name)) if is_open else None,
        "scores": [{"name": n, "columns": list(getattr(s, "names", ()))} for n, s in SCORERS.items()],
        "judge": judge(name),
        "films": ["mp4", "gif"] if importlib.util.find_spec("av") else ["gif"],
        "password": studio.secret is not None,
    }


def listed(studio: Studio, name: str) -> dict[str, Any]:
    entry = catalogue.entries("generator").get(name)
    return {
        "name": name,
        "missing": studio.missing(name),
        "mb": round(entry.bytes / 1e6, 1) if entry else 0,
        "px": entry.resolution if entry else None,
        "licence": entry.weights_licence if entry else "Apache-2.0",
        "code": entry.code_licence if entry else "Apache-2.0",
        "source": entry.source if entry else "comes with the package",
        "notice": (entry.notice if entry else None) or "",
        "about": entry.note if entry else "",
    }


def judge(name: str) -> str:
    """The scorer that fits a generator's pictures, to begin with."""
    if name.startswith("heads"):
        return "heads-judge"
    return "face+age+gender" if name.startswith("ffhq") else "statistics"


def parts(g: Generator) -> dict[str, Any]:
    spaces = [s.name for s in g.spaces]
    where = "w" if "w" in spaces else spaces[0]
    fitting = [m for m in DISCOVERERS.values() if set(m.needs) <= set(spaces)]
    return {
        "name": g.name,
        "fingerprint": g.fingerprint[:16],
        "width": g.size[1],
        "height": g.size[0],
        "spaces": spaces,
        "psi": "w" in spaces,
        "rows": 1 + max((layer.row for layer in g.layers if layer.row is not None), default=-1),
        "groups": [n for n, (low, high) in GROUPS.items() if any(low <= max(x.picture) <= high for x in g.layers)],
        "classes": g.inputs["label"][0] if "label" in g.inputs else 0,
        "names": list(catalogue.entries("generator")[g.name].more.get("classes", ()))  # type: ignore[call-overload]
        if g.name in catalogue.entries("generator")
        else [],
        "methods": [form(m, where, spaces) for m in fitting],
        "inverters": [form(m, where, spaces) for m in KNOWN.values() if set(m.needs) <= set(spaces)],
    }


def form(method: Any, where: str, spaces: Sequence[str]) -> dict[str, Any]:
    """A method's settings, as fields of a form. `where` is the space that this generator is best searched in."""
    fields = []
    for name, field in method.schema().items():
        default = field["default"]
        if name == "space" and default not in spaces:
            default = where
        fields.append(
            {
                "name": name,
                "type": getattr(field["type"], "__name__", "str"),
                "optional": field["optional"] or default is None,
                "default": ",".join(map(str, default)) if isinstance(default, tuple) else default,
                **{key: field.get(key) for key in ("help", "ge", "le", "choices")},
            }
        )
    said = " ".join((getattr(method, "about", None) or method.__doc__ or "").strip().split("\n\n")[0].split())
    return {
        "name": method.name,
        "paper": method.paper,
        "tags": sorted(method.tags),
        "about": said,
        "fields": fields,
        "supervised": "supervised" in method.tags,
    }


def described(id: str, paths: Paths) -> dict[str, Any]:
    """A bundle for the page. Text in it comes from files, and the page shows it as text."""
    kept = paths.notes.get("identity", {})
    items = []
    for i, path in enumerate(paths):
        sure = {e.score for e in clear(path)} if path.effects else set()
        low, high = path.range or (-3.0, 3.0)
        effects = [
            {
                "score": e.score,
                "sd": round(e.standardized, 2),
                "unit": e.unit,
                "per_sd": e.per_sd,
                "low": e.low,
                "high": e.high,
                "clear": e.score in sure,
                "n": e.n,
            }
            for e in path.effects
        ]
        items.append(
            {
                "index": i,
                "name": path.name[:80],
                "about": path.about[:400],
                "layers": path.layers,
                "straight": isinstance(path, Direction),
                "space": path.space.name if isinstance(path, Direction) else None,
                "reach": [low, high],
                "low": min(low, -1.0),
                "high": max(high, 1.0),
                "effects": sorted(effects, key=lambda e: -abs(e["sd"])),
                "identity": kept.get(path.name, (None,))[0] if isinstance(kept, dict) else None,
            }
        )
    return {"id": id, "paths": items}
