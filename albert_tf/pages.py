"""What pages of results have in common: how they look, and how numbers are written."""

from collections.abc import Sequence

import numpy as np

STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; text-align: left;
  vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
.note { white-space: pre-wrap; border-left: 3px solid #d80; padding-left: .9rem; }
figure { margin: 1rem 0; overflow-x: auto; }
img { max-width: 100%; background: white; border-radius: 4px; }
figcaption, .quiet { color: #888; font-size: .9rem; }
@media (max-width: 40rem) { figure img { max-width: none; width: 40rem; } }
article { border-left: 3px solid #8886; padding-left: .9rem; margin: 1.1rem 0; }
article p { margin: .15rem 0; overflow-wrap: anywhere; }
"""


def mean_text(values: Sequence[float]) -> str:
    """Returns `0.8312 ± 0.0041`: the mean and the sample deviation."""
    if not values:
        return "–"
    if len(values) == 1:
        return number(values[0])
    return f"{number(np.mean(values))} ± {number(np.std(values, ddof=1))}"


def number(value: float) -> str:
    """Returns a score or a loss with four digits."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
