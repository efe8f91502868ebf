"""What an example is like, said once for those who write records and those who make them anew."""

import dataclasses
from typing import Self

from absl import logging

from albert_tf.pipelines.examples.masking import MaskingRules
from albert_tf.pipelines.examples.sentence_pairs import PairRules
from albert_tf.settings import Settings, setting

# As published.
HELD_OUT_PROB = 0.15


def check_masked_share(name: str, value: float) -> None:
    """Refuses what is no share of tokens to mask.

    Raises:
        ValueError: naming the setting, what was expected and what came.
    """
    if not 0 < value < 1:
        raise ValueError(f"`{name}` must be above 0 and below 1. Received: {value}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be from 0 to 1. Received: {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSettings(Settings):
    """What an example is like: its length, its pair of segments and its masks."""

    max_seq_length: int = setting(
        512, "Tokens of a sequence, with [CLS] and [SEP].", lowest=8, highest=1 << 20
    )
    max_predictions_per_seq: int | None = setting(
        None,
        "Most masked tokens of a sequence. By default max_seq_length * masked_lm_prob (77 at 512); "
        "the original's 20 masks 4% at 512.",
    )
    masked_lm_prob: float = setting(0.15, "Share of tokens to mask.", check_masked_share)
    short_seq_prob: float = setting(
        0.1, "Share of sequences that aim at a random shorter length.", _check_share
    )
    ngram: int = setting(3, "Longest run of words masked together.", lowest=1, highest=20)
    favor_shorter_ngram: bool = setting(
        True, "n words have probability ~ 1/n; false reverses this."
    )
    whole_word_mask: bool = setting(True, "Mask all pieces of a word together.")

    def with_predictions(self) -> Self:
        """Returns these settings with `max_predictions_per_seq`; says if it hides less than asked.

        Raises:
            ValueError: for settings that contradict each other.
        """
        if self.ngram == 1 and not self.favor_shorter_ngram:
            raise ValueError(
                "`favor_shorter_ngram` must be true where `ngram` is 1. Received: ngram=1, "
                "favor_shorter_ngram=False, which asks to favour longer ones"
            )
        predictions = self.max_predictions_per_seq
        if predictions is None:
            predictions = max(1, round(self.max_seq_length * self.masked_lm_prob))
        if not 1 <= predictions < self.max_seq_length:
            raise ValueError(
                f"`max_predictions_per_seq` must be from 1 to max_seq_length - 1 = "
                f"{self.max_seq_length - 1}. Received: {predictions}"
            )
        reachable = self.max_seq_length * self.masked_lm_prob
        if predictions < min(0.9 * reachable, round(reachable)):
            logging.warning(
                "max_predictions_per_seq=%d masks %.0f%% of a full sequence and not %.0f%%; "
                "max_predictions_per_seq=%d would mask all",
                predictions,
                100 * predictions / self.max_seq_length,
                100 * self.masked_lm_prob,
                round(reachable),
            )
        return dataclasses.replace(self, max_predictions_per_seq=predictions)

    def pair_rules(self, original_compatible: bool = False) -> PairRules:
        """Returns how documents become pairs."""
        return PairRules(self.max_seq_length, self.short_seq_prob, original_compatible)

    def masking_rules(self, original_compatible: bool = False) -> MaskingRules:
        """Returns how training examples are masked."""
        return MaskingRules(
            max_predictions_per_seq=self.max_predictions_per_seq,
            masked_lm_prob=self.masked_lm_prob,
            ngram=self.ngram,
            favor_shorter_ngram=self.favor_shorter_ngram,
            whole_word_mask=self.whole_word_mask,
            original_compatible=original_compatible,
        )


def with_held_out_slots(settings: ExampleSettings) -> ExampleSettings:
    """Returns settings with slots for all that held-out examples hide, whatever training hides."""
    slots = max(1, round(settings.max_seq_length * HELD_OUT_PROB))
    return dataclasses.replace(
        settings, max_predictions_per_seq=max(settings.max_predictions_per_seq, slots)
    )


def held_out_rules(training: MaskingRules) -> dict[str, MaskingRules]:
    """Returns how held-out examples are masked, by name.

    Always as published, so that runs with other training masks can be compared; and once with
    single tokens, which is what other people's masked-LM accuracies are measured on.
    """
    ngrams = dataclasses.replace(
        training,
        masked_lm_prob=HELD_OUT_PROB,
        ngram=3,
        favor_shorter_ngram=True,
        whole_word_mask=True,
    )
    single = dataclasses.replace(ngrams, ngram=1, whole_word_mask=False)
    return {"held_out": ngrams, "held_out_single": single}
