"""The command line: one thin verb per step of the line."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from s5engine.address import local_path
from s5engine.budget import share_arena
from s5engine.cli_arguments import (
    address_of,
    box_of,
    cutting,
    layer_files,
    numbers,
    plan_title,
    prediction,
)
from s5engine.cli_check import check
from s5engine.cli_look import composite, info, view
from s5engine.cli_options import (
    Budget,
    Checkpoint,
    Crop,
    Device,
    Fresh,
    Measure,
    Out,
    Plan,
    Precision,
    Scheduler,
    Trust,
    Version,
    Workers,
    where_dask_works,
)
from s5engine.cli_training import relabel, tiles, train
from s5engine.console import now, watched_output
from s5engine.errors import InvalidArgumentError, S5Error

#: Verbs that can be planned; the first where none is named.
PLANNED = ("infer", "fetch", "split", "title")


class _Verbs(TyperGroup):
    """The verbs; ``plan VERB …`` stands for ``VERB … --plan``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the planned verb in front."""
        if args[:1] == ["plan"] and args[1:2] not in ([], ["-h"], ["--help"]):
            _, first, *rest = args
            if first not in PLANNED:
                _check_volume(first)
                first, rest = PLANNED[0], [first, *rest]
            args = [first, *rest, "--plan"]
        return super().parse_args(ctx, args)


def _check_volume(word: str) -> None:
    """Refuse a first word that is neither a verb, an option nor a volume."""
    where = local_path(address_of(word))
    if not word.startswith("-") and where is not None and not where.exists():
        raise InvalidArgumentError(
            f"There is no verb and no volume {word!r}.",
            f"Verbs that can be planned are {', '.join(PLANNED)}; a volume is a store, "
            "a folder of layers or an address.",
        )


app = typer.Typer(
    name="s5",
    cls=_Verbs,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def any_verb(version: Version = False) -> None:
    """Show the ink in unrolled Herculaneum scroll segments, whatever their size."""


#: Exit status after Ctrl-C.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a mistake of the user's ends in one clear line."""
    share_arena()
    with watched_output() as output:
        try:
            app()
        except S5Error as error:
            _complain(error.on_the_command_line())
            sys.exit(1)
        except SystemExit as end:
            if end.code == _INTERRUPTED:  # typer turns Ctrl-C into this
                _complain("stopped. The same command goes on where it was.")
            raise
        except OSError as error:
            if error is not output.failure:
                raise
            _complain(f"the output cannot be written: {error.strerror}.")
            sys.exit(1)


def _complain(text: str) -> None:
    """Say what is wrong, if there is anybody to hear it."""
    with contextlib.suppress(OSError, ValueError):
        typer.secho(f"s5: {text}", fg="red", err=True)


