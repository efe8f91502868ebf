"""How well the demo's classifier does, and what it says of the sentences that a person types."""

import argparse
import json
import pathlib
import sys

from albert_tf import Classifier

SENTENCES = (
    "Returns the gradient of the loss with respect to the trainable variables of the layer.",
    "Raises OSError if the file cannot be opened for reading.",
    "Computes the eigenvalues of a symmetric matrix.",
)


def main():
    """Prints the accuracy beside the baseline, then classifies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_dir", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    results = json.loads((arguments.model_dir / "results.json").read_text(encoding="utf-8"))
    print("\nHeld-out sentences whose package is named")
    baseline = results["baseline"]["dev"]["accuracy"]
    accuracy = results["summary"]["dev"]["accuracy"]["mean"]
    print(f"    always the most frequent package  {baseline:6.1%}")
    print(f"    fine-tuned                        {accuracy:6.1%}")
    print(f"    curves, confusion, mistakes: {arguments.model_dir / 'report.html'}\n")
    classify = Classifier.from_pretrained(arguments.model_dir)
    for sentence in SENTENCES:
        print(f"    {sentence}\n        {describe(classify(sentence))}")
    while sys.stdin.isatty():
        try:
            sentence = input("\n    A sentence of yours (empty to end): ").strip()
        except EOFError:
            return
        if not sentence:
            return
        print(f"        {describe(classify(sentence))}")


def describe(answer):
    """Returns the three most likely packages with their probabilities."""
    best = sorted(answer["scores"].items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{label} {score:.0%}" for label, score in best)


if __name__ == "__main__":
    main()
