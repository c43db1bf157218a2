"""Rows of a data mixture as training reads them: encoded, weighted, and prose to fill batches up."""

from dataclasses import dataclass

import numpy as np

from puna.data.chance import generator
from puna.data.pack import TextShards
from puna.data.row import Sample
from puna.data.samples import LONG_ANSWERS, TEXT_KIND, Mixture, to_stream
from puna.stream import Stream
from puna.tokens.chat import ChatFormat
from puna.train.packing import Row, modality_of

# Answers are a few tokens long and prose is hundreds: without these weights nine tenths of the gradient would be prose. [ours]
ANSWER_WEIGHT = 3.0
PICTURE_ANSWER_WEIGHT = 6.0


@dataclass(frozen=True)
class MixtureRows:
    """A `RowSource` over `mixture`. Short answers weigh more than prose in the loss, answers about pictures `picture_answer_weight`."""

    mixture: Mixture
    shards: TextShards
    chat_format: ChatFormat
    seed: int
    picture_answer_weight: float = PICTURE_ANSWER_WEIGHT

    def row(self, index: int) -> Row:
        sample = self.mixture.sample(self.seed, index)
        return self._row(sample.kind, to_stream(sample, self.chat_format), self._weight(sample), sample.language)

    def filler(self, index: int, num_tokens: int) -> Row:
        """Windows of prose of one language end to end, the last one cut."""
        rng = generator("train", self.seed + 1, index)
        language, window = self.shards.draw(rng, num_tokens)
        windows, starts = [window], []
        while (start := sum(map(len, windows))) < num_tokens:  # a short window: go on with the next
            starts.append(start)
            windows.append(self.shards.window_of(language, rng.randrange(self.shards.num_windows(language)))[: num_tokens - start])
        mask = np.ones(num_tokens, dtype=bool)
        mask[starts] = False  # that a window ends there is chance
        return self._row(TEXT_KIND, Stream(np.concatenate(windows), loss_mask=mask if starts else None), 1.0, language)

    def _row(self, kind: str, stream: Stream, weight: float, language: str) -> Row:
        return Row(kind, stream, weight, language, modality_of(stream, self.chat_format.tokenizer.special.video_start))

    def _weight(self, sample: Sample) -> float:
        if sample.kind == TEXT_KIND or sample.kind in LONG_ANSWERS:
            return 1.0
        return self.picture_answer_weight if sample.pictures and sample.messages else ANSWER_WEIGHT
