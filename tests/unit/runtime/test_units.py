"""Units of work: each once, after what it needs, and nothing that was finished is lost."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s5engine.runtime.journal import Journal
from s5engine.runtime.units import Unit, Work, run_units


def unit(key: str, work: Work, needs: Sequence[str] = ()) -> Unit:
    return Unit(key, lambda: work, "step", frozenset(needs))


def nothing() -> Sequence[Path]:
    return ()


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=3), max_size=30),
    st.integers(1, 5),
    st.sets(st.integers(0, 30)),
)
@settings(max_examples=60, deadline=None)
def test_each_is_done_once_and_after_what_it_needs(
    wanted: list[list[int]], threads: int, there: set[int]
) -> None:
    # A unit needs some of those before it: no circles.
    needs = {n: {k for k in some if k < n} for n, some in enumerate(wanted)}
    done: list[str] = []
    began: list[tuple[str, set[str]]] = []
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j", {}) as journal:
        before = {str(n) for n in needs if n in there}
        for key in before:
            journal.finish(key)

        def work(key: str) -> Work:
            def run() -> Sequence[Path]:
                began.append((key, {*done}))
                return ()

            return run

        units = [unit(str(n), work(str(n)), [str(k) for k in some]) for n, some in needs.items()]
        run_units(units, journal, lambda one: done.append(one.key), threads=threads)
        assert {*journal.units} == {str(n) for n in needs}
    assert sorted(done) == sorted({str(n) for n in needs} - before)
    for key, finished in began:
        assert {str(k) for k in needs[int(key)]} <= finished | before


def test_with_one_thread_they_come_in_their_order(tmp_path: Path) -> None:
    done: list[str] = []
    units = [unit("b", nothing, ["c"]), unit("a", nothing), unit("c", nothing)]
    with Journal.open(tmp_path / "j", {}) as journal:
        run_units(units, journal, lambda one: done.append(one.key), threads=1)
    assert done == ["a", "c", "b"]


def test_what_is_at_work_when_another_fails_is_journaled(tmp_path: Path) -> None:
    began, stops = threading.Event(), []

    def slow() -> Sequence[Path]:
        began.set()
        time.sleep(0.3)
        return ()

    def fails() -> Sequence[Path]:
        began.wait(10)
        raise RuntimeError("no")

    units = [unit("slow", slow), unit("fails", fails), *(unit(f"n{n}", nothing) for n in range(9))]
    with Journal.open(tmp_path / "j", {}) as journal:
        with pytest.raises(RuntimeError, match="no"):
            run_units(units, journal, lambda _: None, threads=2, stop=lambda: stops.append(1))
        assert journal.units == ("slow",)
    assert stops


def test_no_more_are_at_work_than_there_are_threads(tmp_path: Path) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def work() -> Sequence[Path]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return ()

    with Journal.open(tmp_path / "j", {}) as journal:
        units = [unit(str(n), work) for n in range(40)]
        run_units(units, journal, lambda _: None, threads=3)
    assert most == 3
