"""The sizes of a UNETR-SF network, and how a checkpoint's hyper-parameters spell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from s5engine.errors import CheckpointError, InvalidArgumentError, WayOut
from s5engine.foreign import brief

ARCHITECTURE = "unetr-sf"

#: One token of the 3D transformer: 16 × 16 × 16 voxels.
PATCH = 16
#: Ink pixels per input pixel along one side: the SegFormer answers at a quarter of the size.
REDUCTION = 4

#: The MiT encoders of SegFormer (Xie et al. 2021, arXiv 2105.15203, table 6) and the width of
#: the decoder that belongs to each.
_SEGFORMERS: dict[str, dict[str, Any]] = {
    name: {
        "segformer_widths": (32, 64, 160, 256) if name == "b0" else (64, 128, 320, 512),
        "segformer_depths": depths,
        "segformer_heads": (1, 2, 5, 8),
        "segformer_decoder_dim": 256 if name in ("b0", "b1") else 768,
    }
    for name, depths in {
        "b0": (2, 2, 2, 2),
        "b1": (2, 2, 2, 2),
        "b2": (3, 4, 6, 3),
        "b3": (3, 4, 18, 3),
        "b4": (3, 8, 27, 3),
        "b5": (3, 6, 40, 3),
    }.items()
}

#: The two sizes of the 3D part that were trained in 2025; True is ``mini_unetr``.
_UNETRS: dict[bool, dict[str, Any]] = {
    True: {
        "unetr_embed_dim": 384,
        "unetr_heads": 6,
        "unetr_layers": 8,
        "unetr_mlp_dim": 1024,
        "unetr_filters": (256, 128, 64),
        "unetr_stem": (16, 32),
    },
    False: {
        "unetr_embed_dim": 768,
        "unetr_heads": 12,
        "unetr_layers": 12,
        "unetr_mlp_dim": 2048,
        "unetr_filters": (512, 256, 128),
        "unetr_stem": (32, 64),
    },
}

#: Larger networks than anybody trains: blocks of one kind, channels, px, layers.
_MOST = {"unetr_layers": 1024, "segformer_depths": 1024, "tile": 2**14, "layers": 2**12}
_MOST_CHANNELS = 2**16
#: The longest array among the hyper-parameters that can be a size.
_MOST_BYTES = 1024

#: Hyper-parameters of 2025 whose name differs from the field's.
_OLD_NAMES = {"tile": "patch_size", "layers": "in_chans"}
_LENGTHS = {
    "unetr_filters": 3,
    "unetr_stem": 2,
    "segformer_widths": 4,
    "segformer_depths": 4,
    "segformer_heads": 4,
}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """All sizes of one UNETR-SF; the defaults are the 2025 submission's.

    Parameters
    ----------
    tile : int
        Side of the input, px; a multiple of 32.
    layers : int
        Layers of the input; a multiple of 16.
    unetr_embed_dim, unetr_heads, unetr_layers, unetr_mlp_dim : int
        The 3D transformer: token width, attention heads, blocks, hidden width of the MLP.
    unetr_filters : tuple of 3 int
        Channels of the decoder at 1/8, 1/4 and 1/2 of the resolution.
    unetr_stem : tuple of 2 int
        Channels of the two convolutions at full resolution.
    unetr_out_channels : int
        Channels that the 3D part hands to the SegFormer.
    segformer_widths, segformer_depths, segformer_heads : tuple of 4 int
        Per stage of the SegFormer: channels, blocks, attention heads.
    segformer_decoder_dim : int
        Channels of the SegFormer's decode head.
    epsilon : float
        Of the 3D transformer's LayerNorms. (The SegFormer's are 1e-5.)
    model_type : str
        ``"b0"`` … ``"b5"``: the SegFormer that the sizes started from.
    mini_unetr : bool
        Whether the 3D sizes started from the small UNETR.

    Raises
    ------
    InvalidArgumentError
        If a value is not of its type, or the sizes do not fit each other.
    """

    tile: int = 128
    layers: int = 16
    unetr_embed_dim: int = 384
    unetr_heads: int = 6
    unetr_layers: int = 8
    unetr_mlp_dim: int = 1024
    unetr_filters: tuple[int, int, int] = (256, 128, 64)
    unetr_stem: tuple[int, int] = (16, 32)
    unetr_out_channels: int = 32
    segformer_widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    segformer_depths: tuple[int, int, int, int] = (3, 4, 18, 3)
    segformer_heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    segformer_decoder_dim: int = 768
    epsilon: float = 1e-3
    model_type: str = "b3"
    mini_unetr: bool = True

    def __post_init__(self) -> None:
        _check_types(self)
        _check_fit(self)

    @property
    def reduction(self) -> int:
        """Input pixels per ink pixel along one side."""
        return REDUCTION

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Tokens of the 3D transformer along depth, y and x."""
        return self.layers // PATCH, self.tile // PATCH, self.tile // PATCH

    @property
    def output_layers(self) -> tuple[int, int, int, int]:
        """After which transformer blocks (from 1) the features z3, z6, z9, z12 are taken."""
        count = self.unetr_layers
        if count == 6:  # the rule of 2025, which the rounding below would not give
            return 2, 3, 4, 6
        return count // 4, count // 2, 3 * count // 4, count

    @classmethod
    def preset(cls, model_type: str = "b3", *, mini_unetr: bool = True) -> NetworkConfig:
        """Return the sizes of 2025 for a SegFormer ``"b0"`` … ``"b5"`` and a small or full UNETR.

        Raises
        ------
        InvalidArgumentError
            If ``model_type`` is none of them.
        """
        _check_names(model_type, mini_unetr)
        sizes = _UNETRS[mini_unetr] | _SEGFORMERS[model_type]
        return cls(model_type=model_type, mini_unetr=mini_unetr, **sizes)

    @classmethod
    def from_hyper_parameters(cls, parameters: Mapping[str, Any]) -> NetworkConfig:
        """Read the sizes from a checkpoint's flat ``hyper_parameters``.

        Sizes that are missing are those of 2025 for the ``mini_unetr`` and ``model_type`` given;
        training settings are ignored.

        Raises
        ------
        CheckpointError
            If the architecture is another one, a value is missing that nothing else tells, or a
            value is wrong; the message names it.
        """
        names = {_old_name(f.name) for f in fields(cls)} | {
            "architecture",
            "label_size",
        }
        parameters = {k: _plain(value) for k, value in parameters.items() if k in names}
        architecture = parameters.get("architecture")
        if architecture != ARCHITECTURE:
            raise CheckpointError(
                f"The checkpoint holds a network of architecture {brief(architecture)}, "
                f"not {ARCHITECTURE!r}.",
                WayOut(
                    "Load it with its own code, and wrap it: s5.wrap_model(network, tile=…).",
                    "Load it with its own code and run it from Python: see the README.",
                ),
            )
        values = {
            field.name: parameters[key]
            for field in fields(cls)
            if (key := _old_name(field.name)) in parameters
        }
        _check_label_size(parameters)
        try:
            sizes: dict[str, Any] = _defaults(values) | values
            config = cls(**sizes)
        except InvalidArgumentError as error:
            raise CheckpointError(
                f"The checkpoint's hyper-parameters do not describe a network: {error.what}",
                error.way_out,
            ) from error
        return config

    def to_hyper_parameters(self) -> dict[str, Any]:
        """Return the flat dict that `from_hyper_parameters` reads, with the names of 2025."""
        sizes = {_old_name(f.name): getattr(self, f.name) for f in fields(self)}
        # Lists, as JSON and YAML readers of checkpoints know no tuples.
        flat = {k: list(v) if isinstance(v, tuple) else v for k, v in sizes.items()}
        return {
            "architecture": ARCHITECTURE,
            "segformer_from_pretrained": f"nvidia/mit-{self.model_type}",
            "label_size": self.tile // REDUCTION,
            **flat,
        }


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the 2025 sizes that ``mini_unetr`` and ``model_type`` stand for."""
    sizes: dict[str, Any] = {}
    for key, table in (("mini_unetr", _UNETRS), ("model_type", _SEGFORMERS)):
        needed = next(iter(table.values()))
        missing = [name for name in needed if name not in values]
        if key in values:
            _check_names(values.get("model_type", "b3"), values.get("mini_unetr", True))
            sizes |= table[values[key]]
        elif missing:
            raise InvalidArgumentError(f"{key!r} is missing, and so are {missing}.")
    return sizes


def _plain(value: Any) -> Any:
    """Return a number, text or short list (as a tuple) of numpy's or torch's as Python's own."""
    if hasattr(value, "tolist") and getattr(value, "nbytes", _MOST_BYTES) < _MOST_BYTES:
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) <= 8:
        return tuple(_number(one) for one in value)  # for a frozen, hashable config
    return value


