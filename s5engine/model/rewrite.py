"""Exact rewrites of convolutions for inference: the same function with less arithmetic.

Each is algebra on the weights, done once in float64 when a model is loaded:

- a BatchNorm in inference mode is a scale and a shift per channel, so it can live in the
  convolution before it (`fold_batch_norm`);
- a doubling ConvTranspose3d (k2, s2) followed by a Conv3d (k3, p1) is one ConvTranspose3d
  (k4, s2, p1) and a constant map (`fuse_upsampling`);
- a convolution of concatenated channels is the sum of the convolutions of its parts
  (`split_input`), which lets the one before hold for the upsampled part of a skip connection.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ConvT = TypeVar("ConvT", nn.Conv2d, nn.Conv3d)


def fold_batch_norm(conv: ConvT, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> ConvT:
    """Return a convolution that does what ``conv`` and then ``norm`` (in eval mode) do.

    With s = γ / √(σ² + ε): W' = s W, b' = s (b − μ) + β (Ioffe & Szegedy 2015, section 3.1).
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("A BatchNorm without running statistics cannot be folded.")
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    weight = conv.weight.double() * scale.view(-1, *[1] * (conv.weight.dim() - 1))
    return _like(conv, weight, scale * (bias - mean.double()) + norm.bias.double())


def split_input(conv: nn.Conv3d, first: int) -> tuple[nn.Conv3d, nn.Conv3d]:
    """Return two convolutions of the first ``first`` and of the other input channels.

    The sum of their outputs is what ``conv`` returns for the concatenation; the bias goes with
    the second one.
    """
    weight = conv.weight.double()
    none = torch.zeros(weight.shape[0], dtype=torch.float64, device=weight.device)
    bias = none if conv.bias is None else conv.bias.double()
    return _like(conv, weight[:, :first], None), _like(conv, weight[:, first:], bias)


def fuse_upsampling(deconv: nn.ConvTranspose3d, conv: nn.Conv3d) -> FusedUpsample:
    """Return one layer that does what ``deconv`` (k2, s2) and then ``conv`` (k3, p1) do.

    In one dimension: y[2i + a] = T[a] x[i] + t with a ∈ {0, 1} and z[j] = Σₖ C[k] y[j + k − 1] + c
    with k ∈ {0, 1, 2}. Hence z[j] = Σᵢ V[j + 1 − 2i] x[i] + …, where V[n] is the sum of C[k] T[a]
    over a − k + 2 = n: a transposed convolution of kernel 4, stride 2, padding 1.
    The constant t reaches z[j] through those taps k alone that fall on y and not on the zeros
    around it: all three inside, two at each end.
    """
    taps = conv.weight.double()  # (out, mid, 3, 3, 3)
    doubled = deconv.weight.double()  # (in, mid, 2, 2, 2)
    weight = taps.new_zeros(doubled.shape[0], taps.shape[0], 4, 4, 4)
    for az, ay, ax in _cube(2):
        # (in, out, 3, 3, 3), and a − k + 2 runs backwards over a … a + 2 as k runs forwards.
        product = torch.einsum("im,omzyx->iozyx", doubled[:, :, az, ay, ax], taps)
        weight[:, :, az : az + 3, ay : ay + 3, ax : ax + 3] += product.flip(2, 3, 4)
    return FusedUpsample(weight.float(), _border_table(deconv, conv).float())


