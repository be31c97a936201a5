"""Report of the installation: what is present, slow or missing, and the command that repairs it.

    python scripts/doctor.py            a table
    python scripts/doctor.py --json     the same for programs
    python scripts/doctor.py --check    only whether the packages load; one line per fault (used by setup.sh)

The checkout is made importable here, as the installation that is examined may lack even this code.
"""

import site
import sys
from pathlib import Path

site.addsitedir(str(Path(__file__).resolve().parents[1]))

from common.command.doctor.main import main

sys.exit(main(sys.argv[1:]))
