"""How a command is left by an error."""

import weakref

from albert_tf import failures


class Held:
    pass


def test_an_error_lets_go_of_what_its_frames_and_those_of_its_causes_hold():
    held = []

    def fail():
        mine = Held()
        held.append(weakref.ref(mine))
        raise ValueError

    def fail_of_it():
        mine = Held()
        held.append(weakref.ref(mine))
        try:
            fail()
        except ValueError as error:
            raise RuntimeError from error

    try:
        fail_of_it()
    except RuntimeError as error:
        kept = error
    assert [one() is None for one in held] == [False, False]
    failures.let_go(kept)
    assert [one() is None for one in held] == [True, True]
    kept.__cause__.__cause__ = kept  # a circle has an end
    failures.let_go(kept)
