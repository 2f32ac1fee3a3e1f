"""Results as a part of a document."""

import os

from . import plots, tables
from .results import Results
from .workloads import WORKLOADS

BEGIN, END = "<!-- results -->", "<!-- end -->"


def markdown(results, directory, drawn, beside):
    """Machine, plots and tables. Links to the plots are relative to the folder `beside`."""
    parts = []
    for session in results.sessions:
        runs = [run for run in results.runs if run["session"] == session["session"]]
        if runs:
            parts.append(_machine(session, runs))
    parts.append("When each acknowledges a message:")
    parts.append("\n".join(f"- `{name}`: {words}" for name, words in results.acknowledged.items()))
    for name in drawn:
        parts.append(f"![{name.removesuffix('.svg')}]({os.path.relpath(os.path.join(directory, name), beside)})")
    for workload in results.workloads:
        parts.append(f"### {workload}: {WORKLOADS[workload].what}")
        parts.append(tables.as_markdown(tables.rows(results, workload)))
        remarks = tables.remarks(results, workload)
        if remarks:
            parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def _machine(session, runs):
    loads = [run["load_average"] for run in runs]
    commit = session["commit"][:12] + (", changed" if session["changed"] else "")
    return (
        f"Measured {session['session']}, commit {commit}: {session['cores']} cores ({session['cpu']}), "
        f"{session['memory_bytes'] / (1 << 30):.0f} GiB, Linux {session['kernel']} {session['arch']}, "
        f"{session['data_file_system']}; load average as a measurement began {min(loads):.1f}..{max(loads):.1f}.\n\n"
        f"```sh\n{' '.join(session['command'])}\n```"
    )


def report(directory, document):
    """Draws the plots again; writes DIRECTORY/report.md, or the part of `document` between the markers."""
    results = Results(directory)
    drawn = plots.draw_all(results, directory)
    if document is None:
        with open(os.path.join(directory, "report.md"), "w") as file:
            file.write(markdown(results, directory, drawn, directory))
        return os.path.join(directory, "report.md")
    insert(document, BEGIN, END, markdown(results, directory, drawn, os.path.dirname(os.path.abspath(document))))
    return document


def insert(document, begin, end, part):
    """Puts `part` between two markers of a document, in place of what is there."""
    with open(document) as file:
        text = file.read()
    first, last = text.find(begin), text.find(end)
    if first < 0 or last < first:
        raise SystemExit(f"{document} has no {begin} ... {end}")
    with open(document, "w") as file:
        file.write(f"{text[: first + len(begin)]}\n{part}{text[last:]}")
