"""Test-time augmentation: the same tile seen flipped and turned, the answers averaged."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from s5engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    import torch

#: Number of views for each level. 0–3 are those of 2025, 8 are all eight of the square.
LEVELS = {0: 1, 1: 2, 2: 3, 3: 4, 8: 8}


class View(NamedTuple):
    """A symmetry of the square: quarter turns of the (y, x) plane, then perhaps a flip of x."""

    turns: int
    flip: bool

    def apply(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the tiles (…, y, x) seen this way."""
        import torch

        seen = torch.rot90(tiles, self.turns, (-2, -1)) if self.turns else tiles
        return seen.flip(-1) if self.flip else seen

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (…, y, x) of tiles seen this way, turned back."""
        import torch

        back = maps.flip(-1) if self.flip else maps
        return torch.rot90(back, -self.turns, (-2, -1)) if self.turns else back


_IDENTITY, _HORIZONTAL, _VERTICAL, _QUARTER = (
    View(0, False),
    View(0, True),
    View(2, True),
    View(1, False),
)


def views(level: int) -> tuple[View, ...]:
    """Return the views of a level.

    Parameters
    ----------
    level : int
        0: as it is; 1: and flipped horizontally; 2: and vertically; 3: and turned by 90°; 8: all
        eight symmetries.

    Raises
    ------
    InvalidArgumentError
        If the level is another.
    """
    if not isinstance(level, Hashable) or level not in LEVELS:
        raise InvalidArgumentError(f"tta is one of {list(LEVELS)}, not {level!r}.")
    if level == 8:
        return tuple(View(turns, flip) for flip in (False, True) for turns in range(4))
    return (_IDENTITY, _HORIZONTAL, _VERTICAL, _QUARTER)[: LEVELS[level]]


def averaged(
    predict: Callable[[torch.Tensor], torch.Tensor], tiles: torch.Tensor, level: int
) -> torch.Tensor:
    """Return the mean of ``predict`` over the views of a level, each turned back.

    Parameters
    ----------
    predict : callable
        (n, layers, P, P) tensor to (n, P/4, P/4) tensor of probabilities.
    tiles : (n, layers, P, P) tensor
    level : int
        See `views`.
    """
    chosen = views(level)
    total = chosen[0].undo(predict(chosen[0].apply(tiles)))
    for view in chosen[1:]:
        total = total + view.undo(predict(view.apply(tiles)))
    return total / len(chosen)


def with_spread(
    predict: Callable[[torch.Tensor], torch.Tensor], tiles: torch.Tensor, level: int
) -> torch.Tensor:
    """Return mean and spread of ``predict`` over the views of a level, each turned back.

    Parameters
    ----------
    predict, tiles, level
        See `averaged`.

    Returns
    -------
    (n, P/4, P/4, 2) float32 tensor
        The mean, to the bit that of `averaged`, and the population standard deviation, which is 0
        for a single view.
    """
    import torch

    maps = [view.undo(predict(view.apply(tiles))) for view in views(level)]
    # Sums view by view: torch's own reductions may add in an order that depends on the batch.
    total = maps[0]
    for each in maps[1:]:
        total = total + each
    mean = total / len(maps)
    squares = torch.zeros_like(mean, dtype=torch.float32)
    for each in maps:
        squares = squares + (each.float() - mean.float()) ** 2
    return torch.stack([mean.float(), (squares / len(maps)).sqrt()], dim=-1)
