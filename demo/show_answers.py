"""Hides words in sentences that the demo's model never saw, and asks it for them."""

import argparse
import json
import pathlib

from albert_tf import training
from albert_tf.inference import FillMask
from albert_tf.pipelines import pretraining

QUESTIONS = 12


def main():
    """Prints filled masks, then accuracies before and after training beside the baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", default="demo_output", type=pathlib.Path)
    output = parser.parse_args().output_dir
    split = "held_out_single"
    rows = training.read_metrics(output / "model" / "metrics.jsonl")
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
    for (text, word), answers in zip(
        questions, fill_mask([text for text, _ in questions]), strict=True
    ):
        words = [answer["token_str"] for answer in answers]
        found += word in words
        print(f"    {'+' if word in words else ' '} {text}")
        print(f"          {word!r} was hidden; the model says: {', '.join(words)}")
    print(f"    the right word is among the five in {found} of {len(questions)} sentences")


def hide_words(records, tokenizer):
    """Yields (text with [MASK], hidden word) from held-out records, one word of 4+ letters each."""
    summary = json.loads((records / "summary.json").read_text(encoding="utf-8"))
    dataset = pretraining.dataset(
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
        for position, word in zip(positions, hidden, strict=True):
            is_whole = tokenizer.id_to_piece(int(word)).startswith("▁") and (
                tokenizer.word_start[ids[position + 1]] if position + 1 < len(ids) else True
            )
            if is_whole and len(tokenizer.decode([int(word)])) >= 4:
                parts = [ids[1:position].tolist(), ids[position + 1 :].tolist()]
                left, right = (tokenizer.decode(part) for part in parts)
                yield f"{left} [MASK] {right}", tokenizer.decode([int(word)])
                shown += 1
                break
        if shown == QUESTIONS:
            return


if __name__ == "__main__":
    main()
