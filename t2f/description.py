"""What a model bundle says of itself: hashed, and checked before anything is made of it. No torch in here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2f.errors import CheckpointError
from t2f.metadata import read_metadata
from t2f.spec import digest

BUNDLE_VERSION = 2

FIELDS = {
    "stage": dict,  # the whole recipe of the last stage
    "vocabulary": list,  # words by token id
    "max_tokens": int,  # that a sentence is read to
    "lineage": dict,  # data, sweep, trial and stage run it comes from
    "card": dict,
    "sha256": str,  # of the weights
}


def described(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a bundle: its fields, the version, and a hash over both."""
    assert fields.keys() == FIELDS.keys()
    whole = {"bundle_version": BUNDLE_VERSION, **fields}
    return {**whole, "description_sha256": digest(whole)}


def check_description(path: Path, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata itself, if it is a bundle's of this version and as it was written; CheckpointError elsewhere."""
    version = metadata.get("bundle_version")
    if version != BUNDLE_VERSION:
        raise CheckpointError(
            f"{path} is no model bundle of version {BUNDLE_VERSION} (it says {version!r}); "
            "`t2f best SWEEP` names the bundle of a sweep, and a training writes one"
        )
    fields = {name: metadata.get(name) for name in FIELDS}
    whole = {"bundle_version": version, **fields}
    if metadata.get("description_sha256") != digest(whole):
        raise CheckpointError(f"{path} is damaged: its description does not have the recorded SHA-256")
    for name, kind in FIELDS.items():
        if not isinstance(fields[name], kind):
            raise CheckpointError(f"{path} lacks {name!r} in its description, or has something else there")
    return metadata


def read_description(path: Path) -> Mapping[str, Any]:
    """The checked description of a bundle file, without its weights."""
    return check_description(path, read_metadata(path))
