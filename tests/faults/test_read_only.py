"""A finished store or run on a disk for reading alone is opened, also by what would make it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import s5engine as s5
from support import counting_model


@contextmanager
def for_reading(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be written below a folder: a mode would not stop an administrator."""

    def refuse(path: Any) -> None:
        if isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def guarded(real: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            if writes(*args, **options):
                refuse(path)
            return real(path, *args, **options)

        return call

    with patch.context() as inside:
        changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        flags: Callable[..., bool] = lambda flag, *_, **__: bool(flag & changing)  # noqa: E731
        inside.setattr(os, "open", guarded(os.open, flags))
        for name in ("unlink", "mkdir", "rename", "replace", "rmdir", "truncate"):
            inside.setattr(os, name, guarded(getattr(os, name), lambda *_, **__: True))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    data = np.random.default_rng(0).integers(1, 200, (17, 130, 1030)).astype(np.uint8)
    (folder / "seg" / "layers").mkdir(parents=True)
    for number, layer in enumerate(data):
        tifffile.imwrite(folder / "seg" / "layers" / f"{number:02d}.tif", layer)
    for form in (2, 3):
        s5.ingest(folder / "seg", folder / f"v{form}.zarr", zarr_format=form, progress=False)  # type: ignore[arg-type] # 2 or 3
    s5.write_run(ink(folder), folder / "run", progress=False)
    return folder


def ink(folder: Path) -> Any:
    volume = s5.open_volume(folder / "v3.zarr").isel(y=slice(0, 64), x=slice(0, 64))
    return s5.predict_ink(volume, counting_model()[0], windows=[0], stride=32, mask=None)


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("left", [False, True])
def test_a_finished_store(
    made: Path, form: Any, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made / f"v{form}.zarr"
    expected = s5.open_volume(store).values
    journals = [made / f"{store.name}.journal", made / f"{store.name}.pyramid.journal"]
    for journal in journals if left else ():  # a kill came just before these were removed
        journal.write_bytes(b"")
    with for_reading(made, monkeypatch):
        opened = s5.ingest(made / "seg", store, zarr_format=form, progress=False)
        levels = s5.write_pyramid(store, progress=False)
        assert [level.shape for level in levels] == [(17, 130, 1030), (17, 65, 515)]
    np.testing.assert_array_equal(opened.values, expected)
    for journal in journals:
        journal.unlink(missing_ok=True)


def test_a_finished_run(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ink(made)
    with for_reading(made, monkeypatch):
        run = s5.write_run(lazy, made / "run", progress=False)
        assert run.completed
        assert run.ink.shape == (1, 64, 64)
        with pytest.raises(s5.S5Error, match="begun with other settings"):
            s5.write_run(lazy.isel(y=slice(0, 32)), made / "run", progress=False)
        with pytest.raises(s5.S5Error, match="Read-only file system"):
            s5.write_run(lazy, made / "new", progress=False)
