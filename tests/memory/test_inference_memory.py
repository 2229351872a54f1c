"""A prediction stays within its budget and near its projection: measured in fresh processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common import Measured, run_case
from benchmarks.served import ServedSegment
from s5engine.budget import format_bytes, parse_bytes

CASES = "benchmarks.memory_cases"
ROWS, WIDTH = 1024, 3072
MIB = 2**20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored volume of true texture, 18 layers."""
    path = tmp_path_factory.mktemp("memory") / "volume.zarr"
    with ServedSegment(ROWS, WIDTH, 18) as segment:
        run_case(
            f"{CASES}:ingest",
            url=segment.url,
            store=str(path),
            budget="1 GiB",
            box=[0, ROWS, 0, WIDTH],
        )
    return path


def infer(store: Path, folder: Path, budget: str, *, stride: int, columns: int) -> Measured:
    return run_case(
        f"{CASES}:infer",
        store=str(store),
        run=str(folder / f"{columns}"),
        budget=budget,
        stride=stride,
        columns=columns,
    )


def check(run: Measured, budget: str) -> None:
    projected = run.result["projected_mib"] * MIB
    said = f"{run.result}, measured {format_bytes(run.peak_bytes)}"
    assert run.peak_bytes <= projected <= parse_bytes(budget), said
    assert projected <= 2 * run.peak_bytes, said


def test_a_tight_budget_is_kept_and_makes_smaller_blocks(store: Path, tmp_path: Path) -> None:
    run = infer(store, tmp_path, "800 MiB", stride=32, columns=WIDTH)
    check(run, "800 MiB")
    assert run.result["block"] < 1024


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["1.5 GiB", "4 GiB", "12 GiB"])
def test_budgets_are_kept(store: Path, tmp_path: Path, budget: str) -> None:
    check(infer(store, tmp_path, budget, stride=32, columns=WIDTH), budget)


@pytest.mark.slow
def test_worker_processes_share_the_budget(store: Path, tmp_path: Path) -> None:
    budget = "2.5 GiB"
    run = run_case(
        f"{CASES}:on_processes",
        case="infer",
        store=str(store),
        run=str(tmp_path / "run"),
        budget=budget,
        stride=64,
        columns=WIDTH,
        workers=2,
    )
    projected, tree = run.result["projected_mib"] * MIB, run.result["tree_peak_mib"] * MIB
    assert tree <= projected <= parse_bytes(budget), run.result
    assert projected <= 2 * tree, run.result
