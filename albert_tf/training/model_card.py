"""The card of a trained model, `README.md`: scores, data and recipe, for people and for the hub.

Its first block is what the Hugging Face hub reads of a card (`model-index`). Paths of this machine
are shortened to their last part: a card is made to be published.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from albert_tf import remote_files, whole_files
from albert_tf.checkpoints.hub_files import CARD_FILE, name_copies
from albert_tf.settings import Settings, all_rows, as_list

# {split: {metric: {"mean", "deviation", "values"}}}, one value a seed.
Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]

# A card that has this line is ours to replace.
_MARK = (
    "<!-- Written by albert_tf. The next run here replaces the card, unless this line is gone. -->"
)
_LIBRARY = "albert_tf"
# {kind of model: what the hub calls its task, the class that is asked}.
_KINDS = {
    "fill_mask": ("fill-mask", "FillMask"),
    "classification": ("text-classification", "Classifier"),
    "regression": ("text-classification", "Regressor"),
    "tagging": ("token-classification", "Tagger"),
    "answer": ("question-answering", "Answerer"),
    "choice": ("multiple-choice", "Chooser"),
    "embedding": ("sentence-similarity", "Features"),
}
# What the hub calls our metrics, where it has another name.
_METRICS = {
    "macro_f1": "f1",
    "micro_f1": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "exact": "exact_match",
}
# Where results go and how a run is carried out says nothing about the model.
# Flags of commands that train whose values are paths.
_PATHS = {
    *("config", "data_dir", "dev_file", "held_out", "init_checkpoint", "input", "test_file"),
    *("train_file", "vocab_model", "compilation_cache"),
}
_NOT_OF_THE_RECIPE = {"output_dir", "cache_dir", "license", "language"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a model was trained and scored on.

    Attributes:
        name: for people.
        examples: {split: count}.
        hub_name: of the data set on the hub, if it is there.
        configuration: of that, such as a task of GLUE.
        languages: of the texts, in two letters, as far as known.
        scored_on: what it was scored on, where that is other data.
    """

    name: str
    examples: Mapping[str, int]
    hub_name: str | None = None
    configuration: str | None = None
    languages: Sequence[str] = ()
    scored_on: "TrainingData | None" = None


