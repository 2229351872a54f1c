"""The rule that turns what a network is sure of into labels, and its doubts into an ignore mask.

Pixels alone, as numpy arrays: where they come from and go to is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from s5engine.errors import InvalidArgumentError
from s5engine.source.images import check_threshold

Mask = npt.NDArray[np.bool_]
Map = npt.NDArray[np.floating[Any]]
Drawn = Literal["keep", "question"]

#: Widest outline that can be left to the person, px: rows that are held beside a band.
MOST_MARGIN = 256


@dataclass(frozen=True)
class RelabelRule:
    """When a prediction is sure enough.

    Parameters
    ----------
    ink_above : float
        A pixel is surely ink if every layer window shows at least this much.
    blank_below : float
        It is surely blank if every window shows at most this much;
        0 ≤ ``blank_below`` < ``ink_above`` ≤ 1.
    max_spread : float
        And in both cases only if the disagreement (see `Evidence`) is at most this, in [0, 0.5].
    drawn : {"keep", "question"}
        Drawn ink that is surely blank stays ink, or goes to the ignore mask for a person to see.
    threshold : int
        The smallest gray value, 1…255, of a label file that counts as 1.
    margin : int
        Within so many pixels of drawn ink, along rows and columns, the outline that was drawn is
        believed: nothing is added or ignored there. A network draws strokes too thick.

    Raises
    ------
    InvalidArgumentError
        If they are out of range or order.
    """

    ink_above: float = 0.6
    blank_below: float = 0.3
    max_spread: float = 0.2
    drawn: Drawn = "keep"
    threshold: int = 255
    margin: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.blank_below < self.ink_above <= 1:
            raise InvalidArgumentError(
                f"blank_below is {self.blank_below!r} and ink_above {self.ink_above!r}: they need "
                "0 ≤ blank_below < ink_above ≤ 1.",
                "Choose for example 0.3 and 0.6.",
            )
        if not 0 <= self.max_spread <= 0.5:
            raise InvalidArgumentError(
                f"max_spread is {self.max_spread!r}, and probabilities differ by 0…0.5 from the "
                "middle.",
                "Choose for example 0.2.",
            )
        if self.drawn not in ("keep", "question"):
            raise InvalidArgumentError(f'drawn is "keep" or "question", not {self.drawn!r}.')
        check_threshold(self.threshold)
        if not 0 <= self.margin <= MOST_MARGIN:
            raise InvalidArgumentError(f"margin is 0…{MOST_MARGIN} px, not {self.margin!r}.")


class Evidence(NamedTuple):
    """What a run says of some pixels; all maps (y, x).

    Attributes
    ----------
    mean, lowest, highest : float ndarray
        Ink over the layer windows, [0, 1].
    spread : float ndarray
        Largest standard deviation over test-time augmentation of any window, [0, 0.5].
    predicted : bool ndarray
        Where the network looked at all.
    """

    mean: Map
    lowest: Map
    highest: Map
    spread: Map
    predicted: Mask

    @property
    def disagreement(self) -> Map:
        """The larger of half the range over windows and the spread over augmentation."""
        half: Map = (self.highest - self.lowest) / 2
        larger: Map = np.maximum(half, self.spread)
        return larger


class Proposal(NamedTuple):
    """New labels and what changed; bool (y, x).

    Attributes
    ----------
    label, ignore
        The new files' pixels; nowhere both.
    added
        Ink that nobody had drawn.
    questioned
        Drawn ink that is surely blank: in ``ignore`` with ``drawn="question"``, else in ``label``.
    doubted
        Newly ignored because the network is not sure.
    kept
        Drawn ink that stays ink.
    """

    label: Mask
    ignore: Mask
    added: Mask
    questioned: Mask
    doubted: Mask
    kept: Mask


def propose(
    evidence: Evidence,
    label: Mask,
    ignore: Mask,
    rule: RelabelRule,
    near: Mask | None = None,
) -> Proposal:
    """Return the labels that a run proposes beside those that were drawn.

    Every pixel is judged by itself, so that ink is never spread beyond where it was detected.
    What is not predicted is left as it is. What was ignored stays so; a drawn pixel that is both
    ink and ignored counts as ignored, as it does in training.

    Parameters
    ----------
    evidence : Evidence
    label, ignore : (y, x) bool ndarray
        As drawn.
    rule : RelabelRule
    near : (y, x) bool ndarray, optional
        Where drawn ink is so near that blank pixels are left as they are (see `near_drawn`).

    Returns
    -------
    Proposal
    """
    drawn = label & ~ignore
    agreed = evidence.predicted & (evidence.disagreement <= rule.max_spread)
    ink = agreed & (evidence.lowest >= rule.ink_above)
    blank = agreed & (evidence.highest <= rule.blank_below)
    untouched = ~label & ~ignore
    if near is not None:
        untouched &= ~near
    added = untouched & ink
    questioned = drawn & blank
    doubted = untouched & evidence.predicted & ~ink & ~blank
    moved = questioned if rule.drawn == "question" else np.zeros_like(questioned)
    kept = drawn & ~moved
    return Proposal(kept | added, ignore | doubted | moved, added, questioned, doubted, kept)


def near_drawn(label: Mask, margin: int) -> Mask:
    """Return which pixels lie within ``margin`` px of ink along rows and columns; ink is near."""
    import cv2

    side = 2 * margin + 1
    near: Mask = cv2.dilate(label.view(np.uint8), np.ones((side, side), np.uint8)).view(np.bool_)
    return near
