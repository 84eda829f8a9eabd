"""A trained model of the demo faces for benchmarks that need one: trained at the first call, kept in the cache."""

from pathlib import Path

from benchmarks.ablation import Row, recipe_of
from benchmarks.faces import demo_data, train
from t2f.data import PreparedData
from t2f.generate import Bundle, open_bundle, save_bundle
from t2f.settings import PRESETS
from t2f.spec import stage_keys

CACHE = Path.home() / ".cache" / "t2f-benchmarks" / "faces"


def demo_model(cache: Path = CACHE, *, quick: bool = False) -> tuple[Bundle, PreparedData]:
    """The preset `small` at 16 px after about 90 CPU seconds, or quickly at 8 px after about 20, and its data."""
    data = demo_data(
        cache, faces=1000 if quick else 7000, resolution=16 if quick else 64, judge_steps=100 if quick else 1200
    )
    recipe = recipe_of(Row(name="small", values=PRESETS["small"]), 8 if quick else 16)
    spec = recipe.spec(data, images=(8_000, 4_000) if quick else (16_000, 8_000, 10_000), seed=0)
    path = cache.parent / "models" / f"{stage_keys(spec.stages())[-1][:16]}.safetensors"
    if not path.exists():
        save_bundle(
            path,
            model=train(spec, data).model,
            vocabulary=data.vocabulary,
            stage=spec.stages()[-1],
            max_tokens=data.max_tokens,
            lineage={"data": data.name},
        )
    return open_bundle(path), data
