"""s5engine: a chunked, out-of-core array engine that reads carbonised Herculaneum scrolls.

One straight line: `list_layers` → `ingest` → `open_volume` → `contrast` → `parts` → `predict_ink`
→ `write_run` → `composite`. Everything up to the ink is a lazy ``xarray.DataArray``; nothing is
computed until a product is written. Importing this package loads no heavy library: each name is
looked up when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s5engine.errors import S5Error as S5Error
    from s5engine.infer.arguments import check_prediction as check_prediction
    from s5engine.infer.graph import blend as blend
    from s5engine.infer.graph import predict_ink as predict_ink
    from s5engine.infer.graph import predict_tiles as predict_tiles
    from s5engine.infer.plan import Plan as Plan
    from s5engine.infer.plan import plan as plan
    from s5engine.infer.run import Run as Run
    from s5engine.infer.run import open_run as open_run
    from s5engine.infer.run import write_run as write_run
    from s5engine.labels.relabel import RelabelReport as RelabelReport
    from s5engine.labels.relabel import relabel as relabel
    from s5engine.model.ink_model import InkModel as InkModel
    from s5engine.model.ink_model import load_checkpoint as load_checkpoint
    from s5engine.model.wrap import wrap_model as wrap_model
    from s5engine.ops.contrast import contrast as contrast
    from s5engine.ops.contrast import lookup_table as lookup_table
    from s5engine.ops.intensity import to_uint8 as to_uint8
    from s5engine.ops.mask import papyrus_mask as papyrus_mask
    from s5engine.ops.parts import parts as parts
    from s5engine.ops.score import Score as Score
    from s5engine.ops.score import best_threshold as best_threshold
    from s5engine.ops.score import score_ink as score_ink
    from s5engine.scheduling import Cluster as Cluster
    from s5engine.scheduling import cluster as cluster
    from s5engine.settings_file import TitleSettings as TitleSettings
    from s5engine.settings_file import read_title_settings as read_title_settings
    from s5engine.source.images import read_mask as read_mask
    from s5engine.source.listing import LayerIndex as LayerIndex
    from s5engine.source.listing import list_layers as list_layers
    from s5engine.store.ingest import ingest as ingest
    from s5engine.store.ingest_plan import IngestPlan as IngestPlan
    from s5engine.store.ingest_plan import plan_ingest as plan_ingest
    from s5engine.store.pyramid import open_pyramid as open_pyramid
    from s5engine.store.pyramid import write_pyramid as write_pyramid
    from s5engine.store.split import split as split
    from s5engine.store.split_plan import SplitPlan as SplitPlan
    from s5engine.store.split_plan import plan_split as plan_split
    from s5engine.store.volume import open_volume as open_volume
    from s5engine.training.augment import AugmentSettings as AugmentSettings
    from s5engine.training.build import build_tileset as build_tileset
    from s5engine.training.fit import train as train
    from s5engine.training.losses import masked_dice_bce as masked_dice_bce
    from s5engine.training.settings import TrainSettings as TrainSettings
    from s5engine.training.settings import read_train_settings as read_train_settings
    from s5engine.training.tileset import Tileset as Tileset
    from s5engine.training.tileset import open_tileset as open_tileset
    from s5engine.view.composite import composite as composite
    from s5engine.view.picture import write_picture as write_picture
    from s5engine.view.picture import write_sheet as write_sheet
    from s5engine.view.show import show as show

__version__ = "0.1.0"

_HOMES = {
    "AugmentSettings": "training.augment",
    "Cluster": "scheduling",
    "IngestPlan": "store.ingest_plan",
    "InkModel": "model.ink_model",
    "LayerIndex": "source.listing",
    "Plan": "infer.plan",
    "RelabelReport": "labels.relabel",
    "Run": "infer.run",
    "S5Error": "errors",
    "Score": "ops.score",
    "TitleSettings": "settings_file",
    "SplitPlan": "store.split_plan",
    "Tileset": "training.tileset",
    "TrainSettings": "training.settings",
    "best_threshold": "ops.score",
    "blend": "infer.graph",
    "build_tileset": "training.build",
    "check_prediction": "infer.arguments",
    "cluster": "scheduling",
    "composite": "view.composite",
    "contrast": "ops.contrast",
    "ingest": "store.ingest",
    "list_layers": "source.listing",
    "load_checkpoint": "model.ink_model",
    "lookup_table": "ops.contrast",
    "masked_dice_bce": "training.losses",
    "open_pyramid": "store.pyramid",
    "open_run": "infer.run",
    "open_tileset": "training.tileset",
    "open_volume": "store.volume",
    "papyrus_mask": "ops.mask",
    "parts": "ops.parts",
    "plan": "infer.plan",
    "plan_ingest": "store.ingest_plan",
    "plan_split": "store.split_plan",
    "predict_ink": "infer.graph",
    "predict_tiles": "infer.graph",
    "read_mask": "source.images",
    "read_title_settings": "settings_file",
    "score_ink": "ops.score",
    "show": "view.show",
    "read_train_settings": "training.settings",
    "relabel": "labels.relabel",
    "split": "store.split",
    "to_uint8": "ops.intensity",
    "train": "training.fit",
    "wrap_model": "model.wrap",
    "write_picture": "view.picture",
    "write_pyramid": "store.pyramid",
    "write_run": "infer.run",
    "write_sheet": "view.picture",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Import the module that holds a public name when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """Show our arrays with a thumbnail: what ``%load_ext s5engine`` in a notebook calls."""
    formatter = shell.display_formatter.formatters["text/html"]
    # By its name: neither xarray nor the viewer is imported before an array is shown.
    formatter.for_type_by_name("xarray.core.dataarray", "DataArray", _show_array)


def _show_array(array: Any) -> str:
    from s5engine.view.notebook import html

    return html(array)


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
