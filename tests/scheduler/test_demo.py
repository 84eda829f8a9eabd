"""The demo's folder, and what its bars count on."""

import pytest

from scheduler import reads, settling
from scheduler.demo import SENTENCES, SweepBars, cost, draw_sentences, expected_stage_runs
from scheduler.demo_folder import MARKER, demo_folder
from t2f.errors import UserError
from tests.dashboard.bundle import tiny_bundle
from tests.scheduler.acting import work_off


def test_a_fresh_start_empties_and_going_on_does_not(tmp_path):
    out = tmp_path / "demo"
    with demo_folder(out, resume=False):
        (out / "home").mkdir()
        (out / "home" / "x").write_text("x")
        (out / "faces.png").write_text("x")
    with demo_folder(out, resume=True):
        assert (out / "home" / "x").exists()
    with demo_folder(out, resume=False):
        assert [path.name for path in out.iterdir()] == [MARKER]


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path):
    out = tmp_path / "demo"
    with (
        demo_folder(out, resume=False),
        pytest.raises(UserError, match="a demo runs in .* already"),
        demo_folder(out, resume=True),
    ):
        pass


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="no demo's folder"), demo_folder(tmp_path, resume=False):
        pass
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_the_bars_count_on_what_the_rungs_will_leave(submit):
    assert expected_stage_runs(submit()) == {4: 2, 8: 6, 16: 2}
    assert cost(4) == 1
    assert cost(8) == pytest.approx(2.38, abs=0.01)


def test_the_bar_of_the_sweep_is_full_when_the_sweep_is(store, submit, worker):
    sweep = submit()
    bars = SweepBars(sweep)
    with bars:
        bars.show(reads.progress(store.database, sweep))
        assert bars.overall.completed == 0
        while not settling.settle(store, sweep):
            work_off(store, worker, lambda job: 0.1 + job.stage_run_id / 1000)
        bars.show(reads.progress(store.database, sweep))
        assert bars.overall.completed == pytest.approx(bars.overall.total)


def test_the_sentences_are_drawn_with_their_words_under_them(tmp_path):
    bundle = tmp_path / "model.safetensors"
    tiny_bundle(bundle)
    draw_sentences(bundle, SENTENCES, tmp_path / "faces.png")
    assert (tmp_path / "faces.png").read_bytes().startswith(b"\x89PNG")
    assert len(SENTENCES) == 8
