"""New files in the place of former ones, which stay as numbered backups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def move_in(made: Path, out: Path, names: Sequence[str]) -> list[Path]:
    """Put finished files in their places; former ones stay as numbered backups.

    Parameters
    ----------
    made, out : Path
        Folders on one file system.
    names : sequence of str
        Files in ``made``, whole. All backups have the same, first free number: ``label.1.png``.

    Returns
    -------
    list of Path
        The backups.
    """
    number = 1
    while any(_numbered(out / name, number).exists() for name in names):
        number += 1
    former = [out / name for name in names if (out / name).exists()]
    backups = [_numbered(path, number) for path in former]
    for path, backup in zip(former, backups, strict=True):
        # Beside the file, which keeps its name until the new one takes it.
        try:
            os.link(path, backup)
        except OSError:
            shutil.copy2(path, backup)
    for name in names:
        (made / name).replace(out / name)
    return backups


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
