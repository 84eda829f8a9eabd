"""The ladder in small form: faces that are good by construction, made worse in every way that needs no training."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from benchmarks.ladder import LADDER, Source, figures_of, step
from t2f.data import PreparedData, PrepareOptions, prepare, render_demo
from t2f.gates import closed_gates
from t2f.judge import JudgeOptions, save_judge, train_judge
from t2f.pairs import reference_pairs
from t2f.reference import reference_for
from t2f.trainfile import ProbeSection

pytestmark = pytest.mark.slow  # it draws 480 faces and trains a judge

RESOLUTION = 16


@dataclass(frozen=True, kw_only=True)
class TintedReals(Source):
    """In place of a trained model: the real image of each caption under large soft stains, so that it is no copy."""

    bundle: None = None

    @property
    def resolution(self) -> int:
        return RESOLUTION

    def faces(self, captions: np.ndarray) -> torch.Tensor:
        split = self.data.split("validation")
        images = torch.from_numpy(split.images(RESOLUTION)[split.caption_image_M[captions]]).float()
        random = torch.Generator().manual_seed(0)
        stains = torch.randn(len(images), 3, 2, 2, generator=random)
        stains = torch.nn.functional.interpolate(stains, size=(RESOLUTION, RESOLUTION), mode="bilinear")
        return (images + 20 * stains).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def climbed(tmp_path_factory):
    """The source's figures and a function that makes it worse, on 160 held-out faces."""
    folder = tmp_path_factory.mktemp("ladder")
    render_demo(folder / "faces", count=480)
    listing = folder / "faces" / "metadata.jsonl"
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["split"] = "validation" if number < 160 else "train"
    listing.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = PrepareOptions(max_resolution=RESOLUTION, min_count=1)
    data: PreparedData = prepare(folder / "faces", format="imagefolder", out=folder / "data", options=options)
    judge_options = JudgeOptions(steps=150, batch=64)
    judge = train_judge(data, options=judge_options)
    spec = ProbeSection(images=160).evaluation(data, save_judge(judge, data, options=judge_options))
    reference = reference_for(data, judge, spec.judge_sha256, resolution=RESOLUTION, spec=spec)
    source = TintedReals(data=data, pairs=reference_pairs(data.split("validation"), 160))
    best = figures_of(source.right(), data, judge, reference)

    def worsen(name: str):
        change, gate = LADDER[name]
        worse = figures_of(change(source), data, judge, reference)
        return step(name, best=best, worse=worse, gate=gate)

    return best, worsen


def test_the_source_passes_every_gate(climbed):
    best, _ = climbed
    assert closed_gates({name: figure.to_json() for name, figure in best.items()}) == ()
    assert best["score"].value > 0.5


@pytest.mark.parametrize("name", LADDER)
def test_what_is_worse_loses_or_is_kept_out_by_name(climbed, name):
    _, worsen = climbed
    found = worsen(name)
    assert found.is_held, found
    gate = LADDER[name][1]
    assert gate is None or gate in found.gates
