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


def write_films(folder):
    """Writes `films.csv` with 60 texts and a column of 0 and 1 for each of three labels."""
    with open(folder / "films.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "comedy", "drama", "war"))
        for number in range(60):
            labels = (number % 2, int(number % 3 == 0), int(number % 5 == 0))
            writer.writerow((f"The old cat, {number}", *labels))
