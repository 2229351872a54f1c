"""The memory arithmetic of an ingest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s5engine.budget import parse_bytes
from s5engine.errors import BudgetError
from s5engine.store.band_plan import CHUNK, ENOUGH, choose_bands, choose_split_bands, row_bands

GIB = 2**30
MIB = 2**20


def test_a_small_volume_gets_full_shards_and_reads_ahead() -> None:
    plan = choose_bands((21, 3000, 5000), 1, budget=4 * GIB, base=200 * MIB)
    assert (plan.band_height, plan.ahead) == (1024, 1)
    assert plan.bands == ((0, 1024), (1024, 2048), (2048, 3000))


@pytest.mark.parametrize("budget", [1.5, 4, 12, 96])
def test_a_whole_segment_takes_no_more_than_an_eighth_of_its_width(budget: float) -> None:
    plans = [
        choose_bands(
            (21, 13_780, width),
            1,
            budget=int(budget * GIB),
            base=250 * MIB,
            source_bytes=lambda rows: GIB // 8,
        )
        for width in (36_172, 289_376)
    ]
    for plan, rows in zip(plans, (512, 64), strict=True):
        assert (plan.band_height, plan.rows, plan.ahead) == (1024, rows, 1)
        assert plan.bands[-1] == (13_312, 13_780)
        assert plan.projected_peak <= 1.5 * GIB
    assert plans[1].projected_peak <= plans[0].projected_peak


@given(
    st.tuples(st.integers(1, 65), st.integers(1, 20_000), st.integers(1, 500_000)),
    st.sampled_from([1, 2]),
    st.integers(6 * GIB, 96 * GIB),
)
def test_memory_that_is_of_no_use_is_not_taken(
    shape: tuple[int, int, int], itemsize: int, budget: int
) -> None:
    for plan in (
        choose_bands(shape, itemsize, budget=budget, base=0),
        choose_split_bands(shape, itemsize, part_width=10_000, budget=budget, base=0),
    ):
        few = min(16, shape[1])
        assert plan.band_bytes <= max(ENOUGH, shape[0] * few * shape[2] * itemsize)


def test_the_projected_peak_is_the_sum_of_its_terms() -> None:
    plan = choose_bands((2, 1000, 3000), 2, budget=GIB, base=7, source_bytes=lambda rows: rows)
    assert plan.projected_peak == 7 + 2 * (2 * 1000 * 3000 * 2) + 1024 + plan.write_bytes


@pytest.mark.parametrize("budget", [300, 350, 500, 800, 2000, 8000])
def test_less_budget_means_lower_bands_and_every_plan_fits(budget: int) -> None:
    plan = choose_bands((21, 5000, 30_000), 1, budget=budget * MIB, base=100 * MIB)
    richer = choose_bands((21, 5000, 30_000), 1, budget=2 * budget * MIB, base=100 * MIB)
    assert plan.projected_peak <= budget * MIB
    assert plan.band_height <= richer.band_height
    assert plan.band_height % CHUNK == 0


def test_with_too_little_for_two_bands_shards_grow_and_fewer_rows_are_collected_on_disk() -> None:
    two = choose_bands((21, 5000, 30_000), 1, budget=400 * MIB, base=100 * MIB)
    assert (two.band_height, two.rows, two.rows_written) == (1024, 128, 128)
    assert two.grows
    assert not two.collects
    less = choose_bands((21, 5000, 30_000), 1, budget=two.projected_peak - 1, base=100 * MIB)
    assert less.grows
    assert less.collects
    assert (less.band_height, less.rows_written) == (1024, 128)
    assert less.rows < 128
    assert less.band_bytes == 21 * less.rows * 30_000


def test_eight_times_the_width_fits_into_a_quarter_of_a_gib() -> None:
    plan = choose_bands((21, 1378, 480_000), 1, budget=256 * MIB, base=130 * MIB)
    assert plan.collects
    assert plan.projected_peak <= 256 * MIB


def test_what_does_not_fit_is_refused_with_the_sum_and_a_budget_that_does() -> None:
    shape = (21, 5000, 289_380)
    with pytest.raises(BudgetError) as error:
        choose_bands(shape, 1, budget=GIB // 8, base=100 * MIB)
    message = str(error.value)
    assert "128 MiB" in message
    assert "21 layers × 1 rows × 289380 px × 1 B" in message
    enough = parse_bytes(message.split('"')[1])
    assert choose_bands(shape, 1, budget=enough, base=100 * MIB).rows == 1


def test_a_resumed_ingest_keeps_its_band_height() -> None:
    plan = choose_bands((2, 1000, 3000), 1, budget=GIB, base=0, band_height=256)
    assert plan.band_height == 256
    with pytest.raises(BudgetError, match="begun with bands of 1024 rows"):
        choose_bands((21, 5000, 30_000), 1, budget=20 * MIB, base=0, band_height=1024)


def test_cutting_parts_may_use_lower_bands() -> None:
    plan = choose_split_bands(
        (21, 13_780, 289_380), 1, part_width=10_000, budget=GIB, base=100 * MIB
    )
    assert plan.band_height < CHUNK or plan.ahead == 1
    assert plan.projected_peak <= GIB
    with pytest.raises(BudgetError, match="Cutting the parts"):
        choose_split_bands(
            (21, 13_780, 289_380), 1, part_width=10_000, budget=100 * MIB, base=50 * MIB
        )


def test_bands_cover_every_row_once() -> None:
    assert row_bands(10, 300, 128) == [(10, 138), (138, 266), (266, 300)]
