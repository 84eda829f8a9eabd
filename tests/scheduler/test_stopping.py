"""Early stopping over whole sweeps: who goes on, who stops, who is let on by chance, in any order of completion."""

import math
import random
import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import commands, reads, settling
from scheduler.advancing import plan_round
from scheduler.rounds import Rows
from scheduler.rungs import EarlyTermination, first_rung
from scheduler.states import SweepState, TrialState
from scheduler.store import Store
from scheduler.tables import metadata
from t2f.errors import UserError
from t2f.spec import digest
from tests.scheduler.acting import work_off
from tests.scheduler.simulating import (
    depths,
    events,
    in_state,
    simulate,
    simulate_with_crashes,
    sweep_of,
    trials,
)

SIXTEEN = """
name: sixteen
data: {dataset: tiny}
preset: small
stages: {resolutions: [4, 8, 16], images: [40, 40, 40], batch: 8}
parameters:
  generator.learning_rate: {values: [RATES]}
early_terminate: {type: halving, eta: 3}
probe: {captions: [long pink hair], seeds: 2, images: 16}
"""
SIXTEEN = SIXTEEN.replace("RATES", ", ".join(f"{n / 1000:.3f}" for n in range(1, 17)))
PLAN = (4, 8, 16)


def quality(stage: dict) -> float:
    """Between 0 and 1, another one for each learning rate and resolution, without any pattern."""
    return int(digest([stage["settings"]["generator.learning_rate"], stage["resolution"]])[:8], 16) / 2**32


def of_number(number: int, px: int) -> float:
    return quality({"settings": {"generator.learning_rate": (number + 1) / 1000}, "resolution": px})


def of_type(kind: str, **more: int) -> str:
    words = ", ".join(f"{name}: {value}" for name, value in {"type": kind, **more}.items())
    return SIXTEEN.replace("{type: halving, eta: 3}", f"{{{words}}}")


