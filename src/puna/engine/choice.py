"""Choosing a step's tokens: one for each sequence, and one more for each draft that the choice before it equals.

Letters: B rows of logits, T rows of one sequence, V vocabulary.
"""

import numpy as np
import torch
from torch import Tensor

from puna.engine.counters import Counts
from puna.engine.sampling import Chosen, Sampler, SamplingError, choose_many
from puna.engine.sequence import Sequence

# Two logits closer than this share of the larger may change places under bf16 rounding (8 bits of mantissa, and sums of rounded terms).
_NEAR = 2.0**-7


class Chooser:
    """Chooses and counts. `near_ties`: count greedy choices that were close under bf16 rounding."""

    def __init__(self, counts: Counts, near_ties: bool) -> None:
        self.counts, self.near_ties = counts, near_ties

    def choose(self, sequences: list[Sequence], logits_BV: Tensor) -> list[list[Chosen | SamplingError]]:
        """The tokens of each sequence, whose rows of logits follow one another: its last known token's, and its drafts'."""
        if not any(sequence.drafts for sequence in sequences):
            one_each = choose_many([sequence.sampler for sequence in sequences], logits_BV, want_margin=self.near_ties)
            results = [[_accepted(sequence.sampler, chosen)] for sequence, chosen in zip(sequences, one_each, strict=True)]
        else:
            results, row = [], 0
            for sequence in sequences:
                size = 1 + len(sequence.drafts)
                results.append(self._verified(sequence, logits_BV[row : row + size]))
                row += size
        if self.near_ties:
            first_rows = np.cumsum([0] + [1 + len(sequence.drafts) for sequence in sequences[:-1]])
            largest = logits_BV[torch.from_numpy(first_rows)].abs().amax(-1).tolist()
            self.counts.near_ties += sum(
                isinstance(chosen, Chosen) and chosen.margin <= _NEAR * bound for (chosen, *_), bound in zip(results, largest, strict=True)
            )
        return results

    def _verified(self, sequence: Sequence, logits_TV: Tensor) -> list[Chosen | SamplingError]:
        tokens: list[Chosen | SamplingError] = []
        stops = sequence.generation.request.stop_ids
        for place, logits_V in enumerate(logits_TV):
            (chosen,) = choose_many([sequence.sampler], logits_V[None], want_margin=self.near_ties)
            tokens.append(chosen := _accepted(sequence.sampler, chosen))
            if not isinstance(chosen, Chosen) or place == len(sequence.drafts):
                break
            if chosen.token != sequence.drafts[place] or chosen.token in stops or sequence.sampler.finished:
                break
        if sequence.drafts:
            sequence.judge_drafts(len(tokens) - 1)
        sequence.generation.drafted += len(sequence.drafts)
        sequence.generation.accepted += len(tokens) - 1
        self.counts.drafted += len(sequence.drafts)
        self.counts.accepted += len(tokens) - 1
        return tokens


def _accepted(sampler: Sampler, chosen: Chosen | SamplingError) -> Chosen | SamplingError:
    """The choice, after its sampler has moved on by it; the error if that was none, or the grammar's parser gives up at it."""
    if isinstance(chosen, Chosen):
        try:
            sampler.accept(chosen.token)
        except SamplingError as error:
            return error
    return chosen
