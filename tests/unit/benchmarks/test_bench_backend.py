"""The benchmark of backends, tiny: every way runs and gives the same ink."""

from __future__ import annotations

import pytest

from benchmarks import bench_backend


def test_a_report_compares_with_the_best_plain_batch() -> None:
    row = {
        "plain": {"2": 2.0, "8": 3.0, "first_pass_s": 1},
        "rewritten": {"2": 1.0, "4": 0.5, "first_pass_s": 1},
        "openvino": {"2": 4.0, "first_pass_s": 9},
    }
    told = bench_backend.report("b0", [row], [dict.fromkeys(row, 7)], dict.fromkeys(row, 0.0))
    faster = told["times_faster_than_the_best_plain_batch"]
    assert {name: entry["median"] for name, entry in faster.items()} == {
        "plain in batches of 2": 1.0,
        "plain in batches of 8": 0.67,
        "rewritten in batches of 2": 2.0,
        "rewritten in batches of 4": 4.0,
        "openvino in batches of 2": 0.5,
    }
    assert told["peak_mib"] == {way: [7] for way in row}


@pytest.mark.slow
def test_all_ways_give_the_same_ink() -> None:
    found = {w: bench_backend.network("b0", w, [1], 1) for w in bench_backend.WAYS}
    for way in found:
        assert found[way]["ink"] == pytest.approx(found["plain"]["ink"], abs=1e-5)
        assert found[way]["1"] > 0
