"""The process that draws faces for the dashboard; the only file here that uses torch.

It serves one request after another over a pipe and ends when the pipe closes. Requests are JSON; an answer is JSON,
followed by the PNG where drawing succeeded.
"""

import json
import os
import signal
import sys
from collections import OrderedDict
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from t2f.errors import UserError
from t2f.generate import Bundle, open_bundle
from t2f.pictures import wall
from t2f.recipe import Recipe, stamped_png
from t2f.typed import tidy_sentence

BUNDLES_KEPT = 2
NICENESS = 5  # drawing a few faces must not slow the training that shares the machine


class Drawer:
    """Draws with the latest few models, which stay in memory."""

    def __init__(self) -> None:
        self.bundles: OrderedDict[str, Bundle] = OrderedDict()

    def bundle(self, path: str, sha256: str) -> Bundle:
        if sha256 in self.bundles:
            self.bundles.move_to_end(sha256)
        else:
            self.bundles[sha256] = open_bundle(Path(path))
            while len(self.bundles) > BUNDLES_KEPT:
                self.bundles.popitem(last=False)
        return self.bundles[sha256]

    def draw(self, request: dict) -> tuple[dict, bytes]:
        """Facts and one row of faces, each as large as the model draws it; `t2f generate --from-png` draws it again."""
        bundle = self.bundle(request["path"], request["sha256"])
        images_N3RR = bundle.draw([request["sentence"]], seeds=request["seeds"], truncation=request["truncation"])
        recipe = Recipe(
            model_sha256=bundle.sha256,
            captions=(tidy_sentence(request["sentence"]),),
            seeds=tuple(request["seeds"]),
            truncation=request["truncation"],
            columns=0,
            enlarge=1,
        )
        facts = {"unknown_words": bundle.unknown_words(request["sentence"]), "resolution": images_N3RR.shape[-1]}
        return facts, stamped_png(wall(images_N3RR, columns=len(images_N3RR)), recipe)


def serve(connection: Connection) -> None:
    """Answer requests until the other side closes the pipe."""
    drawer = Drawer()
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            facts, png = drawer.draw(request)
        except UserError as error:
            connection.send_bytes(json.dumps({"error": str(error)}).encode())
        else:
            connection.send_bytes(json.dumps(facts).encode())
            connection.send_bytes(png)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it closes the pipe
    os.nice(NICENESS)
    torch.set_num_threads(1)
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
