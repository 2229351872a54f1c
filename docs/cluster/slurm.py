"""A volume on a SLURM cluster: ``python docs/cluster/slurm.py VOLUME CHECKPOINT RUN``.

Needs ``pip install dask-jobqueue``; store, checkpoint and run lie on a disk that all nodes see.
"""

import sys

import s5engine as s5

#: What a job asks for. One process each: it loads the network once, and its threads read ahead.
JOB = {
    "cores": 16,
    "processes": 1,
    "memory": "64 GB",
    "walltime": "12:00:00",
    "job_script_prologue": [
        # The same number everywhere, here and on the nodes, gives the same bits everywhere.
        "export OMP_NUM_THREADS=16",
        # dask has its workers give all memory back at once; networks are much faster without that.
        "export MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=33554432",
    ],
}
JOBS = 8


def predict(volume: str, checkpoint: str, run: str, address: str) -> None:
    """Predict the volume on the scheduler's workers."""
    with s5.cluster(address):
        papyrus = s5.open_volume(volume)
        ink = s5.predict_ink(
            s5.contrast(papyrus),
            s5.load_checkpoint(checkpoint),
            windows=[3, 4, 5],
            mask=s5.papyrus_mask(papyrus),
            budget="400 GB",
        )
        s5.write_run(ink, run)


if __name__ == "__main__":
    from dask_jobqueue import SLURMCluster

    with SLURMCluster(**JOB) as jobs:
        jobs.scale(jobs=JOBS)
        jobs.wait_for_workers(1)
        predict(*sys.argv[1:4], jobs.scheduler_address)
