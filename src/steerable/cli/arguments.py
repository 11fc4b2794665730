"""Arguments and options that several commands take: each is said once."""

from pathlib import Path
from typing import Annotated

import typer

Subject = Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
Seeds = Annotated[str, typer.Option(help="Seeds, such as 0-7 or 3,85,100-102.")]
Psi = Annotated[
    float | None,
    typer.Option(
        "--psi",
        "--trunc",
        help="Truncation psi: 1 changes nothing, 0 is the mean.",
        show_default="0.7 where there is a w",
    ),
]
Size = Annotated[int, typer.Option(help="Height of each picture in px.")]
Preview = Annotated[int | None, typer.Option(help="Read previews of this height (px) if the scorer vouches for them.")]
Bundle = Annotated[Path, typer.Option(help="A file of paths.")]
Space = Annotated[
    str | None, typer.Option(help="The space of a foreign file's directions, where the file does not say.")
]
Layers = Annotated[str | None, typer.Option(help="Where edits act: 4-7 (rows of w+), 32-128px, coarse, middle, fine.")]
Steps = Annotated[str, typer.Option("--t", help="Strengths in standard deviations, such as -3,-1.5,0,1.5,3.")]
Part = Annotated[
    str | None, typer.Option(help="Which generator of a checkpoint: G, g_ema …", show_default="the averaged one")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="What a checkpoint does not tell, such as mapping_lr=0.01; repeatable."),
]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="The file to write.")]
Targets = Annotated[str | None, typer.Option(help="Only these of the scores.", show_default="all that were named")]
Report = Annotated[
    Path | None, typer.Option("-o", "--out", help="A page (.html), .json, or the record (.safetensors).")
]
