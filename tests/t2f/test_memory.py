"""Peak memory: it sees what was allocated and given back, and begins anew for each stage."""

import torch

from t2f.memory import PeakMemory


def test_the_peak_holds_what_is_gone_and_is_forgotten_by_the_next_one():
    first = PeakMemory(torch.device("cpu"))
    before = first.bytes
    large = torch.ones(64 << 20, dtype=torch.uint8)
    assert int(large.sum()) == 64 << 20
    del large
    assert first.bytes - before > 50 << 20
    second = PeakMemory(torch.device("cpu"))
    assert second.bytes < first.bytes + (1 << 20)
    assert second.bytes - before < 50 << 20
