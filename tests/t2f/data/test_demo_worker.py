import io
import json
import sys

from PIL import Image

from t2f.data import demo_worker
from t2f.data.demo_faces import combination


def test_a_job_from_standard_input_is_drawn_in_batches(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_worker, "BATCH", 2)
    faces = [[f"{number}.png", combination(number)] for number in range(3)]
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"folder": str(tmp_path), "faces": faces})))
    demo_worker.main()
    assert capsys.readouterr().out.split() == ["2", "1"]
    with Image.open(tmp_path / "2.png") as image:
        assert image.size == (64, 64)
