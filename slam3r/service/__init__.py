"""The live service: frames from a message broker in, poses, points and meshes out.

Needs the extra ``service`` (``bash scripts/setup.sh service``). `slam3r.service.client` is for other programs.
"""
