"""A tiny model bundle: an untrained generator that draws in milliseconds."""

import hashlib
from pathlib import Path

from t2f.card import ModelCard
from t2f.data import Vocabulary
from t2f.generate import save_bundle
from t2f.networks import FaceModel
from t2f.settings import Settings
from t2f.spec import StageSpec
from tests.dashboard.faces import CAPTIONS

CARD = ModelCard(
    data={
        "name": "demo",
        "key": "d" * 64,
        "format": "imagefolder",
        "splits": {"train": {"images": 6000, "captions": 24_000}, "validation": {"images": 500, "captions": 2000}},
        "uncaptioned": None,
    },
    cleaning={"mode": "light", "sha256": "c" * 64},
    scores={
        "score": {"value": 0.714, "low": 0.69, "high": 0.74},
        "fidelity": {"value": 0.81, "low": 0.79, "high": 0.83},
        "swd": {"value": 24.5, "low": None, "high": None},
        "attribute_hair_colour": {"value": 0.93, "low": 0.91, "high": 0.95},
    },
    scored_on={"split": "validation", "num_images": 500, "judge_sha256": "j" * 64},
)


def tiny_bundle(path: Path, *, resolution: int = 8, seed: int = 0) -> str:
    """Write it and return the file's SHA-256."""
    settings = Settings().with_values(
        {
            "text.word_embedding": 4,
            "text.hidden": 4,
            "text.layers": 1,
            "text.embedding": 4,
            "network.latent": 8,
            "network.conditioning": 4,
            "network.feature_base": 64,
            "network.feature_max": 8,
        }
    )
    stage = StageSpec(
        resolution=resolution, images=64, fade_images=32, batch=4, seed=seed, data_key="d" * 64, settings=settings
    )
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_bundle(
        path,
        model=FaceModel(stage, len(vocabulary)),
        vocabulary=vocabulary,
        stage=stage,
        max_tokens=50,
        lineage={"data": "demo", "sweep": "demo", "trial": "demo/T4"},
        card=CARD,
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()
