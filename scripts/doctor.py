"""Report of the installation: what is present, slow or missing, and the command that repairs it.

    python scripts/doctor.py            a table
    python scripts/doctor.py --json     the same for programs
    python scripts/doctor.py --check    only whether the packages load; one line per fault (used by setup.sh)

The module is run by its path, as the installation that it examines may lack even this code.
"""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parents[1] / "common" / "command" / "doctor.py"), run_name="__main__")
