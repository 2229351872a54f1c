"""What a run will hold at most, and the block and batch that fit a budget."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import s5engine as s5
from s5engine.errors import BudgetError
from s5engine.infer.memory import BLOCK_SIZES, InferenceShape, choose, project

WHOLE = InferenceShape(
    layers=18,
    windows=3,
    tile=128,
    stride=64,
    reduction=4,
    window_layers=16,
    threads=2,
    height=13_780,
    width=429_360,
)
MIB = 2**20
BATCHES = (8, 4, 2, 1)

shapes = st.builds(
    replace,
    st.just(WHOLE),
    layers=st.integers(16, 65),
    windows=st.integers(1, 8),
    stride=st.sampled_from([16, 32, 64, 128]),
    threads=st.integers(1, 16),
    height=st.integers(1, 20_000),
    width=st.integers(1, 500_000),
)


def per_tile(batch: int) -> int:
    return batch * 100 * MIB


@given(shapes, st.sampled_from(BATCHES), st.integers(0, 2**33))
def test_more_takes_more(shape: InferenceShape, batch: int, base: int) -> None:
    # A volume smaller than a group of blocks is not held twice over.
    shape = replace(shape, height=shape.height + 20_000, width=shape.width + 20_000)
    peaks = [
        project(shape, block, batch, per_tile(batch), base).projected_peak
        for block in sorted(BLOCK_SIZES)
    ]
    assert peaks == sorted(peaks)
    assert peaks[0] > base
    plain = project(shape, 512, batch, 0, base).projected_peak
    for name in ("windows", "layers", "threads"):
        wider = replace(shape, **{name: getattr(shape, name) + 1})
        assert project(wider, 512, batch, 0, base).projected_peak >= plain


@given(shapes, st.integers(64 * MIB, 64 * 2**30), st.booleans())
def test_the_choice_fits_and_none_better_does(
    shape: InferenceShape, budget: int, fewer: bool
) -> None:
    base = 300 * MIB
    how = {"base": base, "fewer_threads": fewer}
    try:
        chosen = choose(shape, BATCHES, per_tile, **how, budget=budget)
    except BudgetError as error:
        # What the refusal asks for is enough.
        enough = re.search(r'at least "(\d+) MiB"', str(error))
        assert enough is not None
        chosen = choose(shape, BATCHES, per_tile, **how, budget=int(enough[1]) * MIB)
        assert budget < chosen.projected_peak
        return
    assert chosen.projected_peak <= budget
    assert chosen.threads == shape.threads or fewer
    for batch in BATCHES[: BATCHES.index(chosen.batch)]:
        for block in BLOCK_SIZES:
            assert project(shape, block, batch, per_tile(batch), base).projected_peak > budget
    for block in BLOCK_SIZES[: BLOCK_SIZES.index(chosen.block)]:
        at_once = replace(shape, threads=chosen.threads)
        peak = project(at_once, block, chosen.batch, per_tile(chosen.batch), base).projected_peak
        assert peak > budget
    if chosen.threads < shape.threads:  # more of them would not have fitted either
        halved = [shape.threads >> n for n in range(shape.threads.bit_length())]
        more = replace(shape, threads=halved[halved.index(chosen.threads) - 1])
        peak = project(more, chosen.block, chosen.batch, per_tile(chosen.batch), base)
        assert peak.projected_peak > budget


def test_threads_are_given_up_before_blocks_become_small() -> None:
    shape = replace(WHOLE, threads=16, chunk=(128, 128))
    peak = project(replace(shape, threads=4), 512, 2, 0, 0).projected_peak
    chosen = choose(shape, (2,), lambda batch: 0, base=0, budget=peak, fewer_threads=True)
    assert (chosen.threads, chosen.block) == (4, 512)
    alone = choose(shape, (2,), lambda batch: 0, base=0, budget=peak)
    assert (alone.threads, alone.block) == (16, 128)


def test_what_the_network_keeps_and_the_pyramid_count() -> None:
    plain = project(WHOLE, 128, 1, 0, 0)
    keeping = project(WHOLE, 128, 1, 0, 0, kept_bytes=2**33)
    assert keeping.projected_peak > 2**33 + plain.pyramid
    higher = replace(plain, pyramid=2**34)
    assert higher.projected_peak > 2**34
    assert "the pyramid (16 GiB)" in higher.arithmetic()


def test_the_width_does_not_matter() -> None:
    peaks = {
        project(replace(WHOLE, width=width), 1024, 2, 0, 0).projected_peak
        for width in (53_670, 429_360)
    }
    assert len(peaks) == 1


def test_the_refusal_shows_the_sum() -> None:
    with pytest.raises(BudgetError) as refused:
        choose(WHOLE, (2,), per_tile, base=300 * MIB, budget=310 * MIB)
    for words in ("does not fit into 310 MiB", "300 MiB that the process has now", "at least"):
        assert words in str(refused.value)


def test_working_bytes_follow_the_batch() -> None:
    from s5engine.infer.memory_plan import working_bytes

    model = s5.wrap_model(lambda tiles: tiles[:, 0, ::4, ::4], tile=64)
    assert working_bytes(model, 6) == 3 * working_bytes(model, 2) > 0
