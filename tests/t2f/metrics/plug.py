"""What a package might bring, for the tests of entry points."""

from t2f.metrics.comparison import Metric

GOOD = Metric(name="x", better="lower", measure=lambda comparison: {"x": 1.0})
TAKEN = Metric(name="swd", better="lower", measure=lambda comparison: {"swd": 1.0})
NONE = "nothing"
