"""`OnnxNetwork`: a bundle's network, looked through before it is loaded, and run within bounds.

A bundle may come from anywhere, and ONNX is a language: its programs can name other files of the
machine, loop for ever, call code that isn't there and ask for any amount of memory. What fmnet
exports does none of it, so whatever does is refused, and what is left is run with limits.
"""

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.errors import BundleError
from fmnet.inference.bundle_files import refuse

#: What the output is called that says what scans are like, and most numbers of it for each.
FEATURES, MAX_FEATURES = "features", 256
#: Where operators may come from: the standard, by either of its names.
DOMAINS = {"", "ai.onnx"}
#: Operators that run a part of the program again and again.
LOOPS = {"Loop", "Scan", "SequenceMap"}
#: Operators that give something else each time.
CHANCE = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
#: Most nodes of a program, fields of its messages, axes of a tensor, and branches within branches.
MAX_NODES, MAX_FIELDS, MAX_AXES, MAX_DEPTH = 10_000, 300_000, 64, 8
#: What running one input may take: so much, and so much more for each byte of the input.
MEMORY_BYTES, MEMORY_PER_BYTE = 512 * 2**20, 256
SECONDS, SECONDS_PER_BYTE = 10.0, 4e-6
#: How long after its time a program may still be in one of its operators before all is given up.
GRACE_SECONDS = 10.0

