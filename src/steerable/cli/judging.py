"""The commands that judge: `steerable compare` and `steerable measure`."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Bundle, Device, Json, Preview, Psi, Report, Space, Subject, Targets

compare = typer.Typer(help="Methods side by side on one generator.", no_args_is_help=True)


@compare.command("discover")
def compare_discoverers(
    generator: Subject,
    methods: Annotated[list[str], typer.Argument(help="Names of methods, or all.")],
    scores: Annotated[
        str | None,
        typer.Option(
            help="What judges and teaches, such as age,gender,smile,yaw.", show_default="the truth, where it is known"
        ),
    ] = None,
    targets: Targets = None,
    supervision: Annotated[
        str | None, typer.Option(help="What teaches instead: heads-truth, or a CSV of labels.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each method begins anew.")] = 2,
    people: Annotated[int, typer.Option(help="Held-out samples on which paths are judged.")] = 24,
    labels: Annotated[int | None, typer.Option(help="Labeled pictures.", show_default="2000, above 256 px 450")] = None,
    psi: Annotated[
        float | None,
        typer.Option("--psi", "--trunc", help="Truncation psi.", show_default="1 where the truth is known, else 0.7"),
    ] = None,
    size: Preview = None,
    reach: Annotated[float, typer.Option(help="The longest move, in standard deviations.")] = 4.0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.SETTING=VALUE, such as ganspace.k=20; repeat it.")
    ] = None,
    shown: Annotated[str, typer.Option(help="Seeds of the people on the page's sheets, three at most.")] = "0",
    controls: Annotated[bool, typer.Option(help="Random directions, permuted labels and the like beside.")] = True,
    out: Report = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Methods on one generator: the same people and scores, one table with intervals, sheets side by side."""
    from .compare import run

    run(
        "discover", generator, methods, scores=scores, targets=targets, supervision=supervision, seeds=seeds, people=people,
        labels=labels, psi=psi, size=size, reach=reach, given=set_ or [], shown=shown, controls=controls, out=out, as_json=json,
        device=device,
    )  # fmt: skip


@compare.command("invert")
def compare_inverters(
    generator: Subject,
    methods: Annotated[
        list[str], typer.Argument(help="[FOLDER or photographs] and inverters, also under names: w=optimize.")
    ],
    scores: Annotated[str | None, typer.Option(help="What editability is asked of, such as age,smile,yaw.")] = None,
    targets: Targets = None,
    paths: Annotated[Path | None, typer.Option(help="Paths named like the scores, instead of learning them.")] = None,
    pictures: Annotated[int, typer.Option(help="Pictures of the generator's own, if no photographs are named.")] = 4,
    labels: Annotated[int | None, typer.Option(help="Labeled pictures that paths are learned from.")] = None,
    psi: Annotated[float | None, typer.Option("--psi", "--trunc", help="Truncation of its own pictures.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.SETTING=VALUE, such as w.space=w; repeat it.")
    ] = None,
    crop: Annotated[str, typer.Option(help="How photographs are cut: face, center, or auto.")] = "auto",
    curves: Annotated[bool, typer.Option(help="Draw likeness against editability for each picture.")] = False,
    out: Report = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Inverters on the same photographs, or on the generator's own held-out pictures: likeness, editability, time."""
    from .compare_invert import run

    run(
        generator, methods, scores=scores, targets=targets, paths=paths, pictures=pictures, labels=labels, psi=psi,
        given=set_ or [], crop=crop, curves=curves, out=out, as_json=json, device=device,
    )  # fmt: skip


measure = typer.Typer(help="A number with its protocol.", no_args_is_help=True)


@measure.command("effects")
def measure_effects(
    generator: Subject,
    paths: Bundle,
    scores: Annotated[str, typer.Option(help="What judges, such as face+age.")],
    people: Annotated[int, typer.Option(help="Held-out samples.")] = 8,
    psi: Psi = None,
    size: Preview = None,
    space: Space = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The paths with their effects.")] = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """What one standard deviation along each path does to every score, with intervals."""
    from .measuring import effects

    effects(generator, paths, scores, people, psi, size, space, out, json, device)


@measure.command("ppl")
def measure_ppl(
    generator: Subject,
    space: Annotated[str, typer.Option(help="Where ways are walked.")] = "w",
    where: Annotated[str, typer.Option(help="full (anywhere on a way) or end.")] = "full",
    n: Annotated[int, typer.Option("-n", help="Ways.")] = 100,
    psi: Psi = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Perceptual path length, by LPIPS (alex)."""
    from .measuring import ppl

    ppl(generator, space, where, n, psi, json, device)


@measure.command("disentanglement")
def measure_disentanglement(
    generator: Annotated[str, typer.Argument(help="A generator that knows its truth.")],
    paths: Bundle,
    n: Annotated[int, typer.Option("-n", help="Samples.")] = 4000,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """DCI, MIG, SAP and the others of a set of paths against the true factors, by intervention."""
    from .measuring import disentanglement

    disentanglement(generator, paths, n, json, device)


@measure.command("reconstructor")
def measure_reconstructor(
    generator: Subject,
    paths: Bundle,
    n: Annotated[int, typer.Option("-n", help="Pairs of pictures.")] = 200,
    psi: Psi = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """How often a linear reconstructor tells which path was walked."""
    from .measuring import reconstructor

    reconstructor(generator, paths, n, psi, json, device)
