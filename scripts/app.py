"""The web application: pictures or a video to a scene to look at and to download.

    slam3r app [server.port=7860] [key=value ...]        or python scripts/app.py

Every knob is in ``configs/app.yaml``; the page is ``common/app/pages/application.py``.
"""

from common.command.launch import launch
from common.command.verbs import APP

if __name__ == "__main__":
    launch(APP)