def _number(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic) else value


def _check_label_size(parameters: Mapping[str, Any]) -> None:
    tile, label = parameters.get("patch_size", 128), parameters.get("label_size")
    if label is not None and not (_count(label) and label * REDUCTION == tile):
        raise CheckpointError(
            f"The checkpoint's label_size {brief(label)} is not a quarter of its patch_size "
            f"{brief(tile)}."
        )


def _check_names(model_type: Any, mini_unetr: Any) -> None:
    if not isinstance(model_type, str) or model_type not in _SEGFORMERS:
        raise InvalidArgumentError(
            f"model_type {brief(model_type)} is not one of {sorted(_SEGFORMERS)}."
        )
    if not isinstance(mini_unetr, bool):
        raise InvalidArgumentError(f"mini_unetr is True or False, not {brief(mini_unetr)}.")


def _old_name(name: str) -> str:
    """Return what the hyper-parameters of 2025 call a field."""
    return _OLD_NAMES.get(name, name)


def _check_types(config: NetworkConfig) -> None:
    _check_names(config.model_type, config.mini_unetr)
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in _LENGTHS:
            length = _LENGTHS[name]
            if not (isinstance(value, tuple) and len(value) == length and all(map(_count, value))):
                raise InvalidArgumentError(
                    f"{name} is {length} positive whole numbers, not {brief(value)}."
                )
        elif name == "epsilon":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < 1:
                raise InvalidArgumentError(
                    f"epsilon is a small positive number, not {brief(value)}."
                )
        elif name not in ("model_type", "mini_unetr") and not _count(value):
            shown = _old_name(name)
            raise InvalidArgumentError(f"{shown} is a positive whole number, not {brief(value)}.")
        _check_most(name, value)


