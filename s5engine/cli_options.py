"""Options that several verbs share: what they are called, and where dask works."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

Budget = Annotated[
    str | None, typer.Option(help='Memory to stay within, e.g. "8 GiB". [default: 60 % of it]')
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start afresh instead of going on.")]
Crop = Annotated[
    str | None, typer.Option(help="y0,y1,x0,x1 in segment pixels, half-open, e.g. 0,3100,0,6100.")
]
Checkpoint = Annotated[Path, typer.Option(help="A 2025 Lightning .ckpt, or one of this package.")]
Device = Annotated[
    str | None, typer.Option(help="cuda, mps or cpu. [default: the first of them that is there]")
]
Precision = Annotated[str, typer.Option(help="auto, float32, float16 or bfloat16.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Unpickle any class in the checkpoint. It can run code.")
]


Scheduler = Annotated[
    str, typer.Option(help="threads, processes, tcp://host:8786 or a scheduler file.")
]
Workers = Annotated[
    int | None, typer.Option(help="Threads, or processes. [default: what the machine has]")
]
Plan = Annotated[
    bool, typer.Option("--plan", help="Only say what it will cost, from metadata alone.")
]
Measure = Annotated[
    bool, typer.Option("--measure", help="Plan, and time a little of it for the expected time.")
]


def where_dask_works(
    scheduler: str, workers: int | None, budget: str | None = None
) -> AbstractContextManager[Any]:
    """Return a context in which dask works where ``--scheduler`` and ``--workers`` say."""
    if scheduler == "threads" and workers is None:  # as dask works anyway
        return nullcontext()
    import s5engine as s5

    return s5.cluster(scheduler, workers=workers, budget=budget)


def works_here(verb: str, scheduler: str, workers: int | None) -> None:
    """Say that workers are not used, where a verb that dask has no part in is given some."""
    if scheduler != "threads" or workers is not None:
        from s5engine.console import say

        say(f"{verb}: works in this process; workers are not used")


def _say_version(asked: bool) -> None:
    """Say the version, and nothing else."""
    if asked:
        from s5engine import __version__

        typer.echo(f"s5engine {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
]
