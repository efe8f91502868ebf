"""The training loop: batches in, weights out. It knows no task and no model.

What a run is worth keeping for is on disk at all times: the loop evaluates, logs and saves at its
intervals, and goes on from its last checkpoint.
"""

import math
import pathlib

from albert_tf import checkpoints, metric_log, train_step, training_progress


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or not a number."""


def train(
    *,
    model,
    optimizer,
    objective,
    make_dataset,
    evaluations,
    settings,
    output_dir,
    save_files,
    first_step=0,
    evaluate_first=True,
    after_evaluation=None,
    report=print,
):
    """Trains from the last checkpoint in `output_dir`, or from the model as it is, to the end.

    Args:
        model, optimizer: Keras; `optimizer` is built here.
        objective: `train_step.Objective`.
        make_dataset: `start_example -> tf.data.Dataset` of batches of `settings.batch_size`
            that goes on exactly where `start_example` examples had been consumed.
        evaluations: {split name: function without arguments -> {metric name: value}}.
        settings: `training_settings.TrainingSettings`.
        output_dir: holds `checkpoints/`, `metrics.jsonl` and `tensorboard/` afterwards.
        save_files: `directory -> None`, writes what makes a checkpoint usable as a model.
        first_step: steps that model and optimizer have behind them already, elsewhere.
        evaluate_first: whether to evaluate before the first step, too.
        after_evaluation: `(step, {split: {metric: value}}) -> bool`, called after each evaluation,
            that of the step resumed from included; True ends the training there.
        report: takes each line of progress.

    Returns:
        {split name: {metric name: value}} of the last evaluation.

    Raises:
        NonFiniteLossError: naming the step and the last good checkpoint.
    """
    take_step = train_step.make_train_step(
        model, optimizer, objective, settings.accumulation_steps, settings.jit_compile
    )
    store = checkpoints.CheckpointStore(
        pathlib.Path(output_dir) / "checkpoints",
        model=model,
        optimizer=optimizer,
        keep=settings.keep_checkpoints,
        save_files=save_files,
    )
    step = max(store.restore_latest(), first_step)
    log = metric_log.MetricLog(output_dir, resumed_step=step)
    if step > first_step:
        report(f"resuming at step {step:,} from {store.path(step)}")

    def evaluate_all():
        results = {}
        for split, evaluate in evaluations.items():
            results[split] = evaluate()
            log.write(step, split, results[split])
            report(f"step {step:>7,}  {split}: {training_progress.format_values(results[split])}")
        return results

    last_results = log.evaluation_at(step)
    if not last_results and evaluate_first:
        last_results = evaluate_all()
    stops = bool(last_results and after_evaluation and after_evaluation(step, last_results))
    progress = training_progress.Progress(settings, first_step=step)
    steps_left = 0 if stops else settings.train_steps - step
    for batch in make_dataset(step * settings.batch_size).take(steps_left):
        results = {
            name: (float(total), float(weight))
            for name, (total, weight) in take_step(batch).items()
        }
        step += 1
        _check_finite(step, results, store)
        progress.add(results, tokens=math.prod(batch["input_ids"].shape))
        at_end = step == settings.train_steps
        if step % settings.log_steps == 0 or at_end:
            values = progress.summarize(step, learning_rate=float(optimizer.learning_rate))
            log.write(step, "train", values)
            report(progress.line(step, values))
        if step % settings.eval_steps == 0 or at_end:
            with progress.paused():
                last_results = evaluate_all()
                stops = bool(after_evaluation and after_evaluation(step, last_results))
        if step % settings.checkpoint_steps == 0 or at_end or stops:
            with progress.paused():
                store.save(step)
        if stops:
            break
    if step < settings.train_steps and not stops:
        raise ValueError(
            f"the training data ended at step {step:,} of {settings.train_steps:,}: it must repeat"
        )
    return last_results


def _check_finite(step, results, store):
    if not all(math.isfinite(total) for total, _ in results.values()):
        means = training_progress.format_values(train_step.means(results))
        raise NonFiniteLossError(
            f"the loss is not finite at step {step}: {means}. "
            f"The last good checkpoint is {store.latest_path() or 'none'}"
        )