def _check_most(name: str, value: Any) -> None:
    """Check that a size is one that a network can have, before anything of it is made."""
    most = _MOST.get(name, _MOST_CHANNELS)
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, int) and number > most for number in numbers):
        raise InvalidArgumentError(
            f"{_old_name(name)} {brief(value)} is more than a network can have, {most}."
        )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_fit(config: NetworkConfig) -> None:
    if config.tile % 32:
        raise InvalidArgumentError(
            f"A tile (patch_size) of {config.tile} px is not a multiple of 32 px, "
            "the step of the SegFormer's last stage."
        )
    if config.layers % PATCH:
        raise InvalidArgumentError(
            f"{config.layers} layers (in_chans) are not a multiple of {PATCH}."
        )
    if config.unetr_layers < 4:
        raise InvalidArgumentError(
            f"unetr_layers is at least 4, one for each output, not {config.unetr_layers}."
        )
    pairs = [("unetr_embed_dim", config.unetr_embed_dim, config.unetr_heads)]
    pairs += [
        ("segformer_widths", width, heads)
        for width, heads in zip(config.segformer_widths, config.segformer_heads, strict=True)
    ]
    for name, width, heads in pairs:
        if width % heads:
            raise InvalidArgumentError(
                f"{name}: {width} channels cannot be shared by {heads} attention heads."
            )
