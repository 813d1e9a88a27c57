"""Checks the points.csv of a short sweep: the header is there, all points are, every audit is ok, no target failed.

Points that are void for another reason pass: how busy the machine is says nothing about the commit.

Standard library only. Says what is wrong and exits 1, or prints one line and exits 0.
"""

import argparse
import csv
import sys

# Enough of the schema to know the file by; the full list is the project's own business.
COLUMNS = ("schema_version", "point_id", "repeat", "status", "void_reason", "audit", "sent", "answered", "lat_p99_ns")


def problems(path, rows_expected):
    """Yields what is wrong with the file, one sentence each."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            yield f"the header lacks {', '.join(missing)}"
            return
        rows = list(reader)
    if len(rows) != rows_expected:
        yield f"{len(rows)} rows, expected {rows_expected}"
    if len({(row["point_id"], row["repeat"]) for row in rows}) != len(rows):
        yield "a point stands there twice"
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            yield f"line {number}: not as many cells as the header"
            continue
        if row["audit"] != "ok":
            yield f"line {number}: audit is {row['audit']!r}, expected 'ok'"
        if row["status"] not in ("valid", "void"):
            yield f"line {number}: status is {row['status']!r}"
        if row["status"] == "void" and not row["void_reason"]:
            yield f"line {number}: void for no reason"
        if {"audit_failed", "target_failed"} & set(row["void_reason"].split(";")):
            yield f"line {number}: {row['void_reason']}"
        if not row["answered"].isdigit() or int(row["answered"]) == 0:
            yield f"line {number}: answered is {row['answered']!r}, expected at least 1"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--rows", type=int, required=True, help="points times repeats of the scenario")
    options = parser.parse_args()
    try:
        found = list(problems(options.path, options.rows))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = [str(error)]
    for problem in found:
        print(f"{options.path}: {problem}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{options.path}: {options.rows} points, every audit ok")


if __name__ == "__main__":
    main()
