"""Reading the layers of a segment from where they are: a server, a bucket or a folder."""

from s5engine.source.images import read_mask
from s5engine.source.listing import LayerFile, LayerIndex, list_layers
from s5engine.source.retry import RetryPolicy
from s5engine.source.stack import LayerStack, open_stack

__all__ = [
    "LayerFile",
    "LayerIndex",
    "LayerStack",
    "RetryPolicy",
    "list_layers",
    "open_stack",
    "read_mask",
]
