"""The loss is that of the 2025 code, for every row of its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import s5engine as s5

GOLDEN = Path(__file__).parent / "golden" / "loss.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("keep_dtype", [torch.float32, torch.bool])
def test_every_row_of_the_table(golden: dict[str, np.ndarray], keep_dtype: torch.dtype) -> None:
    assert len(golden["table"]) == 48
    for row in golden["table"]:
        case = int(row[0])
        prob, target, keep = (torch.from_numpy(golden[n][case]) for n in ("prob", "target", "keep"))
        loss = s5.masked_dice_bce(
            prob,
            target,
            keep.to(keep_dtype) if row[4] else None,
            smoothing=row[1],
            bce_weight=row[2],
            dice_weight=row[3],
        )
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        assert abs(loss.item() - row[5]) < 1e-6, row


def test_the_table_goes_through_all_its_cases(golden: dict[str, np.ndarray]) -> None:
    """So that the test above holds what it says: ignored pixels, smoothing and weights vary."""
    table = golden["table"]
    assert set(table[:, 0]) == set(range(6))
    assert set(table[:, 4]) == {0, 1}
    assert len(set(table[:, 1])) > 1
    assert len({tuple(row) for row in table[:, 2:4]}) > 1
    assert (golden["keep"] == 0).any()
