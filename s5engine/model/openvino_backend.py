"""OpenVINO as a second backend for networks on a CPU, in float32 like the first.

Optional: ``pip install "s5engine[fast]"``. The rewritten network is handed over once for each
size of batch, which takes tens of seconds and stays in memory.
"""

from __future__ import annotations

import importlib.util
import logging
import statistics
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from s5engine import console
from s5engine.errors import InvalidArgumentError, MissingExtraError, WayOut
from s5engine.model.config import NetworkConfig

BACKENDS = ("torch", "openvino", "auto")

#: Sizes of batch that are kept compiled: the present one, and one that is being left.
_KEPT = 2
#: Batch and repetitions by which "auto" compares, after one pass that warms up.
_TIMED_BATCH, _TIMED = 2, 3
#: Beside weights and batch: OpenVINO itself.
_LIBRARY = 200 * 2**20


def is_installed() -> bool:
    """Return whether OpenVINO can be imported."""
    return importlib.util.find_spec("openvino") is not None


def check_backend(backend: str, device: torch.device) -> None:
    """Refuse a backend that is unknown, not installed or not for the device.

    Raises
    ------
    InvalidArgumentError, MissingExtraError
    """
    if backend not in BACKENDS:
        raise InvalidArgumentError(f"backend is one of {BACKENDS}, not {backend!r}.")
    if backend != "openvino":
        return
    if device.type != "cpu":
        raise InvalidArgumentError(
            f"The backend openvino runs on the CPU, not on {device}.",
            WayOut('Give device="cpu" as well.', "Give --device cpu as well."),
        )
    if not is_installed():
        raise MissingExtraError(
            "The backend openvino needs the package openvino, which is not installed.",
            WayOut(
                'Install it with: pip install "s5engine[fast]", or take backend="torch".',
                'Install it with: pip install "s5engine[fast]", or take --backend torch.',
            ),
        )


def working_bytes(weight_bytes: int, batch_bytes: int) -> int:
    """Return what OpenVINO holds at most, beside torch's own weights, bytes.

    Parameters
    ----------
    weight_bytes, batch_bytes : int
        The network's weights in float32, and what torch keeps alive for a batch.

    Notes
    -----
    While it compiles, the weights are there three times (exported, in its graph, as its kernels
    want them); then once. UNETR-SF b3 with batches of two: measured 1.14 GiB, estimated 1.3.
    """
    return _LIBRARY + 3 * weight_bytes + 2 * batch_bytes


class OpenVINONetwork:
    """A network in OpenVINO: called with what the torch module takes, it returns the same.

    Parameters
    ----------
    network : Module
        In eval mode, on the CPU.

    Notes
    -----
    One caller at a time. Each size of batch is compiled when it first comes.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, tiles: Tensor) -> Tensor:
        """Return the network's answer to a batch, float32."""
        shape = tuple(tiles.shape)
        if shape not in self._requests:
            while len(self._requests) >= _KEPT:
                self._requests.popitem(last=False)
            self._requests[shape] = _compiled(self._network, shape)
        self._requests.move_to_end(shape)
        request = self._requests[shape]
        request.infer({0: tiles.contiguous().numpy()}, share_inputs=True)
        # Copied: the next call writes to the same memory.
        return torch.from_numpy(request.get_output_tensor(0).data.copy())


def faster(torch_run: Callable[[Tensor], Tensor], network: nn.Module, config: NetworkConfig) -> Any:
    """Time a batch on both backends, say so, and return an `OpenVINONetwork` if it is the faster.

    Returns
    -------
    OpenVINONetwork or None
    """
    if not is_installed():
        console.say("backend: torch (openvino is not installed)")
        return None
    other = OpenVINONetwork(network)
    tiles = torch.rand(_TIMED_BATCH, 1, config.layers, config.tile, config.tile)
    with torch.inference_mode():
        ours, theirs = (_seconds(run, tiles) for run in (torch_run, other))
    chosen = "openvino" if theirs < ours else "torch"
    console.say(
        f"backend: {chosen} (a batch of {_TIMED_BATCH} tiles took torch {ours:.3g} s and "
        f"openvino {theirs:.3g} s)"
    )
    return other if chosen == "openvino" else None


def _seconds(run: Callable[[Tensor], Tensor], tiles: Tensor) -> float:
    """Return the median time of a pass after one that warms up."""
    times = []
    for _ in range(1 + _TIMED):
        started = time.perf_counter()
        run(tiles)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _compiled(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """Return an infer request of the network for one shape of input."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    example = torch.zeros(shape)
    disabled = logging.root.manager.disable
    # OpenVINO's reader logs tracebacks about torch operations that this torch no longer lists.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's exporter and OpenVINO's reader
            program = TorchFXPythonDecoder.from_exported_program(
                torch.export.export(network, (example,))
            )
            # Not by `convert_model`: that reports its use to OpenVINO's makers over the network.
            frontend = FrontEndManager().load_by_framework("pytorch")
            graph = frontend.convert(frontend.load(program))
    finally:
        logging.disable(disabled)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would be given bfloat16
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
