"""The page that cards and the page of a group share: its style, and that it loads and runs nothing.

No colour stands for good or bad, and none means more than the words beside it.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path

import fmnet
from fmnet.errors import printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import CHECKSUMS, sha256_of
from fmnet.inference.model_card import percent
from fmnet.inference.predict import Request, image_ending
from fmnet.inference.study_results import summary

STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}html{background:#fff}
body{margin:0 auto;max-width:1080px;padding:1.2rem;color:#222;font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:1.8em 0 .4em}h3{font-size:1rem;margin:1em 0 .2em}
p,li,td{overflow-wrap:anywhere}.use{font-weight:600}a{color:#123a7a}
.box{border-left:4px solid #888;background:#f4f4f6;padding:.6em 1em;margin:1em 0}
.box ul{margin:.3em 0}
.mark{border:3px double #222;padding:.6em 1em;margin:1em 0;font-weight:600}
.mark ul{font-weight:400;margin:.3em 0}.answer{font-size:1.3rem;line-height:1.35;margin:.4em 0}
.figures{display:flex;flex-wrap:wrap;gap:.6em 2.5em;margin:.8em 0}.figures>div{max-width:27em}
.figures b{display:block;font-size:1.5rem;line-height:1.3}
.slices{position:relative;display:grid;grid-template-columns:repeat(8,1fr);gap:6px;
align-items:end}
.across{position:absolute;inset:0;display:flex;align-items:center;justify-content:center;
text-align:center;font-weight:700;font-size:1.3rem;transform:rotate(-8deg);
text-shadow:0 0 4px #fff,0 0 8px #fff}
svg{display:block;width:100%;height:auto}svg text{font:9px system-ui,sans-serif;fill:#333}
.bar{max-width:460px;margin:.8em 0}.bar text{font-size:11px}
.strip{max-width:760px}.strip text{font-size:12px}.strip .strong{font-weight:700}
.thin{stroke:#aaa;stroke-width:1}.own{stroke:#000;stroke-width:2}
.dashed{stroke:#000;stroke-width:1;stroke-dasharray:3 3}
.dot{fill:#6b6f76;fill-opacity:.75}.new{fill:#fff;stroke:#000;stroke-width:1.2}
.range0{fill:#9aa0a8}.range1{fill:#d5d8dc}
.key{display:inline-block;width:1.6em;height:.6em;vertical-align:middle;margin:0 .3em 0 .8em}
.key.range0{background:#9aa0a8}.key.range1{background:#d5d8dc}
.narrow{max-width:520px}.figures .bar{width:420px;max-width:100%}
.effect{min-width:130px;max-width:300px}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
td,th{padding:.25em .5em;text-align:left;border-bottom:1px solid #e3e3e6;vertical-align:middle}
.failed td{font-weight:700;border-top:2px solid #222;border-bottom:2px solid #222}
.result{white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th.number{white-space:normal}
small,.small{font-size:.85rem;color:#444}td small{display:block;white-space:normal}
.wide td:first-child{min-width:9em}.wide td:last-child{min-width:13em}
@media(max-width:640px){body{padding:.7rem}.slices{grid-template-columns:repeat(4,1fr)}
.place{display:none}.slices text{font-size:11px}.strip text{font-size:17px}.bar text{font-size:14px}
td,th{padding:.25em .3em}}
@media print{.slices text{font-size:11px}body{max-width:none;padding:0}
tr,.slices,.box,.mark,.figures,svg{break-inside:avoid}
h2,h3{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
#: Nothing is loaded and nothing runs, whatever a name might smuggle in.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def build_page(title: str, parts: Iterable[str]) -> str:
    """Put the parts of a page, HTML that is safe already, under one another."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{safe(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def safe(words: str) -> str:
    """Make text of any origin harmless within a page."""
    return escape(printable(words))


def short_name(scan: str) -> str:
    """Name a scan without its folder and the ending of an image: ``sub-01_task-pain_stat-z``."""
    name = Path(scan).name
    return name[: -len(image_ending(Path(name))) or None] or scan


def capital(words: str) -> str:
    """Begin with a capital letter."""
    return f"{words[:1].upper()}{words[1:]}"


def items(lines: Iterable[str]) -> str:
    """List lines of text; empty without any."""
    listed = "".join(f"<li>{safe(line)}</li>" for line in lines if line)
    return f"<ul>{listed}</ul>" if listed else ""


def chance(probability: float) -> str:
    """Write a probability as whole percents; none is 0 or 100 %."""
    return percent(min(max(probability, 0.001), 0.999))


def span(low: float, high: float) -> str:
    """Write an interval of fractions as whole percents: ``31 to 62 %``, ``up to 14 %``."""
    first, last = chance(low), chance(high)
    if first == last:
        return last
    if first.startswith("less"):
        return f"{first} to {last}" if last.startswith("more") else f"up to {last}"
    return (
        f"{first} or more" if last.startswith("more") else f"{first.removesuffix(' %')} to {last}"
    )


def group_names(bundle: Bundle) -> tuple[str, str]:
    """Name the positive and the negative group."""
    training = bundle.metadata["training"]
    return training["positive"], training["negative"]


def known_lines(bundle: Bundle, request: Request) -> list[str]:
    """Say of a signature what no score of it can be read without, a line each."""
    # what the calibration says of itself is not for another base rate, nor beside intervals
    is_meant = bundle.target is None and bundle.unseen is None and request.prevalence is None
    training, target = bundle.metadata["training"], bundle.target
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    told = f"of {target['title']}" if target else " against ".join(group_names(bundle))
    lines = [
        training.get("control") or "",
        f"Signature {told}, trained on {training['n_scans']} scans ({origin})",
        *(f"Beware: {words}" for words in bundle.warnings),
        f"{summary(bundle.evidence)}. {bundle.meaning if is_meant else ''}",
        "" if bundle.signature is None else f"Which regions carry it: {bundle.signature.words}",
    ]
    return [capital(line.strip()) for line in lines if line.strip()]


def origin_line(bundle: Bundle) -> str:
    """Say which bundle of which version a page is by, so that it can be made again."""
    digest = sha256_of(bundle.folder / CHECKSUMS)[:12]
    name = bundle.folder.resolve().name
    return f"fmnet {fmnet.__version__}, bundle {name} (SHA-256 of its list of files: {digest}…)."
