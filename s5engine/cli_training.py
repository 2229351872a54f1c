"""The verbs of the training loop: tiles, train, relabel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from s5engine.cli_arguments import address_of, numbers
from s5engine.cli_options import (
    Budget,
    Device,
    Fresh,
    Out,
    Scheduler,
    Workers,
    where_dask_works,
    works_here,
)
from s5engine.console import now


def train(
    tileset: Annotated[Path, typer.Argument(help="A packed tileset, see `s5 tiles`.")],
    settings: Annotated[
        Path | None, typer.Argument(help="TOML with other settings than those of 2025.")
    ] = None,
    out: Out = Path("out/train"),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Fine-tune from these weights, with a fresh optimizer.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the tiles.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles per step.")] = None,
    windows: Annotated[
        str | None, typer.Option(help="First layer of each layer window, e.g. 3-5.")
    ] = None,
    device: Device = None,
    fresh: Fresh = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Train a network on a tileset, resumable; print its best checkpoint.

    On one device of this process: workers are not used, and it says so.
    """
    import s5engine as s5
    from s5engine.training.settings import read_train_settings

    works_here("train", scheduler, workers)
    given = {"epochs": epochs, "batch": batch, "windows": numbers(windows)}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    best = s5.train(
        s5.open_tileset(tileset),
        out,
        checkpoint=checkpoint,
        device=device,
        resume=not fresh,
        settings=None if settings is None else read_train_settings(settings),
        **chosen,
    )
    typer.echo(best)
    now("s5", "infer", "VOLUME", "--checkpoint", best, "--windows", "FIRST")


def tiles(
    volume: Annotated[str, typer.Argument(help="A store, folder or address of layers.")],
    labels: Annotated[
        Path, typer.Argument(help="Folder of folders <segment>_<NN> with label.png, ignore.png.")
    ],
    store: Annotated[Path, typer.Argument(help="The tileset to write.")],
    tile: Annotated[int, typer.Option(help="Side of a tile, px.")] = 128,
    stride: Annotated[int, typer.Option(help="Step between tiles, px.")] = 64,
    layers: Annotated[str | None, typer.Option(help="Layer numbers, e.g. 4-19.")] = None,
    budget: Budget = None,
    fresh: Fresh = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Find the tiles to train on and copy them, resumable; contrast is applied if it was not."""
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        plain = s5.open_volume(address_of(volume))
        papyrus = None if plain.attrs.get("contrast") else s5.parts(s5.papyrus_mask(plain))
        contrasted = plain if plain.attrs.get("contrast") else s5.contrast(plain)
        made = s5.build_tileset(
            s5.parts(s5.to_uint8(contrasted)),
            labels,
            store,
            tile=tile,
            stride=stride,
            layers=numbers(layers),
            packed=True,
            papyrus=papyrus,
            budget=budget,
            resume=not fresh,
        )
        typer.echo(made.store)
        now("s5", "train", made.store)


def relabel(
    run: Annotated[Path, typer.Argument(help="Folder of a run, best one made with --spread.")],
    part: Annotated[Path, typer.Argument(help="Folder of label.png, ignore.png, mask.png.")],
    out: Out = Path("out/relabel"),
    ink_above: Annotated[float, typer.Option(help="Surely ink from here on, 0…1.")] = 0.6,
    blank_below: Annotated[float, typer.Option(help="Surely blank up to here, 0…1.")] = 0.3,
    max_spread: Annotated[
        float, typer.Option(help="Windows and views may disagree by this, 0…0.5.")
    ] = 0.2,
    drawn: Annotated[
        Literal["keep", "question"],
        typer.Option(help="Drawn ink that looks blank: keep it, or move it to the ignore mask."),
    ] = "keep",
    threshold: Annotated[int, typer.Option(help="Gray value of the files that counts as 1.")] = 255,
    margin: Annotated[
        int, typer.Option(help="Pixels around drawn ink where the drawn outline is believed.")
    ] = 0,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Propose a label and an ignore mask from a run, for the next round of training."""
    import s5engine as s5

    with where_dask_works(scheduler, workers):
        report = s5.relabel(
            run,
            part,
            out,
            ink_above=ink_above,
            blank_below=blank_below,
            max_spread=max_spread,
            drawn=drawn,
            threshold=threshold,
            margin=margin,
        )
        for path in (report.label, report.ignore, report.changes, report.record, *report.backups):
            typer.echo(path)
        # The viewer finds a part's files by its name.
        if out.absolute().name == part.absolute().name:
            now("s5", "view", run, "--labels", part.parent, "--proposal", out.parent)
        else:
            now("s5", "view", run)
