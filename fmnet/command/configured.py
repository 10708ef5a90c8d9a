"""Commands whose settings are a configuration: train, evaluate, export, pretrain."""

import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnet.command.help import write_help
from fmnet.config.entry import build, run_configured, show
from fmnet.config.primary import PRIMARIES


def train(arguments: list[str]) -> int:
    """Cross-validate a network beside its baselines and train the final models."""
    return _run("train", _train, arguments)


def evaluate(arguments: list[str]) -> int:
    """Score the people set aside in a lock-box, once."""
    return _run("evaluate", _evaluate, arguments)


def export(arguments: list[str]) -> int:
    """Turn a finished run into a bundle that reads new scans without torch."""
    return _run("export", _export, arguments)


def pretrain(arguments: list[str]) -> int:
    """Pretrain the default network on simulated cohorts."""
    return _run("pretrain", partial(_pretrain, arguments), arguments)


def _run(name: str, work: Callable[..., None], arguments: list[str]) -> int:
    return run_configured(work, PRIMARIES[name], arguments, helping=partial(write_help, name))


def _train(config: DictConfig, run_study: Callable[..., list[str]]) -> None:
    lines = run_study(**build(config), config_yaml=OmegaConf.to_yaml(config, resolve=True))
    if lines:  # one of the processes that share trainings has them
        show(lines)


def _evaluate(config: DictConfig, evaluate_lockbox: Callable[..., list[str]]) -> None:
    show(evaluate_lockbox(**build(config)))


def _export(config: DictConfig, export_run: Callable[..., Any]) -> None:
    exported = export_run(**build(config))
    agreement = exported.agreement
    agreed = (
        f"over {agreement.n_scans} scans, scores differ from the trained network by at most "
        f"{agreement.onnx:.1e} (ONNX Runtime) and {agreement.torch_export:.1e} (torch.export)"
    )
    unknown = [exported.unknown] if exported.unknown else []
    signed = [f"signed by the key {exported.signed_by}"] if exported.signed_by else []
    told = [*unknown, *signed, *exported.logged]
    show([exported.choice.line, exported.known, agreed, *told, config.out])


def _pretrain(
    arguments: list[str], config: DictConfig, run_pretraining: Callable[..., list[str]]
) -> None:
    text = OmegaConf.to_yaml(config, resolve=True)
    # where the files lie is left out: it is no part of what makes the weights
    said = [one for one in arguments if not one.startswith(("run_dir=", "resume="))]
    command = shlex.join(["fmnet", "pretrain", *said])
    show(run_pretraining(**build(config), config_yaml=text, command=command))
