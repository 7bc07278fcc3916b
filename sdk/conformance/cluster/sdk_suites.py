"""The Python and Go SDK suites against a whole cluster: what holds for one process holds for many."""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SUITES = HERE.parent
sys.path.insert(0, str(HERE.parents[2] / "deploy" / "dev-cluster"))

from processes import LocalCluster, Shape  # noqa: E402


def commands(names: list[str]) -> list[tuple[str, list[str], pathlib.Path]]:
    workers = os.environ.get("CONFORMANCE_WORKERS", "4")
    python = [sys.executable, "-m", "pytest", "-n", workers, "--dist", "worksteal", "-p", "no:cacheprovider"]
    go = ["go", "test", "-count=1", "-parallel", "8", "-timeout", "900s", "./..."]
    every = [("python", python, SUITES / "python"), ("go", go, SUITES / "go")]
    return [one for one in every if one[0] in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--suites", nargs="+", choices=["python", "go"], default=["python", "go"])
    parser.add_argument("more", nargs="*", help="arguments for the suites, after --")
    arguments = parser.parse_args()
    cluster = LocalCluster(arguments.binary, arguments.folder, Shape(proxied=False))
    failed = []
    try:
        cluster.start()
        environment = dict(os.environ, OUTLAST_ADDRESS=cluster.frontends[0])
        for name, command, where in commands(arguments.suites):
            if subprocess.run(command + arguments.more, cwd=where, env=environment).returncode != 0:
                failed.append(name)
        failed += [process.name for process in cluster.processes.values() if not process.alive()]
        failed += [f"{name} (exit code {code})" for name, code in cluster.stop().items() if code != 0]
    finally:
        cluster.end()
    if failed:
        sys.exit(f"cluster-sdk: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
