"""A position table for longer texts than a model was trained with.

Letters: L positions in the table, E embedding size.
"""

import numpy as np


def stretch(table: np.ndarray, length: int) -> np.ndarray:
    """Returns a table of more positions, between which the old ones are interpolated.

    Row i of the new table stands at i * (L - 1) / (length - 1) of the old one, on the straight line
    between the two rows beside that place. The first and the last row stay what they are.

    `stretch([[0.], [2.], [6.]], 5)` -> `[[0.], [1.], [2.], [4.], [6.]]`.

    Args:
        table: float [L, E].
        length: positions of the new table, at least L.

    Returns:
        float32 [length, E]; the table itself where `length` is L.
    """
    old_length = len(table)
    if length == old_length:
        return table
    table = table.astype(np.float64)
    place = np.linspace(0, old_length - 1, length)  # [length]
    before = np.minimum(place.astype(np.int64), max(old_length - 2, 0))
    after = np.minimum(before + 1, old_length - 1)
    share = (place - before)[:, None]
    return ((1 - share) * table[before] + share * table[after]).astype(np.float32)
