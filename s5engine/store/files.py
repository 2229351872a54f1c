"""How a place is read: as a zarr hierarchy, local or remote, or as a folder of layer files."""

from __future__ import annotations

import json
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s5engine.address import is_http, local_path, place_of, recorded, shown
from s5engine.errors import MissingExtraError, StoreError
from s5engine.foreign import as_attributes
from s5engine.geometry import take
from s5engine.runtime.same_work import check_source, content_of
from s5engine.store.axes import label_volume
from s5engine.store.identity import tail_of
from s5engine.store.nodes import check_metadata, check_node, open_group, understanding

if TYPE_CHECKING:
    import xarray as xr
    import zarr

    from s5engine.address import StorageOptions
    from s5engine.source.stack import LayerStack

#: Largest band of rows that is one block of a folder of layers, bytes.
BAND_BYTES = 256 * 2**20


def open_zarr_node(
    store: str | Path, storage_options: StorageOptions | None = None
) -> zarr.Array[Any] | zarr.Group | None:
    """Open the zarr array or group at ``store`` for reading; None if there is none.

    Raises
    ------
    StoreError
        If the metadata cannot be read.
    MissingExtraError
        If the address needs a file system that is not installed.
    """
    place: Any = place_of(store)
    if isinstance(place, Path):
        place = place.absolute()  # workers may be in another folder
        if not check_metadata(place):
            return None
    import zarr

    try:
        with understanding(shown(place) if isinstance(place, str) else place):
            try:
                target = _remote_store(place, storage_options) if isinstance(place, str) else place
                node = zarr.open(target, mode="r")
            except FileNotFoundError:
                if not isinstance(place, Path) and (refused := target.refused()) is not None:
                    raise refused from None
                return None
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {shown(str(store))} needs a package that is not installed: {error}.",
            'Install it with `pip install "s5engine[s3]"`.',
        ) from error
    if isinstance(place, Path) and isinstance(node, zarr.Group):
        return open_group(place)
    check_node(node, shown(place) if isinstance(place, str) else place)
    return node


def _remote_store(url: str, storage_options: StorageOptions | None) -> Any:
    """Return a read-only zarr store on fsspec; S3 is read anonymously unless told otherwise."""
    from zarr.storage import FsspecStore

    from s5engine.store import remote
    from s5engine.store.remote import PatientStore

    if is_http(url):
        from s5engine.source.session import signed_filesystem

        filesystem = signed_filesystem(url, storage_options, remote.POLICY)
        return PatientStore(FsspecStore(filesystem, True, shown(url).rstrip("/")))
    options = dict(storage_options or {})
    if url.startswith("s3://"):
        options = {"anon": True, **options}
    store = FsspecStore.from_url(url.rstrip("/"), storage_options=options, read_only=True)
    return PatientStore(store)


class LayerArray:
    """A stack of layer files as an array (layer, y, x) that reads what is sliced from it.

    The files are opened when first read, once per process: a copy sent to another process opens
    its own.
    """

    def __init__(
        self, source: str | Path, storage_options: StorageOptions | None, stack: LayerStack
    ) -> None:
        self._source = source
        self._options = storage_options
        self.layers = stack.layers
        self.shape = (len(stack.layers), *stack.shape)
        self.dtype = np.dtype(stack.dtype)
        self.ndim = 3
        self.row_step = stack.row_step
        self.segment, self.url = stack.segment, recorded(stack.url)
        self.fingerprint = stack.fingerprint()
        self._use(stack)

    @classmethod
    def open(cls, source: str | Path, storage_options: StorageOptions | None = None) -> LayerArray:
        """Open the layers at ``source``."""
        from s5engine.source.stack import open_stack

        return cls(source, storage_options, open_stack(source, storage_options=storage_options))

    def _use(self, stack: LayerStack) -> None:
        self._stack: LayerStack | None = stack
        self._finalizer = weakref.finalize(self, stack.close)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        if self._stack is not None:
            self._finalizer()
            self._stack = None

    def __getstate__(self) -> dict[str, Any]:
        path = local_path(self._source)
        # Another process may be in another folder.
        source = self._source if path is None else path.absolute()
        return {**self.__dict__, "_source": source, "_stack": None, "_finalizer": None}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        told = json.dumps(content_of(self.fingerprint), sort_keys=True)
        return "s5engine-layers", self.layers, self.shape, told, tail_of(self.url)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        """Return what numpy would of slices, whole numbers and lists."""
        # Layers are files: those in between are not read.
        layers, places = np.unique(np.arange(self.shape[0])[index[0]], return_inverse=True)
        numbers = [self.layers[layer] for layer in layers]
        wanted = (int(places) if places.ndim == 0 else places, *index[1:])
        shape = (len(numbers), *self.shape[1:])
        return take(partial(self._box, numbers), shape, wanted, self.dtype)

    def _box(self, numbers: list[int], box: tuple[slice, ...]) -> np.ndarray:
        if self._stack is None:
            from s5engine.source.stack import open_stack

            opened = open_stack(self._source, layers=self.layers, storage_options=self._options)
            self._use(opened)
            check_source(
                self.fingerprint, opened.fingerprint(), self.url, "reading it", "Open it again."
            )
        stack = self._stack
        if stack is None:
            raise StoreError(f"The layers of {self.url} were closed while they were read.")
        layers, rows, columns = box
        return stack.read(
            (rows.start, rows.stop, columns.start, columns.stop), layers=numbers[layers]
        )


def band_rows(layers: int, height: int, width: int, itemsize: int, row_step: int) -> int:
    """Return the rows of one block of a folder of layers: whole steps within `BAND_BYTES`."""
    fitting = BAND_BYTES // (layers * width * itemsize)
    return int(min(height, max(1, fitting // row_step) * row_step))


def open_layers(
    source: str | Path, *, storage_options: StorageOptions | None = None
) -> xr.DataArray:
    """Open a folder of layers as a lazy volume whose blocks are bands of rows.

    Raises
    ------
    SourceError
        If there are no layers there or they do not fit together.
    """
    import dask.array as da

    array = LayerArray.open(source, storage_options)
    count, height, width = array.shape
    rows = band_rows(count, height, width, array.dtype.itemsize, array.row_step)
    data = da.from_array(array, chunks=(count, rows, width), inline_array=True)
    volume = label_volume(data, segment=array.segment, source=array.url, layers=array.layers)
    volume.attrs |= as_attributes({"fingerprint": array.fingerprint})
    volume.set_close(array.close)
    return volume
