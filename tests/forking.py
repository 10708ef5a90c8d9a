"""A process that has imported what a study needs and forks one for each run that it is asked for.

Each line of its standard input is a run as JSON: ``argv``, ``cwd``, ``env``, and the files that
``stdout`` and ``stderr`` go to. It answers with a line of the exit status.
"""

import json
import os
import runpy
import sys

import captum.attr  # noqa: F401
import monai.networks.nets  # noqa: F401

import fmnet.command.configured
import fmnet.export.export
import fmnet.inference.cli
import fmnet.studies.study  # noqa: F401


def become(run):
    """Take the place of a process that was started with these arguments."""
    os.chdir(run["cwd"])
    os.environ.clear()
    os.environ.update(run["env"])
    for number, (path, mode) in enumerate(
        [(os.devnull, "rb"), (run["stdout"], "wb"), (run["stderr"], "wb")]
    ):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    sys.argv = run["argv"]
    sys.path[0] = os.path.dirname(sys.argv[0])


for line in sys.stdin:
    if child := os.fork():
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
        continue
    become(json.loads(line))
    break
else:
    sys.exit()

# outside of the loop and of functions, as an interpreter that was started with the script would
runpy.run_path(sys.argv[0], run_name="__main__")
