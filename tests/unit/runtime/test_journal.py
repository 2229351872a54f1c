"""The journal: what is finished stays finished, whatever happened to the process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from s5engine.errors import ResumeError, SourceChangedError, StoreError
from s5engine.runtime.journal import Journal
from s5engine.runtime.journal_lines import VERSION

SETTINGS = {"box": (0, 10, 0, 20), "layers": [0, 1], "source": "http://host/a"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.journal"


def test_finished_units_are_there_after_reopening(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        journal.finish("band 1")
        journal.finish("band 0")
        assert "band 1" in journal
        assert "band 2" not in journal
    with Journal.open(path, SETTINGS) as journal:
        assert journal.units == ("band 1", "band 0")
        assert len(journal) == 2
        assert not journal.is_complete


def test_a_unit_is_written_once(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        journal.finish("a")
        journal.finish("a")
    assert path.read_text().count('"a"') == 1


def test_completion_is_kept(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        journal.complete()
    with Journal.open(path, SETTINGS) as journal:
        assert journal.is_complete


def test_other_settings_name_each_key_with_both_values(path: Path) -> None:
    Journal.open(path, SETTINGS).close()
    with pytest.raises(ResumeError) as error:
        Journal.open(path, {**SETTINGS, "layers": [0], "format": 3})
    message = str(error.value)
    assert "layers was [0, 1] and is now [0]" in message
    assert "format was null and is now 3" in message
    assert "box" not in message
    assert "resume=False" in message


def test_afresh_forgets_units_and_settings(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        journal.finish("a")
        journal.complete()
    with Journal.open(path, {"other": 1}, resume=False) as journal:
        assert journal.units == ()
        assert not journal.is_complete
    with Journal.open(path, {"other": 1}) as journal:
        assert journal.units == ()


def test_every_torn_length_of_the_last_line_is_ignored_and_cut_away(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        journal.finish("a")
        journal.finish("b")
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for missing in range(1, last):
        path.write_bytes(whole[:-missing])
        with Journal.open(path, SETTINGS) as journal:
            assert journal.units == ("a",)
            journal.finish("c")
        assert [json.loads(line) for line in path.read_text().splitlines()[1:]] == [
            {"unit": "a"},
            {"unit": "c"},
        ]


def test_every_torn_length_of_the_header_begins_anew(path: Path) -> None:
    Journal.open(path, SETTINGS).close()
    header = path.read_bytes()
    for length in range(len(header)):
        path.write_bytes(header[:length])
        with Journal.open(path, SETTINGS) as journal:
            journal.finish("a")
        with Journal.open(path, SETTINGS) as journal:
            assert journal.units == ("a",)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("text", ["hello", "hello\n", '{"a": 1}\n', "[1]\n", "\x00\n"])
def test_a_foreign_file_is_refused_and_left_alone(path: Path, text: str, resume: bool) -> None:
    path.write_text(text)
    with pytest.raises(StoreError, match="not a journal"):
        Journal.open(path, SETTINGS, resume=resume)
    assert path.read_text() == text


def test_a_damaged_line_inside_is_an_error(path: Path) -> None:
    Journal.open(path, SETTINGS).close()
    with path.open("a") as file:
        file.write('{"uni\n{"unit": "b"}\n')
    with pytest.raises(StoreError, match="Line 2"):
        Journal.open(path, SETTINGS)


def test_a_journal_of_another_version_is_refused(path: Path) -> None:
    Journal.open(path, SETTINGS).close()
    path.write_text(path.read_text().replace(f'"version": {VERSION}', '"version": 99'))
    with pytest.raises(StoreError, match="version 99"):
        Journal.open(path, SETTINGS)


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal.open(tmp_path / "no" / "work.journal", SETTINGS)


def test_two_processes_cannot_write_at_once(path: Path) -> None:
    code = (
        "import sys\nfrom s5engine.errors import StoreError\n"
        "from s5engine.runtime.journal import Journal\n"
        "try:\n    Journal.open(sys.argv[1], {})\n"
        "except StoreError as error:\n    print(error)\n"
    )
    with Journal.open(path, {}):
        command = [sys.executable, "-c", code, str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "Another process is at work" in result.stdout
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == ""


def test_removing_leaves_nothing_and_frees_the_place(path: Path) -> None:
    journal = Journal.open(path, SETTINGS)
    journal.finish("a")
    journal.remove()
    assert list(path.parent.iterdir()) == []
    with Journal.open(path, {"other": 1}) as again:
        assert again.units == ()


def test_threads_may_finish_units_together(path: Path) -> None:
    with Journal.open(path, SETTINGS) as journal:
        threads = [
            threading.Thread(target=lambda k=k: [journal.finish(f"{k}-{i}") for i in range(20)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Journal.open(path, SETTINGS) as journal:
        assert set(journal.units) == {f"{k}-{i}" for k in range(4) for i in range(20)}


def test_a_full_disk_is_one_clear_error() -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full:
        journal = Journal(Path("/dev/full"), full, {})
        with pytest.raises(StoreError, match="No space left"):
            journal.finish("a")
        assert journal.units == ()


def test_of_nested_settings_only_what_differs_is_named(tmp_path: Path) -> None:
    files = {"5": {"size": 7, "etag": "a"}, "6": {"size": 8}}
    with Journal.open(tmp_path / "j", {"fingerprint": files}):
        pass
    changed = files | {"5": {"size": 7, "etag": "b"}}
    with pytest.raises(SourceChangedError, match="was begun: 5 etag was 'a' and is now 'b'"):
        Journal.open(tmp_path / "j", {"fingerprint": changed})
