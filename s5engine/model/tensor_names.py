"""The spellings of tensor names that checkpoints come with, brought to one.

The network's own names are those of 2025: SegFormer as ``transformers`` 4.x spells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from s5engine.errors import CheckpointError
from s5engine.foreign import brief

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
#: What torch.compile, DistributedDataParallel and its kin put before the names inside them.
_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
#: One tensor that every network has: what stands before it stands before all of them.
_LANDMARK = "encoder.transformer.embeddings.position_embeddings"


def network_tensors(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Return the network's entries of a state dict under the names of 2025.

    The network is where its position embeddings are: under ``model.``, else at the top, else
    where they are. Other names are left out then: they are states of metrics and losses, which a
    Lightning module keeps beside the network.

    Raises
    ------
    CheckpointError
        If a name is no text, two names mean one tensor, or two networks are there.
    """
    odd = [name for name in state_dict if not isinstance(name, str)]
    if odd:
        raise CheckpointError(
            f"A tensor's name in the state_dict is a {type(odd[0]).__name__}, {brief(odd[0])}, "
            "not a text."
        )
    plain = _renamed(state_dict, lambda name: _WRAPPERS.sub("", name))
    start = _start(plain)
    inside = {name.removeprefix(start): v for name, v in plain.items() if name.startswith(start)}
    return _renamed(inside, old_name)


def _start(names: Iterable[str]) -> str:
    """Return what stands before the names of the network's tensors."""
    names = list(names)
    found = {name.removesuffix(_LANDMARK) for name in names if name.endswith(_LANDMARK)}
    found = {start for start in found if start == "" or start.endswith(".")}
    if _NETWORK in found or "" in found:
        return _NETWORK if _NETWORK in found else ""
    if not found:
        return _NETWORK if any(name.startswith(_NETWORK) for name in names) else ""
    if len(found) > 1:
        shown = ", ".join(brief(start) for start in sorted(found)[:4])
        raise CheckpointError(
            f"The state_dict holds {len(found)} networks, under {shown}.",
            "Leave one of them, and name its tensors 'model.…'.",
        )
    return found.pop()


def _renamed(tensors: Mapping[str, T], rename: Callable[[str], str]) -> dict[str, T]:
    """Return tensors under other names, if each has one of its own."""
    made: dict[str, T] = {}
    for name, tensor in tensors.items():
        if (new := rename(name)) in made:
            raise CheckpointError(
                f"The state_dict holds {brief(new, 120)} twice, as {brief(name)}."
            )
        made[new] = tensor
    return made


def old_name(name: str) -> str:
    """Return one tensor name as ``transformers`` 4.x and the checkpoints of 2025 spell it."""
    if "segformer." not in name and "decode_head." not in name:
        return name
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
