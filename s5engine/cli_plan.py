"""`s5 plan VERB …`: what a verb with the same options would cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from s5engine.cli_arguments import address_of, box_of, cutting, layer_files, numbers, prediction
from s5engine.cli_options import Verb, planning, scheduled
from s5engine.errors import InvalidArgumentError

#: The verb that is meant where none is named.
_USUAL = "infer"


class _UsuallyInfer(TyperGroup):
    """A group whose first word may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the usual verb in front of what does not begin with one."""
        if args and args[0] not in {*self.commands, "--help"}:
            self._check_volume(args[0])
            args = [_USUAL, *args]
        return super().parse_args(ctx, args)

    def _check_volume(self, word: str) -> None:
        """Refuse a first word that is neither a verb, an option nor a volume."""
        from s5engine.address import local_path

        where = local_path(address_of(word))
        if not word.startswith("-") and where is not None and not where.exists():
            raise InvalidArgumentError(
                f"There is no verb and no volume {word!r}.",
                f"Verbs that can be planned are {', '.join(self.commands)}; a volume is a store, "
                "a folder of layers or an address.",
            )


def planning_group(verbs: Mapping[str, Verb], pipeline: Callable[[str], Any]) -> typer.Typer:
    """Return the commands that plan some verbs, each with the verb's own options.

    Parameters
    ----------
    verbs : mapping of str to callable
        ``infer``, ``fetch``, ``split`` and ``title`` as the command line knows them.
    pipeline : callable
        Name → module of ``pipelines/``.
    """
    group = typer.Typer(
        cls=_UsuallyInfer,
        no_args_is_help=True,
        help="Say what a verb with the same options will cost, from metadata alone; "
        f"without a verb: {_USUAL}.",
    )

    def title(*, measure: bool, **given: Any) -> None:
        """Say what `title` will cost: both of its long steps."""
        _plan_title(pipeline, measure=measure, **given)

    for name, plan in {"infer": _plan_infer, "fetch": _plan_fetch, "title": title}.items():
        group.command(name)(scheduled(planning(verbs[name])(plan)))
    group.command("split")(scheduled(planning(verbs["split"], measured=False)(_plan_split)))
    return group


def _plan_infer(*, measure: bool, **given: Any) -> None:
    """Say what `infer` will cost."""
    import s5engine as s5

    own = ("out", "dtype", "fresh")
    wanted = {name: value for name, value in given.items() if name not in own}
    contrasted, model, asked = prediction(**wanted)
    source = layer_files(wanted["volume"])
    typer.echo(s5.plan(contrasted, model, **asked, source=source, measure=measure))


def _plan_fetch(
    *, measure: bool, source: str, layers: str | None, crop: str | None, zarr_format: str,
    no_pyramid: bool, budget: str | None, **_: Any,
) -> None:  # fmt: skip
    """Say what `fetch` will cost."""
    import s5engine as s5

    told = s5.plan_ingest(
        address_of(source), layers=numbers(layers), box=box_of(crop), budget=budget,
        zarr_format=2 if zarr_format == "2" else 3, pyramid=not no_pyramid, measure=measure,
    )  # fmt: skip
    typer.echo(told)


def _plan_split(
    *, source: str, parts: str | None, layers: str | None, width: int, first_offset: int,
    no_contrast: bool, budget: str | None, **_: Any,
) -> None:  # fmt: skip
    """Say what `split` will cost."""
    import s5engine as s5

    cut_from, asked = cutting(source, parts, layers, width, first_offset, no_contrast, budget)
    typer.echo(s5.plan_split(cut_from, **asked))


def _plan_title(pipeline: Callable[[str], Any], *, measure: bool, **given: Any) -> None:
    import s5engine as s5

    settings = s5.read_title_settings(given["settings"] or pipeline("title").SETTINGS)
    model = s5.load_checkpoint(given["checkpoint"], device=given["device"], trust=given["trust"])
    passed = {name: given[name] for name in ("source", "budget", "batch", "precision")}
    for step, told in (
        pipeline("title_plan").plan_title(model, settings, measure=measure, **passed).items()
    ):
        typer.secho(step, bold=True)
        typer.echo(told)