def write(
    directory: str | os.PathLike,
    *,
    command: str,
    run: Settings,
    kind: str,
    data: TrainingData,
    scores: Scores,
    baseline: Mapping[str, Mapping[str, float]],
    seeds: Sequence[int],
    kept_seed: int,
    main_metric: str,
    init_checkpoint: str | None,
    baseline_name: str = "always the same answer",
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> None:
    """Writes the card of a run's model, unless somebody has made it his own.

    Args:
        directory: of the run.
        command: that trained it, for example "run_finetuning".
        run: its settings, with `license` and `language` of `CardSettings`.
        kind: one of `model_kinds.KINDS`.
        data: that it was trained on.
        scores: of the weights that were kept, a value a seed.
        baseline: {split: {metric: score}} of guessing alike.
        seeds: in the order of the values.
        kept_seed: the one whose weights are the model's.
        main_metric: that stands first.
        init_checkpoint: where the weights came from, or None for random ones.
        baseline_name: what the baseline does.
        tables: {title: rows of texts, the header first} of more that is to be said.
    """
    path = pathlib.Path(directory) / CARD_FILE
    if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return
    title = pathlib.Path(directory).absolute().name
    values = run.values_by_name()
    base = name_copies(init_checkpoint) if init_checkpoint else None
    metadata = {"library_name": _LIBRARY, "tags": ["albert"], "pipeline_tag": _KINDS[kind][0]}
    languages = list(values["language"] or data.languages)
    if languages:
        metadata["language"] = languages
    if values["license"]:
        metadata["license"] = values["license"]
    if base and base.startswith("hf://"):
        metadata["base_model"] = base.removeprefix("hf://").partition("@")[0]
    if data.hub_name:
        metadata["datasets"] = [data.hub_name]
    ordered = {split: _main_first(metrics, main_metric) for split, metrics in scores.items()}
    scored_on = data.scored_on or data
    results = [_result(kind, scored_on, split, ordered[split], seeds) for split in ordered]
    results = [result for result in results if result["metrics"]]
    if results:
        metadata["model-index"] = [{"name": title, "results": results}]
    sections = [
        "\n".join(["---", *_yaml(metadata), "---", _MARK]),
        f"# {_plain(title)}",
        _introduction(command, kind, data, base),
        _score_section(ordered, baseline, baseline_name, seeds, kept_seed),
        *(f"## {title}\n\n{_table(rows[0], rows[1:])}" for title, rows in (tables or {}).items()),
        _data_section(data),
        _recipe_section(command, run),
    ]
    text = "\n\n".join(filter(None, sections)) + "\n"
    # Names of files may be no text.
    whole_files.write_text(path, text.encode(errors="replace").decode())


def _main_first(metrics: Mapping[str, Any], main_metric: str) -> dict[str, Any]:
    return dict(sorted(metrics.items(), key=lambda item: item[0] != main_metric))


def _result(
    kind: str,
    data: TrainingData,
    split: str,
    metrics: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Returns what `model-index` has of a split."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", data.name.lower()).strip("-") or "own"
    dataset = {"name": data.name, "type": data.hub_name or slug, "split": split}
    if data.configuration:
        dataset["config"] = data.configuration
    return {
        "task": {"type": _KINDS[kind][0]},
        "dataset": dataset,
        "metrics": [
            {
                "type": _METRICS.get(metric, metric),
                "name": metric,
                "value": float(spread["mean"]),
                "args": {"seeds": list(seeds), "values": list(map(float, spread["values"]))},
            }
            for metric, spread in metrics.items()
            if math.isfinite(spread["mean"])
        ],
    }


def _introduction(command: str, kind: str, data: TrainingData, base: str | None) -> str:
    start = f"from `{_plain(_without_folders(base))}`" if base else "from random weights"
    done = "pretrained" if command == "run_pretraining" else "fine-tuned"
    asked = _KINDS[kind][1]
    return (
        f"An ALBERT, {done} with albert_tf on {_plain(data.name)}, {start}. It is asked with "
        f'`albert_tf.{asked}.from_pretrained("owner/name")`, or by the path of its directory.'
    )


def _score_section(
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    baseline: Mapping[str, Mapping[str, float]],
    baseline_name: str,
    seeds: Sequence[int],
    kept_seed: int,
) -> str:
    if not scores:
        return ""
    rows = []
    for split, metrics in scores.items():
        for metric, spread in metrics.items():
            deviation = spread["deviation"]
            around = "" if deviation is None else f" ± {deviation:.4f}"
            guessed = baseline.get(split, {}).get(metric)
            beside = "" if guessed is None else f"{guessed:.4f}"
            each = ", ".join(f"{value:.4f}" for value in spread["values"])
            rows.append([split, metric, f"{spread['mean']:.4f}{around}", each, beside])
    seed_title = f"seed {', '.join(map(str, seeds))}"
    header = ["split", "metric", "mean ± deviation", seed_title, baseline_name]
    kept = f"The weights here are those of seed {kept_seed}." if len(seeds) > 1 else ""
    return "\n\n".join(filter(None, ["## Scores", _table(header, rows), kept]))


def _data_section(data: TrainingData) -> str:
    rows = [[split, f"{count:,}"] for split, count in data.examples.items()]
    scored_on = f"; scored on {_plain(data.scored_on.name)}" if data.scored_on else ""
    table = _table(["split", "examples"], rows)
    return f"## Data\n\n{_plain(data.name)}{scored_on}\n\n{table}"


def _recipe_section(command: str, run: Settings) -> str:
    """Returns the command with the flags that are not as they are by default."""
    values = run.values_by_name()
    flags = []
    for row in all_rows(type(run)):
        value = values[row.name]
        if row.name in _NOT_OF_THE_RECIPE or value == row.default or value is None:
            continue
        if isinstance(value, bool):
            flags.append(f"--{'' if value else 'no'}{row.name}")
            continue
        parts = list(map(str, value)) if row.is_list else str(value).split(",")
        if row.name in _PATHS:
            parts = map(_without_folders, parts)
        text = as_list(parts) if row.is_list else ",".join(parts)
        flags.append(f"--{row.name}={shlex.quote(text)}")
    lines = " \\\n    ".join([f"python -m albert_tf.{command}", *flags])
    return f"## Recipe\n\nPaths are shortened to their last part.\n\n````sh\n{lines}\n````"


def _without_folders(value: str) -> str:
    """Returns a name on the hub or an address as it was given, and the last part of a path."""
    value = remote_files.name_addresses(name_copies(value))
    if remote_files.is_address(value):
        return value
    return os.path.basename(value.rstrip("/")) or value


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Returns a text that ends no cell, line or code of Markdown."""
    return re.sub(r"[|`<>\s]+", " ", text)


def _yaml(value: Mapping[str, Any] | Sequence[Any]) -> Iterator[str]:
    """Yields the lines of nested dicts and lists; every text in quotes, for `no` is a language."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list):
                yield f"{key}:"
                yield from (f"  {line}" for line in _yaml(item))
            else:
                yield f"{key}: {_scalar(item)}"
        return
    for item in value:
        lines = _yaml(item) if isinstance(item, Mapping | list) else [_scalar(item)]
        for number, line in enumerate(lines):
            yield f"{'  ' if number else '- '}{line}"


def _scalar(value: str | float) -> str:
    if isinstance(value, float):
        # YAML takes numbers without a point for texts, and knows its own infinity.
        return f"{value:.6f}" if math.isfinite(value) else ".nan"
    if isinstance(value, int):
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
