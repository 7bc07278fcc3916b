#!/usr/bin/env python3
"""Fills the tables of a document from the suites' results: `report.py --faults R.json --failover F.json --into DOC.md`.

A table takes the place of what stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`, NAME being `cluster
faults` or `cluster failover`. Without --into the tables are printed.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import Any


def fault_table(whole: dict[str, Any], titles: dict[str, str]) -> str:
    shape = whole["shape"]
    seeds = ", ".join(str(seed) for seed in whole["seeds"])
    lines = [
        f"{whole['date']}, commit {whole['commit']}, {whole['machine']}, a round for each of the seeds {seeds}: "
        f"{shape['membership']} membership, {shape['frontend']} frontend, {shape['history']} history and "
        f"{shape['matching']} matching processes, {shape['cassandra']} Cassandra nodes (RF 3, Paxos {shape['paxos']}, "
        f"commit log {shape['commitlog']}); {whole['seconds']} s.",
        "",
        "| fault | rounds | workflows | runs | signals acknowledged, unknown | timers | tasks timed out | problems |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(wave["fault"] for wave in whole["waves"]):
        waves = [wave for wave in whole["waves"] if wave["fault"] == name]

        def total(key: str) -> int:
            return sum(wave[key] for wave in waves)

        problems = sum(len(wave["problems"]) for wave in waves)
        lines.append(
            f"| {titles.get(name, name)} | {len(waves)} | {total('workflows')} | {total('runs')} | "
            f"{total('signals_acknowledged')}, {total('signals_unknown')} | {total('timers_fired')} | "
            f"{total('workflow_tasks_timed_out')} | {problems} |"
        )
    return "\n".join(lines)


def failover_table(whole: dict[str, Any]) -> str:
    titles = {"sigkill": "SIGKILL", "sigstop": "SIGSTOP", "partition": "cut off from everyone", "drain": "SIGTERM: drained"}
    lines = [
        f"Seed {whole['seed']}.",
        "",
        "| one of the history processes | times | its shards | p50 | p95 | longest | probes | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in whole["rows"]:
        lines.append(
            f"| {titles[row['kind']]} | {row['times']} | {row['shards']} | {row['p50_s']} s | {row['p95_s']} s | "
            f"{row['max_s']} s | {row['probes']} | {row['failed']} |"
        )
    return "\n".join(lines)


def fault_titles() -> dict[str, str]:
    """What faults.py says of each, without importing it."""
    text = (pathlib.Path(__file__).resolve().parent / "faults.py").read_text()
    return dict(re.findall(r'@fault\("([^"]+)", "([^"]+)"\)', text))


def fill(document: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in document or end not in document:
        sys.exit(f"the document has no {begin} … {end}")
    before, _, rest = document.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=pathlib.Path)
    parser.add_argument("--failover", type=pathlib.Path)
    parser.add_argument("--into", type=pathlib.Path)
    arguments = parser.parse_args()
    tables = {}
    if arguments.faults:
        tables["cluster faults"] = fault_table(json.loads(arguments.faults.read_text()), fault_titles())
    if arguments.failover:
        tables["cluster failover"] = failover_table(json.loads(arguments.failover.read_text()))
    if not arguments.into:
        print("\n\n".join(tables.values()))
        return
    document = arguments.into.read_text()
    for name, table in tables.items():
        document = fill(document, name, table)
    arguments.into.write_text(document)


if __name__ == "__main__":
    main()
