"""Our side: T2F's own StageTrainer with a network of the peer's size on data that the benchmark prepared."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import protocol

PEER_SIZE = {
    "text.word_embedding": 128,
    "text.hidden": 256,
    "text.layers": 3,
    "text.embedding": 256,
    "network.latent": 256,
    "network.conditioning": 178,
    "network.feature_base": 8192,
    "network.feature_max": 256,
}


def main() -> None:
    case = json.loads(sys.argv[1])
    protocol.set_threads(case["threads"])

    import torch  # after the threads are set
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    from t2f.data import PreparedData
    from t2f.precision import autocast
    from t2f.reading import data_reader
    from t2f.settings import Settings
    from t2f.spec import StageSpec
    from t2f.trainer import StageTrainer

    data = PreparedData.open(Path(case["data"]))
    changes = {"loss.penalty_interval": case["penalty_interval"], "compute.precision": case["precision"]}
    settings = Settings().with_values({**PEER_SIZE, **changes})
    images = 1_000_000 * case["batch"]
    stage = StageSpec(
        resolution=case["resolution"],
        images=images,
        fade_images=images,
        batch=case["batch"],
        seed=0,
        data_key=data.key,
        settings=settings,
    )
    trainer = StageTrainer(stage, data, parent=None if stage.index == 0 else {})
    trainer.load({**trainer.state(), "step": torch.tensor(500_000)})  # alpha .5
    split = data.split("train")

    captions = data_reader(stage, data).of_split(split, np.arange(case["batch"]))

    @torch.no_grad()
    def sample() -> None:
        with autocast(case["precision"], "cpu"):
            text_BE = trainer.ema.embed(captions)
            trainer.ema.draw(text_BE, torch.randn(len(text_BE), settings.network.latent))

    stalled = 0.0

    def get(number: int, wrapped=trainer._loader.get):
        nonlocal stalled
        begun = time.perf_counter()
        batch = wrapped(number)
        stalled += time.perf_counter() - begun
        return batch

    trainer._loader.get = get

    def stall(request: dict) -> dict[str, float]:
        """The share of the steps' wall time in which they wait for the loader."""
        nonlocal stalled
        trainer.step()
        stalled, begun = 0.0, time.perf_counter()
        for _ in range(request["count"]):
            trainer.step()
        return {"share": stalled / (time.perf_counter() - begun)}

    class Counter(TorchDispatchMode):
        """Operations of the convolutions and matrix products that are called, each by PyTorch's own formula.

        torch.utils.flop_counter.FlopCounterMode itself fails at torch.autograd.grad; oneDNN's LSTM is in neither.
        """

        flops = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            formula = flop_registry.get(function.overloadpacket)
            self.flops += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
            return result

    def flops(_: dict) -> dict[str, float]:
        with Counter() as counter:
            trainer.step()
        return {"flops": counter.flops}

    protocol.serve(
        {
            "step": lambda request: protocol.timed(trainer.step, request["count"]),
            "sample": lambda request: protocol.timed(sample, request["count"]),
            "stall": stall,
            "flops": flops,
            "rate": protocol.convolution_rate,
            "memory": lambda _: {"bytes": protocol.peak_bytes()},
        }
    )


if __name__ == "__main__":
    main()
