"""Results as tables: aligned text for a terminal, Markdown for a document."""

from .workloads import WORKLOADS

# Title, field of a run, how to write a value.
COLUMNS = [
    ("messages/s", "messages_per_second", lambda value: f"{value:,.0f}".replace(",", " ")),
    ("MiB/s", "mib_per_second", lambda value: f"{value:.1f}"),
    ("p50 ms", "latency.p50_us", lambda value: _milliseconds(value)),
    ("p99 ms", "latency.p99_us", lambda value: _milliseconds(value)),
    ("p99.9 ms", "latency.p999_us", lambda value: _milliseconds(value)),
    ("CPU us/msg", "cpu_us_per_message", lambda value: f"{value:.1f}"),
    ("leader", "leader_cpu_us_per_message", lambda value: f"{value:.1f}"),
    ("RSS MiB", "rss_bytes", lambda value: f"{value / (1 << 20):.0f}"),
    ("anonymous", "rss_anon_bytes", lambda value: f"{value / (1 << 20):.0f}"),
]


# Those whose lowest and highest round are told too.
_SPREAD = ("messages_per_second", "latency.p99_us")


def everything(results):
    """All tables, for a terminal."""
    parts = []
    for workload in results.workloads:
        parts.append(f"\n{workload}: {WORKLOADS[workload].what}")
        parts.append(as_text(rows(results, workload)))
        parts += [f"  {remark}" for remark in remarks(results, workload)]
    return "\n".join(parts)


def rows(results, workload):
    """A header and one row for each contender: medians, with the spread where it matters most."""
    header = ["contender", "rounds", "to trireme", "p99 to trireme"]
    for title, field, _ in COLUMNS:
        header += [title, "min..max"] if field in _SPREAD else [title]
    table = [header]
    for contender in results.contenders:
        throughput = results.spread(contender, workload, "messages_per_second")
        if throughput is None:
            continue
        ratio = results.ratio(contender, workload, "messages_per_second")
        latency = results.ratio(contender, workload, "latency.p99_us")
        row = [contender, str(throughput.rounds), _ratio(ratio), _ratio(latency)]
        for _, field, write in COLUMNS:
            spread = results.spread(contender, workload, field)
            row.append(write(spread.median) if spread else "-")
            if field in _SPREAD:
                row.append(f"{write(spread.min)}..{write(spread.max)}" if spread else "-")
        table.append(row)
    return table


def as_text(table):
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        # Names to the left, numbers to the right.
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(table):
    lines = ["| " + " | ".join(table[0]) + " |", "|---|" + "---:|" * (len(table[0]) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in table[1:]]
    return "\n".join(lines)


def remarks(results, workload):
    """What a reader of this workload's table must know: errors, failures, what is not there."""
    found = []
    for run in results.runs:
        if run["workload"] == workload and run.get("errors"):
            errors = ", ".join(f"{count} messages: {kind}" for kind, count in run["errors"].items())
            found.append(f"{run['contender']}, round {run['round']}: {errors}")
        if run["workload"] == workload and run.get("cold") is False:
            found.append(f"{run['contender']}, round {run['round']}: the page cache was not emptied")
        if run["workload"] == workload and run.get("at_least"):
            found.append(f"{run['contender']}, round {run['round']}: at least; {run['backlog']} messages are soon read")
    for line in results.failures:
        if line.get("workload") == workload:
            found.append(f"{line['contender']}, round {line['round']}: {line['type']}: {line['reason']}")
    return found


def _ratio(spread):
    return "-" if spread is None else f"{spread.median:.2f} ({spread.min:.2f}..{spread.max:.2f})"


def _milliseconds(us):
    return f"{us / 1000:.2f}" if us < 10_000 else f"{us / 1000:.0f}"
