"""Look at a finished result in the browser: points or Gaussians, cameras, mesh, before and after refinement.

    slam3r view OUT [server.port=7860]        or python scripts/view.py

Every knob is in ``configs/view.yaml``. No model is loaded.
"""

from common.command.launch import launch
from slam3r.command.verbs import VIEW

if __name__ == "__main__":
    launch(VIEW)
