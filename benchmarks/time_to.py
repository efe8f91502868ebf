"""Minutes to a known result: when a pretraining run first found so many held-out words.

    python benchmarks/time_to.py --run_dir=runs/small --run_dir=runs/mini

From `metrics.jsonl` of runs that are finished or under way; between two evaluations a straight
line. Minutes are those of training alone, on what the run had; core-minutes are all that its
process took, evaluations too. Beside them the date and the commit of this checkout. `--picture`
draws the runs against tokens and against minutes.
"""

import argparse
import datetime
import functools
import json
import pathlib
import subprocess

import matplotlib
import numpy as np
from matplotlib import figure

from albert_tf.training import metric_log

METRIC = "masked_lm_accuracy"
ROOT = pathlib.Path(__file__).parents[1]


def main():
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run_dir", action="append", required=True, type=pathlib.Path)
    parser.add_argument("--split", default="held_out_single")
    parser.add_argument("--levels", default="20,30,40,45", help="percent of the held-out words")
    parser.add_argument("--picture", type=pathlib.Path, help="file to draw, .svg or .png")
    arguments = parser.parse_args()
    if arguments.picture and arguments.picture.suffix not in (".svg", ".png"):
        parser.error(f"--picture must end in .svg or .png. Received: {arguments.picture}")
    levels = [float(level) for level in arguments.levels.split(",")]
    runs = [(folder.name, read_points(folder, arguments.split)) for folder in arguments.run_dir]
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    stamp = f"{datetime.date.today()}, {commit}"
    titles = [f"{level:g}%" for level in levels]
    print(f"minutes (core-minutes) to so many of {arguments.split}:\n")
    print(f"| run | date, commit | {' | '.join(titles)} | steps | minutes in all | best |")
    print(f"|---|---|{'---|' * (len(levels) + 3)}")
    for name, points in runs:
        cells = [describe(time_to(points, level / 100)) for level in levels]
        step, *times, _ = points[-1]
        best = max(accuracy for *_, accuracy in points)
        print(
            f"| {name} | {stamp} | {' | '.join(cells)} | {step:,} | {describe(times)} | "
            f"{best:.1%} |"
        )
    if arguments.picture:
        counts = [functools.partial(tokens_until, folder) for folder in arguments.run_dir]
        if any(count(1) is None for count in counts):
            raise SystemExit("--picture is for runs on stored tokens: records do not say how long")
        draw(runs, counts, arguments.picture)


def read_points(folder, split):
    """Returns (step, minutes, core-minutes, accuracy) of each evaluation of a run."""
    points, steps, seconds, cpu_seconds = [], [0], [0.0], [0.0]
    for row in metric_log.read_metrics(folder / "metrics.jsonl"):
        if row["split"] == "train":
            if "seconds" not in row:
                raise SystemExit(f"{folder} is a run of a version whose rows have no seconds")
            steps.append(row["step"])
            seconds.append(seconds[-1] + row["seconds"])
            cpu_seconds.append(cpu_seconds[-1] + row["cpu_seconds"])
        elif row["split"] == split:
            points.append((row["step"], row[METRIC]))
    if not points:
        raise SystemExit(f"{folder} must be a run with evaluations of {split}. Received: none")

    def minutes_at(step, times):
        return float(np.interp(step, steps, times)) / 60

    return [
        (step, minutes_at(step, seconds), minutes_at(step, cpu_seconds), found)
        for step, found in points
    ]


def time_to(points, level):
    """Returns (minutes, core-minutes) to a level, or None if it was not reached."""
    before = points[0]
    for point in points:
        if point[-1] >= level:
            rise = point[-1] - before[-1]
            share = (level - before[-1]) / rise if rise > 0 else 1.0
            return [a + share * (b - a) for a, b in zip(before[1:3], point[1:3], strict=True)]
        before = point
    return None


def tokens_until(folder, step):
    """Returns how many tokens a run saw, padding counted; of records None, which do not say it."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    data, settings = run["data"], run["settings"]
    length = data.get("examples", {}).get("max_seq_length")
    if length is None:
        return None
    last_length = data["examples"].get("final_max_seq_length") or length
    last_steps = data["examples"].get("final_length_steps") or 0
    steps_of_last = max(0, step - (settings["train_steps"] - last_steps))
    return settings["batch_size"] * (step * length + steps_of_last * (last_length - length))


def draw(runs, counts, path, legend_title=None):
    """Draws accuracy against tokens and against minutes.

    Args:
        runs: (name, points as `read_points` returns them) of each.
        counts: of each what returns the tokens that it saw until a step.
        path: of the picture.
        legend_title: what stands above the names.
    """
    picture = figure.Figure(figsize=(11, 4.2), layout="constrained")
    by_tokens, by_minutes = picture.subplots(1, 2, sharey=True)
    for (name, points), count in zip(runs, counts, strict=True):
        steps, _, core_minutes, accuracies = zip(*points, strict=True)
        percent = [100 * accuracy for accuracy in accuracies]
        by_tokens.plot([count(step) / 1e6 for step in steps], percent, label=name)
        by_minutes.plot([minutes / 2 for minutes in core_minutes], percent)
    by_tokens.set_xlabel("million tokens")
    by_minutes.set_xlabel("minutes of two cores")
    by_tokens.set_ylabel("held-out single tokens found, %")
    by_tokens.legend(fontsize="small", title=legend_title)
    for axes in (by_tokens, by_minutes):
        axes.grid(alpha=0.3)
    # Letters as text take fewer bytes than outlines.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        picture.savefig(path)


def describe(times):
    """Returns both times as a cell of the table."""
    return "–" if times is None else f"{times[0]:.1f} ({times[1]:.1f})"


if __name__ == "__main__":
    main()
