"""One evaluation: a model directory and a folder of pretraining data in, a page of figures out."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from albert_tf import tensorflow_needs, whole_files
from albert_tf.checkpoints import hub_files, model_directory, model_kinds
from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.evaluation import (
    contamination,
    english_pairs,
    evaluated_data,
    held_out,
    minimal_pairs,
    page,
)
from albert_tf.evaluation.evaluated_data import EvaluatedData
from albert_tf.evaluation.held_out import Predictions
from albert_tf.evaluation.minimal_pairs import MinimalPair
from albert_tf.evaluation.settings import ENGLISH, NO_PAIRS, EvaluationRun
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.examples.masking import PieceTable
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

RESULTS_FILE, PAGE_FILE = "evaluation.json", "evaluation.html"


def evaluate(run: EvaluationRun, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures a model, prints what it measures and writes it.

    Args:
        run: what defines it.
        report: takes each line.

    Returns:
        What `RESULTS_FILE` holds: `words` {split: {kind: figures}}, `sentence_order` {length:
        figures}, `minimal_pairs` {phenomenon: figures} and `contamination`, what was not measured
        left out.

    Raises:
        ValueError: for a model of another kind, data that it was not made for or that has no
            held-out documents, and files that cannot be read, by name.
    """
    tensorflow_needs.check_backend("evaluation")
    run, model_name = _find_model(run)
    if run.task_texts and not token_files.is_token_folder(run.data_dir):
        raise ValueError(
            "`task_texts` are looked for in stored tokens (format=tokens of "
            f"build_pretraining_data). Received: {run.data_dir} without"
        )
    pairs = _find_pairs(run.minimal_pairs)
    longest = _read_longest(run.model_dir)
    tokenizer = load_tokenizer(run.model_dir)
    data = evaluated_data.find_data(
        run.data_dir,
        run.eval_batch_size,
        evaluated_data.settings_of_run(run.model_dir, run.max_seq_length, longest),
        tokenizer,
    )
    if run.max_seq_length and data.files:
        raise ValueError(
            "`max_seq_length` is for stored tokens; records have a length of their own. Received: "
            f"{run.max_seq_length} and {run.data_dir} with {data.max_seq_length}"
        )
    if data.max_seq_length > longest:
        raise ValueError(
            f"`data_dir` must have examples of at most the {longest} tokens that the model reads. "
            f"Received: {run.data_dir} with {data.max_seq_length}"
        )
    model = AlbertForPretraining.from_pretrained(run.model_dir, dtype=run.precision)
    untrained = model_directory.missing_parts(model, run.model_dir)
    if "masked_lm_head" in untrained:
        raise ValueError(
            "`model_dir` must hold a pretrained model with its masked-LM head. Received: "
            f"{run.model_dir} without one"
        )
    report(
        f"{run.model_dir}: {model.count_params():,} parameters; {run.data_dir}: examples of "
        f"{data.max_seq_length} tokens"
    )
    is_guessed = not (run.max_seq_length or evaluated_data.find_run(run.model_dir).is_file())
    if data.train_shards and data.max_seq_length == longest and is_guessed:
        report(
            "that is all that the model reads: if it was trained on shorter ones, give their "
            "`max_seq_length`"
        )
    results = {
        "model": model_name,
        "data": pathlib.Path(run.data_dir).absolute().name,
        "parameters": model.count_params(),
        "max_seq_length": data.max_seq_length,
    }
    with data.errors_named():
        made = predict_all(model, tokenizer, data.held_out, run.eval_examples)
    results |= measure_held_out(made, data.piece_counts, has_order=not untrained)
    if pairs:
        results["minimal_pairs"] = minimal_pairs.measure_pairs(
            model, tokenizer, pairs, data.piece_counts
        )
    if data.train_shards:
        seen = _find_seen(run, data, made, tokenizer, report)
        results["contamination"] = seen | _measure_left_out(
            made, seen["is_seen"], data.piece_counts, has_order=not untrained
        )
        del results["contamination"]["is_seen"]
    for line in page.make_lines(results):
        report(line)
    folder = run.output_folder()
    folder.mkdir(parents=True, exist_ok=True)
    page.write_page(folder / PAGE_FILE, results)
    whole_files.write_json(folder / RESULTS_FILE, results)
    report(f"page: {folder / PAGE_FILE}")
    return results


