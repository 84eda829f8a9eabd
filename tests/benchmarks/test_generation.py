"""The benchmark's model and its counting."""

from benchmarks.generation import FACES, batches, fresh, write_model
from t2f.generate import open_bundle


def test_the_model_is_the_small_preset_at_64_px(tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "m")
    assert open_bundle(tmp_path / "m").stage.features == (64, 64, 64, 32, 16)
    monkeypatch.setattr("benchmarks.generation.FACES", 2)
    wall, cpu, share = batches(tmp_path / "m", 1)
    assert FACES == 512
    assert len(wall) == len(cpu) == len(share) == 1
    assert "107.2 million operations a face" in capsys.readouterr().out
    opening, first = fresh(tmp_path / "m", 1, 1)
    assert opening[0] > 0
    assert first[0] > 0
