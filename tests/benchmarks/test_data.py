"""The benchmark's own source, and that it measures what it says."""

from benchmarks import data
from t2f.data import read_source


def test_the_pictures_are_jpegs_of_different_content(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DIFFERENT", 3)
    mean_bytes = data.write_source(tmp_path / "source", 7)
    examples = read_source("imagefolder", tmp_path / "source")
    contents = {example.path.read_bytes() for example in examples}
    assert len(contents) == 7
    assert 8_000 < mean_bytes < 20_000  # LFW's photographs have about 12,000


def test_figures_are_scaled_to_ten_thousand_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DIFFERENT", 3)
    seconds = {"wall": 0.5, "cpu": 1.0}
    monkeypatch.setattr(data, "convolution_rate", lambda request: {"rate": 1e9})
    monkeypatch.setattr(data, "timed", lambda work, count: (work(), seconds)[1])
    first, second = data.measure(tmp_path, 20, 2)
    assert (first.to_json()["measured"], first.to_json()["n"], first.target) == (250.0, 2, 40)
    assert second.better == "lower"
