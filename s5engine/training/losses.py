"""The loss of the 2025 system: Dice and binary cross-entropy on the pixels that are kept."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from s5engine.errors import InvalidArgumentError

#: Keeps both quotients finite where nothing is kept.
_EPSILON = 1e-8


def masked_dice_bce(
    prob: torch.Tensor,
    target: torch.Tensor,
    keep: torch.Tensor | None = None,
    *,
    smoothing: float = 0.1,
    bce_weight: float = 0.5,
    dice_weight: float = 0.5,
) -> torch.Tensor:
    """Return the weighted sum of Dice loss and binary cross-entropy over the kept pixels.

    With p = ``prob``, t = ``target``, k = ``keep``, s = ``smoothing`` and the smoothed target
    t' = t (1 − s) + (1 − t) s, all sums over the whole batch (the 2025 system's formula)::

        dice_weight · (1 − (2 Σ p t' k + 1e-8) / (Σ p k + Σ t' k + 1e-8))
        + bce_weight · Σ BCE(p, t') k / (Σ k + 1e-8)

    An ignored pixel has exactly zero gradient and no influence, whatever its values, NaN included.
    Where nothing is kept the loss is zero. It is computed in float32 also under autocast, where
    torch refuses its own cross-entropy of probabilities; float64 stays float64.

    Parameters
    ----------
    prob : Tensor
        Ink probabilities in [0, 1], such as the sigmoid of a network's answer; any shape.
    target : Tensor
        Labels 0 or 1, of the same shape; bool works.
    keep : Tensor, optional
        1 where a pixel counts and 0 where it is ignored, of the same shape; bool works. All pixels
        count if it is left out.
    smoothing : float
        Label smoothing s, in [0, 1].
    bce_weight, dice_weight : float
        Weights of the two terms.

    Returns
    -------
    () Tensor, float32 or float64

    Raises
    ------
    InvalidArgumentError
        If the shapes differ or the smoothing is not in [0, 1].
    """
    _check(prob, target, keep, smoothing)
    dtype = torch.promote_types(prob.dtype, torch.float32)
    with torch.autocast(prob.device.type, enabled=False):
        p, t = prob.to(dtype), target.to(dtype)
        k = torch.ones_like(p) if keep is None else keep.to(dtype)
        if keep is not None:
            # Selected, not multiplied away: 0 · NaN and 0 · ∞ would be NaN in value and gradient.
            kept, nothing = k != 0, p.new_zeros(())
            p, t = torch.where(kept, p, nothing), torch.where(kept, t, nothing)
        t = t * (1 - smoothing) + (1 - t) * smoothing
        overlap = (p * t * k).sum()
        dice = 1 - (2 * overlap + _EPSILON) / ((p * k).sum() + (t * k).sum() + _EPSILON)
        entropy = (F.binary_cross_entropy(p, t, reduction="none") * k).sum()
        return dice_weight * dice + bce_weight * entropy / (k.sum() + _EPSILON)


def _check(
    prob: torch.Tensor, target: torch.Tensor, keep: torch.Tensor | None, smoothing: float
) -> None:
    """Refuse what torch would broadcast into a wrong number."""
    for name, other in (("target", target), ("keep", keep)):
        if other is not None and other.shape != prob.shape:
            raise InvalidArgumentError(
                f"prob has the shape {tuple(prob.shape)} and {name} {tuple(other.shape)}.",
                "Give both the same shape: they are not broadcast.",
            )
    if not 0 <= smoothing <= 1:
        raise InvalidArgumentError(f"The smoothing {smoothing} is not in [0, 1].")
