"""Our side: T2F's own StageTrainer with a network of the peer's size on data that the benchmark prepared."""

import json
import sys
from pathlib import Path

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

    from t2f.batches import BatchPlan
    from t2f.data import PreparedData
    from t2f.precision import autocast
    from t2f.settings import Settings
    from t2f.spec import StageSpec
    from t2f.trainer import StageTrainer

    data = PreparedData.open(Path(case["data"]))
    settings = Settings().with_values({**PEER_SIZE, "loss.penalty_interval": case["penalty_interval"]})
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

    def step() -> None:
        with autocast(case["precision"], "cpu"):
            trainer.step()

    tokens_BT = torch.from_numpy(split.tokens_MT[: case["batch"]].astype("int64"))
    lengths_B = torch.from_numpy(split.token_lengths_M[: case["batch"]])

    @torch.no_grad()
    def sample() -> None:
        with autocast(case["precision"], "cpu"):
            text_BE = trainer.ema.encoder(tokens_BT, lengths_B)
            trainer.ema.draw(text_BE, torch.randn(len(text_BE), settings.network.latent))

    plan, pictures = BatchPlan(stage, split), split.images(stage.resolution)
    drawn = iter(range(500_000, 1_000_000))

    def load() -> None:
        batch = plan.draw(next(drawn))
        torch.from_numpy(pictures[batch.image_B]).to(torch.float32).div_(127.5).sub_(1)
        torch.from_numpy(split.tokens_MT[batch.caption_B].astype("int64"))

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
            step()
        return {"flops": counter.flops}

    protocol.serve(
        {
            "step": lambda request: protocol.timed(step, request["count"]),
            "sample": lambda request: protocol.timed(sample, request["count"]),
            "load": lambda request: protocol.timed(load, request["count"]),
            "flops": flops,
            "rate": protocol.convolution_rate,
            "memory": lambda _: {"bytes": protocol.peak_bytes()},
        }
    )


if __name__ == "__main__":
    main()
