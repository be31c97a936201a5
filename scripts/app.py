"""The web application: pictures or a video to a scene to look at and to download.

    python scripts/app.py [server.port=7860] [key=value ...]

Every knob is in ``configs/app.yaml``; the page is ``common/app/pages/application.py``.
"""

from common.command.launch import launch
from common.command.verbs import APP

if __name__ == "__main__":
    launch(APP)
