"""The peer's side: pro-gan-pth 1.3.3.3's ConditionalProGAN in the inner loop of T2F's training script.

The loop, the LSTM encoder and the conditioning augmentation (ReLU on sigma included) do what T2F's
implementation/train_network.py and networks/ do, https://github.com/akanimax/T2F; there the discriminator's embedding
still carries its graph, which this version of the package cannot differentiate twice, so it is detached.

B batch, T tokens, E text embedding, C conditioning, Z latent
"""

import json
import sys

from benchmarks import protocol


def main() -> None:
    case = json.loads(sys.argv[1])
    protocol.set_threads(case["threads"])

    import torch  # after the threads are set
    from pro_gan_pytorch.CustomLayers import _equalized_linear
    from pro_gan_pytorch.PRO_GAN import ConditionalProGAN
    from torch import nn

    torch.manual_seed(0)
    batch, latent, conditioning, hidden, alpha = case["batch"], 256, 178, 256, 0.5
    depth = {4: 0, 8: 1, 16: 2, 32: 3, 64: 4}[case["resolution"]]
    encoder = nn.Sequential(nn.Embedding(1000, 128, padding_idx=0), nn.LSTM(128, hidden, 3, batch_first=True))
    augment = _equalized_linear(hidden, 2 * conditioning)
    # beta_1 is 0 in T2F's configuration; today's Adam wants it as a float.
    gan = ConditionalProGAN(hidden, depth=5, latent_size=latent, compressed_latent_size=128, beta_1=0.0, loss="wgan-gp")
    adam = {"lr": 1e-3, "betas": (0.0, 0.99), "eps": 1e-8}
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), **adam)
    augment_optimizer = torch.optim.Adam(augment.parameters(), **adam)
    # Always the pictures of the last depth: the package shrinks them at every step, as T2F lets it.
    images = torch.rand(batch, 3, 64, 64) * 2 - 1
    tokens_BT = torch.zeros(batch, 100, dtype=torch.int64)
    for row, length in zip(tokens_BT, case["lengths"], strict=True):
        row[:length] = torch.randint(1, 1000, (length,))

    def condition(text_BE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean_BC, sigma_BC = augment(text_BE).chunk(2, dim=1)
        sigma_BC = torch.relu(sigma_BC) + 1e-12
        return torch.randn(mean_BC.shape) * sigma_BC + mean_BC, mean_BC, sigma_BC

    def step() -> None:
        text_BE = encoder(tokens_BT)[0][:, -1, :]
        conditioning_BC, mean_BC, sigma_BC = condition(text_BE)
        latent_BZ = torch.cat([conditioning_BC, torch.randn(batch, latent - conditioning)], dim=1)
        gan.optimize_discriminator(latent_BZ, images, text_BE.detach(), depth, alpha, True)
        latent_BZ = torch.cat([conditioning_BC, torch.randn(batch, latent - conditioning)], dim=1)
        encoder_optimizer.zero_grad()
        augment_optimizer.zero_grad()
        gan.optimize_generator(latent_BZ, text_BE, depth, alpha)
        divergence = (0.5 * (mean_BC**2 + sigma_BC**2 - torch.log(sigma_BC**2) - 1).sum(dim=1)).mean()
        divergence.backward()
        augment_optimizer.step()
        encoder_optimizer.step()

    @torch.no_grad()
    def sample() -> None:
        text_BE = encoder(tokens_BT)[0][:, -1, :]
        conditioning_BC, _, _ = condition(text_BE)
        latent_BZ = torch.cat([conditioning_BC, torch.randn(batch, latent - conditioning)], dim=1)
        gan.gen_shadow(latent_BZ, depth, 1.0)

    protocol.serve(
        {
            "step": lambda request: protocol.timed(step, request["count"]),
            "sample": lambda request: protocol.timed(sample, request["count"]),
            "memory": lambda _: {"bytes": protocol.peak_bytes()},
        }
    )


if __name__ == "__main__":
    main()
