"""The application without a browser: what visitors may give, what they get, what they cannot reach, what is cleaned."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="comes with the extra app")
pytest.importorskip("trimesh", reason="comes with the extra app")

from starlette.testclient import TestClient

from common.app.contract import Before, Cancelled, Cloud, Option, Outcome, PosedFrame, Watcher
from common.app.inputs import FILES, FOLDER, SAMPLE, next_step, open_input, plain_sentence
from common.app.jobs import INTERNAL, Job
from common.app.levels import levels_by_share
from common.app.packing import Drawn, pack
from common.app.pages.actions import Actions
from common.app.pages.controls import option_values, ordered_options
from common.app.scenes import SceneStore
from common.app.server import make_server
from common.app.settings import Limits
from common.errors import InputError
from common.export.ply import read_ply
from slam3r.app import Slam3rSystem
from tests.support.tiny_scene import photos, save_weights

LIMITS = Limits(files=20, megabytes=5)


class Stub:
    """A system whose runs are steered by the test."""

    name = "Stub"
    models = ("one",)
    options = (Option("depth", "Depth", "", 3, "whole", 0, 9), Option("fine", "Fine", "", True, "switch", basic=True))

    def __init__(self) -> None:
        self.goes_on, self.started = threading.Event(), threading.Event()
        self.fault: Exception | None = None
        self.asked: dict[str, Any] = {}

    def run(self, source: Any, model: str, values: dict[str, Any], watcher: Watcher) -> Outcome:
        self.asked = {"model": model, **values}
        self.started.set()
        while not self.goes_on.is_set():
            watcher.report("waiting", 1, 2)
            time.sleep(0.01)
        if self.fault:
            raise self.fault
        confidence = np.arange(1000, dtype=np.float32) / 100
        points = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
        frame = PosedFrame("a.png", 0.0, np.eye(4), np.eye(3), (10, 10))
        return Outcome(
            Cloud(points, np.full((1000, 3), 90, np.uint8), confidence), [frame], levels_by_share(confidence, 0.5)
        )


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def scenes(tmp_path: Path) -> SceneStore:
    return SceneStore(tmp_path / "scenes")


@pytest.fixture
def actions(stub: Stub, scenes: SceneStore) -> Actions:
    return Actions([stub], scenes, LIMITS)


def run(actions: Actions, token: str, kind: str = SAMPLE, uploads: list[str] | None = None) -> Iterator[tuple]:
    return actions.run(token, kind, uploads, None, 3, "Stub", "one", True, 4)


def test_a_run_reports_then_gives_its_results(actions: Actions, stub: Stub) -> None:
    token, view, _ = actions.begin(None)
    assert token in view
    steps = run(actions, token)
    assert "<progress" in next(steps)[0]
    stub.goes_on.set()
    *_, last = steps
    assert "1,000 points" in last[0] and last[2]["value"] == 50 and last[2]["maximum"] == 100
    assert not last[3]["visible"], "there is nothing before refinement to look at"
    assert stub.asked == {"model": "one", "fine": True, "depth": 4}


def test_files_hold_the_chosen_share_of_the_points_without_another_run(actions: Actions, stub: Stub) -> None:
    token = actions.begin(None)[0]
    stub.goes_on.set()
    list(run(actions, token))
    stub.started.clear()
    for share, count in ((50, 500), (20, 200)):
        said, files = actions.write_files(token, share)
        assert str(count) in said
        ply = next(file for file in files if file.endswith("points.ply"))
        assert len(read_ply(ply).points) == count
    assert not stub.started.is_set()


def test_cancel_stops_a_run_and_the_next_one_works(actions: Actions, stub: Stub, scenes: SceneStore) -> None:
    token = actions.begin(None)[0]
    steps = run(actions, token)
    next(steps)
    actions.cancel(token)
    assert "Cancelled" in list(steps)[-1][0]
    scene = scenes.find(token)
    assert scene is not None and not scene.running, "the view does not wait for more"
    assert "no finished" in actions.write_files(token, 1)[0]
    stub.goes_on.set()
    assert "Done" in list(run(actions, token))[-1][0]


def test_cancel_in_the_queue_counts_and_only_once(actions: Actions, stub: Stub) -> None:
    token = actions.begin(None)[0]
    actions.cancel(token)
    assert "Cancelled" in list(run(actions, token))[-1][0] and not stub.started.is_set()
    actions.begin(token)
    stub.goes_on.set()
    assert "Done" in list(run(actions, token))[-1][0]


def test_a_mesh_is_made_once_for_the_view_and_can_be_taken_home(actions: Actions, stub: Stub) -> None:
    token = actions.begin(None)[0]
    assert "no finished" in list(actions.show(token, "Mesh", 100))[-1][0]
    stub.goes_on.set()
    list(run(actions, token))
    assert "triangles" in list(actions.show(token, "Mesh", 100))[-1][0]
    assert len(list(actions.show(token, "Mesh", 100))) == 1, "there is one already"
    assert any(file.endswith("mesh.glb") for file in actions.write_files(token, 100)[1])


def test_a_visitor_who_leaves_stops_the_run_and_leaves_nothing(
    actions: Actions, stub: Stub, scenes: SceneStore
) -> None:
    token = actions.begin(None)[0]
    steps = run(actions, token)
    next(steps)
    scene = scenes.find(token)
    assert scene is not None and scene.folder.is_dir()
    scenes.drop(token)
    list(steps)
    assert not scene.folder.exists() and scenes.find(token) is None
    assert "over" in next(run(actions, token))[0]


def test_errors_are_a_sentence_and_faults_of_the_program_do_not_show(actions: Actions, stub: Stub) -> None:
    token = actions.begin(None)[0]
    stub.goes_on.set()
    stub.fault = InputError("the pictures are <b>blank</b>")
    said = list(run(actions, token))[-1][0]
    assert 'role="alert"' in said and "The pictures are &lt;b&gt;blank" in said
    stub.fault = KeyError("/secret/path")
    said = list(run(actions, token))[-1][0]
    assert "/secret" not in said and INTERNAL.split(";")[0] in said


def test_visitors_have_scenes_of_their_own(scenes: SceneStore) -> None:
    first, second = scenes.add(), scenes.add()
    one, other = scenes.find(first), scenes.find(second)
    assert one is not None and other is not None and one.folder != other.folder
    assert len(first) >= 32 and first != second and scenes.find("guess") is None


def test_forgotten_visitors_are_removed(tmp_path: Path) -> None:
    scenes = SceneStore(tmp_path, hours=1e-9)
    token = scenes.add()
    time.sleep(0.01)
    scenes.add()
    assert scenes.find(token) is None


def test_what_visitors_may_give(tmp_path: Path) -> None:
    pictures = [str(path) for path in sorted(photos(tmp_path / "photos").iterdir())]
    with open_input(FOLDER, pictures, 3, LIMITS) as source:
        assert [frame.name for frame in source] == [f"photo{i}.png" for i in range(12)], "photo10 is after photo9"
    with open_input(SAMPLE, None, 3, LIMITS) as source:
        assert source.length and source.length >= 10
    text, video, large = tmp_path / "a.txt", tmp_path / "a.mp4", tmp_path / "b.png"
    text.write_text("no picture")
    video.write_bytes(b"")
    large.write_bytes(bytes(6_000_000))
    for uploads, reason in (
        ([], "Choose some pictures"),
        ([str(text)], "neither a picture nor a video"),
        (pictures[:1], "One picture is not enough"),
        ([*pictures, str(video)], "not both"),
        ([*pictures, str(large)], "too large"),
        (pictures * 2, "too many"),
    ):
        with pytest.raises(InputError, match=reason):
            open_input(FILES, uploads, 3, LIMITS)


def test_the_page_says_what_is_chosen_and_what_to_do_next(actions: Actions, stub: Stub, scenes: SceneStore) -> None:
    assert "sample room is chosen" in next_step(SAMPLE, None, None)
    assert "Choose" in next_step(FILES, None, ["a.png"]) and "Choose" in next_step(FOLDER, ["a.png"], [])
    assert next_step(FILES, ["a.png", "b.png"], None).startswith("2 files are chosen")
    assert "One file is" in actions.input_changed(None, FOLDER, None, ["a.mp4"])
    token = actions.begin(None)[0]
    steps = run(actions, token)
    next(steps)
    assert "chosen" not in str(actions.input_changed(token, SAMPLE, None, None)), "the run is reporting"
    stub.goes_on.set()
    list(steps)


def test_sentences_do_not_tell_where_uploads_lie() -> None:
    error = InputError("cannot read /srv/cache/7f/broken.jpg: it ends early")
    assert plain_sentence(error, ["/srv/cache/7f/broken.jpg"]) == "Cannot read broken.jpg: it ends early."


def test_options_go_to_the_system_by_name_and_type(stub: Stub) -> None:
    assert [option.name for option in ordered_options(stub)] == ["fine", "depth"], "basic ones come first"
    assert option_values(stub, [False, 4.0]) == {"fine": False, "depth": 4}


def test_a_job_that_nobody_follows_any_more_ends() -> None:
    watcher, ended = Watcher(), threading.Event()

    def work() -> None:
        try:
            while True:
                watcher.report("working")
                time.sleep(0.005)
        except Cancelled:
            ended.set()
            raise

    steps = iter(Job(work, watcher))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert ended.is_set()


def test_the_viewers_file_holds_what_was_packed() -> None:
    cloud = Cloud(np.eye(3, dtype=np.float32), np.full((3, 3), 7, np.uint8), np.array([1, 2, 3], np.float32))
    before = Before(Cloud(*(column[:2] for column in vars(cloud).values())), np.eye(4)[None])
    data = pack("1.done", Drawn(cloud, np.eye(4)[None], [3.0, 0.5], before=before), final=True)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    assert length % 4 == 0 and header["version"] == "1.done" and header["final"]
    assert header["thresholds"] == [3.0, 0.5]
    np.testing.assert_allclose(header["up"], [0, -1, 0])
    offset, arrays = 4 + length, {}
    for name, kind, shape in header["arrays"]:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(data, kind, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    assert offset == len(data)
    np.testing.assert_array_equal(arrays["points"], np.eye(3))
    assert arrays["colors"].tolist() == [[7, 7, 7, 255]] * 3 and len(arrays["lines"]) == 8
    assert len(arrays["before_points"]) == 2 and len(arrays["before_lines"]) == 8


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    stub = Stub()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # is set by the server; restored afterwards
        with TestClient(make_server([stub], tmp_path_factory.mktemp("server"), LIMITS)) as made:
            yield made


def test_the_page_and_its_viewer_are_served(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    viewer = client.get("/viewer/viewer.html")
    assert "script-src 'self'" in viewer.headers["content-security-policy"]
    for name in ("viewer.js", "orbit.js", "shaders.js"):
        assert "javascript" in client.get(f"/viewer/{name}").headers["content-type"]
        assert "http" not in client.get(f"/viewer/{name}").text, "nothing is loaded from elsewhere"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", str(Path(__file__)), "../../../../etc/passwd", "pyproject.toml", "//etc/passwd", "%2Fetc%2Fpasswd"],
)
def test_no_file_of_the_server_can_be_read(client: TestClient, path: str) -> None:
    for route in ("/gradio_api/file=", "/file=", "/viewer/", "/scene/"):
        answer = client.get(f"{route}{path}")
        assert answer.status_code in (400, 403, 404, 405, 422) or "<title>" in answer.text, (route, path)
        assert "root:" not in answer.text and "importorskip" not in answer.text and "slam3r-uni3r" not in answer.text


def test_a_file_that_was_not_uploaded_cannot_be_given_as_input(client: TestClient) -> None:
    def answer(files: list | None) -> str:
        data = [SAMPLE, files, None, 3, "Stub", "one", True, 4]
        joined = client.post("/gradio_api/call/run", json={"data": data}).json()
        return client.get(f"/gradio_api/call/run/{joined['event_id']}").text

    assert "session is over" in answer(None), "without a file the request is understood"
    stolen = answer([{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}])
    assert "event: error" in stolen and "session is over" not in stolen and "root:" not in stolen


def test_slam3r_through_the_contract(tmp_path: Path) -> None:
    system = Slam3rSystem(models=(str(save_weights(tmp_path / "weights")),), device="cpu", size=(48, 64))
    values = {option.name: option.default for option in system.options} | {"keyframe_stride": 2, "initial_window": 3}
    values["refinement"] = "off"
    uploads = [str(path) for path in photos(tmp_path / "photos").iterdir()]
    watcher = Watcher()
    with open_input(FILES, uploads, 3, LIMITS) as source:
        outcome = system.run(source, system.models[0], values, watcher)
    assert len(outcome.cloud.points) == len(outcome.cloud.confidence) > 1000
    assert outcome.strip and outcome.figures["Keyframe stride"] == "2" and outcome.verdict
    assert outcome.levels.chosen(outcome.cloud.confidence, 100).all() and outcome.before is None
    shown, poses = watcher.grown()
    assert watcher.version == 12 and len(shown.points) > 1000 and len(poses) == len(outcome.frames)
    watcher.cancel()
    with open_input(FILES, uploads, 3, LIMITS) as source, pytest.raises(Cancelled):
        system.run(source, system.models[0], values, watcher)
