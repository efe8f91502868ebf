"""Puts several runs side by side: scores with their deviation, curves, settings that differ.

    python -m albert_tf.run_comparison --runs='runs/mrpc-*'
    python -m albert_tf.run_comparison --runs=runs/records,runs/tokens --output=compared.html

The first run is what the others are compared with. Runs may be of pretraining or of fine-tuning,
and need not be finished. A table is printed, and a page written to look at.
"""

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.comparison import runs

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "runs", None, "Output folders of two runs or more, or patterns of such.", required=True
)
flags.DEFINE_string("output", "comparison.html", "The page to write.")


def main() -> None:
    """Compares the runs."""
    folders = runs.find_folders(FLAGS.runs)
    setting_checks.check_output("output", FLAGS.output, is_file=True)
    read = runs.read_runs(folders, command_line.print_aside)
    from albert_tf.comparison import page  # brings Matplotlib

    for line in page.make_lines(read):
        command_line.print_now(line)
    page.write_page(FLAGS.output, read)
    command_line.print_now(f"page: {FLAGS.output}")


if __name__ == "__main__":
    command_line.run(main)
