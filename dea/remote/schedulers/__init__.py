"""Batch jobs: submitted at most once for a run, asked for together, and never taken for done because nobody knows them.

Two schedulers, `pbs` and `slurm`, each a module with the same functions: what to call, and what the answer means, without
calling anything. `once` submits, `shared` asks for all callers at once, `records` is what the login nodes remember.

    python3 dea/remote/schedulers submit --walltime 0:10:00 -- echo hello     # by hand, from the repository's root
    python3 dea/remote/schedulers status 12.gadi-pbs
    python3 dea/remote/schedulers cancel 12.gadi-pbs

The dispatcher imports none of this; the commands `submit_job`, `job_status`, `cancel_job` and `execute_...` do.
"""
