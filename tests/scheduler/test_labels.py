"""Labels: read by Ray's rules, compared, and said in words."""

import re

import pytest

from scheduler.labels import checked_labels, labels_text, read_label_options, serves, unserved
from scheduler.sweepfile import ResolvedSweep
from t2f.errors import SpecError
from tests.scheduler.test_sweepfile import changed, read

ALLOWED = [
    ("pool", "a100"),
    ("pool", ""),
    ("ray.io/accelerator-type", "NVIDIA_H100.80G-x"),
    ("a.b-c.example/x", "y"),
    ("A1_b.c-d", "0"),
    ("k" * 63, "v" * 63),
    (".".join(["d" * 63] * 3) + "/k", "v"),
]
REFUSED_KEYS = [
    "",
    "-a",
    "a-",
    "a b",
    "a=b",
    "k" * 64,
    "a/b/c",
    "/a",
    "a/",
    "a..b/c",
    "-a.b/c",
    "d." * 127 + "d/k",
    "ä",
]
REFUSED_VALUES = ["-a", "a_", "a b", "a,b", "v" * 64, "!a", "in(a)", "a\n"]


@pytest.mark.parametrize(("key", "value"), ALLOWED)
def test_what_ray_allows_is_taken(key, value):
    assert checked_labels({key: value}, "x") == {key: value}


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_a_name_that_is_none_is_said(key):
    message = f"x.yaml: resources: labels: the label {key!r:.100} is not allowed; its name must be up to 63 letters"
    with pytest.raises(SpecError, match=re.escape(message)):
        read(changed("resources/labels", {key: "a100"}))


@pytest.mark.parametrize("value", REFUSED_VALUES)
def test_a_value_that_is_none_is_said(value):
    message = f"x.yaml: resources: labels: pool = {value!r:.100} is not allowed; it must be up to 63 letters"
    with pytest.raises(SpecError, match=re.escape(message)):
        read(changed("resources/labels", {"pool": value}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pool=a100", "resources: labels = 'pool=a100' is not allowed; it must be a mapping"),
        (["pool"], "resources: labels = ['pool'] is not allowed; it must be a mapping"),
        ({"pool": None}, "pool = None is not allowed; it must be text or a number"),
        ({"pool": ["a100", "h100"]}, "pool = ['a100', 'h100'] is not allowed; it must be text or a number"),
        ({"spot": True}, "spot = True is not allowed; it must be text or a number; put true, yes, no and the like in"),
        ({True: "a"}, "the label True is not allowed"),
        ({1: "a", "1": "b"}, "the label '1' is given twice; give it once"),
        ({f"k{n}": "v" for n in range(17)}, "17 labels are not allowed; give 16 at most"),
    ],
)
def test_what_is_no_mapping_of_labels_is_said(given, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        read(changed("resources/labels", given))


def test_numbers_are_taken_as_text_and_all_of_it_is_stored(tiny_data):
    spec = read(changed("resources/labels", {"pool": "a100", "rack": 12, 7: 1.5}))
    assert spec.resources.labels == {"pool": "a100", "rack": "12", "7": "1.5"}
    resolved = spec.resolve(tiny_data, "j" * 64)
    assert resolved.to_json()["labels"] == spec.resources.labels
    assert ResolvedSweep.from_json(resolved.to_json()) == resolved


@pytest.mark.parametrize("given", [{}, None])
def test_no_labels_are_none(given):
    assert read(changed("resources/labels", given)).resources.labels == {}


def test_the_options_of_the_command_line():
    assert read_label_options([]) == {}
    assert read_label_options(["pool=a100", " zone = b ", "empty="]) == {"pool": "a100", "zone": "b", "empty": ""}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pool"], "--label 'pool' is not allowed; write --label KEY=VALUE, such as --label pool=a100"),
        (["pool=a", "pool=b"], "--label pool is given twice, as 'a' and 'b'; give it once"),
        (["pool=a,zone=b"], "--label: pool = 'a,zone=b' is not allowed"),
        (["=a"], "--label: the label '' is not allowed"),
    ],
)
def test_options_that_are_none(given, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        read_label_options(given)


@pytest.mark.parametrize(
    ("had", "wanted", "expected"),
    [
        ({}, {}, True),
        ({"pool": "a100"}, {}, True),
        ({"pool": "a100", "zone": "b"}, {"pool": "a100"}, True),
        ({"pool": "a100"}, {"pool": "a100", "zone": "b"}, False),
        ({"pool": "A100"}, {"pool": "a100"}, False),
        ({}, {"pool": ""}, False),
        ({"pool": ""}, {"pool": ""}, True),
    ],
)
def test_a_worker_serves_with_every_label_that_is_wanted(had, wanted, expected):
    assert serves(had, wanted) == expected


def test_why_nobody_serves_is_said_with_what_there_is():
    wanted = {"pool": "a100"}
    assert unserved(wanted, [{"pool": "h100"}, {"pool": "a100"}]) is None
    assert unserved({}, [{}]) is None
    assert unserved({}, []) is None
    assert unserved(wanted, []) == "no worker has pool=a100, as none runs now"
    node = {"ray.io/accelerator-type": "H100", "ray.io/region": "eu"}
    workers = [{"pool": "h100", **node}, {"pool": "h100"}, {}]
    assert unserved(wanted, workers) == "no worker has pool=a100; workers have pool=h100 (2), or no labels (1)"
    assert unserved({"ray.io/accelerator-type": "A100"}, workers[:1]) == (
        "no worker has ray.io/accelerator-type=A100; workers have pool=h100, ray.io/accelerator-type=H100 (1)"
    )
    assert unserved({"zone": "b", "pool": "h100"}, [{"pool": "h100"}]) == (
        "no worker has pool=h100 and zone=b; workers have pool=h100 (1)"
    )
    many = [{"pool": f"p{n}"} for n in range(10)]
    assert unserved(wanted, many).endswith("pool=p6 (1), or pool=p7 (1) and 2 others")
    assert labels_text({"zone": "b", "pool": "a100"}) == "pool=a100, zone=b"


@pytest.mark.ray
def test_ray_takes_all_that_is_allowed_here_and_refuses_what_is_refused():
    from ray._private import label_utils  # here, not above: Ray takes a second to import

    for key, value in ALLOWED:
        label_utils.validate_node_label_syntax({key: value})
    strange = {"/a", "a..b/c", "-a.b/c"}  # Ray takes domains that are none
    for key in set(REFUSED_KEYS) - strange:
        with pytest.raises(ValueError, match="Invalid label key"):
            label_utils.validate_node_label_syntax({key: "v"})
    for value in REFUSED_VALUES:
        with pytest.raises(ValueError, match="Invalid label key value"):
            label_utils.validate_node_label_syntax({"k": value})
