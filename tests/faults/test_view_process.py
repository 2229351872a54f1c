"""`s5 view` as a process: it says its address, answers, and ends at Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import s5engine as s5
from unit.store.segments import pixels, write_layers

#: What the command is, also where a shell has the tests in the background, who ignore Ctrl-C.
_VIEW = """
import signal
from s5engine.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _VIEW, "view", *words]
    root = str(Path(s5.__file__).parents[1])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": root} | environment,
    )


@pytest.fixture
def store(tmp_path: Path) -> str:
    s5.ingest(write_layers(tmp_path / "seg", pixels()), tmp_path / "a.zarr", progress=False)
    return str(tmp_path / "a.zarr")


@pytest.mark.parametrize("opened", [False, True])
def test_it_serves_its_address_until_ctrl_c(store: str, tmp_path: Path, opened: bool) -> None:
    # Stands in for the person's browser: notes that it was asked to open an address.
    note = tmp_path / "opened"
    asked = [] if opened else ["--no-open"]
    out = ["-o", str(tmp_path / "saves")]
    process = start(store, *asked, *out, BROWSER=f"sh -c 'echo %s > {note}'")
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line + process.stderr.read()
        with urllib.request.urlopen(found[0], timeout=60) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "Traceback" not in said[1]
    assert note.exists() == opened
    if opened:
        assert note.read_text().strip() == found[0]
    assert not (tmp_path / "saves").exists()  # nothing was saved


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{store}", "--port", "70000"], "65535"),
        (["{store}/none"], "nothing at"),
        (["{store}", "--proposal", "{folder}"], "--labels"),
        (["{store}", "--labels", "{folder}/none"], "does not exist"),
        (["{folder}"], "neither a run nor"),
        (["{store}", "{store}", "{store}"], "do not make a view"),
    ],
)
def test_wrong_arguments_are_one_error_each(store: str, tmp_path: Path, words, told) -> None:
    given = [word.format(store=store, folder=tmp_path) for word in words]
    process = start(*given, "--no-open")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1, said
    assert told in said
    assert len(said.strip().splitlines()) <= 2, said  # what is wrong, and the way out
    assert "Traceback" not in said
