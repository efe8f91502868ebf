"""Makes vocabulary.model, the small vocabulary of the tests, from the text in this file.

  python tests/testdata/make_vocabulary.py

Run it again only when the training of vocabularies changes; the same library versions give the
same bytes.
"""

import itertools
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from albert_tf.pipelines.build_vocabulary import build_vocabulary  # noqa: E402

MODEL_FILE = pathlib.Path(__file__).with_name("vocabulary.model")
VOCAB_SIZE = 340

PROSE = """
The old mill stood at the end of the lane, where the river turns towards the sea.
Nobody had ground corn there for years, but the wheel still moved when the water was high.
Every morning a girl came down from the village to feed the ducks, and every evening she came back.
She said that the ducks were hungry; her brother said that she only wanted to look at the boats.
"You may laugh," she answered, "but one of them knows my name."
The miller's house had been sold to a painter from the city, who kept bees and wrote long letters.
He was a quiet man; he paid his debts, he fed his cat, and he did not ask many questions.
In winter the lane was closed by snow, so the painter learned to bake his own bread.
It was not good bread, he wrote, but it was warm, and its smell made the house feel less empty.
When the spring came, the river rose higher than anyone could remember.
The water took the bridge, three fences, a small boat and the whole of the lower garden.
After that the village decided to build a stronger bridge, with stone from the quarry on the hill.
The work began in May and was finished in October, a week before the first frost.
On the day of the opening there was music, and the children were allowed to stay up late.
The painter made a picture of it, which hangs today in the hall of the school.
If you look closely, you can see a girl, a row of ducks, and something like a smile.
A train leaves the station at noon and reaches the coast before the shops close.
Most of the people who use it are students, teachers and a few farmers with baskets of apples.
The driver has worked on this line since he was young, and he greets everyone by name.
He likes the last part of the journey best, because the sea can be seen from both windows.
Once he stopped the train for a fox that would not leave the track.
The passengers did not complain; they opened the windows and took photographs.
Scientists from the university measure the height of the river twice a day.
Their instruments are simple: a painted board, a clock, and a book with a red cover.
The numbers show that the river is getting warmer, and that the floods come earlier than before.
Fish that were common a hundred years ago are now rare, while others have arrived from the south.
The book is full, so a new one has been ordered, this time with a blue cover.
What will the river look like when that book is full as well?
Good bread needs four things: flour, water, salt and time.
Mix the flour with the water, add the salt, and leave the dough alone for an hour.
Then fold it, turn it, and let it rest again until it has doubled in size.
Bake it in a hot oven until the crust is brown and it sounds hollow when you knock on it.
Do not cut it at once, however hungry you are; the bread is still working inside.
My grandmother never used a clock for any of this, and her bread was better than mine.
The library opens at nine and closes at six; on Sundays it stays shut.
Books may be kept for three weeks, and newspapers must be read in the building.
A notice on the door asks visitors to leave their umbrellas, dogs and sandwiches outside.
The youngest reader is four years old and the oldest has just turned ninety.
They sit at the same table, he with his atlas and she with her dragons, and they never speak.
It is the quietest friendship in the town, and perhaps one of the best.
"""

YEARS = (1847, 1901, 1914, 1939, 1945, 1968, 1984, 1999, 2000, 2001, 2010, 2014)
PLACES = ("the bridge", "the school", "the mill", "the station", "the library")
EVENTS = ("was built", "was painted", "was closed", "was opened again", "was sold")


def write_text(path: pathlib.Path):
    """Prose, then sentences with years, so that some pieces end in a digit and a comma."""
    lines = PROSE.strip().splitlines()
    for year, (place, event) in itertools.product(YEARS, zip(PLACES, EVENTS, strict=True)):
        lines.append(f"In {year}, {place} {event}, and {place} cost £{year % 97}.50 (or more).")
        lines.append(f"By {year + 3}, it was – as they say – well-known that {place} {event}.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    """Trains and writes the model."""
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "text.txt")
        write_text(text)
        print(build_vocabulary([str(text)], VOCAB_SIZE, MODEL_FILE, overwrite=True))


if __name__ == "__main__":
    main()
