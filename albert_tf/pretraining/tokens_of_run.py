"""The stored tokens of a pretraining run, from which its examples are made."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.pipelines.examples import token_dataset
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.token_files import TokenFolder


class RunTokens:
    """Stored tokens, and what a run makes of them; the same as `records_of_run.RunRecords`.

    Args:
        data_dir: folder of `examples.token_files`.
        examples: what an example is like.
        seed: of the run.
    """

    def __init__(self, data_dir: str, examples: ExampleSettings, seed: int):
        self._folder = TokenFolder(data_dir)
        self._settings = examples.with_predictions()
        self._examples = FreshExamples.from_folder(self._folder, self._settings, seed)
        self.vocab_model = f"{data_dir}/vocab.model"
        self.vocab_fingerprint = self._folder.summary["vocab_fingerprint"]
        self.max_seq_length = self._settings.max_seq_length
        self.max_predictions_per_seq = self._settings.max_predictions_per_seq
        self.train_examples = self._examples.num_examples

    def describe(self) -> dict[str, Any]:
        """Returns what defines the data of the run, but for the vocabulary."""
        summary = self._folder.summary
        return {
            "tokens": dict(sorted(summary["file_checksums"].items())),
            "examples": self._settings.values_by_name(),
        }

    def training_batches(
        self, batch_size: int, seed: int, start_example: int, rows: Any, vocab_size: int
    ) -> tf.data.Dataset:
        """Returns training batches without end."""
        del seed, vocab_size  # what was given at first, and what the vocabulary is known by
        return token_dataset.fresh_dataset(self._examples, batch_size, start_example, rows)

    def sample_batches(self, batch_size: int, vocab_size: int) -> tf.data.Dataset:
        """Returns batches of the training data, for counting words in some of them."""
        del vocab_size
        return token_dataset.fresh_dataset(self._examples, batch_size)

    def held_out_batches(self, batch_size: int, vocab_size: int) -> dict[str, tf.data.Dataset]:
        """Returns {split: its batches in their order}."""
        del vocab_size
        return token_dataset.held_out_datasets(self._folder, self._settings, batch_size)

    def check_word_ids(self, config: AlbertConfig) -> None:
        """Refuses data of another vocabulary; stored tokens are known by its fingerprint."""

    @contextlib.contextmanager
    def errors_named(self, vocab_size: int) -> Iterator[None]:
        """Names the file where data is damaged: of stored tokens, errors do by themselves."""
        del vocab_size
        yield
