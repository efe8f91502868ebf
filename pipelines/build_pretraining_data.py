"""Raw text to pretraining records.

    python -m albert_tf.pipelines.build_pretraining_data \
        --input='wiki/*.txt,books/*.txt' --vocab_model=vocab.model --output_dir=examples

See docs/pretraining_data.md.
"""

import dataclasses

from absl import flags, logging

from albert_tf import command_line
from albert_tf.pipelines.building import build, example_options

_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(example_options.BuildOptions)
}


def _define_flags():
    """Define one flag for every field of `BuildOptions`."""
    text = {
        "vocab_model": "SentencePiece model, from build_vocabulary or 30k-clean.model.",
        "output_dir": "Folder of the records; a killed build in it is continued.",
        "layout": "How the text is laid out: auto, or see docs/corpus.md.",
        "text_field": "Key of the text in JSON lines, its column in Parquet.",
        "encoding": "Of all text files; auto looks at each, see docs/corpus.md.",
    }
    integers = {
        "max_seq_length": "Tokens of a sequence, with [CLS] and [SEP].",
        "max_predictions_per_seq": "Most masked tokens of a sequence. By default "
        "max_seq_length * masked_lm_prob (77 at 512); the original's 20 masks 4% at 512.",
        "dupe_factor": "How many times the text is paired and masked anew (original: 40).",
        "ngram": "Longest run of words masked together.",
        "num_shards": "Training files. By default one for 4M tokens, and at least 4.",
        "num_workers": "Processes; by default one a core. Has no influence on the records.",
        "seed": "Same seed, same bytes.",
    }
    floats = {
        "masked_lm_prob": "Share of tokens to mask.",
        "short_seq_prob": "Share of sequences that aim at a random shorter length.",
        "held_out_fraction": "Share of documents kept away from training, for evaluation.",
    }
    booleans = {
        "favor_shorter_ngram": "n words have probability ~ 1/n; false reverses this.",
        "whole_word_mask": "Mask all pieces of a word together.",
        "original_compatible": "Follow the original's choices to the letter, also those that look "
        "like oversights (docs/pretraining_data.md lists them).",
        "compress": "Write GZIP files, .tfrecord.gz.",
        "lower_case": "Clean-up of a vocabulary that does not bring its own (default: true).",
        "strip_accents": "Clean-up of a vocabulary that does not bring its own (default: true).",
    }
    flags.DEFINE_list("input", None, "Files and patterns, separated by commas.", required=True)
    for define, helps in (
        (flags.DEFINE_string, text),
        (flags.DEFINE_integer, integers),
        (flags.DEFINE_float, floats),
        (flags.DEFINE_boolean, booleans),
    ):
        for name, text_of_help in helps.items():
            is_required = _DEFAULTS[name] is dataclasses.MISSING
            default = None if is_required else _DEFAULTS[name]
            define(name, default, text_of_help, required=is_required)


def main():
    """Builds the records that the flags ask for."""
    options = example_options.BuildOptions(**{name: flags.FLAGS[name].value for name in _DEFAULTS})
    summary = build.build_examples(options)
    logging.info(
        "%s: %d training and %d held-out examples from %d documents, %d tokens",
        options.output_dir,
        summary["train_examples"],
        summary["held_out_examples"],
        summary["documents"],
        summary["tokens"],
    )


if __name__ == "__main__":
    _define_flags()
    command_line.run(main)
