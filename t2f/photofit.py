"""Photofit, the article's use: a witness begins with a sentence, keeps the faces that are nearer, refines the words.

Z latent, N faces of a generation, K kept, C children

A face is a sentence and a point in the space of the noise; the sentence's conditioning is the centre that the noise
moves the face around (`FaceModel.latent`). The next generation holds the faces that were kept, and children of them:
each coordinate from one of two parents, then mutated,

    child = cos(spread) * mix + sin(spread) * noise

which leaves normal noise normal (the proposal of arXiv:1202.0709, eq. 1.2), so that children stay among the faces that
the model draws. The spread shrinks from one generation to the next. New words move the centre under all faces and leave
the noise: what a face owes to the noise it keeps.

A session is its seed and what the witness did, so it is repeated from its file, and undone by forgetting the last step.
No torch in here; `t2f.generate.Bundle` draws.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from t2f.data.files import read_json
from t2f.errors import SpecError
from t2f.typed import has_words, tidy_sentence

SESSION_VERSION = 1
MAX_FACES = 64  # of a generation
MAX_STEPS = 500

FIRST_SPREAD = 0.9  # radians: pi / 2 would forget the parents
LAST_SPREAD = 0.2
SHRINK = 0.8  # of the spread, from a generation to the next


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the witness did: the faces that were kept, by the numbers under them, and the words from then on."""

    keep: tuple[int, ...]
    words: str


@dataclass(frozen=True, kw_only=True)
class Session:
    """All that a photofit is: the same session gives the same faces."""

    model_sha256: str  # of the weights that it is drawn with
    latent_size: int  # Z of that model
    faces: int  # N of each generation
    seed: int
    steps: tuple[Step, ...]  # the first one keeps nothing

    def __post_init__(self) -> None:
        for name, low, high in (("faces", 2, MAX_FACES), ("seed", 0, 2**32 - 1), ("latent_size", 1, 2**16)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SpecError(
                    f"{name} = {value!r:.60} is not allowed; it must be a whole number from {low} to {high}"
                )
        if not 1 <= len(self.steps) <= MAX_STEPS:
            raise SpecError(f"a photofit of {len(self.steps)} steps is not allowed; it has from 1 to {MAX_STEPS}")
        if self.steps[0].keep:
            raise SpecError("a photofit's first step keeps no faces, as there are none before it")
        for step in self.steps:
            self._check(step)

    def _check(self, step: Step) -> None:
        if not has_words(step.words):
            raise SpecError(f"the sentence {step.words!r} has no words; describe the face, for example 'brown hair'")
        wrong = [number for number in step.keep if isinstance(number, bool) or not isinstance(number, int)]
        if wrong or not all(1 <= number <= self.faces for number in step.keep):
            raise SpecError(f"keep = {list(step.keep)!r:.100} is not allowed; faces have the numbers 1 to {self.faces}")
        if len(set(step.keep)) != len(step.keep) or len(step.keep) >= self.faces:
            raise SpecError(f"keep = {list(step.keep)!r:.100} is not allowed; keep each face once, and not all of them")

    @property
    def generation(self) -> int:
        """0 for the first faces."""
        return len(self.steps) - 1

    @property
    def words(self) -> str:
        return self.steps[-1].words

    def next(self, *, keep: Sequence[int], words: str | None = None) -> "Session":
        """The session after the witness kept these faces (none: draw all anew) and perhaps changed the words."""
        words = self.words if words is None else tidy_sentence(words)
        return replace(self, steps=(*self.steps, Step(keep=tuple(keep), words=words)))

    def undo(self) -> "Session":
        """The session before its last step."""
        if self.generation == 0:
            raise SpecError("nothing to undo: this is the first generation")
        return replace(self, steps=self.steps[:-1])

    def noise(self) -> np.ndarray:
        """The newest generation: float32 noise_NZ, the kept faces first, in the order in which they were kept."""
        noise_NZ, bred = self._random(0), 0
        for generation, step in enumerate(self.steps[1:], start=1):
            if step.keep:
                bred += 1
                noise_NZ = self._children(noise_NZ, step, generation, spread(bred))
            else:
                noise_NZ = self._random(generation)
        return noise_NZ

    def _random(self, generation: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, generation])
        return random.standard_normal((self.faces, self.latent_size), dtype=np.float32)

    def _children(self, noise_NZ: np.ndarray, step: Step, generation: int, angle: float) -> np.ndarray:
        random = np.random.default_rng([self.seed, generation])
        kept_KZ = noise_NZ[[number - 1 for number in step.keep]]
        shape = (self.faces - len(kept_KZ), self.latent_size)
        first, second = random.integers(0, len(kept_KZ), (2, len(noise_NZ) - len(kept_KZ)))
        mix_CZ = np.where(random.random(shape) < 0.5, kept_KZ[first], kept_KZ[second])
        fresh_CZ = random.standard_normal(shape, dtype=np.float32)
        children_CZ = np.float32(math.cos(angle)) * mix_CZ + np.float32(math.sin(angle)) * fresh_CZ
        return np.concatenate([kept_KZ, children_CZ])

    def to_json(self) -> dict[str, Any]:
        steps = [{"keep": list(step.keep), "words": step.words} for step in self.steps]
        return {"session_version": SESSION_VERSION, **asdict(self), "steps": steps}

    @classmethod
    def from_json(cls, stored: Any) -> "Session":
        """SpecError where it is no session of this version."""
        if not isinstance(stored, Mapping) or stored.get("session_version") != SESSION_VERSION:
            raise SpecError(f"it is no photofit session of version {SESSION_VERSION}")
        try:
            steps = tuple(Step(keep=tuple(s["keep"]), words=tidy_sentence(s["words"])) for s in stored["steps"])
            names = ("model_sha256", "latent_size", "faces", "seed")
            return cls(**{name: stored[name] for name in names}, steps=steps)
        except (KeyError, TypeError) as error:
            raise SpecError(
                f"it lacks something that a photofit session has, or has something else there: {error}"
            ) from error


def start(*, model_sha256: str, latent_size: int, words: str, faces: int = 8, seed: int = 0) -> Session:
    """A session before anything was kept."""
    step = Step(keep=(), words=tidy_sentence(words))
    return Session(model_sha256=model_sha256, latent_size=latent_size, faces=faces, seed=seed, steps=(step,))


def spread(bred: int) -> float:
    """The angle in radians that children of the bred-th generation (from 1) are turned away from their parents."""
    return max(LAST_SPREAD, FIRST_SPREAD * SHRINK ** (bred - 1))


def load(path: Path) -> tuple[Session, Mapping[str, Any]]:
    """The session in a file, and what else stands there; SpecError or DataError where it cannot be used."""
    stored = read_json(path)
    try:
        return Session.from_json(stored), stored
    except SpecError as error:
        raise SpecError(f"{path} cannot be used: {error}") from error
