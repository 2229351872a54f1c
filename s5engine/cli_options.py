"""Options that several verbs share: what they are called, where dask works, and another verb's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Verb = Callable[..., None]

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


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_SCHEDULER = _option(
    "scheduler",
    "threads",
    Annotated[str, typer.Option(help="threads, processes, tcp://host:8786 or a scheduler file.")],
)
_WORKERS = _option(
    "workers",
    None,
    Annotated[
        int | None, typer.Option(help="Threads, or processes. [default: what the machine has]")
    ],
)
_MEASURE = _option(
    "measure",
    False,
    Annotated[bool, typer.Option("--measure", help="Time a little of it, for the expected time.")],
)


def scheduled(verb: Verb) -> Verb:
    """Return the verb with ``--scheduler`` and ``--workers``, run inside `s5engine.cluster`."""

    @functools.wraps(verb)
    def run(*, scheduler: str, workers: int | None, **asked: Any) -> None:
        if scheduler == "threads" and workers is None:  # as dask works anyway
            verb(**asked)
            return
        import s5engine as s5

        with s5.cluster(scheduler, workers=workers, budget=asked.get("budget")):
            verb(**asked)

    return _with_parameters(run, [*_parameters(verb), _SCHEDULER, _WORKERS])


def in_threads(verb: Verb) -> Verb:
    """Return a verb that dask has no part in with the same options, which it says are not used."""

    @functools.wraps(verb)
    def run(*, scheduler: str, workers: int | None, **asked: Any) -> None:
        if scheduler != "threads" or workers is not None:
            from s5engine.console import say

            say(f"{verb.__name__}: works in this process; workers are not used")
        verb(**asked)

    return _with_parameters(run, [*_parameters(verb), _SCHEDULER, _WORKERS])


def planning(verb: Verb, *, measured: bool = True) -> Callable[[Verb], Verb]:
    """Return a decorator that gives a verb the options of a scheduled one, and ``--measure``."""
    own = {_SCHEDULER.name, _WORKERS.name}  # which `scheduled` adds to it as well

    def decorate(plan: Verb) -> Verb:
        parameters = [p for p in _parameters(verb) if p.name not in own]
        return _with_parameters(plan, [*parameters, *([_MEASURE] if measured else [])])

    return decorate


def _parameters(verb: Verb) -> list[inspect.Parameter]:
    """Return the verb's parameters, with annotations as objects, all by keyword."""
    found = inspect.signature(verb, eval_str=True).parameters.values()
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in found]


def _with_parameters(verb: Verb, parameters: Sequence[inspect.Parameter]) -> Verb:
    """Return the verb with another signature, which is what typer reads."""
    told: Any = verb
    told.__signature__ = inspect.Signature(list(parameters))
    told.__annotations__ = {p.name: p.annotation for p in parameters}
    told.__dict__.pop("__wrapped__", None)
    return verb


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
