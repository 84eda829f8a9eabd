"""What a trial is to its sweep beyond its parameters."""

from scheduler.roles import Role, describe


def test_roles_say_where_a_trial_is_judged():
    plain, control = Role.of({}), Role.of({"control": 8})
    child, free = Role.of({"passes": 8, "parent": 1}), Role.of({"skips_rungs": True})
    judged = [[role.is_judged_at(px) for px in (4, 8, 16)] for role in (plain, control, child, free)]
    assert judged == [[True, True, True], [True, False, False], [False, False, True], [False, False, False]]
    assert [control.counts_at(px) for px in (4, 8, 16)] == [True, True, False], "it takes no place at a later rung"


def test_a_note_says_what_parameters_do_not():
    late = {"deviation": {"late": {"8": {"loss.name": "hinge"}, "16": {"generator.learning_rate": 0.00123456}}}}
    grown = describe("grow", {"parent": 3, "passes": 8, **late, "control": 16})
    assert grown == "grown from T3 after 8 px: generator.learning_rate 0.001235 from 16 px; random control since 16 px"
    assert describe("grid", {}) == ""


def test_a_note_says_what_a_trial_of_ones_own_was_made_from():
    faster = {"generator.learning_rate": 0.002}
    fork = {"of": "s/T3@8", "deviation": {"late": {"8": {"loss.name": "hinge"}, "16": faster, "32": faster}}}
    assert describe("fork", fork) == "fork of s/T3@8: generator.learning_rate 0.002 from 16 px"
    assert describe("clone", {"of": "s/T3", "deviation": {"seed": 5}}) == "clone of s/T3, seed 5"
    plan = {"resolutions": [4, 8], "images": [40, 80], "fade": [0, 0.5], "batch": [8, 8]}
    longer = {"of": "s/T3", "deviation": {"plan": plan}, "skips_rungs": True}
    assert describe("extension", longer) == "extension of s/T3, to 8 px with 80 images there"
