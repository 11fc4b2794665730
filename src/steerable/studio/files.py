"""What comes in from a person and goes out to one: direction files, masks, sessions, pictures, and the jobs that make them."""

import asyncio
import base64
import binascii
import json
import secrets
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from pydantic import Field, ValidationError

from .. import artifact
from ..discover import DISCOVERERS
from ..errors import ArtifactError, SettingError, UnknownName
from ..images import to_pil
from ..invert import KNOWN
from ..path import Paths
from .about import described
from .asks import House, Of, Who, later
from .jobs import Job
from .people import Person
from .pictures import Easel
from .session import Id, Number, Session, Strict
from .worker import Stop

router = APIRouter()
FORMAT = 1
Value = str | int | float | bool | None


class Discover(Strict):
    kind: Literal["discover"]
    generator: str = Field(max_length=400)
    method: str = Field(max_length=60)
    settings: dict[Annotated[str, Field(max_length=40)], Value] = Field({}, max_length=60)
    scores: str | None = Field(None, max_length=80)


class Measure(Strict):
    kind: Literal["measure"]
    session: Session
    scores: str = Field(max_length=80)
    people: int = Field(8, ge=2, le=64)


class Sheet(Strict):
    kind: Literal["sheet"]
    session: Session


class Walk(Strict):
    kind: Literal["walk"]
    session: Session
    format: Literal["mp4", "gif"] = "mp4"
    frames: int = Field(49, ge=8, le=200)
    size: int = Field(512, ge=16, le=1024)


class Invert(Strict):
    kind: Literal["invert"]
    generator: str = Field(max_length=400)
    photo: Id
    method: str = Field("optimize", max_length=60)
    settings: dict[Annotated[str, Field(max_length=40)], Value] = Field({}, max_length=60)
    crop: Literal["auto", "face", "center"] = "auto"
    face: int | None = Field(None, ge=0, le=100)


class Hunt(Strict):
    kind: Literal["search"]
    session: Session
    search: Id | None = None
    slider: Id | None = None
    t: Number = 0.0


class Fetch(Strict):
    kind: Literal["fetch"]
    generator: str = Field(max_length=400)


class Bundle(Strict):
    """An exported session: the edit list, and everything it names, as it was."""

    format: Literal[1]
    generator: dict[str, str]
    session: Session
    paths: dict[str, str] = Field({}, max_length=60)
    masks: dict[str, str] = Field({}, max_length=4)
    photos: dict[str, str] = Field({}, max_length=2)
    originals: dict[str, str] = Field({}, max_length=2)


Asked = Annotated[Discover | Measure | Invert | Hunt | Sheet | Walk | Fetch, Field(discriminator="kind")]


# -- in -----------------------------------------------------------------------------------------------------------------------------


async def saved(request: Request, who: Person) -> File:
    """A request's body as a file under a name of ours."""
    part = who.shelf.folder / f"steerable-studio-{secrets.token_hex(8)}"
    with part.open("wb") as out:
        async for chunk in request.stream():
            out.write(chunk)
    return part


@router.post("/paths")
async def upload_paths(
    request: Request, studio: House, who: Who, generator: str, space: str | None = None
) -> dict[str, Any]:
    """A file of directions, of ours or published; nothing in it is executed."""
    part = await saved(request, who)

    def work(easel: Easel, stop: Stop) -> dict[str, Any]:
        id = who.shelf.keep_paths(part, easel.generator, space or None)
        return described(id, who.shelf.paths(id, easel.generator))

    try:
        return await later(studio, who, f"upload-{part.name}", studio.allowed(generator), work)
    finally:
        part.unlink(missing_ok=True)


@router.post("/mask")
async def upload_mask(request: Request, who: Who) -> dict[str, str]:
    return {"id": await asyncio.to_thread(who.shelf.keep_mask, await request.body())}


@router.post("/photo")
async def upload_photo(request: Request, who: Who) -> dict[str, str]:
    return {"id": await asyncio.to_thread(who.shelf.keep_original, await request.body())}


@router.get("/mask/{id}")
async def mask(id: Id, who: Who) -> FileResponse:
    return FileResponse(who.shelf.file("mask", id), media_type="image/png")


@router.post("/bundle")
async def upload_bundle(request: Request, studio: House, who: Who) -> dict[str, Any]:
    """An exported session. What it holds goes through the same readers as any upload, and must be what it says it is."""
    try:
        bundle = Bundle.model_validate_json(await request.body())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ArtifactError(f"this is not an exported session: {where or 'it'}: {error.errors()[0]['msg']}") from error

    def work(easel: Easel, stop: Stop) -> dict[str, Any]:
        if easel.generator.fingerprint != bundle.generator.get("fingerprint"):
            raise ArtifactError(f"this session was made with other weights of {bundle.session.generator}")
        for kind, held in (
            ("paths", bundle.paths),
            ("mask", bundle.masks),
            ("photo", bundle.photos),
            ("original", bundle.originals),
        ):
            for id, text in held.items():
                unpack(who, kind, id, text, easel)
        return {"session": bundle.session.model_dump(mode="json")}

    return await later(studio, who, "bundle", studio.allowed(bundle.session.generator), work)


def unpack(who: Person, kind: str, id: str, text: str, easel: Easel) -> None:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ArtifactError(f"the session's {kind} is damaged") from error
    if kind in ("mask", "original"):
        found = (who.shelf.keep_mask if kind == "mask" else who.shelf.keep_original)(data)
    else:
        found = who.shelf.put(kind, data)
        (who.shelf.paths if kind == "paths" else who.shelf.photo)(found, easel.generator)
    if found != id:
        raise ArtifactError(f"the session's {kind} {id[:16]!r} is not the one it was exported with")


