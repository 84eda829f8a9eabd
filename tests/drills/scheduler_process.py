"""A whole scheduler with its own Ray, to be killed.

python -m tests.drills.scheduler_process HOME WORKERS LEASE [LABEL=VALUE ...]
"""

import sys
from pathlib import Path

from workers.environment import prepare_environment

if __name__ == "__main__":
    prepare_environment(Path(sys.argv[1]))

    from scheduler import reads
    from scheduler.delivering import HookThreads
    from scheduler.home import Home
    from scheduler.hooksfile import read_hooks
    from scheduler.labels import read_label_options
    from scheduler.runner import Runner, RunnerSettings, start_pool
    from scheduler.store import Store
    from workers.cluster import start_ray, stop_ray

    home = Home(path=Path(sys.argv[1]))
    database = home.create()
    workers = int(sys.argv[2])
    start_ray(num_cpus=workers, labels=read_label_options(sys.argv[4:]))
    settings = RunnerSettings(
        home=home.path,
        database_url=home.database_url,
        cpu_shares=workers,
        lease_seconds=float(sys.argv[3]),
        beat_seconds=0.5,
    )
    store = Store(database)
    hooks = HookThreads(store, read_hooks(home.path))
    hooks.start()
    runner = Runner(database, store, start_pool(settings), settings, hooks)
    runner.run(should_stop=lambda: not reads.open_sweeps(database))
    runner.close()
    stop_ray()
