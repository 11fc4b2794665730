"""The commands that take photographs: codes from them, and edits pasted back into them."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import steerable as st

from ..artifact import header, replacing
from ..edit import Inversion
from ..errors import ArtifactError, SettingError, SteerableError
from ..generator import Generator
from ..images import MOVING, SUFFIXES, files, film, read_images, there_and_back, to_pil
from ..photo import Crop, Portrait, by_face, cropped, paste
from ..photo.likeness import likeness
from ..renderer import fitted
from ..sheet import embedded
from . import page as html
from . import report, work

SHOWN = 256  # px of a picture on the page


@dataclass(frozen=True)
class Work:
    """One photograph and the file that is to hold its inversion, with what must be the same for a file that is there to count as done."""

    photo: Path
    file: Path
    origin: dict[str, Any]

    def done(self, generator: Generator, method: Any) -> bool:
        if not self.file.is_file():
            return False
        try:
            found = header(self.file)
        except ArtifactError:
            return False
        made = {"name": method.name, "settings": method.settings()}
        notes, by = found.get("notes") or {}, found.get("method") or {}
        return (
            (found.get("generator") or {}).get("fingerprint") == generator.fingerprint
            and {k: by.get(k) for k in made} == made
            and all(notes.get(k) == v for k, v in self.origin.items())
            and not notes.get("interrupted")
        )


# -- invert -------------------------------------------------------------------------------------------------------------------------


def invert(
    method: Any,
    generator: str,
    sources: Sequence[Path],
    observe: str | None,
    crop: str,
    face: int | None,
    out: Path | None,
    page: bool,
    json: bool,
    device: str,
) -> None:
    work.checked_crop(crop)
    photos = files(sources)
    g, bars = work.opened(generator, device), report.Bars()
    faces = by_face(crop, g)
    several = len(photos) > 1 or any(Path(s).is_dir() for s in sources)
    works = planned(photos, out, several, {"crop": "face" if faces else "center", "face": face, "observe": observe})
    bars.note(
        f"{g.name}: the {'aligned face' if faces else 'middle'} of {len(works)} photograph{'s'[: len(works) != 1]}"
    )
    finished, failed = [], {}
    for w, begun in timed(works, bars):
        if several and w.done(g, method):
            bars.note(f"{w.photo.name}: done before, in {w.file}")
            finished.append(w)
            continue
        try:
            photo = read_images(w.photo)
            where = cropped(photo, g, faces, face)
        except SteerableError as error:
            if not several:
                raise
            bars.note(f"{w.photo.name} is left out: {error}")
            failed[w.photo.name] = str(error)
            continue
        stopped = inverted(method, g, w, where.cut(photo), where, faces, observe, begun, bars)
        finished.append(w)
        if stopped:
            bars.note("stopped: the best so far was kept; the same command goes on from here")
            break
    told(g, finished, failed, works, several and page, page, json)


def planned(photos: Sequence[Path], out: Path | None, several: bool, origin: dict[str, Any]) -> list[Work]:
    """Which file for which photograph. Raises SettingError where two would share one."""
    if not several:
        file = out or Path(f"{photos[0].stem}.safetensors")
        if file.suffix != ".safetensors":
            raise SettingError(f"an inversion is written as .safetensors; got {file.name}")
        return [Work(photos[0], file, origin | {"sha256": digest(photos[0])})]
    folder = out or Path("inverted")
    if folder.suffix == ".safetensors":
        raise SettingError(f"several photographs make several files: -o names a folder; got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    stems = [p.stem for p in photos]
    if twice := sorted({s for s in stems if stems.count(s) > 1}):
        raise SettingError(f"two photographs are called {twice[0]!r}, which would make one file; rename one")
    return [Work(p, folder / f"{p.stem}.safetensors", origin | {"sha256": digest(p)}) for p in photos]


def timed(works: Sequence[Work], bars: report.Bars) -> Iterator[tuple[Work, float]]:
    """Each with the time it began; from the second on, how long the rest may take is said."""
    first = 0.0
    for i, w in enumerate(works):
        begun = time.perf_counter()
        if first > 1:
            bars.note(
                f"{w.photo.name}: {len(works) - i} left, about {max(1, round(first * (len(works) - i) / 60))} minutes"
            )
        yield w, begun
        first = max(first, time.perf_counter() - begun)


def inverted(
    method: Any,
    g: Generator,
    w: Work,
    target: Any,
    crop: Crop,
    faces: bool,
    observe: str | None,
    begun: float,
    bars: Any,
) -> bool:
    """Find and write one; True if it was stopped early."""
    from ..invert.observe import observation

    operator = observation(observe, (g.size[0], g.size[1]))
    seen = target.to(g.device, g.dtype)
    found: Inversion = method.invert(
        g, operator(seen) if observe else seen, observe=operator if observe else None, progress=bars
    )
    seconds = time.perf_counter() - begun
    portrait = Portrait(found.latents, found.edits, found.notes, crop)
    picture = st.render(g, portrait).float().cpu()
    scores = {k: round(v, 6) for k, v in likeness(target.float(), picture, faces=faces, progress=bars).items()}
    stopped = bool(found.notes.get("interrupted"))
    notes = w.origin | {"photo": w.photo.name, "scores": scores, "seconds": round(seconds, 1), "interrupted": stopped}
    st.save(portrait, w.file, generator=g, method=method, notes=notes)
    return stopped


def told(
    g: Generator,
    finished: Sequence[Work],
    failed: dict[str, str],
    works: Sequence[Work],
    together: bool,
    page: bool,
    json: bool,
) -> None:
    """The numbers, the page, and what went wrong."""
    lines = [line(w) for w in finished]
    written = None
    if page and finished:
        written = finished[0].file.parent / "index.html" if together else finished[0].file.with_suffix(".html")
        with replacing(written) as part:
            part.write_text(document(g, finished, lines), encoding="utf-8")
    result = {"files": [str(w.file) for w in finished], "page": written and str(written)}
    if json:
        report.facts(result | {"photographs": lines, "left out": failed}, True)
    else:
        report.rows(lines, False) if lines else None
        report.facts(result, False)
    if failed:
        raise ArtifactError(f"{len(failed)} of {len(works)} photographs were left out: {', '.join(failed)}")


def line(w: Work) -> dict[str, Any]:
    notes = header(w.file)["notes"]
    return {"photograph": notes["photo"], **notes["scores"], "seconds": notes["seconds"]}


def document(g: Generator, finished: Sequence[Work], lines: Sequence[dict[str, Any]]) -> str:
    """Target, reconstruction and error of each, and the numbers."""
    body = [f"<h1>{html.say(g.name)}</h1><p class='faint'>{len(finished)} inverted</p>", html.table(lines)]
    heads = ("photograph", "reconstruction", "error ×4")
    for w in finished:
        portrait = st.read(w.file, generator=g)
        target, picture = portrait.crop.cut(read_images(w.photo)), st.render(g, portrait).float().cpu()
        error = ((target - picture).abs().mean(1, keepdim=True) * 4 - 1).clamp(-1, 1).expand(-1, 3, -1, -1)
        shown = [embedded(to_pil(fitted(p, min(SHOWN, g.resolution)))[0]) for p in (target, picture, error)]
        top = "".join(f"<th><small>{h}</small></th>" for h in heads)
        cells = "".join(
            f'<td><img src="{s}" alt="{html.say(w.photo.name)}, {h}"></td>' for s, h in zip(shown, heads, strict=True)
        )
        body.append(f'<h2>{html.say(w.photo.name)}</h2><table class="strip"><tr>{top}</tr><tr>{cells}</tr></table>')
    return html.document(f"{g.name}: inversions", body)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# -- edit ---------------------------------------------------------------------------------------------------------------------------


def edit(
    subject: Path,
    moves: Sequence[str],
    paths: Sequence[Path],
    photo: Path | None,
    space: str | None,
    unit: str,
    frames: int,
    fps: float,
    out: Path | None,
    json: bool,
    device: str,
) -> None:
    """Edits of the inversions in a file or a folder, pasted into their photographs if these are given."""
    folder = subject.is_dir()
    subjects = sorted(subject.glob("*.safetensors")) if folder else [subject]
    if not subjects:
        raise ArtifactError(f"there is no inversion (.safetensors) in the folder {subject}")
    if folder and photo is not None and not photo.is_dir():
        raise SettingError(f"a folder of inversions is pasted into a folder of photographs; {photo} is none")
    known: dict[str, Generator] = {}
    made, names = [], []
    for file in report.Bars().over(subjects, "pictures"):
        name = work.generator_of(file)
        g = known.setdefault(name, known.get(name) or work.opened(name, device))
        base = work.inversion(file, g)
        moved = work.asked(moves, paths, g, space, unit)
        target = placed(out, file, photo, folder)
        made.append(written(g, base, file, moved, source(photo, file), target, frames, fps))
        names = [str(m) for m in moved]
    report.facts({"files": [str(f) for f in made], "edits": names}, json)


def placed(out: Path | None, file: Path, photo: Path | None, folder: bool) -> Path:
    """Where the picture goes."""
    if not folder:
        return out or Path(f"{(photo or file).stem}-edited.png")
    where = out or Path("edited")
    if where.suffix.lower() in (*SUFFIXES, *MOVING):
        raise SettingError(f"a folder of inversions makes a folder of pictures; -o {where} is a file")
    where.mkdir(parents=True, exist_ok=True)
    return where / f"{file.stem}.png"


def source(photo: Path | None, file: Path) -> Path | None:
    """The photograph of an inversion; in a folder, by the name it had."""
    if photo is None or not photo.is_dir():
        return photo
    name = Path(str((header(file).get("notes") or {}).get("photo") or "")).name
    if not name or not (photo / name).is_file():
        raise ArtifactError(
            f"{file.name} was made from {name or 'a photograph it does not name'}, which is not in {photo}"
        )
    return photo / name


def written(
    g: Generator,
    base: Inversion,
    file: Path,
    moved: Sequence[work.Move],
    photo: Path | None,
    target: Path,
    frames: int,
    fps: float,
) -> Path:
    """One picture or film, pasted where there is a photograph."""
    finish = lambda picture: picture
    if photo is not None:
        crop = getattr(base, "crop", None)
        if not isinstance(crop, Crop):
            raise SettingError(f"{file} does not say where in a photograph it lies; make it with `steerable invert`")
        if (header(file).get("notes") or {}).get("sha256") != digest(photo):
            report.Bars().note(
                f"{photo.name} is not the very file that {file.name} was made from; its size is what is checked"
            )
        whole, plain = read_images(photo), st.render(g, base).float().cpu()
        finish = lambda picture: paste(whole, crop, picture.float().cpu(), plain=plain)
    shown = lambda share: finish(st.render(g, base, [m.at(share) for m in moved]))
    if target.suffix.lower() in MOVING:
        return film((shown(share)[0] for share in there_and_back(frames)), target, fps=fps)
    return st.write(shown(1.0), target)
