"""A synthetic segment with real geometry, and a server that gives it as the data server does."""

from __future__ import annotations

from s5engine.phantom.faults import Fault
from s5engine.phantom.http_connection import Request
from s5engine.phantom.labelled_segment import spoil_label, write_labelled
from s5engine.phantom.layouts import LAYOUTS, Layout, encode_layer, encode_layers
from s5engine.phantom.papyrus import Phantom
from s5engine.phantom.server import LayerServer
from s5engine.phantom.serving import layers_path, serve_phantom
from s5engine.phantom.true_scale import TrueScaleSegment, true_scale_segment
from s5engine.phantom.virtual import VirtualFile

__all__ = [
    "LAYOUTS",
    "Fault",
    "LayerServer",
    "Layout",
    "Phantom",
    "Request",
    "TrueScaleSegment",
    "VirtualFile",
    "encode_layer",
    "encode_layers",
    "layers_path",
    "serve_phantom",
    "spoil_label",
    "true_scale_segment",
    "write_labelled",
]
