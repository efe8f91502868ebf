"""The whole way on a laptop: from text to a served model. `make demo` runs it.

The text is the prose in the docstrings of the packages that albert_tf needs anyway, so nothing is
downloaded. Each stage is one public command, printed before it runs.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
CONFIGS = HERE.parent / "configs"


def main():
    """Runs the stages in order; each says what it does and where its result lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", default="demo_output", type=pathlib.Path)
    parser.add_argument("--short", action="store_true", help="a few steps only, to see it run")
    arguments = parser.parse_args()
    start = time.monotonic()
    clear(arguments.output_dir)
    run_stages(arguments.output_dir, arguments.short)
    minutes = (time.monotonic() - start) / 60
    print(f"\nDone in {minutes:.1f} minutes. Everything lies in {arguments.output_dir}/")


def clear(output):
    """Empties the folder of an earlier demo; one that holds anything else is left alone."""
    marker = output / "made_by_make_demo"
    if output.exists() and any(output.iterdir()) and not marker.exists():
        sys.exit(f"--output_dir must be new, empty, or an earlier demo's. Received: {output}")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    marker.touch()


def run_stages(output, short):
    """Makes text, vocabulary, records and model below `output`."""
    text, vocabulary = output / "text", output / "vocab.model"
    records, model = output / "records", output / "model"
    stage("1/8 Collect prose from the docstrings of the installed packages", text)
    run(output, HERE / "build_docstring_corpus.py", f"--output_dir={text}")
    stage("2/8 Learn a vocabulary of 4,000 pieces", vocabulary)
    run(
        output,
        "-m",
        "albert_tf.pipelines.build_vocabulary",
        f"--input={text}/*.txt",
        "--vocab_size=4000",
        f"--output={vocabulary}",
    )
    stage("3/8 Build masked, sentence-order examples; 4% of the documents are held out", records)
    run(
        output,
        "-m",
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
    stage("4/8 Pretrain a small ALBERT", model)
    run(
        output,
        "-m",
        "albert_tf.run_pretraining",
        f"--flagfile={CONFIGS / 'pretrain_demo.flags'}",
        f"--config={CONFIGS / 'albert_demo.json'}",
        f"--data_dir={records}",
        f"--output_dir={model}",
        *(["--train_steps=40", "--warmup_steps=10", "--eval_steps=40"] if short else []),
    )
    stage("5/8 Fill masks in sentences that training never saw", model / "learning_curve.png")
    run(output, HERE / "show_answers.py", f"--output_dir={output}")
    sentences, classifier = output / "sentences", output / "classifier"
    stage("6/8 Fine-tune: which package does a sentence come from?", classifier / "report.html")
    run(
        output,
        HERE / "label_sentences.py",
        f"--text_dir={text}",
        f"--output_dir={sentences}",
    )
    run(
        output,
        "-m",
        "albert_tf.run_finetuning",
        f"--flagfile={CONFIGS / 'finetune_demo.flags'}",
        f"--train_file={sentences / 'train.jsonl'}",
        f"--dev_file={sentences / 'dev.jsonl'}",
        f"--init_checkpoint={model}",
        f"--output_dir={classifier}",
        *(["--train_steps=20"] if short else []),
    )
    stage("7/8 Classify sentences", classifier)
    run(output, HERE / "classify_sentences.py", f"--model_dir={classifier}")
    exported = output / "exported"
    stage("8/8 Export it as a SavedModel that takes raw text, and ask that", exported)
    run(
        output,
        "-m",
        "albert_tf.run_export",
        f"--model_dir={classifier}",
        f"--output={exported}",
    )
    run(output, HERE / "ask_exported.py", f"--exported={exported}")


def stage(title, result):
    """Prints the headline of a stage."""
    print(f"\n=== {title}\n    result: {result}", flush=True)


def run(output, *arguments):
    """Runs `python arguments`, or ends the demo with what it said last."""
    print(f"    python {' '.join(map(str, arguments))}", flush=True)
    # TensorFlow greets with a dozen lines on stderr; they go to a file that is shown on failure.
    name = arguments[1].rsplit(".", 1)[1] if arguments[0] == "-m" else arguments[0].stem
    log = output / f"{name}.log"
    with open(log, "w", encoding="utf-8") as errors:
        code = subprocess.run([sys.executable, *map(str, arguments)], stderr=errors).returncode
    if code:
        lines = log.read_text(encoding="utf-8").splitlines()
        sys.exit("\n".join([*lines[-15:], f"The stage failed; all it said is in {log}"]))


if __name__ == "__main__":
    main()
