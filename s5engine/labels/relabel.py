"""Relabel a part from a run: band by band, new files beside or in place of those drawn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s5engine.address import local_file
from s5engine.console import progress as show_progress
from s5engine.console import say
from s5engine.errors import InvalidArgumentError, S5Error, StoreError
from s5engine.infer.run import Run, open_run
from s5engine.labels.changes import Changes
from s5engine.labels.evidence import RunEvidence
from s5engine.labels.part_folder import NearRows, PartFolder, Rows, find_part
from s5engine.labels.relabel_rule import Drawn, Mask, Proposal, RelabelRule, propose
from s5engine.paths import check_output
from s5engine.store.backups import move_in
from s5engine.store.png import GrayPng
from s5engine.training.labelled import IGNORE, LABEL, MASK

CHANGES, RECORD = "changes.png", "relabel.json"
#: At most so many rows are in memory where the run says nothing.
_QUIET_ROWS = 512


@dataclass(frozen=True)
class RelabelReport:
    """What relabelling left.

    Attributes
    ----------
    label, ignore, changes, record : Path
        The new files: masks as 0/255 gray PNGs, a reduced colour picture, and ``relabel.json``.
    counts : dict of str to int
        Pixels by kind: ``kept``, ``added``, ``questioned``, ``doubted`` (newly ignored because
        unsure), ``ignored_before`` and ``predicted``.
    backups : tuple of Path
        Former files of the same names, numbered.
    """

    label: Path
    ignore: Path
    changes: Path
    record: Path
    counts: dict[str, int]
    backups: tuple[Path, ...]


def relabel(
    run: Run | str | Path,
    part: str | Path,
    out: str | Path,
    *,
    ink_above: float = 0.6,
    blank_below: float = 0.3,
    max_spread: float = 0.2,
    drawn: Drawn = "keep",
    threshold: int = 255,
    margin: int = 0,
    progress: bool = True,
) -> RelabelReport:
    """Propose a label and an ignore mask from a run, for the next round of training.

    A pixel is ink where every layer window shows at least ``ink_above``, blank where every one
    shows at most ``blank_below``, both only where windows and augmented views agree to
    ``max_spread``; all else is ignored. What a person drew stays. What was not predicted (no tile,
    or outside mask.png) is left as it was.

    Parameters
    ----------
    run : Run, str or Path
        A finished run, or its folder. Predict with ``spread=True``; without it the views are taken
        to agree.
    part : str or Path
        Folder that may hold ``label.png``, ``ignore.png``, ``mask.png``, of the size of the run's
        ink or of the whole part that the ink is a crop of. An empty one begins a new label.
    out : str or Path
        Folder for ``label.png``, ``ignore.png``, ``changes.png`` and ``relabel.json``; it may be
        ``part``. Former files stay as numbered backups, ``label.1.png``.
    ink_above, blank_below, max_spread : float
        See `s5engine.labels.relabel_rule.RelabelRule`.
    drawn : {"keep", "question"}
        Drawn ink that is surely blank stays ink, or is moved to the ignore mask. In either case it
        is counted and red in the picture.
    threshold : int
        The smallest gray value, 1…255, that counts as 1 in the part's files.
    margin : int
        So many pixels around drawn ink, 0…256, the drawn outline is believed: nothing is added or
        ignored there.
    progress : bool
        Show how far it is.

    Returns
    -------
    RelabelReport

    Raises
    ------
    InvalidArgumentError
        If settings or sizes do not fit, or nothing was predicted; nothing is written.
    StoreError
        If the run is not finished or holds no ink, or ``out`` cannot be written.
    SourceError
        If a file of the part is missing or damaged.
    """
    rule = RelabelRule(ink_above, blank_below, max_spread, drawn, threshold, margin)
    opened = run if isinstance(run, Run) else open_run(run)
    evidence = RunEvidence(opened)
    folder = find_part(part, evidence.box, opened.record["settings"].get("part"))
    if progress and not evidence.has_spread:
        say("relabel: the run holds no spread: views are taken to agree")
    if progress and not evidence.has_tiles:
        say("relabel: the run holds no tiles: ink of 0 is taken for not predicted")
    work = _Work(evidence, folder, rule)
    check_output(out, opened.directory, what="folder of proposals")
    out = local_file(out, "folder of proposals")
    with _folder_for(out) as made:
        counts = _write(work, made, progress)
        _write_record(made / RECORD, opened, folder, rule, counts, evidence.has_spread)
        names = (LABEL, IGNORE, CHANGES, RECORD)
        backups = move_in(made, out, names)
    label, ignore, changes, record = (out / name for name in names)
    return RelabelReport(label, ignore, changes, record, counts, tuple(backups))


@dataclass(frozen=True)
class _Work:
    """What a pass over the part needs."""

    evidence: RunEvidence
    folder: PartFolder
    rule: RelabelRule

    def rows(self, name: str, missing: bool) -> Rows:
        """Return a file's rows."""
        file = self.folder.files.get(name)
        return Rows(file, self.folder.shape[1], self.rule.threshold, missing)


