"""Turn a finished run into a bundle that reads new scans without torch.

python scripts/export.py run_dir=RUN out=BUNDLE
"""

from pathlib import Path

import installed  # noqa: F401 (it says what is missing)
from omegaconf import DictConfig

from fmnet.config.entry import build, run_script, show
from fmnet.export.export import export_run

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def work(config: DictConfig) -> None:
    exported = export_run(**build(config))
    agreement = exported.agreement
    agreed = (
        f"over {agreement.n_scans} scans, scores differ from the trained network by at most "
        f"{agreement.onnx:.1e} (ONNX Runtime) and {agreement.torch_export:.1e} (torch.export)"
    )
    unknown = [exported.unknown] if exported.unknown else []
    signed = [f"signed by the key {exported.signed_by}"] if exported.signed_by else []
    show([exported.choice.line, exported.known, agreed, *unknown, *signed, config.out])


if __name__ == "__main__":
    run_script(work, CONFIGS, "export", export_run)
