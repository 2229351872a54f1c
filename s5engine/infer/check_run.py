"""Read all stores of a run and name what is damaged; let the run make those blocks again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s5engine.address import local_file
from s5engine.errors import StoreError, afresh
from s5engine.infer.record import JOURNAL, read_record, stores_in, write_record
from s5engine.runtime.journal import Journal, rewrite
from s5engine.runtime.journal_lines import read_settings, read_units
from s5engine.store.check import Damage, check_store, remove_chunk
from s5engine.store.levels import INK, INK_LEVELS, find_base, remove_levels
from s5engine.store.nodes import open_group
from s5engine.store.present import CHUNKS

#: The step of a run that writes each array.
_STEPS = {"tiles": "predict", INK: "blend"}


def check_run(
    directory: str | Path, *, budget: int | str | None = None, progress: bool = True
) -> list[Damage]:
    """Read the tile predictions and the ink of a run, and return what is damaged or gone.

    Pictures and ``npy_files/`` are not read: a run that goes on writes them anew.

    Parameters
    ----------
    directory : str or Path
        Folder of the run.
    budget, progress
        As `check_store` takes them.

    Raises
    ------
    StoreError
        If there is no run, it has no stores, or their metadata cannot be understood.
    """
    folder = local_file(directory, "run")
    read_record(folder)
    there = stores_in(folder)
    if not there:
        raise StoreError(
            f"The run in {folder} has no zarr stores to check: it was written without them."
        )
    return [
        damage for store in there for damage in check_store(store, budget=budget, progress=progress)
    ]


def reopen_run(directory: str | Path, damages: Sequence[Damage]) -> int:
    """Make a run an unfinished one that lacks its damaged blocks; return how many these are.

    The command that made the run makes them again; tiles that are whole are not predicted again.

    Parameters
    ----------
    directory : str or Path
        Folder of the run.
    damages : sequence of Damage
        What `check_run` found in it.

    Raises
    ------
    StoreError
        If another process is at work on it, its journal is gone, or coordinates are damaged.
    """
    folder = local_file(directory, "run")
    settings = read_settings(folder / JOURNAL)
    levels = f"{INK_LEVELS}/"
    whole = {d.array for d in damages} - {*_STEPS}
    if settings is None or any(not name.startswith(levels) for name in whole):
        named = ", ".join(sorted(whole)) or "its journal"
        raise StoreError(
            f"The run in {folder} cannot be mended block by block: {named} cannot be made again.",
            afresh("Write it anew"),
        )
    # All that were ever finished: opened, the journal leaves out those whose files are damaged.
    units = read_units(folder / JOURNAL)
    with Journal.open(folder / JOURNAL, settings) as journal:
        again = {unit for damage in damages for unit in _units(damage, units)}
        # First of all: whatever is killed after this is made again.
        rewrite(folder / JOURNAL, settings, journal.without(again))
        write_record(folder, {**read_record(folder), "completed": False})
        for store in stores_in(folder):
            open_group(store, "r+").update_attributes({CHUNKS: {}})
        if (folder / "ink.zarr" / INK).exists():
            remove_levels(find_base(folder / "ink.zarr"))
        for damage in damages:
            remove_chunk(damage, folder)
    return len(again)


def _units(damage: Damage, units: Sequence[str]) -> list[str]:
    """Return the journal's names of the blocks that a damaged chunk file is a piece of."""
    step = _STEPS.get(damage.array)
    blocks = [tuple(map(int, u.split()[1:3])) for u in units if u.split()[0] == step]
    if not blocks:
        return []
    # The last block of tiles may hold two chunks.
    row, column = (
        min(n, max(block[axis] for block in blocks)) for axis, n in enumerate(damage.place[1:3])
    )
    return [f"{step} {row} {column}"]
