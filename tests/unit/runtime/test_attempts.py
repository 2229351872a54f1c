"""Tasks of an attempt that is over do not write, and those that write are waited for."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import pytest

from s5engine.runtime.attempts import AttemptOverError, begin_attempt, end_attempts
from s5engine.runtime.journal import Journal, discard


def test_tasks_of_an_earlier_attempt_write_nothing(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal", {}) as journal:
        first = journal.attempt()
        assert journal.attempt() is first
        with pickle.loads(pickle.dumps(first)).at_work():
            pass
    # It was killed or interrupted: its tasks may write until somebody goes on with the work.
    with first.at_work():
        pass
    with Journal.open(tmp_path / "journal", {}) as journal:
        with pytest.raises(AttemptOverError, match="has ended, or this machine does not see"):
            first.at_work().__enter__()
        with journal.attempt().at_work():
            pass
        journal.remove()
    assert not list(tmp_path.iterdir())


def test_an_attempt_waits_for_what_is_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, writing, written = tmp_path / "journal", threading.Event(), threading.Event()
    attempt = begin_attempt(journal)

    def write() -> None:
        with attempt.at_work():
            writing.set()
            time.sleep(0.5)
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    writing.wait()
    with attempt.at_work():  # others may be at work too
        pass
    with Journal.open(journal, {}):
        assert written.is_set()
    writer.join()
    assert "waiting for tasks of an earlier command" in capsys.readouterr().err


def test_what_waited_for_the_lock_while_the_attempt_ended_does_not_write(tmp_path: Path) -> None:
    attempt = begin_attempt(tmp_path / "journal")
    attempt.path.rename(tmp_path / "other")  # as if it were removed after it was opened
    with pytest.raises(AttemptOverError):
        attempt.at_work().__enter__()


@pytest.mark.parametrize("end", ["complete", "remove", "discard"])
def test_nothing_of_it_stays(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a [1].journal"
    begin_attempt(tmp_path / "a 1.journal")  # another one's, whose name the brackets would match
    journal = Journal.open(path, {})
    journal.attempt()
    begin_attempt(path)
    if end == "discard":
        journal.close()
        discard(path)
    else:
        getattr(journal, end)()
        journal.close()
    left = sorted(p.name for p in tmp_path.iterdir())
    assert [n for n in left if n.startswith("a [1]")] == (["a [1].journal"] * (end == "complete"))
    assert len([n for n in left if n.startswith("a 1.")]) == 1
    end_attempts(tmp_path / "a 1.journal")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("a 1.")]
