"""Minutes to a known result: when a pretraining run first found so many held-out words.

    python benchmarks/time_to.py --run_dir=runs/small --run_dir=runs/mini

From `metrics.jsonl` of runs that are finished or under way; between two evaluations a straight
line. Minutes are those of training alone, on what the run had; core-minutes are all that its
process took, evaluations too. Beside them the date and the commit of this checkout. `--picture`
draws the runs against tokens and against minutes.
"""

import argparse
import datetime
import json
import pathlib
import subprocess

import matplotlib
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
        sizes = [tokens_a_step(folder) for folder in arguments.run_dir]
        if None in sizes:
            raise SystemExit("--picture is for runs on stored tokens: records do not say how long")
        draw(runs, sizes, arguments.picture)


def read_points(folder, split):
    """Returns (step, minutes, core-minutes, accuracy) of each evaluation of a run."""
    points, seconds, cpu_seconds = [], 0.0, 0.0
    for row in metric_log.read_metrics(folder / "metrics.jsonl"):
        if row["split"] == "train":
            if "seconds" not in row:
                raise SystemExit(f"{folder} is a run of a version whose rows have no seconds")
            seconds, cpu_seconds = seconds + row["seconds"], cpu_seconds + row["cpu_seconds"]
        elif row["split"] == split:
            points.append((row["step"], seconds / 60, cpu_seconds / 60, row[METRIC]))
    if not points:
        raise SystemExit(f"{folder} must be a run with evaluations of {split}. Received: none")
    return points


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


def tokens_a_step(folder):
    """Returns how many tokens a step of a run has, padding counted; of records None, not noted."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    length = run["data"].get("examples", {}).get("max_seq_length")
    return length and run["settings"]["batch_size"] * length


def draw(runs, sizes, path, legend_title=None):
    """Draws accuracy against tokens and against minutes.

    Args:
        runs: (name, points as `read_points` returns them) of each.
        sizes: tokens a step of each.
        path: of the picture.
        legend_title: what stands above the names.
    """
    picture = figure.Figure(figsize=(11, 4.2), layout="constrained")
    by_tokens, by_minutes = picture.subplots(1, 2, sharey=True)
    for (name, points), size in zip(runs, sizes, strict=True):
        steps, _, core_minutes, accuracies = zip(*points, strict=True)
        percent = [100 * accuracy for accuracy in accuracies]
        by_tokens.plot([step * size / 1e6 for step in steps], percent, label=name)
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
