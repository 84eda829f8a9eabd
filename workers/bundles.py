"""Making a model bundle from a sealed stage run's checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2f.card import ModelCard
from t2f.checkpoint import load_tensors
from t2f.data import PreparedData
from t2f.generate import save_bundle
from t2f.spec import StageSpec
from t2f.train import ema_model
from workers.files import Files


def make_bundle(
    home: Path,
    *,
    data: PreparedData,
    stage: StageSpec,
    checkpoint_uri: str,
    checkpoint_sha256: str,
    uri: str,
    lineage: Mapping[str, Any],
    card: ModelCard,
) -> str:
    """Write the EMA model of a checkpoint as a bundle at `uri` and return the file's SHA-256."""
    files = Files(home)
    state, _ = load_tensors(files.path(checkpoint_uri), sha256=checkpoint_sha256)
    saved = save_bundle(
        files.path(uri),
        model=ema_model(stage, state, len(data.vocabulary)),
        vocabulary=data.vocabulary,
        stage=stage,
        max_tokens=data.max_tokens,
        lineage=lineage,
        card=card,
    )
    return saved.sha256