# -- out ----------------------------------------------------------------------------------------------------------------------------


def download(data: bytes, name: str, kind: str) -> Response:
    """A file under a name of ours."""
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


@router.post("/export/png")
async def export_png(ask: Of, studio: House, who: Who) -> Response:
    """The picture at full size, without loss."""

    def work(easel: Easel, stop: Stop) -> bytes:
        file = who.shelf.folder / "export.png"
        to_pil(easel.picture(ask.session, stop=stop))[0].save(file, "PNG")
        return file.read_bytes()

    return download(
        await later(studio, who, "png", studio.allowed(ask.session.generator), work), "picture.png", "image/png"
    )


@router.post("/export/pasted")
async def export_pasted(ask: Of, studio: House, who: Who) -> Response:
    """The photograph with the edited face in it."""

    def work(easel: Easel, stop: Stop) -> bytes:
        file = who.shelf.folder / "pasted.png"
        to_pil(easel.pasted(ask.session, who.shelf, stop))[0].save(file, "PNG")
        return file.read_bytes()

    return download(
        await later(studio, who, "pasted", studio.allowed(ask.session.generator), work), "photo.png", "image/png"
    )


@router.post("/export/directions")
async def export_directions(ask: Of, studio: House, who: Who) -> Response:
    """All sliders, under their names and descriptions, turned and cleaned as they are: one of our own files."""

    def work(easel: Easel, stop: Stop) -> bytes:
        paths = Paths(tuple(easel.paths(ask.session)))
        if not paths:
            raise SettingError("there are no sliders to save")
        file = who.shelf.folder / "export.safetensors"
        artifact.save(paths, file, generator=easel.generator)
        return file.read_bytes()

    data = await later(studio, who, "directions", studio.allowed(ask.session.generator), work)
    return download(data, "directions.safetensors", "application/octet-stream")


@router.post("/export/session")
async def export_session(ask: Of, studio: House, who: Who) -> Response:
    """Everything that makes the picture, in one file of JSON that brings it back anywhere."""
    s = ask.session

    def work(easel: Easel, stop: Stop) -> bytes:
        packed = lambda kind, ids: {
            id: base64.b64encode(who.shelf.file(kind, id).read_bytes()).decode() for id in ids if id
        }
        bundle = Bundle(
            format=FORMAT,
            generator={"name": s.generator, "fingerprint": easel.generator.fingerprint},
            session=s,
            paths=packed("paths", {x.bundle for x in s.sliders}),
            masks=packed("mask", [s.local.mask] if s.local else []),
            photos=packed("photo", [s.photo]),
            originals=packed("original", [s.original]),
        )
        return json.dumps(bundle.model_dump(mode="json"), indent=1).encode()

    data = await later(studio, who, "session", studio.allowed(s.generator), work)
    return download(data, "session.json", "application/json")


# -- jobs ---------------------------------------------------------------------------------------------------------------------------


@router.post("/jobs")
async def start(ask: Asked, studio: House, who: Who) -> dict[str, Any]:
    if isinstance(ask, Discover):
        if ask.method not in DISCOVERERS:
            raise UnknownName("discovery method", ask.method, DISCOVERERS)
        DISCOVERERS[ask.method].with_settings(dict(ask.settings))  # so that a wrong setting is told at once
    if isinstance(ask, Invert):
        if ask.method not in KNOWN:
            raise UnknownName("inverter", ask.method, KNOWN)
        KNOWN[ask.method].with_settings(dict(ask.settings))
    name = studio.allowed(ask.session.generator if isinstance(ask, (Measure, Hunt, Sheet, Walk)) else ask.generator)
    if isinstance(ask, (Discover, Measure)) and ask.scores:
        studio.judge(ask.scores)

    def finished(folder: File, result: dict[str, Any]) -> dict[str, Any]:
        """In the reader's thread: paths that were found become a bundle of this person."""
        if result.get("file") not in ("paths.safetensors", "photo.safetensors"):
            return result
        g = studio.generator(name)
        if result["file"] == "photo.safetensors":
            id = who.shelf.put("photo", (folder / "photo.safetensors").read_bytes())
            who.shelf.photo(id, g)
            return {**result, "photo": id}
        id = who.shelf.keep_paths(folder / "paths.safetensors", g)
        return {**result, "bundle": described(id, who.shelf.paths(id, g))}

    job = Job(
        ask.kind, {**ask.model_dump(mode="json"), "device": studio.device}, who.shelf.folder, studio.hands, finished
    )
    return who.start(job).told()


@router.get("/jobs/{id}")
async def progress(id: str, who: Who, seen: int = 0) -> dict[str, Any]:
    return who.job(id).told(seen)


@router.post("/jobs/{id}/stop")
async def stop(id: str, who: Who) -> dict[str, Any]:
    """End it early and keep the best so far."""
    who.job(id).stop()
    return who.job(id).told()


@router.delete("/jobs/{id}")
async def cancel(id: str, who: Who) -> dict[str, Any]:
    who.job(id).cancel()
    return who.job(id).told()


@router.get("/jobs/{id}/file")
async def result(id: str, who: Who) -> FileResponse:
    job = who.job(id)
    name = job.result.get("file") if job.state == "done" else None
    if name not in ("sheet.png", "walk.mp4", "walk.gif"):
        raise SettingError("this job has no file to download")
    return FileResponse(job.folder / name, filename=name)
