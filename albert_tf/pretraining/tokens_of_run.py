"""The stored tokens of a pretraining run, from which its examples are made."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.pipelines.examples import example_settings, example_streams, token_dataset
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.example_streams import ExampleStream, Phase
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.packed_examples import PackedExamples
from albert_tf.pipelines.examples.token_files import TokenFolder, TokenShard
from albert_tf.pretraining.settings import PretrainingRun


class RunTokens:
    """Stored tokens, and what a run makes of them; the same as `records_of_run.RunRecords`.

    Args:
        run: whose `data_dir` is a folder of `examples.token_files`, or several with commas.

    Raises:
        ValueError: for folders that are damaged or have different vocabularies, and for settings
            that do not fit them.
    """

    def __init__(self, run: PretrainingRun):
        paths = run.data.data_dirs()
        self._run = run
        weights = run.data.corpus_weights
        if weights and len(weights) != len(paths):
            raise ValueError(
                f"`corpus_weights` must have one number for each of the {len(paths)} folders. "
                f"Received: {','.join(map(str, weights))}"
            )
        self._folders = [TokenFolder(path, run.data.skip_damaged) for path in paths]
        self.losses = [line for folder in self._folders for line in _describe_losses(folder)]
        self._lengths = _settings_by_phase(run)
        self.vocab_model = f"{paths[0]}/vocab.model"
        self.vocab_fingerprint = self._folders[0].summary["vocab_fingerprint"]
        for path, folder in zip(paths, self._folders, strict=True):
            if folder.summary["vocab_fingerprint"] != self.vocab_fingerprint:
                raise ValueError(
                    f"{path} must be stored with the vocabulary of {paths[0]}. Received: "
                    f"fingerprint {folder.summary['vocab_fingerprint'][:16]} and not "
                    f"{self.vocab_fingerprint[:16]}"
                )
        longest = max(self._lengths, key=lambda settings: settings.max_seq_length)
        self.max_seq_length = longest.max_seq_length
        self.max_predictions_per_seq = longest.max_predictions_per_seq
        with self.errors_named(self._folders[0].pieces.vocab_size):
            self.train_examples = self._phases[0].stream.num_examples

    @functools.cached_property
    def _phases(self) -> list[Phase]:
        run = self._run
        begin, end = run.examples.masked_lm_prob, run.examples.final_masked_lm_prob
        if begin is None:
            begin = ExampleSettings().masked_lm_prob
        return example_streams.make_phases(
            [self._stream(settings) for settings in self._lengths],
            run.training.train_steps * run.training.batch_size,
            (run.examples.final_length_steps or 0) * run.training.batch_size,
            None if end is None else (begin, end),
        )

    def _stream(self, settings: ExampleSettings) -> ExampleStream:
        overlap_prob = self._run.examples.overlap_prob
        streams: list[ExampleStream] = [
            FreshExamples.from_folder(folder, settings, self._run.seed, overlap_prob, corpus)
            for corpus, folder in enumerate(self._folders)
        ]
        if self._run.examples.pack:
            highest = _highest_masked_share(self._run, settings)
            streams = [PackedExamples(examples, highest) for examples in streams]
        if len(streams) == 1:
            return streams[0]
        return example_streams.Mixture(streams, self._run.data.corpus_weights)

    def count_examples(self) -> int:
        """Returns the examples of a pass, of which several may share a row."""
        stream = self._phases[0].stream
        return round(stream.num_examples * stream.examples_a_row)

    def training_shards(self) -> list[TokenShard]:
        """Returns the documents to train on, of all folders."""
        return [shard for folder in self._folders for shard in folder.shards("train")]

    def describe_examples(self) -> str:
        """Returns what a pass has to train on, in words."""
        what, counts = "examples", []
        for phase in self._phases:
            stream, mean = phase.stream, ""
            if self._run.examples.pack:
                what, mean = "rows", f"{stream.examples_a_row:.2f} examples a row, "
            counts.append(
                f"{stream.num_examples:,} of {stream.max_seq_length} tokens "
                f"({mean}{stream.padding_share:.1%} padding)"
            )
        if len(counts) > 1:
            counts[1] += f" in the last {self._run.examples.final_length_steps:,} steps"
        return f"training {what} of a pass: {', '.join(counts)}"

    def describe(self) -> dict[str, Any]:
        """Returns what defines the data of the run, but for the vocabulary."""
        left_out = [sorted(folder.left_out) for folder in self._folders]
        checksums = [sorted(folder.summary["file_checksums"].items()) for folder in self._folders]
        # What changes until the end would have changed otherwise in a longer run.
        end = {}
        if self._run.examples.final_masked_lm_prob or len(self._lengths) > 1:
            end["changes_until_step"] = self._run.training.train_steps
        return {
            "tokens": [dict(files) for files in checksums],
            "corpus_weights": list(self._run.data.corpus_weights),
            "examples": {**self._run.examples.values(), **self._lengths[0].values_by_name()},
            **({"left_out": left_out} if any(left_out) else {}),
            # Of older runs the n-th examples of all corpora had the same draws.
            **({"draws_of_corpora": "independent"} if len(self._folders) > 1 else {}),
            **end,
        }

    def training_batches(
        self,
        batch_size: int,
        seed: int,
        start_example: int,
        rows: Sequence[int] | None,
        vocab_size: int,
    ) -> tf.data.Dataset:
        """Returns training batches without end."""
        del seed, vocab_size  # what the run has, and what the vocabulary is known by
        return token_dataset.phases_dataset(self._phases, batch_size, start_example, rows)

    def sample_batches(self, batch_size: int, vocab_size: int) -> tf.data.Dataset:
        """Returns batches of the training data, for counting words in some of them."""
        del vocab_size
        phases = example_streams.make_phases([self._phases[-1].stream], 0)
        return token_dataset.phases_dataset(phases, batch_size)

    def held_out_batches(self, batch_size: int, vocab_size: int) -> dict[str, tf.data.Dataset]:
        """Returns {split: its batches}, of several corpora in turns.

        Figures of a run compare from its beginning to its end: they are of its last length.
        """
        del vocab_size
        settings = example_settings.with_held_out_slots(self._lengths[-1])
        of_folders = [
            token_dataset.held_out_datasets(folder, settings, batch_size)
            for folder in self._folders
        ]
        names = dict.fromkeys(name for of_folder in of_folders for name in of_folder)
        datasets = {name: [one[name] for one in of_folders if name in one] for name in names}
        return {
            name: _take_turns(several).batch(batch_size) if len(several) > 1 else several[0]
            for name, several in datasets.items()
        }

    def check_word_ids(self, config: AlbertConfig) -> None:
        """Refuses data of another vocabulary; stored tokens are known by its fingerprint."""

    @contextlib.contextmanager
    def errors_named(self, vocab_size: int) -> Iterator[None]:
        """Names the file where data is damaged.

        Raises:
            ValueError: in place of what NumPy or TensorFlow said of the values in it.
        """
        del vocab_size
        try:
            yield
        except (tf.errors.OpError, IndexError) as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            damages = (folder.locate_damage() for folder in self._folders)
            damage = next(filter(None, damages), None)
            if damage is None:
                raise
            raise ValueError(
                f"{damage}. What was trained until then is kept: with the file restored, the same "
                "command goes on"
            ) from error


def _take_turns(batches: list[tf.data.Dataset]) -> tf.data.Dataset:
    """Returns the examples of several data sets: one of each, in turns, as long as there are."""
    return tf.data.Dataset.choose_from_datasets(
        [dataset.unbatch() for dataset in batches],
        tf.data.Dataset.range(len(batches)).repeat(),
        stop_on_empty_dataset=False,
    )


def _describe_losses(folder: TokenFolder) -> list[str]:
    """Returns a line for each shard that is left out, and one for what is lost in all.

    Raises:
        ValueError: if nothing is left.
    """
    if not folder.left_out:
        return []
    names = folder.summary["token_files"]["train"]
    lines = [f"left out: {why}" for why in folder.left_out.values()]
    if len(folder.left_out) == len(names):
        raise ValueError(f"`skip_damaged` must leave shards to train on. Received: {lines[0]}")
    sizes = {name: folder.summary["file_bytes"][f"{name}.ids.npy"] for name in names}
    share = sum(sizes[name] for name in folder.left_out) / sum(sizes.values())
    lines.append(
        f"{len(folder.left_out):,} of {len(names):,} training shards of {folder.folder} are left "
        f"out: {share:.1%} of their tokens are lost"
    )
    return lines


def _settings_by_phase(run: PretrainingRun) -> list[ExampleSettings]:
    """Returns what examples are like at the beginning and, if their length changes, at the end."""
    settings = run.examples.filled_in()
    highest = _highest_masked_share(run, settings)
    phases = [settings]
    if run.examples.final_max_seq_length:
        phases.append(settings.with_values(max_seq_length=run.examples.final_max_seq_length))
    # Slots for the most that are ever hidden.
    slots = [
        phase.with_values(masked_lm_prob=highest).with_predictions().max_predictions_per_seq
        for phase in phases
    ]
    return [
        phase.with_values(max_predictions_per_seq=count)
        for phase, count in zip(phases, slots, strict=True)
    ]


def _highest_masked_share(run: PretrainingRun, settings: ExampleSettings) -> float:
    """Returns the largest share of tokens that is ever masked in a run."""
    return max(settings.masked_lm_prob, run.examples.final_masked_lm_prob or 0)
