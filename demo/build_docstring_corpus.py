"""Makes a text corpus from the docstrings of the installed packages (see docstring_corpus.py).

  python demo/build_docstring_corpus.py --output_dir=demo_output/text

About 10 seconds on two cores; writes one file per package, one sentence a line.
"""

import time

import docstring_corpus
from absl import flags
from rich import progress

from albert_tf import command_line, setting_checks


def define_flags():
    """Defines the command line; only when this file is the program, so that imports stay free."""
    flags.DEFINE_string("output_dir", None, "Folder for the text files, <package>.txt each.")
    flags.DEFINE_list(
        "packages",
        list(docstring_corpus.DEFAULT_PACKAGES),
        "Packages to read; 'python' is the standard library. One that is missing is left out.",
    )
    flags.DEFINE_integer("num_workers", None, "Processes; default: one per core.", lower_bound=1)
    flags.mark_flag_as_required("output_dir")


def main():
    """Builds the corpus with a progress bar and prints what each package gave."""
    options = flags.FLAGS
    setting_checks.check_output("--output_dir", options.output_dir)
    started = time.monotonic()
    columns = (
        progress.TextColumn("reading docstrings"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns) as bar:
        task = bar.add_task("source", total=None)
        texts = docstring_corpus.build_docstring_corpus(
            options.output_dir,
            options.packages,
            options.num_workers,
            on_bytes=lambda count: bar.advance(task, count),
            on_total=lambda total: bar.update(task, total=total),
        )
    print(docstring_corpus.format_summary(texts, started))
    print(f"Text in {options.output_dir}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
