"""Network streams that break, and come back."""

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from PIL import Image

from common.data.sources import camera
from common.data.sources.camera import CameraSource
from tests.support.videos import textured_frames


def jpegs(count: int) -> list[bytes]:
    encoded = []
    for image in textured_frames(count):
        body = io.BytesIO()
        Image.fromarray(image).save(body, "JPEG", quality=90)
        encoded.append(body.getvalue())
    return encoded


@contextmanager
def motion_jpeg_server(bodies: list[bytes], connections: int) -> Iterator[str]:
    """A network camera that sends its pictures and closes; after so many connections it answers no more."""
    answered = iter(range(connections))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if next(answered, None) is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for body in bodies:
                header = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write(header.encode() + body + b"\r\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/camera.mjpg"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(camera, "_FIRST_WAIT", 0.01)


def test_a_bad_picture_in_the_stream_is_left_out(caplog):
    bodies = jpegs(30)
    bodies[12] = bodies[12][:300] + bytes(len(bodies[12]) - 300)
    bodies[20] = np.random.default_rng(0).bytes(len(bodies[20]))
    with motion_jpeg_server(bodies, 1) as url:
        source = CameraSource(url, reconnects=0)
        frames = list(source)
    assert len(frames) >= 28
    assert any("frames damaged and left out" in reason for _, reason in source.skipped)


def test_a_stream_that_breaks_off_is_connected_again(caplog):
    with motion_jpeg_server(jpegs(10), 3) as url, caplog.at_level(logging.WARNING):
        source = CameraSource(url, reconnects=3)
        frames = list(source)
    assert len(frames) == 30 and [frame.index for frame in frames] == list(range(30))
    assert caplog.text.count("broke off; connecting again") >= 3
    assert source.ended == "it broke off, 3 attempts to reconnect failed"
    assert source.skipped[-1][1] == f"the stream ended after 30 frames: {source.ended}"


def test_enough_frames_are_no_fault():
    with motion_jpeg_server(jpegs(10), 1) as url:
        source = CameraSource(url, max_frames=4)
        assert len(list(source)) == 4
    assert source.skipped == [] and source.ended == "the 4 frames that were asked for were taken"


class StutteringCamera:
    """Gives a frame two times out of three, ten in all."""

    def __init__(self, _: object):
        self.calls = 0

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        self.calls += 1
        return self.calls % 3 != 0 and self.calls < 15

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((4, 6, 3), np.uint8)

    def release(self) -> None:
        pass


def test_a_local_camera_may_stutter(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", StutteringCamera)
    source = CameraSource(0, read_timeout=0.2, reconnects=0)
    assert len(list(source)) == 10
    assert source.skipped[0][1] == "4 of 14 frames damaged and left out"
    assert "broke off" in (source.ended or "")