class FusedUpsample(nn.Module):
    """A doubling transposed convolution plus a constant map: ``(B, in, d, h, w)`` → doubled.

    Parameters
    ----------
    weight : Tensor, shape (in, out, 4, 4, 4)
        Of the transposed convolution.
    table : Tensor, shape (out, 3, 3, 3)
        The constant at the first, any inner and the last position along z, y and x.
    """

    weight: Tensor
    inner: Tensor
    table: Tensor

    def __init__(self, weight: Tensor, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        # What most voxels get goes into the transposed convolution, the rest on the border.
        self.register_buffer("inner", table[:, 1, 1, 1].clone())
        self.register_buffer("table", table - table[:, 1:2, 1:2, 1:2])
        self._faces: dict[tuple[object, ...], list[tuple[int, int, Tensor]]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Double the size."""
        x = F.conv_transpose3d(x, self.weight, self.inner, stride=2, padding=1)
        if torch.compiler.is_compiling():  # a graph compiler would copy everything for each face
            return x + self._map(x)
        for dim, index, constant in self._border(x):
            x.select(dim, index).add_(constant)  # (B, out, 2d, 2h, 2w), in place on six faces
        return x

    def _map(self, x: Tensor) -> Tensor:
        """Return what the border adds to every voxel, (1, out, 2d, 2h, 2w)."""
        table = self.table
        for axis, size in enumerate(x.shape[2:], start=1):
            at = torch.ones(size, dtype=torch.long, device=table.device)
            at[0], at[-1] = 0, 2
            table = table.index_select(axis, at)
        return table[None]

    def _border(self, x: Tensor) -> list[tuple[int, int, Tensor]]:
        """Return (dim, index, constant) of the six faces; what two share is in the first."""
        key = (x.shape[2:], x.dtype, x.device)
        if key not in self._faces:
            self._faces[key] = _faces(self.table, x)
        return self._faces[key]


def _faces(table: Tensor, x: Tensor) -> list[tuple[int, int, Tensor]]:
    """Spread a border table over the six faces of ``x``, so that each voxel is met once."""
    size = list(x.shape[2:])
    faces = []
    for axis in range(3):
        for index, row in ((0, 0), (size[axis] - 1, 2)):
            constant = table.select(axis + 1, row)  # (out, 3, 3) over the two other axes
            others = [other for other in range(3) if other != axis]
            for place, other in enumerate(others, start=1):
                at = torch.ones(size[other], dtype=torch.long, device=table.device)
                at[0], at[-1] = 0, 2
                constant = constant.index_select(place, at)
                if other < axis:  # those voxels lie on a face that came before
                    constant = constant.clone()
                    constant.select(place, 0).zero_()
                    constant.select(place, size[other] - 1).zero_()
            faces.append((axis + 2, index, constant.to(x.dtype)))
    return faces


def _border_table(deconv: nn.ConvTranspose3d, conv: nn.Conv3d) -> Tensor:
    """Return what the two biases come to at the 27 kinds of positions, (out, 3, 3, 3)."""
    taps = conv.weight.double()
    none = torch.zeros(1, dtype=torch.float64, device=taps.device)
    inner = none.expand(taps.shape[1]) if deconv.bias is None else deconv.bias.double()
    outer = none.expand(taps.shape[0]) if conv.bias is None else conv.bias.double()
    per_tap = torch.einsum("omzyx,m->ozyx", taps, inner)
    # Row: first, inner, last position; column: which of the taps fall inside.
    inside = torch.tensor([[0, 1, 1], [1, 1, 1], [1, 1, 0]], dtype=torch.float64).to(taps.device)
    reached = torch.einsum("ozyx,az,by,cx->oabc", per_tap, inside, inside, inside)
    return reached + outer.view(-1, 1, 1, 1)


def _cube(side: int) -> list[tuple[int, int, int]]:
    return [(z, y, x) for z in range(side) for y in range(side) for x in range(side)]


def _like(conv: ConvT, weight: Tensor, bias: Tensor | None) -> ConvT:
    """Return a convolution of the same geometry as ``conv`` with other weights, float32."""
    same: dict[str, Any] = {
        name: getattr(conv, name) for name in ("kernel_size", "stride", "padding")
    }
    # Built on no memory at all: the weights are put in, never drawn.
    new = type(conv)(
        weight.shape[1],
        weight.shape[0],
        **same,
        bias=bias is not None,
        device="meta",
    )
    new.weight = nn.Parameter(weight.float().contiguous(), requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias.float(), requires_grad=False)
    return new.eval()
