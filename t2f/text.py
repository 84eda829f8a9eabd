"""From words to what the networks are conditioned on: text encoders and conditioning augmentation.

B batch, T tokens, W word vector, S sentence embedding, E text embedding (psi_t), C conditioning

An encoder reads a `Captions`; a caption without words gives a zero psi_t, which no caption with words can give, so that
one network learns faces with and without them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from t2f.errors import SpecError
from t2f.layers import EqualizedLinear, pixel_norm, stream_seed
from t2f.precision import lstm_autocast
from t2f.settings import Settings, TextSettings
from t2f.spec import StageSpec

# Parts that a batch of captions is read in on a CPU: with more, a part's fixed cost outweighs the padding it saves.
PARTS = 4


@dataclass(frozen=True, kw_only=True)
class Captions:
    """B captions as the encoders read them: token ids for an LSTM, or embeddings of a frozen sentence encoder."""

    tokens_BT: Tensor | None = None  # int64, padded with 0
    lengths_B: Tensor | None = None  # int64 on the CPU; 0: no caption
    vectors_BS: Tensor | None = None  # float32; zeros: no caption

    def __len__(self) -> int:
        given = self.tokens_BT if self.tokens_BT is not None else self.vectors_BS
        assert given is not None
        return len(given)

    def rows(self, rows: Tensor | slice) -> "Captions":
        """Some of them, in that order."""
        parts = (None if part is None else part[rows] for part in (self.tokens_BT, self.lengths_B, self.vectors_BS))
        return Captions(**dict(zip(("tokens_BT", "lengths_B", "vectors_BS"), parts, strict=True)))

    def to(self, device: torch.device) -> "Captions":
        """On a device; the lengths stay on the CPU, where packing wants them."""
        tokens, vectors = (None if part is None else part.to(device) for part in (self.tokens_BT, self.vectors_BS))
        return Captions(tokens_BT=tokens, lengths_B=self.lengths_B, vectors_BS=vectors)


class LstmEncoder(nn.Module):
    """psi_t of a caption: word vectors, an LSTM, and a linear layer on its last hidden state, or on the mean or the
    largest of its outputs.

    Padding has no effect, so a caption's embedding does not depend on its neighbours in the batch.

    A trained psi_t gives its length to the words that D tells apart at low resolutions, hair colours, and takes it from
    those that show later. `text.word_bag` more dimensions are a bag of words, which nothing fades.
    """

    def __init__(self, text: TextSettings, vocabulary_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, text.word_embedding)
        self.lstm = nn.LSTM(text.word_embedding, text.hidden, num_layers=text.layers, batch_first=True)
        self.out = EqualizedLinear(text.hidden, text.embedding, gain=1.0)
        self.register_buffer("word_bag_VF", torch.zeros(vocabulary_size, text.word_bag) if text.word_bag else None)
        self.size = text.size
        self.pooling = text.pooling
        self.normalise = text.normalise == "on"

    def fill_word_bag(self, rarity_V: Tensor, *, seed: int) -> None:
        """Draw the fixed vector of every word, as long as the word is rare (`t2f.data.words.rarity`)."""
        if self.word_bag_VF is not None:
            random = torch.Generator().manual_seed(stream_seed(seed, "word bag"))
            self.word_bag_VF.copy_(torch.randn(self.word_bag_VF.shape, generator=random) * rarity_V[:, None])

    def forward(self, captions: Captions) -> Tensor:
        """text_BE; zeros where a caption has no words."""
        lengths_B = captions.lengths_B
        assert captions.tokens_BT is not None
        assert lengths_B is not None
        if bool((lengths_B > 0).all()):
            return self._read(captions.tokens_BT, lengths_B)
        text_BE = torch.zeros(len(lengths_B), self.size, device=captions.tokens_BT.device)
        worded = torch.nonzero(lengths_B > 0).squeeze(1)
        if len(worded) == 0:
            return text_BE
        found = self._read(captions.tokens_BT[worded], lengths_B[worded])
        return text_BE.to(found.dtype).index_copy(0, worded.to(found.device), found)

    def _read(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        vectors_BTW = self.words(tokens_BT[:, : int(lengths_B.max())])
        read = self._read_parts if vectors_BTW.device.type == "cpu" else self._read_packed
        text_BE = self.out(read(vectors_BTW, lengths_B))
        text_BE = pixel_norm(text_BE) if self.normalise else text_BE
        if self.word_bag_VF is None:
            return text_BE
        return torch.cat([text_BE, pixel_norm(self.word_bag_VF[tokens_BT].sum(dim=1))], dim=1)

    def _read_packed(self, vectors_BTW: Tensor, lengths_B: Tensor) -> Tensor:
        """hidden_BH, pooled from the LSTM's outputs."""
        packed = nn.utils.rnn.pack_padded_sequence(vectors_BTW, lengths_B, batch_first=True, enforce_sorted=False)
        outputs, (hidden_LBH, _) = self.lstm(packed)
        if self.pooling == "last":
            return hidden_LBH[-1]
        if self.pooling == "max":
            return nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, padding_value=-math.inf)[0].amax(dim=1)
        outputs_BTH, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)  # zeros where padded
        return outputs_BTH.sum(dim=1) / lengths_B[:, None].to(outputs_BTH.device)

    def _read_parts(self, vectors_BTW: Tensor, lengths_B: Tensor) -> Tensor:
        """The same on a CPU, where oneDNN's LSTM takes no packed captions and PyTorch's own for them is slow.

        All captions are read to the end of the shortest quarter of them, the others go on from there to the end of the
        next quarter, and so forth. A caption that ends inside a part is read on through padding; what comes after its
        end is not looked at.
        """
        order_B = lengths_B.argsort(descending=True, stable=True)
        lengths_B, vectors_BTW = lengths_B[order_B], vectors_BTW[order_B]
        lengths, part = lengths_B.tolist(), -(-len(lengths_B) // PARTS)
        rows, start, state, pooled = len(lengths), 0, None, []
        sum_BH, largest_BH = torch.zeros(()), torch.tensor(-math.inf)
        while rows:
            end = lengths[max(0, rows - part)]
            ended = slice(lengths.index(end), rows)
            with lstm_autocast(vectors_BTW.device):
                outputs_BTH, state = self.lstm(vectors_BTW[:rows, start:end], state)
            if self.pooling == "last":
                pooled.append(outputs_BTH[range(ended.start, rows), lengths_B[ended] - start - 1])
            elif self.pooling == "max":
                counts_BT = torch.arange(start, end) < lengths_B[:rows, None]
                largest_BH = torch.maximum(
                    largest_BH, outputs_BTH.masked_fill(~counts_BT[:, :, None], -math.inf).amax(dim=1)
                )
                pooled.append(largest_BH[ended])
                largest_BH = largest_BH[: ended.start]
            else:
                counts_BT = torch.arange(start, end) < lengths_B[:rows, None]
                sum_BH = sum_BH + (outputs_BTH * counts_BT[:, :, None]).sum(dim=1)
                pooled.append(sum_BH[ended] / lengths_B[ended, None])
                sum_BH = sum_BH[: ended.start]
            rows, start = ended.start, end
            state = tuple(part_LBH[:, :rows].contiguous() for part_LBH in state)
        return torch.cat(pooled[::-1])[order_B.argsort()]


class SentenceProjection(nn.Module):
    """psi_t of a frozen sentence embedding: one trained linear layer."""

    def __init__(self, text: TextSettings, size: int) -> None:
        super().__init__()
        self.out = EqualizedLinear(size, text.embedding, gain=1.0)
        self.normalise = text.normalise == "on"

    def forward(self, captions: Captions) -> Tensor:
        """text_BE; zeros where a caption has no words."""
        vectors_BS = captions.vectors_BS
        assert vectors_BS is not None
        # Sentence embeddings have length 1; a layer that expects values of about 1 wants them longer.
        text_BE = self.out(vectors_BS * vectors_BS.shape[1] ** 0.5)
        text_BE = pixel_norm(text_BE) if self.normalise else text_BE
        return text_BE * (vectors_BS != 0).any(dim=1, keepdim=True)


def text_encoder(stage: StageSpec, vocabulary_size: int) -> nn.Module | None:
    """The encoder that the stage asks for; None for faces without words."""
    text = stage.settings.text
    if text.encoder == "none":
        return None
    if text.encoder == "lstm":
        return LstmEncoder(text, vocabulary_size)
    if stage.sentence is None:
        raise SpecError("text.encoder = 'sentence' needs sentence_encoder: minilm, or a folder, beside the parameters")
    return SentenceProjection(text, stage.sentence.size)


class ConditioningAugmentation(nn.Module):
    """A sample of N(mu(psi), sigma(psi)^2) and what its KL divergence needs (StackGAN, arXiv:1612.03242, section 3.2).

    One linear layer gives the mean and the log-variance; the article's ReLU on sigma dies, a log-variance cannot.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.linear = EqualizedLinear(settings.text.size, 2 * settings.network.conditioning, gain=1.0)

    def forward(self, text_BE: Tensor, noise_BC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """conditioning_BC, mean_BC, log_variance_BC; noise_BC is standard normal."""
        mean_BC, log_variance_BC = self.linear(text_BE).float().chunk(2, dim=1)
        return mean_BC + (0.5 * log_variance_BC).exp() * noise_BC, mean_BC, log_variance_BC


def kl_divergence(mean_BC: Tensor, log_variance_BC: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each caption, summed over dimensions: kl_B (StackGAN eq. 4)."""
    return 0.5 * (mean_BC.square() + log_variance_BC.exp() - 1 - log_variance_BC).sum(dim=1)


def pad_tokens(token_lists: list[list[int]]) -> Captions:
    """Captions of lists of token ids; an empty list is no caption."""
    lengths_B = torch.tensor([len(tokens) for tokens in token_lists])
    tokens_BT = torch.zeros(len(token_lists), max(1, int(lengths_B.max())), dtype=torch.int64)
    for row, tokens in zip(tokens_BT, token_lists, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return Captions(tokens_BT=tokens_BT, lengths_B=lengths_B)
