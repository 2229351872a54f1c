"""The spellings of tensor names that checkpoints come with, brought to one.

The network's own names are those of 2025: SegFormer as ``transformers`` 4.x spells it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

#: ``transformers`` 5 → 4.x, inside the SegFormer.
_RENAMED = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (
            r"segformer\.stages\.(\d+)\.patch_embeddings\.",
            r"segformer.encoder.patch_embeddings.\1.",
        ),
        (r"segformer\.stages\.(\d+)\.blocks\.", r"segformer.encoder.block.\1."),
        (r"segformer\.stages\.(\d+)\.layer_norm\.", r"segformer.encoder.layer_norm.\1."),
        (r"\.layernorm_before\.", ".layer_norm_1."),
        (r"\.layernorm_after\.", ".layer_norm_2."),
        (r"\.attention\.([qkv])_proj\.", r".attention.self.\1_proj."),
        (r"\.self\.q_proj\.", ".self.query."),
        (r"\.self\.k_proj\.", ".self.key."),
        (r"\.self\.v_proj\.", ".self.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.sequence_reduction\.sequence_reduction\.", ".self.sr."),
        (r"\.sequence_reduction\.layer_norm\.", ".self.layer_norm."),
        (r"\.mlp\.fc(\d)\.", r".mlp.dense\1."),
        (r"decode_head\.linear_projections\.", "decode_head.linear_c."),
    ]
]

#: A Lightning module keeps the network here; its other tensors belong to metrics and losses.
_NETWORK = "model."
#: torch.compile puts this before every name.
_COMPILED = "_orig_mod."


def network_tensors(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Return the network's entries of a state dict under the names of 2025.

    If any name begins with ``model.``, the others are left out: they are states of metrics and
    losses, which a Lightning module keeps beside the network. If none does, all are the network's.
    """
    plain = {name.replace(_COMPILED, ""): value for name, value in state_dict.items()}
    if any(name.startswith(_NETWORK) for name in plain):
        plain = {
            name.removeprefix(_NETWORK): value
            for name, value in plain.items()
            if name.startswith(_NETWORK)
        }
    return {old_name(name): value for name, value in plain.items()}


def old_name(name: str) -> str:
    """Return one tensor name as ``transformers`` 4.x and the checkpoints of 2025 spell it."""
    if "segformer." not in name and "decode_head." not in name:
        return name
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
