"""Makes a text corpus from the docstrings of the installed packages (see docstring_corpus.py).

  python -m albert_tf.pipelines.build_docstring_corpus --output_dir=demo_output/text

About 20 seconds on two cores; writes one file per package, one sentence a line.
"""

import time

from absl import app, flags

from albert_tf.pipelines import docstring_corpus

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for the text files, <package>.txt each.", required=True
)
_PACKAGES = flags.DEFINE_list(
    "packages",
    list(docstring_corpus.DEFAULT_PACKAGES),
    "Packages to read; 'python' is the standard library. One that is not installed is left out.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", None, "Processes; default: one per CPU core.", lower_bound=1
)


def main(_):
    """Builds the corpus with a progress bar and prints what each package gave."""
    from rich import progress  # Not needed by who imports the flags only.

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
            _OUTPUT_DIR.value,
            _PACKAGES.value,
            _NUM_WORKERS.value,
            on_bytes=lambda count: bar.advance(task, count),
            on_total=lambda total: bar.update(task, total=total),
        )
    print(docstring_corpus.format_summary(texts, started))
    print(f"Text in {_OUTPUT_DIR.value}")


if __name__ == "__main__":
    app.run(main)
