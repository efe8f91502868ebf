"""Sentences of docstrings with the package they come from: the data of the demo's last stage.

Whole documents are held out, so no sentence of a held-out text is beside one that was trained on.
"""

import argparse
import json
import pathlib
import random

SENTENCES_A_PACKAGE, HELD_OUT, SHORTEST = 2000, 0.15, 40


def main():
    """Writes `train.jsonl` and `dev.jsonl`, the same number of sentences a package at most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text_dir", required=True, type=pathlib.Path)
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    rows = {"train": [], "dev": []}
    for path in sorted(arguments.text_dir.glob("*.txt")):
        documents = path.read_text(encoding="utf-8").split("\n\n")
        generator.shuffle(documents)
        held_out = round(HELD_OUT * len(documents))
        for split, chosen in (("dev", documents[:held_out]), ("train", documents[held_out:])):
            sentences = [
                sentence
                for document in chosen
                for sentence in document.splitlines()
                if len(sentence) >= SHORTEST
            ]
            share = HELD_OUT if split == "dev" else 1
            count = min(len(sentences), round(SENTENCES_A_PACKAGE * share))
            rows[split] += [
                {"sentence": sentence, "package": path.stem}
                for sentence in generator.sample(sentences, count)
            ]
    for split, found in rows.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (arguments.output_dir / f"{split}.jsonl").write_text(text, encoding="utf-8")
        print(f"    {split}: {len(found):,} sentences")


if __name__ == "__main__":
    main()
