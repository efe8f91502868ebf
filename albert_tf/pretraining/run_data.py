"""The data of a pretraining run, in either form: finished records, or stored tokens."""

from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pretraining import records_of_run
from albert_tf.pretraining.records_of_run import RunRecords
from albert_tf.pretraining.settings import DataSettings, PretrainingRun
from albert_tf.pretraining.tokens_of_run import RunTokens
from albert_tf.settings import all_rows

RunData = RunRecords | RunTokens


def find(run: PretrainingRun) -> RunData:
    """Returns the data that the settings of a run name.

    Raises:
        ValueError: for a folder in which no build has ended, or several without weights; for
            files that are missing, cut off, or not those of the folder's summary; for
            settings of examples with records, which have theirs already, and for what reads the
            text itself.
    """
    data_dir = run.data.data_dir
    if data_dir:
        _check_folders(run.data)
    if data_dir and token_files.is_token_folder(run.data.data_dirs()[0]):
        return RunTokens(run)
    given = [
        *run.examples.values(),
        *(["corpus_weights"] if run.data.corpus_weights else []),
        *(["initial_words"] if run.start.initial_words == "counted" else []),
    ]
    if given:
        of_build = {row.name for row in all_rows(ExampleSettings)}
        must = {
            "must be given to build_pretraining_data, which makes records, or here": of_build,
            "must be given": set(given) - of_build,
        }
        raise ValueError(
            "; ".join(
                f"{', '.join(f'`{name}`' for name in given if name in names)} {where}"
                for where, names in must.items()
                if names & set(given)
            )
            + " with stored tokens (format=tokens of build_pretraining_data). Received: records of "
            + (data_dir or ", ".join(run.data.input))
        )
    return records_of_run.find(run.data)


def _check_folders(data: DataSettings) -> None:
    parts = data.data_dir.split(",")
    if len(parts) > len(data.data_dirs()) and all(map(token_files.is_token_folder, parts)):
        raise ValueError(
            "`corpus_weights` must be given with several folders, as 1,1. Received: "
            f"data_dir={data.data_dir} alone"
        )
    for folder in data.data_dirs():
        records_of_run.check_is_built(folder)
