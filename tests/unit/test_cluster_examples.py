"""The examples for clusters do what they say, as far as one machine can show it."""

from __future__ import annotations

import importlib.util
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


def test_all_devices_of_a_machine(tmp_path: Path, volume: Path) -> None:
    words = [str(volume), str(DEMO), str(tmp_path / "run")]
    command = [sys.executable, str(ROOT / "docs" / "cluster" / "gpus.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "workers: 1 with" in done.stderr
    assert s5.open_run(tmp_path / "run").ink.shape == (3, 70, 90)


def test_a_queue_of_jobs(tmp_path: Path, volume: Path) -> None:
    from distributed import LocalCluster

    slurm = example("slurm")
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address=":0"
    ) as jobs:  # in place of SLURMCluster
        slurm.predict(str(volume), str(DEMO), str(tmp_path / "run"), jobs.scheduler_address)
    ink = s5.open_run(tmp_path / "run").ink
    assert ink.window.values.tolist() == [3, 4, 5]
    assert np.isfinite(ink.values).all()
    # What the job script says before it starts a worker is understood by a shell.
    script = "\n".join([*slurm.JOB["job_script_prologue"], "env"])
    said = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
    assert f"OMP_NUM_THREADS={slurm.JOB['cores']}" in said.stdout.splitlines()
    assert "MALLOC_TRIM_THRESHOLD_=67108864" in said.stdout.splitlines()
    # What SLURMCluster is asked for are arguments that dask-jobqueue documents.
    assert set(slurm.JOB) <= {
        "cores", "processes", "memory", "walltime", "queue", "job_script_prologue",
    }  # fmt: skip
