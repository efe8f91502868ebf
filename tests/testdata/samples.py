"""Where small things lie that many tests read."""

import pathlib

TESTDATA = pathlib.Path(__file__).parent
# 340 pieces, learned from the prose in make_vocabulary.py.
VOCABULARY = TESTDATA / "vocabulary.model"
