"""What the BIDS validator says of a folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "bids-validator-deno"


def bids_errors(folder):
    """List the errors, not the warnings, as code and file; skip where the validator can't run."""
    beside = Path(sys.executable).parent / NAME
    command = str(beside) if beside.exists() else shutil.which(NAME)
    if command is None:
        pytest.skip(f"no {NAME}: pip install 'fmnet[dev]'")
    given = [command, str(folder), "--format", "json"]
    done = subprocess.run(given, capture_output=True, text=True, timeout=120, check=False)
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError):
        pytest.skip(f"{NAME} could not be run: {done.stderr.strip()[:200]}")
    return [(one["code"], one.get("location")) for one in issues if one["severity"] == "error"]
