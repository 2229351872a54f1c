"""The loss leaves ignored pixels out: no value, no gradient."""

from __future__ import annotations

import math

import pytest
import torch

import s5engine as s5
from s5engine.errors import InvalidArgumentError

SHAPE = (3, 8, 8)


def case(seed=0, dtype=torch.float32):
    make = torch.Generator().manual_seed(seed)
    prob = torch.rand(SHAPE, generator=make, dtype=dtype)
    target = (torch.rand(SHAPE, generator=make) > 0.6).to(dtype)
    keep = torch.rand(SHAPE, generator=make) > 0.4
    return prob, target, keep


def plain(prob, target, keep, s, bce_weight, dice_weight):
    """The formula as it is written, pixel by pixel, in Python floats."""
    dice_top = dice_bottom = entropy = kept = 0.0
    flat = [tensor.flatten().tolist() for tensor in (prob, target, keep)]
    for p, t, k in zip(*flat, strict=True):
        smooth = t * (1 - s) + (1 - t) * s
        dice_top += 2 * p * smooth * k
        dice_bottom += (p + smooth) * k
        entropy -= (smooth * math.log(p) + (1 - smooth) * math.log(1 - p)) * k
        kept += k
    dice = 1 - (dice_top + 1e-8) / (dice_bottom + 1e-8)
    return dice_weight * dice + bce_weight * entropy / (kept + 1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_it_is_the_formula(smoothing):
    prob, target, keep = case(1, torch.float64)
    loss = s5.masked_dice_bce(
        prob, target, keep, smoothing=smoothing, bce_weight=0.7, dice_weight=0.2
    )
    assert loss.dtype == torch.float64
    expected = plain(prob, target, keep, smoothing, 0.7, 0.2)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    prob, target, keep = case(2, torch.float64)
    prob = (0.1 + 0.8 * prob).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: s5.masked_dice_bce(p, target, keep), (prob,))


@pytest.mark.parametrize("extreme", [None, 0.0, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_ignored_pixel_has_exactly_zero_gradient(extreme, smoothing):
    prob, target, keep = case(3)
    if extreme is not None:
        prob[:, ::2] = extreme
    assert not keep.all()
    prob.requires_grad_()
    s5.masked_dice_bce(prob, target, keep, smoothing=smoothing).backward()
    assert (prob.grad[~keep] == 0).all()
    assert torch.isfinite(prob.grad).all()
    assert (prob.grad[keep] != 0).any()


def test_the_gradient_reaches_the_logits_of_kept_pixels_alone():
    prob, target, keep = case(4)
    logits = (40 * (prob - 0.5)).requires_grad_()  # sigmoid gives exactly 0 and 1 for some
    s5.masked_dice_bce(torch.sigmoid(10 * logits), target, keep).backward()
    assert (logits.grad[~keep] == 0).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan, math.inf])
def test_what_is_ignored_has_no_influence(value):
    prob, target, keep = case(5)
    changed = torch.where(keep, prob, value).requires_grad_()
    loss = s5.masked_dice_bce(changed, torch.where(keep, target, 1 - target), keep)
    assert loss.item() == s5.masked_dice_bce(prob, target, keep).item()
    loss.backward()
    assert (changed.grad[~keep] == 0).all()
    assert torch.isfinite(changed.grad).all()


def test_zero_where_nothing_is_kept():
    prob, target, keep = case(6)
    prob.requires_grad_()
    loss = s5.masked_dice_bce(prob, target, torch.zeros_like(keep))
    assert loss.item() == 0
    loss.backward()
    assert (prob.grad == 0).all()


def test_no_keep_is_all_kept():
    prob, target, keep = case(7)
    everything = torch.ones_like(keep)
    assert s5.masked_dice_bce(prob, target) == s5.masked_dice_bce(prob, target, everything)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_under_autocast_it_is_float32(half):
    prob, target, keep = case(8)
    prob = prob.to(half).requires_grad_()
    with torch.autocast("cpu", dtype=half):
        loss = s5.masked_dice_bce(prob, target.bool(), keep)
    assert loss.dtype == torch.float32
    expected = s5.masked_dice_bce(prob.detach().float(), target, keep)
    assert loss.item() == expected.item()
    loss.backward()
    assert prob.grad.dtype == half
    assert (prob.grad[~keep] == 0).all()


def test_what_does_not_fit_is_refused():
    prob, target, keep = case(9)
    with pytest.raises(InvalidArgumentError, match=r"\(3, 8, 8\) and target \(8, 8\)"):
        s5.masked_dice_bce(prob, target[0])
    with pytest.raises(InvalidArgumentError, match=r"\(3, 8, 8\) and keep \(3, 1, 8, 8\)"):
        s5.masked_dice_bce(prob, target, keep[:, None])
    with pytest.raises(InvalidArgumentError, match=r"smoothing 1\.5"):
        s5.masked_dice_bce(prob, target, keep, smoothing=1.5)
