"""Whether the disk has room for what comes next, by the rows of what was written before."""

from scheduler import room
from scheduler.home import Home
from tests.scheduler.acting import claim, finish, start


def test_there_is_room_until_a_checkpoint_of_every_worker_would_not_fit(store, submit, worker, tmp_path):
    submit()
    home = Home(path=tmp_path)
    assert room.shortage(home, store.database) is None
    job = claim(store, worker)
    start(store, job)
    free = 2**60  # no disk has so much
    store.add_checkpoint(job.stage_run_id, job.attempt, images=8, uri="big", sha256="c" * 64, num_bytes=free)
    assert room.shortage(home, store.database).startswith(f"the disk of {tmp_path} has ")
    assert "less than the 2.31e+06 TB that what is trained next may need" in room.shortage(home, store.database)
    finish(store, job)
    store.end_worker(worker)
    assert "less than the 1.15e+06 TB" in room.shortage(home, store.database), "one more than there are workers"


def test_only_recent_checkpoints_tell_how_large_one_is(store, submit, worker, tmp_path):
    submit()
    job = claim(store, worker)
    start(store, job)
    for images in range(room.RECENT + 1):
        size = 2**60 if images == 0 else 1
        store.add_checkpoint(
            job.stage_run_id, job.attempt, images=images, uri=str(images), sha256="c" * 64, num_bytes=size
        )
    assert room.shortage(Home(path=tmp_path), store.database) is None
