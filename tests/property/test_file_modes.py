"""Files are for a group: each is made with the rights that the umask leaves, folders too."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import s5engine as s5
from s5engine.runtime.journal import Journal
from support import counting_model, noise
from unit.store.segments import write_layers

UMASKS = [0o000, 0o002, 0o022, 0o027, 0o007, 0o077, 0o037]


def modes_below(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)) + "/" * path.is_dir(): stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
    }


def wrong(root: Path, umask: int) -> dict[str, str]:
    """Return what was made with other rights than the umask leaves."""
    return {
        name: oct(mode)
        for name, mode in modes_below(root).items()
        if mode != (0o777 if name.endswith("/") else 0o666) & ~umask
    }


@pytest.mark.parametrize("umask", UMASKS)
def test_all_that_the_line_leaves_has_the_rights_of_the_umask(umask: int) -> None:
    model, _ = counting_model()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_layers(root / "seg", noise((16, 64, 70)))
        made = root / "made"
        before = os.umask(umask | 0o000)
        try:
            made.mkdir()
            volume = s5.ingest(root / "seg", made / "v.zarr", progress=False)
            ink = s5.predict_ink(s5.contrast(volume), model, windows=[0], tta=0)
            run = s5.write_run(ink, made / "run", progress=False)
            s5.split(volume, made / "parts", progress=False)
            s5.write_picture(s5.composite(run.ink), made / "picture.png")
        finally:
            os.umask(before)
        assert wrong(made, umask) == {}


@given(umask=st.integers(0, 0o177), settings_=st.dictionaries(st.text(max_size=4), st.integers()))
@settings(max_examples=60, deadline=None)
def test_a_journal_is_no_exception(umask: int, settings_: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = os.umask(umask)
        try:
            with Journal.open(Path(folder) / "j", settings_) as journal:
                journal.finish("unit")
        finally:
            os.umask(before)
        assert wrong(Path(folder), umask) == {}


def test_the_error_names_whose_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.touch()
    path.chmod(0o640)
    refused = PermissionError(13, "Permission denied")
    with (
        mock.patch("s5engine.runtime.journal.os.open", side_effect=refused),
        pytest.raises(s5.S5Error) as caught,
    ):
        Journal.open(path, {})
    owner = path.owner()
    assert f"Permission denied (the file is {owner}'s, with mode 0640)" in str(caught.value)
