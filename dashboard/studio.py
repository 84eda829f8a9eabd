"""What the generation box and its API do: choose a model, have faces drawn, keep the newest pictures for a while."""

import hashlib
import json
import threading
from collections import OrderedDict
from pathlib import Path

from dashboard import facts
from dashboard.errors import UnavailableError, UnknownError
from dashboard.facts import ModelFile
from dashboard.generation import DrawRequest, Generator
from dashboard.models import Generated, GenerateRequest, ModelWithCard
from dashboard.samples import below
from scheduler.database import Database
from t2f.card import read_card

PICTURES_KEPT = 64


class Studio:
    """Draws with registered models and remembers the newest drawings by their id."""

    def __init__(self, home: Path, database: Database, generator: Generator) -> None:
        self.home = home
        self.database = database
        self.generator = generator
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Generated, bytes]] = OrderedDict()

    def draw(self, request: GenerateRequest) -> Generated:
        """The same request, drawn again with the same model, has the same id and the same picture."""
        chosen = self._model(request.model)
        sentence = " ".join(request.sentence.split())
        content = json.dumps([chosen.sha256, sentence, request.faces, request.seed])
        identity = hashlib.sha256(content.encode()).hexdigest()[:32]
        known = self.kept(identity)
        if known is not None:
            return known[0]
        drawing = self.generator.draw(
            DrawRequest(
                bundle=self._bundle(chosen.uri),
                sha256=chosen.sha256,
                sentence=sentence,
                seeds=tuple((request.seed + index) % 2**32 for index in range(request.faces)),
            )
        )
        generated = Generated(
            id=identity,
            sentence=sentence,
            faces=drawing.faces,
            seed=request.seed,
            model=chosen.model,
            picture=f"/generated/{identity}.png",
            tile=drawing.resolution,
            unknown_words=dict(drawing.unknown_words),
        )
        with self._lock:
            self._kept[identity] = (generated, drawing.png)
            while len(self._kept) > PICTURES_KEPT:
                self._kept.popitem(last=False)
        return generated

    def card(self, number: int) -> ModelWithCard:
        """A registered model and the card in its bundle; UserError where the file is no whole bundle any more."""
        chosen = self._model(number)
        return ModelWithCard(
            model=chosen.model,
            card=read_card(self._bundle(chosen.uri)),
            lineage=facts.lineage(self.database, chosen.model),
            versions=[one for one in facts.models(self.database) if one.name == chosen.model.name],
        )

    def _model(self, number: int | None) -> ModelFile:
        models = facts.model_files(self.database)
        if not models:
            raise UnavailableError("There is no model yet; one is registered when a sweep has its best trial.")
        for found in models:
            if number in (None, found.model.id):
                return found
        raise UnknownError(f"There is no model {number}.")

    def _bundle(self, uri: str) -> Path:
        return below(self.home if Path(uri).is_absolute() else self.home / "files", uri)

    def kept(self, identity: str) -> tuple[Generated, bytes] | None:
        with self._lock:
            return self._kept.get(identity)