def reference(store: Store, policy: EarlyTermination, value: Callable[[int, int], float]) -> dict[int, tuple[str, int]]:
    """Successive halving by hand: stage by stage, bracket by bracket, with the controls that were marked."""
    marked = {one.number: one.role.control for one in trials(store, sweep_of(store)) if one.role.control}
    found = {}
    for bracket in sorted({first_rung(policy, number, PLAN) for number in range(16)}):
        alive = [number for number in range(16) if first_rung(policy, number, PLAN) == bracket]
        for px in PLAN[:-1]:
            if px < bracket or not alive:
                continue
            best = sorted(alive, key=lambda number: -value(number, px))
            keep = math.ceil(len(best) / policy.eta)
            stopped = best[keep:]
            lucky = [number for number in stopped if marked.get(number) == px]
            assert len(lucky) == (0 if len(stopped) < 10 else max(2, len(stopped) // 10))
            found |= {number: ("complete", PLAN[-1]) if number in lucky else ("pruned", px) for number in stopped}
            alive = best[:keep]
        found |= dict.fromkeys(alive, ("complete", PLAN[-1]))
    return found


@pytest.mark.parametrize("kind", ["halving", "hyperband"])
def test_halving_comes_to_the_end_of_a_reference_whatever_the_order(begin, kind):
    @settings(max_examples=3, deadline=None)
    @given(st.integers(0, 10**6))
    def whatever_the_order(seed: int) -> None:
        store = begin(of_type(kind, eta=3))
        simulate(store, "s", quality, chance=random.Random(seed))
        sweep = sweep_of(store)
        assert depths(store, sweep) == reference(store, sweep.resolved.early_terminate, of_number)
        assert sweep.state == SweepState.COMPLETE
        store.database.close()

    whatever_the_order()


def test_controls_are_the_same_in_every_order_and_take_nobodys_place(begin):
    chosen = set()
    for seed in range(2):
        store = begin(SIXTEEN)
        simulate(store, "s", quality, chance=random.Random(seed))
        found = {one.number: one for one in trials(store, sweep_of(store))}
        lucky = [number for number, one in found.items() if one.role.control == 4]
        chosen.add(tuple(lucky))
        assert len(lucky) == 2
        assert {found[number].state for number in lucky} == {TrialState.COMPLETE}
        assert found[lucky[0]].note == "random control since 4 px"
        assert len(in_state(store, sweep_of(store), TrialState.COMPLETE)) == 2 + 2, "the best 2 of 6, and the controls"
        assert len(events(store, "trial.control")) == 2
        store.database.close()
    assert len(chosen) == 1


@pytest.mark.parametrize("seed", range(3))
def test_asha_lets_nobody_on_who_was_never_among_the_best_third(begin, seed):
    store = begin(of_type("asha", eta=3))
    simulate(store, "s", quality, chance=random.Random(seed))
    sweep = sweep_of(store)
    found = {one.number: one for one in trials(store, sweep)}
    ends = depths(store, sweep)
    went_on = [number for number, (_, px) in ends.items() if px > 4 and found[number].role.control is None]
    best = sorted(range(16), key=lambda number: -of_number(number, 4))
    assert set(best[:5]) <= set(went_on), "the best 16 // 3 of all go on whoever came first"
    assert {state for state, _ in ends.values()} == {"complete", "pruned"}
    stopped = [number for number, (state, px) in ends.items() if state == "pruned" and px == 4]
    lucky = [one for one in found.values() if one.role.control == 4]
    assert len(went_on) + len(stopped) + len(lucky) == 16
    assert len(lucky) == 2, "ten were behind at some time"
    store.database.close()


def test_median_stops_one_that_arrives_below_it(begin):
    store = begin(of_type("median"))
    simulate(store, "s", quality)  # in the order of their numbers
    sweep = sweep_of(store)
    ends = depths(store, sweep)
    best = max(range(16), key=lambda number: of_number(number, 4))
    assert ends[best][1] > 4
    assert "pruned" in {state for state, _ in ends.values()}
    lowest = min(range(4, 16), key=lambda number: of_number(number, 4))
    assert ends[lowest] == ("pruned", 4)
    reasons = {row.payload["reason"] for row in events(store, "trial.pruned")}
    assert reasons <= {"below the median at 4 px", "below the median at 8 px"}
    store.database.close()


def test_a_scheduler_that_dies_again_and_again_comes_to_the_same_end(begin):
    store = begin(SIXTEEN)
    assert simulate_with_crashes(store, quality, seed=0) > 5
    sweep = sweep_of(store)
    assert depths(store, sweep) == reference(store, sweep.resolved.early_terminate, of_number)
    assert len(events(store, "trial.control")) == 2
    store.database.close()


def test_the_same_rows_give_the_same_plan(begin):
    store = begin(SIXTEEN)
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    sweep = sweep_of(store)
    settling.settle(store, sweep)
    work_off(store, worker, lambda job: 0.0)
    settling.settle(store, sweep)
    work_off(store, worker, lambda job: quality(job.spec["stage"]))
    found = reads.trials(store.database, sweep.id)
    paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    first = plan_round(Rows(sweep=sweep, trials=found, paths=paths))
    assert len(first.controls) == 2
    assert len(first.pruned) == 8
    again = plan_round(Rows(sweep=sweep, trials=found[::-1], paths=dict(reversed(paths.items()))))
    assert again.controls == first.controls
    assert again.pruned == first.pruned
    assert [one.number for one in again.going] == [one.number for one in first.going]
    store.database.close()


def test_the_best_stage_run_is_demanded_first_and_its_most_promising_child_before_the_others(begin):
    """Two losses at 4 px, three rates from 8 px on; what a rate gave under one loss is known under the other."""
    text = SIXTEEN.replace(
        SIXTEEN[SIXTEEN.index("parameters:") : SIXTEEN.index("early_terminate:")],
        "parameters:\n  loss.name: {values: [wgan-gp, logistic-r1]}\n"
        "  generator.learning_rate: {values: [0.001, 0.002, 0.004], from_stage: 8}\n",
    ).replace("type: halving, eta: 3", "type: median")

    def score(stage: dict) -> float:
        rate = 50 * stage["settings"]["generator.learning_rate"] if stage["resolution"] > 4 else 0
        return 0.3 * (stage["settings"]["loss.name"] == "logistic-r1") + rate

    store = begin(text)
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    for _ in range(30):
        settling.settle(store, sweep_of(store))
        if not work_off(
            store, worker, lambda job: score(job.spec["stage"]) if job.kind == "evaluate" else 0, at_most=1
        ):
            break
    with store.database.read.begin() as connection:
        specs = connection.scalars(
            sa.select(metadata.tables["stage_runs"].c.spec)
            .where(metadata.tables["stage_runs"].c.resolution == 8)
            .order_by(metadata.tables["stage_runs"].c.id)
        ).all()
    rates = [spec["settings"]["generator.learning_rate"] for spec in specs]
    assert rates[:3] == [0.001, 0.002, 0.004], "nothing is known yet: by number"
    assert rates[3:] == [0.004, 0.002, 0.001]
    store.database.close()


# A stopped trial goes on


def test_a_stopped_trial_is_promoted_at_no_cost_and_the_sweep_is_open_again(begin):
    store = begin(SIXTEEN)
    simulate(store, "s", quality)
    sweep = sweep_of(store)
    stopped = next(one for one in trials(store, sweep) if one.state == TrialState.PRUNED)
    before = {run.id: run.attempt for run in reads.progress(store.database, sweep).stage_runs}
    commands.promote_trial(store, stopped)
    opened = sweep_of(store)
    assert opened.state == SweepState.RUNNING
    simulate(store, "s", quality)
    assert depths(store, sweep)[stopped.number] == ("complete", 16)
    after = reads.progress(store.database, sweep).stage_runs
    assert {run.id: run.attempt for run in after if run.id in before} == before, "nothing is trained again"
    paths = reads.paths(store.database, sweep.id, sweep.resolved.evaluation.key)
    assert len(after) == len(before) + len(paths[stopped.id]) - 1
    assert reads.trial(store.database, stopped.name).note == f"promoted by hand at {paths[stopped.id][0].resolution} px"
    others = {number: end for number, end in depths(store, sweep).items() if number != stopped.number}
    assert others.items() <= reference(store, sweep.resolved.early_terminate, of_number).items()
    with pytest.raises(UserError, match="is complete; only a pruned trial can be promoted"):
        commands.promote_trial(store, stopped)
    store.database.close()


# A rung that foretells nothing


def test_a_rung_that_foretells_the_opposite_is_not_used_any_more(begin):
    """Two dozen trials whose early values are upside down: once controls and finishers show it, everybody goes on."""
    rates = ", ".join(f"{n / 10_000:.4f}" for n in range(1, 25))
    text = re.sub(r"values: \[.*\]", f"values: [{rates}]", of_type("asha", eta=2))

    def upside_down(stage: dict) -> float:
        rate = 100 * stage["settings"]["generator.learning_rate"]
        return 0.5 + rate if stage["resolution"] == 16 else 0.5 - rate

    store = begin(text)
    simulate(store, "s", upside_down)
    sweep = sweep_of(store)
    dropped = events(store, "sweep.rung_unused")
    assert sorted(row.payload["rung"] for row in dropped) == sorted(sweep.unused_rungs) == [4, 8]
    assert sweep.unused_rungs[4].high < 0.5
    assert "random controls" in sweep.unused_rungs[4].note
    ends = depths(store, sweep)
    assert all(ends[number] == ("complete", 16) for number in range(20, 24)), "they came after the rung was found out"
    assert reads.ranking(store.database, sweep)[0].standing.number == 23, "the best in the end was last at every rung"
    store.database.close()