def _write(work: _Work, made: Path, progress: bool) -> dict[str, int]:
    """Write label, ignore mask and picture in one pass; return the counts."""
    shape = work.folder.shape
    changes = Changes(shape)
    counts = dict.fromkeys(
        ("kept", "added", "questioned", "doubted", "ignored_before", "predicted"), 0
    )
    files = [work.rows(LABEL, False), work.rows(IGNORE, False), work.rows(MASK, True)]
    outline = NearRows(work.rows(LABEL, False), shape[0], work.rule.margin)
    bands = list(_bands(work))
    with (
        (made / LABEL).open("wb") as label_file,
        (made / IGNORE).open("wb") as ignore_file,
        show_progress("relabel", shape[0], "rows", enabled=progress) as meter,
    ):
        pictures = GrayPng(label_file, shape), GrayPng(ignore_file, shape)
        for rows in bands:
            drawn = [file.take(rows.stop - rows.start) for file in files]
            near = outline.take(rows.stop - rows.start)
            new = _band(work, rows, drawn, near, changes, counts)
            for picture, mask in zip(pictures, new, strict=True):
                picture.append(mask.astype(np.uint8) * np.uint8(255))
            meter.advance(rows.stop - rows.start)
        for picture in pictures:
            picture.finish()
    for file in files:
        file.finish()
    if not counts["predicted"]:
        raise InvalidArgumentError(
            "Nothing of this run's ink was predicted on papyrus: it says nothing of the labels.",
            "Check the papyrus masks of the run and of the part.",
        )
    changes.save(
        made / CHANGES,
        {
            "kept label": counts["kept"],
            "added ink": counts["added"],
            "label questioned": counts["questioned"],
            "newly ignored": counts["doubted"],
            "ignored before": counts["ignored_before"],
        },
    )
    return counts


def _bands(work: _Work) -> Iterator[slice]:
    """Yield the part's rows in bands: on the blocks of the ink, and what lies above and below."""
    top, bottom = work.folder.place.y0, work.folder.place.y1
    for y in range(0, top, _QUIET_ROWS):
        yield slice(y, min(y + _QUIET_ROWS, top))
    for rows in work.evidence.rows():
        yield slice(top + rows.start, top + rows.stop)
    for y in range(bottom, work.folder.shape[0], _QUIET_ROWS):
        yield slice(y, min(y + _QUIET_ROWS, work.folder.shape[0]))


def _band(
    work: _Work,
    rows: slice,
    drawn: list[Mask],
    near: Mask | None,
    changes: Changes,
    counts: dict[str, int],
) -> tuple[Mask, Mask]:
    """Return the new label and ignore mask of a band; paint and count on the way."""
    label, ignore, papyrus = drawn
    place, width = work.folder.place, work.folder.shape[1]
    new_label, new_ignore = label & ~ignore, ignore.copy()
    inside = place.y0 <= rows.start < place.y1
    pieces = [slice(0, width)]
    if inside:
        pieces = [slice(place.x0 + c.start, place.x0 + c.stop) for c in work.evidence.columns()]
        pieces = [slice(0, place.x0), *pieces, slice(place.x1, width)]
    for columns in pieces:
        if columns.start == columns.stop:
            continue
        here = np.s_[:, columns]
        shown = inside and place.x0 <= columns.start < place.x1
        if shown:
            found = work.evidence.block(_moved(rows, place.y0), _moved(columns, place.x0))
            found = found._replace(predicted=found.predicted & papyrus[here])
            mean, predicted = found.mean, int(found.predicted.sum())
            outline = None if near is None else near[here]
            proposal = propose(found, label[here], ignore[here], work.rule, outline)
        else:
            mean, predicted = np.zeros(label[here].shape, np.float32), 0
            proposal = _unchanged(label[here], ignore[here])
        new_label[here], new_ignore[here] = proposal.label, proposal.ignore
        changes.add(rows.start, columns.start, mean, proposal, ignore[here])
        for name in ("kept", "added", "questioned", "doubted"):
            counts[name] += int(getattr(proposal, name).sum())
        counts["ignored_before"] += int(ignore[here].sum())
        counts["predicted"] += predicted
    return new_label, new_ignore


def _moved(span: slice, first: int) -> slice:
    return slice(span.start - first, span.stop - first)


def _unchanged(label: Mask, ignore: Mask) -> Proposal:
    """Return what is proposed where the run says nothing."""
    kept, none = label & ~ignore, np.zeros_like(label)
    return Proposal(kept, ignore, none, none, none, kept)


def _write_record(
    path: Path,
    run: Run,
    folder: PartFolder,
    rule: RelabelRule,
    counts: dict[str, int],
    with_spread: bool,
) -> None:
    """Write what the new labels were made from."""
    asked = run.record["settings"]
    record: dict[str, Any] = {
        "rule": asdict(rule),
        "pixels": counts,
        "part": {
            "files": {name: str(file) for name, file in folder.files.items()},
            "shape": list(folder.shape),
            "ink_box": list(folder.place),
        },
        "run": {
            "directory": str(run.directory),
            "spread": with_spread,
            **{
                name: asked.get(name)
                for name in (
                    "segment",
                    "checkpoint",
                    "checkpoint_sha256",
                    "written_windows",
                    "tta",
                    "stride",
                )
            },
        },
    }
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _folder_for(out: Path) -> Iterator[Path]:
    """Yield a temporary folder inside ``out``; an ``out`` made for nothing is taken away again."""
    existed = out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".relabel-", dir=out) as made:
            yield Path(made)
    except S5Error:
        raise
    except OSError as error:
        raise StoreError(
            f"The labels cannot be written to {out}: {error}.",
            "Make room, check the rights, or choose another folder.",
        ) from error
    finally:
        if not existed and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
