"""One process that reads mutated files, one a line of its input, and says how each came out.

    python read_mutated.py FOLDER      reads lines "NUMBER FORMAT", writes lines of JSON

It is run by `test_mutated_files.py`, which sees from outside when it dies or hangs. To look at one
case: `echo "17 Parquet" | python tests/torture/read_mutated.py /tmp/cases`.
"""

import json
import os
import pathlib
import resource
import shutil
import sys
import time
import traceback
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
_HERE = pathlib.Path(__file__).parent
sys.path += [str(_HERE), str(_HERE.parent / "tokenizer"), str(_HERE.parent / "testdata")]

from absl import logging  # noqa: E402
from formats import FORMATS  # noqa: E402
from mutations import mutate  # noqa: E402

# Beside what the process has when a file is opened, none of which is larger than a few megabytes.
MOST_BYTES = 2**30
MOST_CPU_SECONDS = 20
# A message is read by a person, in a terminal.
MOST_CHARACTERS = 2000


def read_case(number, name, folder):
    """Returns {"outcome": "read", "refused" or what went wrong, ...} of one case."""
    form = FORMATS[name]
    whole, case = folder / "whole" / name.replace(" ", "-"), folder / "case"
    shutil.rmtree(case, ignore_errors=True)  # of a process that died of it
    if not whole.exists():
        whole.mkdir(parents=True)
        form.make(whole)
        shutil.copytree(whole, case)
        form.read(case)  # a specimen that cannot be read would show nothing
        shutil.rmtree(case)
    shutil.copytree(whole, case)
    target = case / form.files[number % len(form.files)]
    mutation = mutate(target, form.kind, name, number)
    begun = time.process_time()
    outcome, detail = _read_bounded(form.read, case)
    seconds = time.process_time() - begun
    if outcome in ("read", "refused") and seconds > MOST_CPU_SECONDS:
        outcome = "slow"
    shutil.rmtree(case)
    return {
        "format": name,
        "number": number,
        "mutation": mutation,
        "outcome": outcome,
        "detail": detail,
        "seconds": round(seconds, 2),
    }


def _read_bounded(read, case):
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, limits[1]))
    try:
        read(case)
        return "read", ""
    except MemoryError:
        return "memory", traceback.format_exc()[-1500:]
    except (ValueError, OSError) as error:
        if str(case) not in str(error):
            return "unnamed", traceback.format_exc()[-1500:]
        if len(str(error)) > MOST_CHARACTERS:
            return "long", f"{str(error)[:300]} ... {str(error)[-300:]}"
        return "refused", str(error)
    except BaseException:  # noqa: BLE001 - what it was is the outcome
        return "traceback", traceback.format_exc()[-1500:]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def main(folder):
    """Answers each line of standard input with a line of standard output, and nothing else."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.set_verbosity(logging.FATAL)
    folder = pathlib.Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for line in sys.stdin:
        number, name = line.strip().split(" ", 1)
        print(json.dumps(read_case(int(number), name, folder)), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
