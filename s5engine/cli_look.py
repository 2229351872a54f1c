"""The verbs that look at what is there: metadata, a picture, the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from s5engine.address import place_of
from s5engine.cli_options import Scheduler, Workers, where_dask_works, works_here
from s5engine.console import now
from s5engine.errors import InvalidArgumentError


def info(
    volume: Annotated[str, typer.Argument(help="A store, folder or address; or a run's folder.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for a contact sheet and a histogram as well."),
    ] = None,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Say what a volume or a run is, from its metadata alone; with -o, draw it too.

    It only looks, in this process: workers are not used, and it says so.
    """
    from s5engine.cli_info import run_lines, volume_lines

    works_here("info", scheduler, workers)
    place = place_of(volume)
    is_run = isinstance(place, Path) and (place / "run.json").exists()
    for name, value in run_lines(volume) if is_run else volume_lines(volume):
        typer.echo(f"{name:<10}{value}")
    if out is not None:
        from s5engine.view.contact_sheet import write_contact_sheet

        for path in write_contact_sheet(volume, out):
            typer.echo(path)


def composite(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG.")] = Path("composite.png"),
    method: Annotated[
        Literal["mean", "max"], typer.Option(help="How windows are combined.")
    ] = "mean",
    boost: Annotated[float, typer.Option(help="1…10.")] = 1.0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror horizontally.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Ink dark on light.")] = False,
    reduce: Annotated[int, typer.Option(help="Reduction of each side.")] = 4,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Combine the windows of a run into one picture."""
    import s5engine as s5

    with where_dask_works(scheduler, workers):
        if out.suffix.lower() != ".png":
            raise InvalidArgumentError(
                f"The picture is written as PNG: {out} does not end in .png."
            )
        picture = s5.composite(
            s5.open_run(run).ink,
            method=method,
            boost=boost,
            flip=flip,
            invert=invert,
            reduce=reduce,
        )
        typer.echo(s5.write_picture(picture, out))
        now("s5", "view", run)


def view(
    places: Annotated[
        list[str],
        typer.Argument(help="One or two runs, the volume below them, or volumes alone."),
    ],
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    labels: Annotated[
        Path | None, typer.Option(help="Folder of folders <segment>_<NN> with label.png …")
    ] = None,
    proposal: Annotated[
        Path | None, typer.Option(help="The like, written by `s5 relabel`, to start drawing from.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for saved pictures.")] = Path(
        "out/view"
    ),
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Look at ink over its surface in the browser, and draw labels; also while a run goes.

    What is on the screen is read when it is wanted, in this process: workers are not used, and it
    says so.
    """
    from s5engine.view.app import view as serve

    works_here("view", scheduler, workers)
    serve(places, labels=labels, proposal=proposal, saves=out, port=port, browser=not no_open)
