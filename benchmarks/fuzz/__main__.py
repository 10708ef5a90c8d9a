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
import re
import resource
import shutil
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
#: What is watched: fmnet, and what it reads headers with. The longest input.
WATCHED = [
    "fmnet",
    *(f"nibabel.{name}" for name in ("analyze", "nifti1", "nifti2", "spm99analyze", "wrapstruct")),
]
MAX_LENGTH = 1 << 14
#: Strings that libFuzzer puts into inputs.
WORDS = (
    "participant_id", "contrast", "path", "space", "group", "n/a", "NaN", "Infinity", "null",
    "1e999", "MNI152", "sub-01", "framewise_displacement", "RepetitionTime", "format_version",
)  # fmt: skip
#: What libFuzzer says: how many inputs there were; code and features reached, inputs kept.
COUNTED = re.compile(r"^#(\d+)\s", re.MULTILINE)
REACHED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


class Watch:
    """Feeds readers, and writes down what crashes.

    Parameters
    ----------
    target : Target
        See `benchmarks.fuzz.target.Target`.
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
            place = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
            self._keep(data, place, "".join(traceback.format_exception(error)))
        if (seconds := time.process_time() - started) > LIMIT_S:
            self._keep(data, f"hang-{data[0]}", f"{seconds:.1f} s")
        if (found := peak_mb()) > self.most_mb:
            self._keep(data, f"memory-{data[0]}", f"{found - self.most_mb:.0f} MB above the limit")
            self.most_mb = found

    def _keep(self, data: bytes, name: str, said: str) -> None:
        if not (self.folder / name).exists():
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(said, "utf-8", "backslashreplace")


def peak_mb() -> float:
    """Read the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(name: str, folder: Path, place: Path, options: list[str]) -> None:
    """Fuzz one target in this process, which libFuzzer ends; `place` is for files that are read."""
    # not above: tests of what is fuzzed do without
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=WATCHED):
        targets = import_module("benchmarks.fuzz.targets")
    target = targets.build_target(name, place)
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (inputs / f"seed-{number:02d}").write_bytes(seed)

    def alter(data: bytes, max_size: int, seed: int) -> bytes:
        """Alter an input as its format allows, or as libFuzzer does."""
        altered = target.mutate(data, seed) if seed % 2 else atheris.Mutate(data, max_size)
        return bytes(altered[:max_size])

    watch = Watch(target, folder / "crashes")
    atheris.Setup([sys.argv[0], *options, str(inputs)], watch.feed, custom_mutator=alter)
    atheris.Fuzz()


def fuzz(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    """Fuzz one target for a time, anew where the process dies; count what came."""
    folder.mkdir(parents=True, exist_ok=True)
    words, log = folder / "words.txt", folder / "log.txt"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    begun = time.monotonic()
    n_inputs, n_deaths, reached = 0, 0, [0, 0, 0]
    while (left := begun + seconds - time.monotonic()) > 1:
        options = [
            f"-max_total_time={left:.0f}", f"-timeout={HANG_S}", "-rss_limit_mb=4000",
            f"-max_len={MAX_LENGTH}", f"-dict={words}", f"-artifact_prefix={folder}/crashes/died-",
        ]  # fmt: skip
        memory = Path("/dev/shm")
        place = tempfile.mkdtemp(prefix="fmnet-fuzz-", dir=memory if memory.is_dir() else None)
        command = [sys.executable, "-m", "benchmarks.fuzz", name, "--out", str(folder.parent)]
        with log.open("w") as said:
            code = subprocess.run(
                [*command, "--work", place, *options],
                stdout=said, stderr=subprocess.STDOUT, check=False,
            ).returncode  # fmt: skip
        shutil.rmtree(place, ignore_errors=True)
        told = log.read_text("utf-8", "replace")
        if not (tried := COUNTED.findall(told)):
            raise SystemExit(f"no start:\n{told[-2000:]}")
        n_inputs += max(map(int, tried))
        reached = max([reached, *([*map(int, one)] for one in REACHED.findall(told))])
        if code:
            n_deaths += 1
            (folder / f"died-{n_deaths}.txt").write_text(told[-20_000:])
    crashes = [path.name for path in (folder / "crashes").iterdir() if path.suffix != ".txt"]
    return {
        "target": name, "seconds": round(time.monotonic() - begun), "inputs": n_inputs,
        **dict(zip(("code", "features", "kept"), reached, strict=True)),
        "deaths": n_deaths, "crashes": sorted(crashes),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Fuzz what the command line names; write counts as JSON, and fail where anything crashed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--out", type=Path, default=Path("outputs/fuzz"))
    parser.add_argument("--work", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    folder = asked.out / asked.target
    if asked.work:
        work(asked.target, folder, Path(asked.work[0]), asked.work[1:])
        return
    counts = fuzz(asked.target, asked.seconds, folder)
    sys.stdout.write(json.dumps(counts, indent=2) + "\n")
    if counts["crashes"] or counts["deaths"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
