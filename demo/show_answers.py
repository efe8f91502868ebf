"""Hides words in sentences that the demo's model never saw, and asks it for them."""

import argparse
import json
import pathlib

import numpy as np

from albert_tf.inference.text_model import FillMask
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.training import metric_log

QUESTIONS, SHOWN = 300, 12


def main():
    """Prints filled masks, then accuracies before and after training beside the baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", default="demo_output", type=pathlib.Path)
    output = parser.parse_args().output_dir
    split = "held_out_single"
    rows = metric_log.read_metrics(output / "model" / "metrics.jsonl")
    accuracies = [row["masked_lm_accuracy"] for row in rows if row["split"] == split]
    metrics = json.loads((output / "model" / "metrics.json").read_text(encoding="utf-8"))
    baseline = metrics["unigram"][split]["masked_lm_accuracy"]
    print_masks(output)
    print("\nHeld-out masked-word accuracy")
    print(f"    always the most frequent word  {baseline:6.1%}")
    print(f"    before training                {accuracies[0]:6.1%}")
    print(f"    after training                 {accuracies[-1]:6.1%}")
    print(f"    learning curve: {output / 'model' / 'learning_curve.png'}")


def print_masks(output):
    """Masks a whole word in held-out sentences and prints what the model puts there."""
    fill_mask = FillMask.from_pretrained(output / "model")
    questions = list(hide_words(output / "records", fill_mask.tokenizer))
    found = 0
    for number, ((text, word), answers) in enumerate(
        zip(questions, fill_mask([text for text, _ in questions]), strict=True)
    ):
        words = [answer["token_str"] for answer in answers]
        found += word in words
        if number % (QUESTIONS // SHOWN):
            continue
        print(f"    {'+' if word in words else ' '} {text}")
        print(f"          {word!r} was hidden; the model says: {', '.join(words)}")
    print(
        f"    These are every {QUESTIONS // SHOWN}th of {len(questions)}: in {found} of them the "
        "right word is among the five"
    )


def hide_words(records, tokenizer):
    """Yields (text with [MASK], hidden word) from held-out records, one word of letters each.

    The text is the segment of the example that the word stands in.
    """
    summary = json.loads((records / "summary.json").read_text(encoding="utf-8"))
    dataset = pretraining_dataset(
        f"{records}/held_out_single-*",
        1,
        summary["max_seq_length"],
        summary["max_predictions_per_seq"],
        repeat=False,
        seed=1,
    ).take(QUESTIONS * 20)
    shown = 0
    for example in dataset.as_numpy_iterator():
        ids = example["input_ids"][0]
        slots = example["masked_lm_weights"][0] > 0
        hidden = example["masked_lm_ids"][0][slots]
        positions = example["masked_lm_positions"][0][slots]
        ids = ids[: example["input_mask"][0].sum()].copy()
        ids[positions] = hidden  # the text as it was
        ends = np.flatnonzero(ids == tokenizer.sep_id)  # of the two segments
        for position, word in zip(positions, hidden, strict=True):
            start, end = (1, ends[0]) if position < ends[0] else (ends[0] + 1, ends[1])
            left, right = ids[start:position].tolist(), ids[position + 1 : end].tolist()
            is_whole = tokenizer.id_to_piece(int(word)).startswith("▁") and (
                not right or tokenizer.word_start[right[0]]
            )
            if is_whole and len(left) + len(right) >= 8 and tokenizer.decode([word]).isalpha():
                # A comma right behind the word stays there: with a space it is another piece.
                joins = right and not tokenizer.id_to_piece(right[0]).startswith("▁")
                text = f"{tokenizer.decode(left)} [MASK]{'' if joins else ' '}"
                yield (text + tokenizer.decode(right)).strip(), tokenizer.decode([word])
                shown += 1
                break
        if shown == QUESTIONS:
            return


if __name__ == "__main__":
    main()
