"""Cassandra's jars from Maven Central, kept in a cache that all checkouts and all parallel callers share.

The folder appears by one rename, so it is never seen half written. Beside the jars lies an archive of loaded classes
for the JVM at hand, which halves the time that a node needs to start; without it nodes only start more slowly.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

# What is started unless another release is named.
VERSION = "5.0.9"
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>outlast</groupId><artifactId>cassandra-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>%s</version></dependency>
  </dependencies>
</project>
"""


class Unfetched(Exception):
    """The jars are not there and could not be made to be."""


def home(version: str) -> pathlib.Path:
    """Where a release's jars are, or will be: in $OUTLAST_CACHE, unless the cache that CI keeps between runs has them."""
    name = f"cassandra-{version}"
    kept = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "outlast-ci" / name
    named = os.environ.get("OUTLAST_CACHE")
    if named and not (kept / "lib").is_dir():
        return pathlib.Path(named).resolve() / name
    return kept


def java() -> str:
    """The Java that runs the nodes: Cassandra 5.0 accepts 11 and 17, 6.0 accepts 17."""
    named = os.environ.get("JAVA_HOME")
    found = str(pathlib.Path(named) / "bin" / "java") if named else shutil.which("java")
    if not found or not os.access(found, os.X_OK):
        raise Unfetched("no java found: Cassandra needs a JDK 17 on the PATH or in JAVA_HOME")
    return found


@contextlib.contextmanager
def alone(base: pathlib.Path) -> Iterator[None]:
    """One caller at a time; the others wait and then find the work done."""
    base.parent.mkdir(parents=True, exist_ok=True)
    with (base.parent / f"{base.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(version: str) -> pathlib.Path:
    """The folder with a release's jars, downloaded if need be."""
    base = home(version)
    if (base / "lib").is_dir():
        return base
    with alone(base):
        if not (base / "lib").is_dir():
            download(version, base)
    return base


def download(version: str, base: pathlib.Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unfetched("no mvn found: Cassandra's jars come from Maven Central by it (Debian: apt-get install maven)")
    print(f"cassandra: fetching cassandra-all {version} and what it needs into {base}", file=sys.stderr, flush=True)
    base.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="fetch-", dir=base))
    try:
        (work / "pom.xml").write_text(POM % version)
        command = [maven, "-B", "-q", f"{DEPENDENCY_PLUGIN}:copy-dependencies", f"-DoutputDirectory={work / 'lib'}"]
        # A registry that drops a connection should not fail a build: a few tries, then give up.
        for attempt in range(4):
            done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode == 0:
                break
            time.sleep(5 * (attempt + 1))
        else:
            raise Unfetched(f"maven could not fetch cassandra-all {version}:\n{(done.stdout + done.stderr)[-2000:]}")
        (work / "lib").rename(base / "lib")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def class_path(base: pathlib.Path) -> str:
    """Every jar by name: a class archive is only used with the very same path."""
    return ":".join(str(jar) for jar in sorted((base / "lib").glob("*.jar")))


def class_archive(base: pathlib.Path) -> pathlib.Path:
    """Where the archive of loaded classes for this Java lies, whether or not it has been made."""
    real = os.path.realpath(java())
    release = pathlib.Path(real).parent.parent / "release"
    words = release.read_text() if release.exists() else real
    version = next((line.split('"')[1] for line in words.splitlines() if line.startswith("JAVA_VERSION=")), "unknown")
    return base / f"classes-{version}.jsa"
