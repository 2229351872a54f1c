"""Which units of long work are finished: an append-only journal beside the data.

Files prove nothing (an empty chunk is never written, a full disk leaves pieces), so a unit counts
as finished when its line is in the journal, and its line is written after its data.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from s5engine.atomic import atomic_write, sync_files, sync_folder
from s5engine.errors import StoreError
from s5engine.runtime.attempts import Attempt, begin_attempt, end_attempts
from s5engine.runtime.file_marks import note_files, torn_files
from s5engine.runtime.journal_lines import FORMAT, VERSION, header, parse, whole_lines
from s5engine.runtime.same_work import as_json, check_settings

#: All files are whole.
_NO_ENDS: Mapping[Path, int] = {}


class Journal:
    """The finished units of one piece of work, as a text file of JSON lines.

    The first line holds the settings that the work was begun with; each further line names one
    finished unit, or says that all is complete. A journal is open in one process at a time; its
    methods may be called from several threads. Make one with `Journal.open`.

    Attributes
    ----------
    path : Path
        The file.
    settings : dict
        The settings in its first line.
    """

    def __init__(self, path: Path, file: BinaryIO, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self._file = file
        self._units: dict[str, dict[str, Any]] = {}
        self._complete = False
        self._known = {path.parent}
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None

    @classmethod
    def open(cls, path: str | Path, settings: Mapping[str, Any], *, resume: bool = True) -> Journal:
        """Begin the journal at ``path``, or go on with the one that is there.

        Waits for tasks of an earlier attempt that a cluster's workers have not ended yet.

        Parameters
        ----------
        path : str or Path
            The journal's file; its folder must exist.
        settings : mapping
            Everything that the finished units depend on, as JSON values.
        resume : bool
            If false, an existing journal is emptied. In either case the caller clears its data
            when `units` is empty, so that nothing of an earlier attempt survives.

        Raises
        ------
        ResumeError
            If the existing journal was begun with other settings; each difference is named.
        StoreError
            If another process has the journal open, or the file is not a journal.
        """
        path = Path(path)
        wanted = as_json(settings)
        file = _open_locked(path)
        try:
            end_attempts(path)
            raw = file.read()
            lines = whole_lines(path, raw)
            if not lines or not resume:
                lines = []
                _restart(file, wanted)
                # Its name as well, and that of each folder which may have been made for it.
                for folder in path.absolute().parents:
                    sync_folder(folder)
            else:
                torn = len(raw) - raw.rfind(b"\n") - 1
                if torn:
                    file.truncate(len(raw) - torn)
            journal = cls(path, file, wanted)
            if lines:
                check_settings(
                    header(path, parse(path, 1, lines[0])), wanted, f"The work at {path}"
                )
                journal._replay(lines[1:])
            file.seek(0, os.SEEK_END)
        except BaseException:
            file.close()
            raise
        return journal

    def _replay(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, start=2):
            record = parse(self.path, number, line)
            if "unit" in record:
                files = record.get("files", {})
                self._units.pop(record["unit"], None)
                # Else it is done again, as after a power cut.
                if not torn_files(self.path.parent, files):
                    self._units[record["unit"]] = files
            self._complete = self._complete or record.get("complete") is True

    @property
    def units(self) -> tuple[str, ...]:
        """The finished units, in the order in which they were finished."""
        with self._lock:
            return tuple(self._units)

    def __contains__(self, unit: object) -> bool:
        with self._lock:
            return unit in self._units

    def __len__(self) -> int:
        with self._lock:
            return len(self._units)

    @property
    def is_complete(self) -> bool:
        """Whether all of the work is done."""
        return self._complete

    def finish(
        self, unit: str, files: Iterable[Path] = (), *, ends: Mapping[Path, int] = _NO_ENDS
    ) -> None:
        """Note that ``unit`` is finished: its data come to the disk first, then its line.

        Parameters
        ----------
        unit : str
        files : iterable of Path
            What it has written: who goes on later does the unit again if one of them is not there,
            or not as it is now.
        ends : mapping of Path to int
            Of files that other units write on: the byte up to which this unit's data reach.

        Raises
        ------
        StoreError
            If data or line cannot be written, for example on a full disk.
        """
        with self._lock:
            if unit not in self._units:
                noted = self._on_disk(files, ends)
                self._append(_unit_line(unit, noted))
                self._units[unit] = noted

    def _on_disk(self, files: Iterable[Path], ends: Mapping[Path, int]) -> dict[str, Any]:
        """Bring files and their names to the disk, and return what is noted of them."""
        files, folder = [*files], self.path.parent
        try:
            sync_files(files, self._known)
            return note_files(folder, files, ends)
        except OSError as error:
            raise StoreError(
                f"{error.filename or folder} cannot be brought to the disk: {error.strerror}.",
                "Make room or check the disk, then run the same command to go on.",
            ) from error

    def without(self, units: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the finished units but some, with what is noted of their files."""
        with self._lock:
            return {unit: files for unit, files in self._units.items() if unit not in units}

    def attempt(self) -> Attempt:
        """Return this attempt at the work, for tasks that write in other processes."""
        with self._lock:
            if self._attempt is None:
                self._attempt = begin_attempt(self.path)
            return self._attempt

    def complete(self) -> None:
        """Note that all of the work is done."""
        end_attempts(self.path)
        with self._lock:
            if not self._complete:
                self._append({"complete": True})
                self._complete = True

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            _write_line(self._file, record)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The journal {self.path} cannot be written: {error}.",
                "Make room or check the rights, then run the same command to go on.",
            ) from error

    def close(self) -> None:
        """Close the file and let other processes have it. Closing twice does nothing."""
        self._file.close()

    def remove(self) -> None:
        """Delete the file, when its work is recorded elsewhere, and close it."""
        discard(self.path)
        self.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def discard(path: Path) -> None:
    """Delete a journal whose work is done, as a killed process may have left it."""
    if path.exists():
        with contextlib.suppress(OSError):  # a finished store may be for reading alone by now
            end_attempts(path)
            path.unlink(missing_ok=True)


