"""What the log says where a precision costs time instead of saving it."""

import logging

import pytest
import torch

from t2f import precision
from t2f.device import numerics_class

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "device", "has_bf16", "warns"),
    [("bf16", CPU, False, True), ("bf16", CPU, True, False), ("bf16", GPU, False, False), ("fp32", CPU, False, False)],
)
def test_emulated_bf16_is_warned_of_once(name, device, has_bf16, warns, monkeypatch, caplog):
    monkeypatch.setattr(precision, "processor_multiplies_bf16", lambda: has_bf16)
    precision.warn_if_emulated.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            precision.warn_if_emulated(name, device)
    assert len(caplog.records) == (1 if warns else 0)
    assert all("fp32 is many times faster here" in record.message for record in caplog.records)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_emulated_bf16_is_a_class_of_numerics_of_its_own(has_bf16, monkeypatch):
    monkeypatch.setattr(precision, "processor_multiplies_bf16", lambda: has_bf16)
    assert ("bf16 emulated" in numerics_class(CPU, precision="bf16")) == (not has_bf16)
    assert "emulated" not in numerics_class(CPU, precision="fp32")


def test_what_the_processor_is_asked_for_is_in_its_flags():
    try:
        with open("/proc/cpuinfo") as file:
            flags = set(file.read().split())
    except FileNotFoundError:
        pytest.skip("no /proc/cpuinfo here")
    assert precision.processor_multiplies_bf16() == bool(flags & {"avx512_bf16", "amx_tile"})
