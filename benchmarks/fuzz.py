"""Feed readers with bytes that atheris alters, guided by which lines of fmnet they reach.

python -m benchmarks.fuzz headers|tables|bundles [--seconds 3600] [--out FOLDER]

Atheris comes with ``pip install -e .[dev]``. A crash is whatever a reader raises that is no
`FmnetError`, more than 5 s of the processor (or 60 s of the clock), and more than 1 GB of memory.
Each is written once, by where it was raised, to ``OUT/TARGET/crashes``: the input, and beside it
what came. ``OUT/TARGET/inputs`` holds those that reached something new, from which a later call
goes on. In the end stands how many inputs were tried, what they reached and how many crashed.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

TARGETS = ("headers", "tables", "bundles")
LIMIT_S, HANG_S, MEMORY_MB = 5.0, 60, 1000
#: What is watched, and the longest input.
WATCHED, MAX_LENGTH = ["fmnet", "nibabel"], 1 << 14
#: Strings that atheris puts into inputs.
WORDS = (
    "participant_id", "contrast", "path", "space", "group", "n/a", "NaN", "Infinity", "null", "1e999",
    "MNI152", "sub-01", "framewise_displacement", "RepetitionTime", "format_version", "training",
)  # fmt: skip
#: Of libFuzzer's lines: ``#123 NEW cov: 1 ft: 2 corp: 3/4b``, and its count in the end.
REACHED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
COUNTED = re.compile(r"^#(\d+)\s", re.MULTILINE)


class Watch:
    """Feeds one reader after the other, and writes down what crashes.

    Parameters
    ----------
    target : Target
        See `benchmarks.fuzz_targets`.
    folder : Path
        For crashes.
    """

    def __init__(self, target: Any, folder: Path) -> None:
        self.target, self.folder = target, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.most_mb = peak_mb() + MEMORY_MB

    def feed(self, data: bytes) -> None:
        """Feed one input."""
        started = time.process_time()
        try:
            self.target.feed(data)
        except Exception as error:  # noqa: BLE001 (all that comes is what is looked for)
            frame = traceback.extract_tb(error.__traceback__)[-1]
            said = "".join(traceback.format_exception(error))
            self._keep(
                data, f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}", said
            )
        if (seconds := time.process_time() - started) > LIMIT_S:
            self._keep(data, f"hang-{data[0]}", f"{seconds:.1f} s")
        if (found := peak_mb()) > self.most_mb:
            self._keep(data, f"memory-{data[0]}-{found:.0f}", f"{found - self.most_mb:.0f} MB more")
            self.most_mb = found + 100

    def _keep(self, data: bytes, name: str, said: str) -> None:
        if not (self.folder / name).exists():
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(said, "utf-8", "backslashreplace")


def peak_mb() -> float:
    """Read the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris  # only here: tests of the targets do without

    with atheris.instrument_imports(include=WATCHED):
        targets = import_module("benchmarks.fuzz_targets")
    fast = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="fmnet-fuzz-", dir=fast if fast.is_dir() else None))
    target = targets.build_target(name, place / name)
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (inputs / f"seed-{number:02d}").write_bytes(seed)
    watch = Watch(target, folder / "crashes")

    def alter(data: bytes, max_size: int, seed: int) -> bytes:
        """Alter an input as its format allows, or as libFuzzer does."""
        return (target.mutate(data, seed) if seed % 2 else atheris.Mutate(data, max_size))[
            :max_size
        ]

    atheris.Setup([sys.argv[0], *options, str(inputs)], watch.feed, custom_mutator=alter)
    atheris.Fuzz()


def fuzz(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Fuzz one target for a time, anew where the process dies; count what came."""
    folder.mkdir(parents=True, exist_ok=True)
    words = folder / "words.txt"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    until = time.monotonic() + seconds
    counts = {
        "target": name,
        "seconds": 0.0,
        "inputs": 0,
        "reached": 0,
        "features": 0,
        "kept": 0,
        "deaths": 0,
    }
    while (left := until - time.monotonic()) > 1:
        options = [
            f"-max_total_time={left:.0f}", f"-timeout={HANG_S}", "-rss_limit_mb=4000",
            f"-max_len={MAX_LENGTH}", f"-dict={words}", f"-artifact_prefix={folder}/crashes/died-",
            "-print_final_stats=1", "-verbosity=1",
        ]  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "benchmarks.fuzz",
            name,
            "--out",
            str(folder.parent),
            "--work",
            *options,
        ]
        started = time.monotonic()
        with (folder / "log.txt").open("w") as log:
            code = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        said = (folder / "log.txt").read_text("utf-8", "replace")
        tried = [int(count) for count in COUNTED.findall(said)]
        if not tried:
            raise SystemExit(f"no start:\n{said[-2000:]}")
        counts["inputs"] += max(tried)
        counts["seconds"] += round(time.monotonic() - started)
        for key, values in zip(
            ("reached", "features", "kept"), zip(*REACHED.findall(said), strict=True), strict=True
        ):
            counts[key] = max(counts[key], *map(int, values))
        if code:
            counts["deaths"] += 1
            (folder / f"died-{counts['deaths']}.txt").write_text(said[-20_000:])
    crashes = sorted(path.name for path in (folder / "crashes").glob("*") if path.suffix != ".txt")
    return counts | {"crashes": crashes}


def main(arguments: list[str] | None = None) -> None:
    """Fuzz what the command line names; print counts as JSON, and fail where anything crashed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--out", type=Path, default=Path("outputs/fuzz"))
    parser.add_argument("--work", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    folder = asked.out / asked.target
    if asked.work is not None:
        work(asked.target, folder, asked.work)
        return
    counts = fuzz(asked.target, asked.seconds, folder)
    print(json.dumps(counts, indent=2))
    if counts["crashes"] or counts["deaths"]:
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
