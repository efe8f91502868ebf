"""Small stand-ins for the files that the README and the guides name."""

import csv


def write_mrpc(folder):
    """Writes `GLUE/MRPC/{train,dev}.tsv` below a folder, 12 pairs each."""
    mrpc = folder / "GLUE" / "MRPC"
    mrpc.mkdir(parents=True)
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    rows = "".join(f"{n % 2}\t1\t2\tThe cat sat, {n}.\tA cat sat.\n" for n in range(12))
    for name in ("train", "dev"):
        (mrpc / f"{name}.tsv").write_text(header + rows)


def write_reviews(folder):
    """Writes `reviews.csv` with 60 texts and labels, and `new.csv` with the texts alone."""
    for name, columns in (("reviews", ("review", "sentiment")), ("new", ("review",))):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for number in range(60):
                row = (f'The "old" cat, {number}', ("good", "bad")[number % 2])
                writer.writerow(row[: len(columns)])
