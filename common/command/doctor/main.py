"""Report of the installation: what is present, slow or missing, and the command that repairs it.

    slam3r doctor            a table
    slam3r doctor --json     the same for programs
    slam3r doctor --check    only whether the packages load; one line per fault (used by setup.sh)

Hydra is left out, as it may be what is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from common.command.doctor.finding import SETUP, Finding
from common.command.doctor.machine import check_accelerator, check_system, check_tools
from common.command.doctor.packages import check_optional, check_packages
from common.command.doctor.weights import check_hub, check_weights

COLOURS = {"ok": "green", "slow": "yellow", "missing": "red", "optional": "dim"}


def examine(checks: list[Callable[[], Iterator[Finding]]]) -> list[Finding]:
    """Run the checks; one that fails is reported and does not stop the others."""
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # the doctor must survive whatever ails the patient
            findings.append(Finding(check.__name__.removeprefix("check_"), "missing", f"check failed: {error}", SETUP))
    return findings


def show(findings: list[Finding]) -> None:
    """Print a table, with rich where it loads."""
    rows = [(finding.name, finding.state, finding.text, finding.repair) for finding in findings]
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        for name, state, text, repair in rows:
            print(f"{name:<24} {state:<9} {text}" + (f"   -> {repair}" if repair else ""))
        return
    table = Table("what", "state", "here", "what to do")
    for name, state, text, repair in rows:
        table.add_row(Text(name), Text(state, COLOURS[state]), Text(text), Text(repair))
    Console().print(table)


def main(arguments: Sequence[str]) -> int:
    """Examine and report; 1 when something required is missing, 2 for an argument that there is not."""
    unknown = [argument for argument in arguments if argument not in ("--check", "--json")]
    if unknown:
        is_help = unknown[0] in ("-h", "--help")
        print(
            __doc__ if is_help else f"error: no option {unknown[0]}; there are --check and --json",
            end="\n" * (not is_help),
        )
        return 0 if is_help else 2
    if "--check" in arguments:
        faults = [finding for finding in examine([check_packages]) if finding.state == "missing"]
        for fault in faults:
            print(f"{fault.name}: {fault.text}" + (f": {fault.repair}" if fault.repair else ""), file=sys.stderr)
        return 1 if faults else 0
    findings = examine(
        [check_system, check_packages, check_accelerator, check_optional, check_tools, check_hub, check_weights]
    )
    if "--json" in arguments:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        show(findings)
    return 1 if any(finding.state == "missing" for finding in findings) else 0
