"""The examples for clusters do what they say, as far as one machine can show it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import dask.array as da
import numpy as np
import pytest

import s5engine as s5
from support import noise

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "checkpoints" / "demo.ckpt"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "cluster" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.zarr"
    da.to_zarr(da.from_array(noise((21, 70, 90)), chunks=(21, 64, 64)), path)
    return path


@pytest.mark.slow
def test_all_devices_of_a_machine(tmp_path: Path, volume: Path) -> None:
    words = [str(volume), str(DEMO), str(tmp_path / "run")]
    command = [sys.executable, str(ROOT / "docs" / "cluster" / "gpus.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "workers: 1 with" in done.stderr
    assert s5.open_run(tmp_path / "run").ink.shape == (3, 70, 90)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for SLURM's commands: a job begins at once, on this machine; return its log."""
    commands = {
        # As SLURM does, it takes a copy of the script before it answers.
        "sbatch": f'cp "$1" {tmp_path}/job.sh\n'
        f"setsid bash -e {tmp_path}/job.sh > {tmp_path}/job.log 2>&1 < /dev/null &\n"
        'echo "Submitted batch job $!"',
        "scancel": 'kill -- "-$1" || true',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in commands.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "job.log"


@pytest.mark.slow
def test_a_queue_of_jobs(tmp_path: Path, volume: Path, queue: Path) -> None:
    from dask_jobqueue import SLURMCluster

    slurm = example("slurm")
    small = {"cores": 2, "memory": "4 GB"}
    here = {"host": "127.0.0.1", "dashboard_address": ":0"}
    with SLURMCluster(**slurm.JOB | small, scheduler_options=here) as jobs:
        assert "#SBATCH --cpus-per-task=2" in jobs.job_script()
        jobs.scale(jobs=1)
        jobs.wait_for_workers(1, timeout=60)
        slurm.predict(str(volume), str(DEMO), str(tmp_path / "run"), jobs.scheduler_address)
    assert "Start worker at" in queue.read_text()
    ink = s5.open_run(tmp_path / "run").ink
    assert ink.window.values.tolist() == [3, 4, 5]
    assert np.isfinite(ink.values).all()
    prologue = "\n".join([*slurm.JOB["job_script_prologue"], "env"])
    said = subprocess.run(["bash", "-ec", prologue], capture_output=True, text=True, check=True)
    assert f"OMP_NUM_THREADS={slurm.JOB['cores']}" in said.stdout.splitlines()
    assert "MALLOC_TRIM_THRESHOLD_=67108864" in said.stdout.splitlines()
