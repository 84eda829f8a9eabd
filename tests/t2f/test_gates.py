"""Gates close for sure only, and by name."""

from t2f.gates import MEANING, closed_gates

GOOD = {
    "text": {"value": 0.6, "low": 0.5, "high": 0.7},
    "copied_share": {"value": 0.0, "low": 0.0, "high": 0.01},
    "nearest_face": {"value": 0.8, "low": 0.7, "high": 0.9},
}


def test_each_gate_has_its_case():
    assert closed_gates(GOOD) == ()
    assert closed_gates({}) == (), "what was not measured closes nothing"
    bad = {
        "text": {"text": {"value": 0.02, "low": 0.0, "high": 0.06}},
        "copies": {"copied_share": {"value": 0.4, "low": 0.3, "high": 0.5}},
        "collapse": {"nearest_face": {"value": 0.1, "low": 0.05, "high": 0.15}},
    }
    for name, change in bad.items():
        assert closed_gates({**GOOD, **change}) == (name,)
    assert set(bad) == set(MEANING)
    assert closed_gates({**bad["text"], **bad["copies"], **bad["collapse"]}) == ("text", "copies", "collapse")


def test_what_may_be_chance_closes_nothing_but_text():
    assert closed_gates({**GOOD, "copied_share": {"value": 0.06, "low": 0.03, "high": 0.09}}) == ()
    assert closed_gates({**GOOD, "nearest_face": {"value": 0.2, "low": 0.1, "high": 0.3}}) == ()
    assert closed_gates({**GOOD, "text": {"value": 0.1, "low": 0.04, "high": 0.2}}) == ("text",)
    assert closed_gates({**GOOD, "nearest_face": {"value": 0.1, "low": None, "high": None}}) == ()