@app.command()
def demo(
    out: Out = Path("out/demo"),
    budget: Budget = None,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Run the whole line on a synthetic segment served on this machine, and show it."""
    with where_dask_works(scheduler, workers, budget):
        typer.echo(_pipeline("demo").demo(out, budget=budget))
        now("s5", "view", out / "run", out / "volume.zarr")


@app.command()
def title(
    checkpoint: Checkpoint,
    source: Annotated[
        str | None, typer.Option(help="Another address or folder of the layers.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML with other settings than the 2025 submission's.")
    ] = None,
    out: Out = Path("out/title"),
    device: Device = None,
    precision: Precision = "auto",
    batch: Annotated[int | None, typer.Option(help="Tiles per forward pass.")] = None,
    budget: Budget = None,
    trust: Trust = False,
    fresh: Fresh = False,
    plan: Plan = False,
    measure: Measure = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Read the title of Scroll 5: from the data server's address to the picture."""
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        pipeline = _pipeline("title")
        chosen = s5.read_title_settings(settings or pipeline.SETTINGS)
        model = s5.load_checkpoint(checkpoint, device=device, trust=trust)
        means: dict[str, Any] = {
            "source": source,
            "budget": budget,
            "batch": batch,
            "precision": precision,
        }
        if plan or measure:
            for step, told in plan_title(model, chosen, measure=measure, **means).items():
                typer.secho(step, bold=True)
                typer.echo(told)
            return
        typer.echo(pipeline.read_title(model, chosen, out, resume=not fresh, **means))
        now("s5", "view", out / "run", out / "volume.zarr")


app.command()(info)


@app.command()
def fetch(
    source: Annotated[str, typer.Argument(help="Address or folder of the layers, or a name.")],
    store: Annotated[Path, typer.Argument(help="The zarr store to write.")],
    layers: Annotated[str | None, typer.Option(help="Layer numbers, e.g. 3-20 or 3,4,5.")] = None,
    crop: Crop = None,
    zarr_format: Annotated[
        Literal["3", "2"], typer.Option(help="2 is for older tools, VC3D among them.")
    ] = "3",
    no_pyramid: Annotated[
        bool, typer.Option("--no-pyramid", help="Without the coarser levels for viewers.")
    ] = False,
    budget: Budget = None,
    fresh: Fresh = False,
    plan: Plan = False,
    measure: Measure = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Copy layers into a chunked zarr store, resumable.

    Workers read layers from a disk that all of them see. From a server this process alone reads,
    with eight requests in flight at most: more machines would only ask the server for more. The
    coarser levels are made by workers in any case.
    """
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        asked: dict[str, Any] = {
            "layers": numbers(layers),
            "box": box_of(crop),
            "budget": budget,
            "zarr_format": 2 if zarr_format == "2" else 3,
            "pyramid": not no_pyramid,
        }
        if plan or measure:
            typer.echo(s5.plan_ingest(address_of(source), **asked, measure=measure))
            return
        s5.ingest(address_of(source), store, **asked, resume=not fresh)
        typer.echo(store)
        now("s5", "view", store)


@app.command()
def pyramid(
    store: Annotated[Path, typer.Argument(help="A store that fetch made, or a run's folder.")],
    budget: Budget = None,
    fresh: Fresh = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Add coarser levels to a volume or a run's ink, for viewers; resumable.

    Workers read and write on a disk that all of them see.
    """
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        for level in s5.write_pyramid(store, budget=budget, resume=not fresh):
            typer.echo(f"1:{level.attrs['reduction']} {' × '.join(map(str, level.shape))}")
        now("s5", "view", store)


@app.command()
def split(
    source: Annotated[str, typer.Argument(help="Address or folder of the layers, or a store.")],
    out: Out = Path("data"),
    parts: Annotated[str | None, typer.Option(help="Part numbers, e.g. 2,4 or 1-6.")] = None,
    layers: Annotated[str | None, typer.Option(help="Layer numbers, e.g. 3-20.")] = None,
    width: Annotated[int, typer.Option(help="Width of a part, px.")] = 10_000,
    first_offset: Annotated[int, typer.Option(help="The first part is this much narrower.")] = 0,
    no_contrast: Annotated[bool, typer.Option("--no-contrast", help="Cut only.")] = False,
    budget: Budget = None,
    fresh: Fresh = False,
    plan: Plan = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Write the 2025 tree of parts as TIFF files, all parts in one pass.

    Workers read and write on a disk that all of them see; layers on a server are read by this
    process alone, and the masks made by workers.
    """
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        cut_from, asked = cutting(source, parts, layers, width, first_offset, no_contrast, budget)
        if plan:
            typer.echo(s5.plan_split(cut_from, **asked))
            return
        folders = s5.split(cut_from, out, **asked, resume=not fresh)
        for folder in folders.values():
            typer.echo(folder)
        if folders:
            now("s5", "view", Path(next(iter(folders.values()))).parent)


@app.command()
def infer(
    volume: Annotated[str, typer.Argument(help="A store, folder or address of layers.")],
    checkpoint: Checkpoint,
    windows: Annotated[str, typer.Option(help="First layer of each window, e.g. 3-5 or 3,4.")],
    out: Out = Path("out/run"),
    part: Annotated[int | None, typer.Option(help="Only this part, numbered from 1.")] = None,
    crop: Crop = None,
    stride: Annotated[int, typer.Option(help="Step between tiles, px.")] = 64,
    tta: Annotated[int, typer.Option(help="Test-time augmentation: 0, 1, 2, 3 or 8.")] = 1,
    taper: Annotated[
        Literal["gaussian", "hann", "uniform"], typer.Option(help="Weights where tiles overlap.")
    ] = "gaussian",
    edge: Annotated[
        Literal["cover", "drop"],
        typer.Option(help="Predict every pixel, or drop borders as in 2025."),
    ] = "cover",
    mask: Annotated[
        str, typer.Option(help="auto (layer 10 is not 0), none, or a PNG of the same size.")
    ] = "auto",
    device: Device = None,
    precision: Precision = "auto",
    batch: Annotated[int | None, typer.Option(help="Tiles per forward pass.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16, for the stores.")] = "float32",
    spread: Annotated[
        bool, typer.Option("--spread", help="Keep how far the augmented views disagree.")
    ] = False,
    budget: Budget = None,
    trust: Trust = False,
    fresh: Fresh = False,
    plan: Plan = False,
    measure: Measure = False,
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Predict ink and write it as a run, resumable; contrast is applied if it was not yet."""
    import s5engine as s5

    with where_dask_works(scheduler, workers, budget):
        contrasted, model, asked = prediction(
            volume,
            checkpoint,
            windows,
            part=part,
            crop=crop,
            mask=mask,
            device=device,
            trust=trust,
            stride=stride,
            tta=tta,
            taper=taper,
            edge=edge,
            batch=batch,
            precision=precision,
            budget=budget,
            spread=spread,
        )
        if plan or measure:
            source = layer_files(volume)
            typer.echo(s5.plan(contrasted, model, **asked, source=source, measure=measure))
            return
        ink = s5.predict_ink(contrasted, model, **asked)
        typer.echo(s5.write_run(ink, out, dtype=dtype, resume=not fresh).directory)
        now("s5", "view", out, volume)


app.command()(check)
app.command()(train)
app.command()(tiles)


app.command()(composite)


app.command()(relabel)


app.command()(view)


@app.command(no_args_is_help=True)
def plan(
    verb: Annotated[
        str, typer.Argument(help=f"{', '.join(PLANNED)}; or the volume of {PLANNED[0]}.")
    ],
    scheduler: Scheduler = "threads",
    workers: Workers = None,
) -> None:
    """Say what a verb with the same options will cost: `s5 plan VERB …` is `s5 VERB … --plan`."""
    raise AssertionError(f"{verb} is put in front before")


def _pipeline(name: str) -> Any:
    """Return a module of ``pipelines/``: inside the installed package, or beside it in a clone."""
    inside = f"{__package__}.pipelines"
    return import_module(f"{inside if find_spec(inside) else 'pipelines'}.{name}")