def _find_model(run: EvaluationRun) -> tuple[EvaluationRun, str]:
    """Returns the run with a directory in place of a name on the hub, and what to call the model.

    Raises:
        ValueError: for such a name without an `output_dir`: its copy is no place for results.
    """
    run = run.with_values(model_dir=str(hub_files.find_directory(run.model_dir)))
    name = hub_files.name_copies(run.model_dir)
    if name == run.model_dir:
        return run, pathlib.Path(run.model_dir).absolute().name
    if not run.output_dir:
        raise ValueError(f"`output_dir` must be given with a name on the hub. Received: {name}")
    return run, name


def _read_longest(model_dir: str) -> int:
    """Returns how many tokens the model of a directory reads, if it is one to be evaluated."""
    kind = model_kinds.read_kind(model_dir)
    if kind != AlbertForPretraining.kind:
        raise ValueError(
            "`model_dir` must hold a pretrained model, which fills masks. Received: "
            f"{model_dir} with one for {kind}"
        )
    return model_directory.read_config(model_dir).max_position_embeddings


def _find_pairs(name: str) -> list[MinimalPair]:
    if name == NO_PAIRS:
        return []
    return english_pairs.make_pairs() if name == ENGLISH else minimal_pairs.read_pairs(name)


def predict_all(
    model: AlbertForPretraining, tokenizer: Tokenizer, batches: Mapping, most_examples: int
) -> dict[str, Predictions]:
    """Returns {split: predictions} of {split: dataset of batches}."""
    pieces, answer = PieceTable.from_tokenizer(tokenizer), held_out.make_answer(model)
    return {
        split: held_out.predict(answer, dataset.as_numpy_iterator(), pieces, most_examples)
        for split, dataset in batches.items()
    }


def measure_held_out(
    made: Mapping[str, Predictions], piece_counts: np.ndarray, has_order: bool = True
) -> dict[str, Any]:
    """Returns {"examples", "words", "sentence_order"} of {split: predictions}.

    The order is that of the first split; both have the same pairs of segments.
    """
    first = next(iter(made.values()))
    words = {
        split: held_out.measure_words(split, of_split, piece_counts)
        for split, of_split in made.items()
    }
    order = {"sentence_order": held_out.measure_order(first)} if has_order else {}
    return {"examples": len(first.order_losses), "words": words, **order}


def _find_seen(
    run: EvaluationRun,
    data: EvaluatedData,
    made: Mapping[str, Predictions],
    tokenizer: Tokenizer,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Returns how many examples of which texts stand in the training text, and which of held-out.

    Both splits have the same examples, so the first one does for both.
    """
    first = next(iter(made.values()))
    sources = {
        "held_out": [
            [ids[of == number] for number in (1, 2)]
            for ids, of in zip(first.input_ids, first.segments, strict=True)
        ]
    }
    for path in run.task_texts:
        sources[os.fspath(path)] = contamination.encode_texts(path, tokenizer, report)
    everything = [texts for examples in sources.values() for texts in examples]
    is_seen, has_window = contamination.find_seen(
        everything, data.train_shards, run.window_pieces, tokenizer.vocab_size, tokenizer.unk_id
    )
    ends = np.cumsum(list(map(len, sources.values())))[:-1]
    parts = zip(sources, np.split(is_seen, ends), np.split(has_window, ends), strict=True)
    texts = {
        name: {
            "examples": len(seen),
            "without_window": int((~has).sum()),
            "seen": int(seen.sum()),
        }
        for name, seen, has in parts
    }
    is_seen = is_seen[: len(first.input_ids)]
    return {"window_pieces": run.window_pieces, "texts": texts, "is_seen": is_seen}


def _measure_left_out(
    made: Mapping[str, Predictions],
    is_seen: np.ndarray,
    piece_counts: np.ndarray,
    has_order: bool,
) -> dict[str, Any]:
    """Returns {"left_out": the figures of all words and of the order without seen examples}."""
    if not is_seen.any() or is_seen.all():
        return {}
    words = {
        split: held_out.measure_words(split, of_split, piece_counts, ~is_seen)
        for split, of_split in made.items()
    }
    left_out = {"words": {split: {"all": kinds["all"]} for split, kinds in words.items()}}
    if has_order:
        order = held_out.measure_order(next(iter(made.values())), ~is_seen)
        left_out["sentence_order"] = {"all": order["all"]}
    return {"left_out": left_out}
