"""Which outlast binary the scripts of this repository start."""

from __future__ import annotations

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def binary() -> str:
    """$OUTLAST_BIN, or else the newest that cargo built."""
    named = os.environ.get("OUTLAST_BIN")
    if named:
        if not os.access(named, os.X_OK):
            sys.exit(f"OUTLAST_BIN is {named!r}, which is not an executable file")
        return named
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = [path for path in (target / kind / "outlast" for kind in ("release", "debug")) if path.exists()]
    if not found:
        sys.exit(f"no outlast binary in {target}: build it (cargo build --bins) or set OUTLAST_BIN")
    return str(max(found, key=lambda path: path.stat().st_mtime))
