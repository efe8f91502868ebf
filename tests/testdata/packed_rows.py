"""The same examples with a row each, and several in a row; and documents that are to be packed."""

import pathlib

import numpy as np

LENGTH, SLOTS, PLACES, VOCAB_SIZE = 24, 5, 3, 30
# Tokens and predictions of the examples, by row: one alone, two with padding, three that fill one.
ROWS = [[(24, 4)], [(9, 2), (11, 2)], [(8, 1), (5, 1), (11, 3)], [(10, 2), (7, 1)]]
_COUNTS = np.array([len(row) for row in ROWS])


def make_alone() -> dict[str, np.ndarray]:
    """Returns the eight examples, as `FreshExamples` gives them."""
    generator = np.random.default_rng(0)
    lengths, predictions = np.array([size for row in ROWS for size in row]).T
    ids = generator.integers(5, VOCAB_SIZE, (len(lengths), LENGTH)).astype(np.int32)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    in_use = np.arange(SLOTS) < predictions[:, None]
    positions = [
        np.resize(np.sort(1 + generator.permutation(length - 1)[:count]), SLOTS)
        for length, count in zip(lengths, predictions, strict=True)
    ]
    labels = generator.integers(5, VOCAB_SIZE, in_use.shape)
    return {
        "input_ids": ids * mask,
        "input_mask": mask,
        "segment_ids": (np.arange(LENGTH) >= lengths[:, None] // 2).astype(np.int32) * mask,
        "masked_lm_positions": np.where(in_use, positions, 0).astype(np.int32),
        "masked_lm_ids": np.where(in_use, labels, 0).astype(np.int32),
        "masked_lm_weights": in_use.astype(np.float32),
        "sentence_order_label": (np.arange(len(lengths)) % 2).astype(np.int32),
    }


def make_packed() -> dict[str, np.ndarray]:
    """Returns the same in four rows, with (B, L, P, K) = (4, 24, 5, 3)."""
    from albert_tf.pipelines.examples import packed_examples

    return packed_examples.pack_rows(make_alone(), _COUNTS, PLACES, pad_id=0)


def scores_of_examples(
    batch: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of all predictions and of all orders, example after example."""
    words = np.asarray(outputs["masked_lm_logits"])[batch["masked_lm_weights"] > 0]
    order = np.asarray(outputs["sentence_order_logits"])
    if "sentence_order_weights" in batch:
        order = order[batch["sentence_order_weights"] > 0]
    return words, order


def store_short_documents(folder: pathlib.Path, vocabulary: pathlib.Path) -> pathlib.Path:
    """Returns a folder of stored tokens, made in `folder`, of 300 documents of two sentences."""
    from albert_tf.pipelines.building import build
    from albert_tf.pipelines.building.example_options import BuildOptions

    generator = np.random.default_rng(0)
    words = ["we", "walk", "all", "day", "and", "the", "sea", "is", "near", "now"]
    sentences = [
        " ".join(generator.choice(words, size)).capitalize() + ".\n"
        for size in generator.integers(1, 7, 600)
    ]
    text = folder / "short.txt"
    text.write_text("\n".join("".join(sentences[at : at + 2]) for at in range(0, 600, 2)))
    build.build_examples(
        BuildOptions(
            input=(str(text),),
            vocab_model=str(vocabulary),
            num_workers=1,
            held_out_fraction=0.2,
            format="tokens",
            output_dir=str(folder / "tokens"),
        )
    )
    return folder / "tokens"
