"""The text encoder and the conditioning augmentation."""

import math

import pytest
import torch

from t2f.layers import initialise
from t2f.settings import PRESETS, Settings
from t2f.spec import SentenceSpec, StageSpec
from t2f.text import Captions, ConditioningAugmentation, kl_divergence, pad_tokens, text_encoder

SIZE = 384  # of a sentence embedding


def make_encoder(settings: Settings) -> torch.nn.Module:
    sentence = SentenceSpec(where="minilm", sha256="s" * 64, size=SIZE)
    spec = StageSpec(
        resolution=4, images=8, fade_images=0, batch=4, seed=0, data_key="", settings=settings, sentence=sentence
    )
    return text_encoder(spec, 50)


@pytest.fixture
def settings() -> Settings:
    return Settings().with_values({**PRESETS["small"], "text.layers": 2})


def test_padding_does_not_change_an_embedding(settings):
    encoder = make_encoder(settings)
    initialise(encoder, seed=0, prefix="encoder")
    alone = encoder(pad_tokens([[5, 6, 7]]))
    beside = encoder(pad_tokens([[5, 6, 7], list(range(2, 22))]))
    assert torch.allclose(alone[0], beside[0], atol=1e-6)
    assert not torch.allclose(beside[0], beside[1])


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("lengths", [[3], [7, 7], [2, 9, 2, 5, 1, 9, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_captions_read_in_parts_are_read_as_packed_ones(settings, pooling, lengths):
    encoder = make_encoder(settings.with_values({"text.pooling": pooling}))
    initialise(encoder, seed=0, prefix="encoder")
    random = torch.Generator().manual_seed(0)
    size = settings.text.word_embedding
    vectors = torch.randn(len(lengths), max(lengths), size, generator=random, requires_grad=True)
    weights = [vectors, *encoder.lstm.parameters()]
    results = []
    for read in (encoder._read_parts, encoder._read_packed):
        hidden = read(vectors, torch.tensor(lengths))
        results.append((hidden, *torch.autograd.grad(hidden.square().sum(), weights)))
    for ours, expected in zip(*results, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_the_order_of_words_counts(settings):
    encoder = make_encoder(settings)
    initialise(encoder, seed=0, prefix="encoder")
    texts = encoder(pad_tokens([[5, 6, 7], [7, 6, 5]]))
    assert not torch.allclose(texts[0], texts[1])


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_no_caption_is_a_zero_embedding_beside_any_other(settings, pooling):
    encoder = make_encoder(settings.with_values({"text.pooling": pooling}))
    initialise(encoder, seed=0, prefix="encoder")
    texts = encoder(pad_tokens([[], [5, 6, 7], []]))
    assert torch.equal(texts[0], torch.zeros_like(texts[0]))
    assert torch.equal(texts[2], texts[0])
    assert torch.allclose(texts[1], encoder(pad_tokens([[5, 6, 7]]))[0], atol=1e-6)
    assert torch.equal(encoder(pad_tokens([[], []])), torch.zeros(2, settings.text.size))


def test_half_of_psi_can_be_a_bag_of_words_that_no_training_changes(settings):
    encoder = make_encoder(settings.with_values({"text.embedding": 64, "text.word_bag": 32}))
    initialise(encoder, seed=0, prefix="encoder")
    rarity_V = torch.arange(50) / 10
    encoder.fill_word_bag(rarity_V, seed=3)
    captions = [[20, 7, 30], [], [30, 20, 7], [20, 7, 31]]
    texts = encoder(pad_tokens(captions))
    assert texts.shape == (4, 96)
    assert torch.equal(texts[1], torch.zeros(96))
    for text, caption in zip(texts, captions, strict=True):
        expected = sum((encoder.word_bag_VF[word] for word in caption), torch.zeros(32))
        expected = expected / (expected.square().mean() + 1e-8).sqrt()
        assert torch.allclose(text[64:], expected, atol=1e-5)
    assert not torch.allclose(texts[0, :64], texts[2, :64])  # the LSTM's half knows the order
    lengths_V = encoder.word_bag_VF.square().mean(dim=1).sqrt()
    assert lengths_V[40:].min() > lengths_V[1:9].max()  # rare words weigh more
    assert "word_bag_VF" in encoder.state_dict()
    assert "word_bag_VF" not in dict(encoder.named_parameters())


def test_a_frozen_sentence_embedding_goes_through_one_layer(settings):
    encoder = make_encoder(settings.with_values({"text.encoder": "sentence", "text.normalise": "off"}))
    initialise(encoder, seed=0, prefix="encoder")
    vectors = torch.nn.functional.normalize(torch.randn(3, SIZE), dim=1)
    vectors[1] = 0
    texts = encoder(Captions(vectors_BS=vectors))
    expected = vectors * SIZE**0.5 @ (encoder.out.weight * encoder.out.scale).T
    assert torch.allclose(texts, expected, atol=1e-5)
    assert torch.equal(texts[1], torch.zeros_like(texts[1]))
    assert 0.3 < float(texts[0].detach().std()) < 3, "values of about 1, whatever the size of the sentence embedding"


def test_captions_can_be_taken_by_rows():
    captions = pad_tokens([[5, 6, 7], [8], [9, 4]])
    some = captions.rows(torch.tensor([2, 0]))
    assert len(some) == 2
    assert some.lengths_B.tolist() == [2, 3]
    assert some.tokens_BT.tolist() == [[9, 4, 0], [5, 6, 7]]


def test_kl_is_the_sum_of_the_textbook_formula():
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2, -0.4]])
    expected = 0.0
    for m, lv in ((0.5, 0.2), (-1.0, -0.4)):
        variance = math.exp(lv)
        expected += -0.5 * (1 + math.log(variance) - m**2 - variance)
    assert float(kl_divergence(mean, log_variance)) == pytest.approx(expected)
    assert float(kl_divergence(torch.zeros(1, 4), torch.zeros(1, 4))) == 0


def test_kl_agrees_with_sampling():
    mean, log_variance = torch.tensor([[0.7]]), torch.tensor([[-0.5]])
    noise = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    deviation = math.exp(-0.25)
    x = mean + deviation * noise
    log_ratio = (-0.5 * ((x - 0.7) / deviation) ** 2 - math.log(deviation)) + 0.5 * x**2
    assert float(kl_divergence(mean, log_variance)) == pytest.approx(float(log_ratio.mean()), abs=0.01)


def test_conditioning_has_the_mean_and_deviation_it_says(settings):
    layer = ConditioningAugmentation(settings)
    initialise(layer, seed=0, prefix="ca")
    text = torch.randn(1, settings.text.size, generator=torch.Generator().manual_seed(1))
    size = settings.network.conditioning
    noise = torch.randn(20_000, size, generator=torch.Generator().manual_seed(2))
    samples, mean, log_variance = layer(text.expand(20_000, -1), noise)
    assert torch.allclose(samples.mean(0), mean[0], atol=0.06)
    assert torch.allclose(samples.std(0), (0.5 * log_variance[0]).exp(), rtol=0.05)
    assert torch.allclose(layer(text, torch.zeros(1, size))[0], mean[:1], atol=1e-6)
