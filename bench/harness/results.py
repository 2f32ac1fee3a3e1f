"""Results as JSON lines: written as they come, read again for tables and plots."""

import json
import os
import statistics

FILE = "results.jsonl"


class Writer:
    """Appends to DIR/results.jsonl: what was measured is kept, whatever happens next."""

    def __init__(self, directory, names):
        os.makedirs(directory, exist_ok=True)
        self.path = os.path.join(directory, FILE)
        # What to write for paths: results are shown to others, who have other ones.
        self.names = sorted(names.items(), key=lambda pair: -len(pair[0]))

    def put(self, **line):
        text = json.dumps(line)
        for path, name in self.names:
            text = text.replace(path, name)
        with open(self.path, "a") as file:
            file.write(text + "\n")


class Results:
    """All lines of one directory, of one or several sessions of bench/compare."""

    def __init__(self, directory):
        with open(os.path.join(directory, FILE)) as file:
            lines = [json.loads(line) for line in file]
        self.sessions = [line for line in lines if line["type"] == "session"]
        self.runs = [line for line in lines if line["type"] == "run"]
        self.failures = [line for line in lines if line["type"] in ("skipped", "failed")]
        self.contenders = _in_order(run["contender"] for run in self.runs)
        self.workloads = _in_order(run["workload"] for run in self.runs)
        self.acknowledged = {run["contender"]: run["acknowledged"] for run in self.runs}

    def values(self, contender, workload, field):
        """One value for each round, by (session, round); `field` is a path with dots."""
        found = {}
        for run in self.runs:
            if (run["contender"], run["workload"]) == (contender, workload):
                value = run
                for name in field.split("."):
                    value = value.get(name) if isinstance(value, dict) else None
                if value is not None:
                    found[(run["session"], run["round"])] = value
        return found

    def spread(self, contender, workload, field):
        return Spread.of(self.values(contender, workload, field).values())

    def ratio(self, contender, workload, field, base="trireme"):
        """Of each round's value to the base's value in the same round: what disturbs the machine disturbs both."""
        own, other = self.values(contender, workload, field), self.values(base, workload, field)
        return Spread.of(own[key] / other[key] for key in own if other.get(key))


class Spread:
    """Median, minimum and maximum over rounds."""

    def __init__(self, values):
        self.median, self.min, self.max = statistics.median(values), min(values), max(values)
        self.rounds = len(values)

    @staticmethod
    def of(values):
        values = list(values)
        return Spread(values) if values else None


def _in_order(names):
    return list(dict.fromkeys(names))
