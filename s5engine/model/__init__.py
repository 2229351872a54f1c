"""The network UNETR-SF and what runs it. Knows torch and numpy, and nothing of arrays on disk."""

from s5engine.model.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from s5engine.model.config import NetworkConfig
from s5engine.model.fused import rewrite_for_inference
from s5engine.model.ink_model import InkModel, build_model, from_network, load_checkpoint
from s5engine.model.unetr_segformer import UnetrSegformer
from s5engine.model.wrap import wrap_model

__all__ = [
    "Checkpoint",
    "InkModel",
    "NetworkConfig",
    "UnetrSegformer",
    "build_model",
    "from_network",
    "load_checkpoint",
    "read_checkpoint",
    "rewrite_for_inference",
    "save_checkpoint",
    "wrap_model",
]
