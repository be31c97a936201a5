"""The live service: frames from a message broker in, poses, points and meshes out.

Needs the extra ``service`` (``pip install slam3r-uni3r[service]``). `slam3r.service.client` is for other programs.
"""
