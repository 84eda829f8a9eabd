"""A whole scheduler with its own Ray, to be killed.

python -m tests.drills.scheduler_process HOME WORKERS LEASE [LABELS ...]

LABELS: of the node, such as pool=a100,zone=b; where they are given several times, of as many nodes with one CPU each.
"""

import sys
from pathlib import Path

from workers.environment import prepare_environment

if __name__ == "__main__":
    prepare_environment(Path(sys.argv[1]))

    from ray._common.utils import reset_ray_address
    from ray.cluster_utils import Cluster

    from scheduler import reads
    from scheduler.delivering import HookThreads
    from scheduler.home import Home
    from scheduler.labels import read_label_options
    from scheduler.runner import Runner, RunnerSettings, start_pool
    from scheduler.store import Store
    from workers.cluster import start_ray, stop_ray

    home = Home(path=Path(sys.argv[1]))
    database = home.create()
    workers = int(sys.argv[2])
    nodes = [read_label_options(one.split(",")) for one in sys.argv[4:]]
    if len(nodes) > 1:
        cluster = Cluster()
        for labels in nodes:
            cluster.add_node(num_cpus=1, labels=labels, object_store_memory=80 * 2**20, include_dashboard=False)
        reset_ray_address()  # the cluster noted itself as this machine's, for everybody who gives no address
        start_ray(num_cpus=workers, address=cluster.address)
    else:
        start_ray(num_cpus=workers, labels=nodes[0] if nodes else None)
    settings = RunnerSettings(
        home=home.path,
        database_url=home.database_url,
        cpu_shares=workers,
        lease_seconds=float(sys.argv[3]),
        beat_seconds=0.5,
    )
    store = Store(database)
    hooks = HookThreads(store, home.path)
    hooks.start()
    runner = Runner(database, store, start_pool(settings), settings, hooks)
    runner.run(should_stop=lambda: not reads.open_sweeps(database))
    runner.close()
    stop_ray()
