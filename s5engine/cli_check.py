"""The verb that reads all of a store or a run and names, or makes again, what is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s5engine.address import place_of
from s5engine.cli_options import Budget, Scheduler, Workers, works_here
from s5engine.console import now
from s5engine.errors import StoreError

if TYPE_CHECKING:
    from s5engine.store.check import Damage


def check(
    place: Annotated[
        str, typer.Argument(help="A zarr store or address of one, or the folder of a run.")
    ],
    repair: Annotated[
        bool, typer.Option("--repair", help="Make what is damaged again: of a volume or a run.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Where the layers of a volume are now, for --repair.")
    ] = None,
    budget: Budget = None,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Read all of a store or a run, and name the files that are damaged or gone.

    The exit status is 1 if there are any. With --repair, damaged pieces of a volume are fetched
    from its source again; a run forgets its damaged blocks, and the command that wrote it makes
    them again.
    """
    works_here("check", scheduler, workers)
    from s5engine.infer.check_run import check_run, reopen_run
    from s5engine.infer.record import RECORD_NAME
    from s5engine.store.check import check_store, repair_volume

    where = place_of(place)
    is_run = isinstance(where, Path) and (where / RECORD_NAME).exists()
    damages = check_run(place, budget=budget) if is_run else check_store(place, budget=budget)
    for damage in damages:
        typer.echo(damage.told)
    if not damages:
        typer.echo(f"{place}: all of it can be read")
        return
    if not repair:
        typer.echo(f"{place}: {_count(damages)} damaged")
        now("s5", "check", place, "--repair")
        raise typer.Exit(1)
    if is_run:
        blocks = reopen_run(place, damages)
        typer.echo(
            f"{place}: {blocks} {'block' if blocks == 1 else 'blocks'} will be made again, and "
            "the coarser levels, by the same command that wrote the run"
        )
        return
    if not isinstance(where, Path):
        raise StoreError(
            f"The store {place} is not on this machine.", "Repair it where it lies, or copy it."
        )
    repair_volume(where, damages, source=source, budget=budget)
    left = check_store(where, budget=budget)
    for damage in left:
        typer.echo(damage.told)
    typer.echo(f"{place}: {_count(damages)} made again")
    if left:
        raise typer.Exit(1)
    now("s5", "view", where)


def _count(damages: list[Damage]) -> str:
    return f"{len(damages)} chunk file{'' if len(damages) == 1 else 's'}"
