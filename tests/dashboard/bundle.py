"""A tiny model bundle: an untrained generator that draws in milliseconds."""

import hashlib
from pathlib import Path

from t2f.data import Vocabulary
from t2f.generate import save_bundle
from t2f.networks import FaceModel
from t2f.settings import Settings
from t2f.spec import StageSpec
from tests.dashboard.faces import CAPTIONS


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
        lineage={"data": "demo", "sweep": "demo", "trial": 4},
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()
