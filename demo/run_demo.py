"""The whole way on a laptop: text, vocabulary, examples, pretraining, answers. `make demo` runs it.

The text is the prose in the docstrings of the packages that albert_tf needs anyway, so nothing is
downloaded. Each stage is one public command, printed before it runs.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
QUESTIONS = 12


def main():
    """Runs the stages in order; each says what it does and where its result lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", default="demo_output", type=pathlib.Path)
    parser.add_argument("--short", action="store_true", help="a few steps only, to see it run")
    arguments = parser.parse_args()
    start = time.monotonic()
    shutil.rmtree(arguments.output_dir, ignore_errors=True)
    arguments.output_dir.mkdir(parents=True)
    run_stages(arguments.output_dir, arguments.short)
    show_answers(arguments.output_dir)
    minutes = (time.monotonic() - start) / 60
    print(f"\nDone in {minutes:.1f} minutes. Everything lies in {arguments.output_dir}/")


def run_stages(output, short):
    """Makes text, vocabulary, records and model below `output`."""
    text, vocabulary = output / "text", output / "vocab.model"
    records, model = output / "records", output / "model"
    stage("1/5 Collect prose from the docstrings of the installed packages", text)
    run(output, "albert_tf.pipelines.build_docstring_corpus", f"--output_dir={text}")
    stage("2/5 Learn a vocabulary of 4,000 pieces", vocabulary)
    run(
        output,
        "albert_tf.pipelines.build_vocabulary",
        f"--input={text}/*.txt",
        "--vocab_size=4000",
        f"--output={vocabulary}",
    )
    stage("3/5 Build masked, sentence-order examples; 4% of the documents are held out", records)
    run(
        output,
        "albert_tf.pipelines.build_pretraining_data",
        f"--input={text}/*.txt",
        f"--vocab_model={vocabulary}",
        f"--output_dir={records}",
        "--max_seq_length=64",
        "--masked_lm_prob=0.3",
        "--max_predictions_per_seq=20",
        "--ngram=1",
        "--held_out_fraction=0.04",
        "--dupe_factor=4",
    )
    stage("4/5 Pretrain a small ALBERT", model)
    run(
        output,
        "albert_tf.run_pretraining",
        f"--flagfile={CONFIGS / 'pretrain_demo.flags'}",
        f"--config={CONFIGS / 'albert_demo.json'}",
        f"--data_dir={records}",
        f"--output_dir={model}",
        *(["--train_steps=40", "--warmup_steps=10", "--eval_steps=40"] if short else []),
    )


def stage(title, result):
    """Prints the headline of a stage."""
    print(f"\n=== {title}\n    result: {result}", flush=True)


def run(output, module, *arguments):
    """Runs `python -m module arguments`, or ends the demo with what it said last."""
    print(f"    python -m {module} {' '.join(map(str, arguments))}", flush=True)
    # TensorFlow greets with a dozen lines on stderr; they go to a file that is shown on failure.
    log = output / f"{module.rsplit('.', 1)[1]}.log"
    with open(log, "w", encoding="utf-8") as errors:
        code = subprocess.run([sys.executable, "-m", module, *arguments], stderr=errors).returncode
    if code:
        lines = log.read_text(encoding="utf-8").splitlines()
        sys.exit("\n".join([*lines[-15:], f"The stage failed; all it said is in {log}"]))


def show_answers(output):
    """Prints accuracies before and after, the learning curve's place and filled masks."""
    stage("5/5 Fill masks in sentences that training never saw", output / "model")
    rows = [json.loads(line) for line in open(output / "model" / "metrics.jsonl", encoding="utf-8")]
    split = "held_out_single"
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
    from albert_tf.inference import FillMask

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
    from albert_tf.pipelines import pretraining

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
        ids[positions] = hidden  # the text as it was
        ids = ids[: example["input_mask"][0].sum()]
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
