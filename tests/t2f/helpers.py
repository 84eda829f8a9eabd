"""Small recipes for tests that train."""

from pathlib import Path

from t2f.data import PreparedData
from t2f.generate import open_bundle, save_bundle
from t2f.networks import FaceModel
from t2f.settings import PRESETS, Settings, Value
from t2f.spec import StagePlan, StageSpec, TrainingSpec

TINY = {
    **PRESETS["small"],
    "text.word_embedding": 8,
    "text.hidden": 8,
    "text.embedding": 8,
    "text.word_bag": 4,
    "network.latent": 12,
    "network.conditioning": 6,
    "network.feature_base": 64,
    "network.feature_max": 8,
}
TEXT_SIZE = Settings().with_values(TINY).text.size


def tiny_training(
    data: PreparedData, values: dict[str, Value], *, images: int = 64, resolutions: int = 3, seed: int = 0
) -> TrainingSpec:
    """A training of a few steps a stage: batch 8, half of each stage fading in."""
    plan = StagePlan(
        resolutions=(4, 8, 16)[:resolutions],
        images=(images,) * resolutions,
        fade=(0.0, 0.5, 0.5)[:resolutions],
        batch=(8,) * resolutions,
    )
    return TrainingSpec(data_key=data.key, seed=seed, plan=plan, settings=Settings().with_values({**TINY, **values}))


def tiny_stages(
    data: PreparedData, values: dict[str, Value] | None = None, *, images: int = 64
) -> tuple[StageSpec, ...]:
    return tiny_training(data, values or {}, images=images).stages()


def write_bundle(path: Path, data: PreparedData, values: dict[str, Value] | None = None) -> str:
    """An untrained model of 16 px in a bundle file; returns the SHA-256 of its weights."""
    stage = tiny_stages(data, values)[2]
    save_bundle(
        path,
        model=FaceModel(stage, len(data.vocabulary)),
        vocabulary=data.vocabulary,
        stage=stage,
        max_tokens=data.max_tokens,
        lineage={"data": data.name},
    )
    return open_bundle(path).sha256