#: Fields of ONNX's messages (onnx.proto) in which programs, operators and tensors lie.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor",
                  23: "sparse tensor"},
    "tensor": {1: "size", 13: "external", 14: "location"},
}  # fmt: skip
#: What no bundle holds.
REFUSED = {
    "training": "a training program",
    "function": "functions of its own",
    "sparse tensor": "sparse tensors",
    "external": "values that lie in another file",
}


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network in ONNX Runtime, on the CPU.

    It gives one score for each input or, where `n_scores` is set, so many. `give_up` ends the
    program; it is called with the reason, from another thread, where one operator alone takes far
    too long, which nothing else can interrupt.
    """

    folder: Path
    session: ort.InferenceSession
    give_up: Callable[[BundleError], None] | None = None
    n_scores: int | None = None

    @property
    def gives_features(self) -> bool:
        """Whether it says what scans are like, too: bundles of before don't."""
        return FEATURES in [node.name for node in self.session.get_outputs()]

    def score(self, name: str, images: FloatArray) -> NDArray[np.float32]:
        """Run it on N inputs to raw scores, (N,), or (N, K) where `n_scores` is set.

        Raises
        ------
        BundleError
            If it fails, takes more time or memory than networks do, or gives something else.
        """
        return self.scores_and_features(name, images)[0]

    def scores_and_features(
        self, name: str, images: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run it on N inputs to raw scores, as `score` does, and to features, (N, F).

        Where it gives none, F is 0.

        Raises
        ------
        BundleError
            As there.
        """
        allowed = SECONDS + SECONDS_PER_BYTE * images.nbytes
        slow = refuse(self.folder, f"a network that takes more than {allowed:.0f} s for one input")
        options = ort.RunOptions()
        options.log_severity_level = 4  # what fails is said once, by the error
        timers = [threading.Timer(allowed, lambda: setattr(options, "terminate", True))]
        if self.give_up is not None:
            timers.append(threading.Timer(allowed + GRACE_SECONDS, self.give_up, [slow]))
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            with limited_memory(MEMORY_BYTES + MEMORY_PER_BYTE * images.nbytes):
                asked = ["score", FEATURES] if self.gives_features else ["score"]
                scores, *further = self.session.run(asked, {name: images}, options)
        except Exception as error:  # ONNX Runtime raises types of its own
            if options.terminate:
                raise slow from error
            text = f"a network that can't be run ({_first_line(error)})"
            raise refuse(self.folder, text) from error
        finally:
            for timer in timers:
                timer.cancel()
        found = np.asarray(scores)
        wanted: tuple[int, ...] = (len(images),)
        if self.n_scores is not None:
            # a single score may stand without an axis of its own
            found = found[:, None] if self.n_scores == 1 and found.ndim == 1 else found
            wanted = (*wanted, self.n_scores)
        if found.shape != wanted:
            text = f"a network that gives an array of shape {found.shape} for {len(images)} inputs"
            raise refuse(self.folder, text)
        features = np.asarray(further[0] if further else np.empty((len(images), 0)))
        if features.ndim != 2 or len(features) != len(images) or features.shape[1] > MAX_FEATURES:
            text = f"a network with features of shape {features.shape} for {len(images)} inputs"
            raise refuse(self.folder, text)
        return found.astype(np.float32), features.astype(np.float32)


def load_network(
    content: bytes,
    folder: Path,
    give_up: Callable[[BundleError], None] | None = None,
    n_scores: int | None = None,
) -> OnnxNetwork:
    """Load a network from the content of ``model.onnx``, which is looked through beforehand.

    Raises
    ------
    BundleError
        If it is no ONNX, or holds what bundles don't: see `check_program`.
    """
    try:
        check_program(content)
    except ValueError as error:
        raise refuse(folder, f"a part that can't be read (model.onnx, with {error})") from error
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # else bytes may be of a second format, which is not looked through
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.enable_cpu_mem_arena = False  # what one input took is given back before the next
    try:
        session = ort.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["ConstantFolding"],  # which runs operators, without any limit
        )
    except Exception as error:  # ONNX Runtime raises types of its own for a model it can't load
        text = f"a part that can't be read (model.onnx: {_first_line(error)})"
        raise refuse(folder, text) from error
    return OnnxNetwork(folder, session, give_up, n_scores)


def check_program(content: bytes) -> None:
    """Look through an ONNX program for what no bundle holds, without running any of it.

    Every occurrence of a field counts, also those that a later one would replace.

    Raises
    ------
    ValueError
        If it is no ONNX, or holds values in other files, operators beyond the standard, functions
        of its own, loops, tensors of more elements than there are values, or more nodes than
        networks have; in words for the end of a sentence.
    """
    n_nodes, n_fields = 0, 0
    waiting = [("model", memoryview(content), 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        n_nodes += kind == "node"
        if n_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_NODES:,} nodes, or {MAX_DEPTH} branches in branches")
        sizes: list[int] = []
        for number, value in _fields(message):
            n_fields += 1
            if n_fields > MAX_FIELDS or len(sizes) > MAX_AXES:
                raise ValueError(f"more than {MAX_FIELDS:,} fields, or {MAX_AXES} axes")
            part = MESSAGES[kind].get(number, "")
            if part == "size":
                sizes += [value] if isinstance(value, int) else _varints(value[: 10 * MAX_AXES])
            elif part in MESSAGES and not isinstance(value, int):
                waiting.append((part, value, depth + (part == "graph")))
            else:
                _check_value(part, value)
        # a value takes a bit at least
        if math.prod(sizes) > max(8 * len(message), 1):
            raise ValueError("a tensor of more elements than it has values")


def _check_value(part: str, value: int | memoryview) -> None:
    """Refuse what stands in a field that holds no further fields."""
    if part in REFUSED:
        raise ValueError(REFUSED[part])
    if part == "location" and value != 0:
        raise ValueError(REFUSED["external"])
    text = "" if isinstance(value, int) else bytes(value[:200]).decode("utf-8", "replace")
    if part == "operator" and text in LOOPS:
        raise ValueError(f"a loop (operator {text})")
    if part == "operator" and text in CHANCE:
        raise ValueError(f"scores by chance (operator {text})")
    if part == "domain" and text not in DOMAINS:
        raise ValueError(f"operators that are no part of ONNX (of '{text}')")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Read a protobuf message field by field; raises ValueError where it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        size = {1: 8, 5: 4}.get(wire, -1)
        if wire == 2:
            size, at = _varint(message, at)
        if size < 0 or at + size > len(message):
            raise ValueError("fields cut short or of no kind that ONNX has")
        yield key >> 3, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return numbers


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; returns it and where the next field begins."""
    number = 0
    for n_bytes in range(10):
        if at + n_bytes >= len(message):
            break
        byte = message[at + n_bytes]
        number |= (byte & 127) << (7 * n_bytes)
        if byte < 128:
            return number, at + n_bytes + 1
    raise ValueError("a number cut short, which is no ONNX")


#: Threads take turns, since the limit is the whole process's.
_LIMITING = threading.Lock()


@contextmanager
def limited_memory(n_bytes: int) -> Iterator[None]:
    """Let the process take at most so much more memory than it holds; on Linux alone."""
    if sys.platform != "linux":
        yield
        return
    import resource  # there is none on Windows

    with _LIMITING:
        before = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limits = [held + n_bytes, *(limit for limit in before if limit != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
