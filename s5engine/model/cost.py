"""What a network costs, from its sizes alone: nothing is computed and no weight is made."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from s5engine.model import onednn
from s5engine.model.config import NetworkConfig
from s5engine.model.fused import ConvReLU, rewrite_for_inference
from s5engine.model.unetr_segformer import UnetrSegformer


class NetworkCost(NamedTuple):
    """The cost of one forward pass of the network as it is run for inference.

    Attributes
    ----------
    flops : int
        Floating-point operations for each tile; a multiplication with addition counts as two.
    weight_bytes : int
        Weights and constants in float32.
    working_bytes : int
        Most bytes of a batch that are alive at one moment in float32, weights not counted.
    kept_bytes : int
        Of a batch in float32 on a CPU, what is kept for the next one: see `onednn.conv_relu`.
    """

    flops: int
    weight_bytes: int
    working_bytes: int
    kept_bytes: int


@functools.lru_cache(maxsize=32)
def network_cost(config: NetworkConfig, batch: int) -> NetworkCost:
    """Return what a batch of ``batch`` tiles costs; takes a second or two, and little memory.

    The network runs on tensors that have shapes but no values (torch's FakeTensorMode), while
    its operations and the storages alive are counted.
    """
    with torch.device("meta"):
        network = rewrite_for_inference(UnetrSegformer(config).eval())
    named = [*network.named_parameters(), *network.named_buffers()]
    kept = _watch_rooms(network)
    with FakeTensorMode(), torch.inference_mode():
        state = {name: torch.empty(value.shape, dtype=value.dtype) for name, value in named}
        tiles = torch.empty(batch, 1, config.layers, config.tile, config.tile)
        with FlopCounterMode(display=False) as counter, _LiveBytes() as live:
            torch.func.functional_call(network, state, (tiles,))
    weights = sum(value.numel() * value.element_size() for _, value in named)
    return NetworkCost(counter.get_total_flops() // batch, weights, live.peak, sum(kept.values()))


def _watch_rooms(network: nn.Module) -> dict[str, int]:
    """Return a dictionary that the network's next pass fills: bytes of each memory it keeps."""
    kept: dict[str, int] = {}

    def watch(module: ConvReLU, room: str) -> None:
        def note(_: nn.Module, __: Any, result: Tensor) -> None:
            size = result.numel() * 4
            if size > onednn.MAPPED:
                kept[room] = max(kept.get(room, 0), size)

        module.register_forward_hook(note)

    for module in network.modules():
        if isinstance(module, ConvReLU) and module.room is not None:
            watch(module, module.room)
    return kept


#: torch does not type it.
_weak: Any = StorageWeakRef


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch: untyped
    """The most bytes that results of operations have held at one moment."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch: untyped
        self.peak = 0
        self._alive: dict[Any, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                reference = _weak(storage)
                self._alive[reference] = storage.nbytes()
        self._alive = {ref: size for ref, size in self._alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self._alive.values()))
        return result