def rewrite(
    path: Path, settings: Mapping[str, Any], units: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put a journal of these units and their files in the place of the one that is there.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    done = (_unit_line(unit, files) for unit, files in units.items())
    records: list[dict[str, Any]] = [_first_line(settings), *done]
    try:
        with atomic_write(path) as partial, partial.open("wb") as file:
            file.writelines(json.dumps(record).encode() + b"\n" for record in records)
    except OSError as error:
        raise StoreError(f"The journal {path} cannot be written: {error.strerror}.") from error


def _unit_line(unit: str, files: Mapping[str, Any]) -> dict[str, Any]:
    return {"unit": unit, "files": files} if files else {"unit": unit}


def _open_locked(path: Path) -> BinaryIO:
    """Open (or make) the file and take its lock, which ends with the process."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(
                f"The journal {path} cannot be opened: {error.strerror}{_whose(path)}.",
                "Its folder and the file itself must be writable for you.",
            ) from error
        file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the file between our opening and our locking.
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                return file
        except BlockingIOError:
            file.close()
            raise StoreError(
                f"Another process is at work there: it holds {path}.",
                "Wait until it is done, or stop it and run the command again.",
            ) from None
        except OSError as error:
            file.close()
            raise StoreError(
                f"The journal {path} cannot be locked: {error.strerror}.",
                "Put it on a file system with file locks (a local disk).",
            ) from error
        file.close()


def _whose(path: Path) -> str:
    """Return whose a file is and who may write it, where it is there but may not be opened."""
    try:
        told = path.stat()
        owner = path.owner()
    except (OSError, KeyError):
        return ""
    return f" (the file is {owner}'s, with mode {stat.S_IMODE(told.st_mode):04o})"


def _write_line(file: BinaryIO, record: Mapping[str, Any]) -> None:
    """Append one line and bring it to the disk; an unwritten rest is cut away again."""
    start = file.seek(0, os.SEEK_END)
    data = json.dumps(record).encode() + b"\n"
    try:
        while data:
            data = data[file.write(data) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):  # a torn last line is ignored anyway
            file.truncate(start)
        raise


def _restart(file: BinaryIO, settings: Mapping[str, Any]) -> None:
    file.truncate(0)
    _write_line(file, _first_line(settings))


def _first_line(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "settings": dict(settings)}
