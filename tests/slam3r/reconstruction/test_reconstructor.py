"""The streaming machine as its users rely on it: bounded, chunk-proof, honest about what it cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.backbone import ViewStart
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor, SequenceTooShort
from slam3r.reconstruction.events import Buffered, Initialized, Registered
from slam3r.reconstruction.frames import LocalPointmap, WorldPointmap
from slam3r.reconstruction.poses import PoseSolver
from tests.support.parity import fill

SIZES = {
    "encoder_width": 32,
    "encoder_depth": 1,
    "encoder_heads": 2,
    "decoder_width": 32,
    "decoder_depth": 2,
    "decoder_heads": 2,
}
SETTINGS = ReconstructionSettings(
    keyframe_stride=2, window_radius=2, initial_window=3, num_scene_frames=3, buffer_size=5, initial_confidence=0
)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(fill(ImageToPoints(**SIZES), "i2p"), fill(LocalToWorld(**SIZES), "l2w", "l2w/"))


def video(count: int, size: int = 32) -> torch.Tensor:
    """A pattern that drifts, (F, 3, size, size)."""
    steps = torch.arange(size) / size
    phase = torch.arange(count)[:, None, None] / 15
    red = torch.sin(12 * (steps[None, :, None] + phase)).expand(-1, -1, size)
    green = torch.cos(9 * (steps[None, None, :] - phase)).expand(-1, size, -1)
    return torch.stack([red, green, (red * green)], dim=1)


def run(networks: Networks, images: torch.Tensor, settings=SETTINGS, chunk: int = 4):
    events: list = []
    machine = Reconstructor(networks, settings, events.append)
    frames = [f for i in range(0, len(images), chunk) for f in machine.push(images[i : i + chunk])]
    return frames + machine.flush(), machine, events


def test_every_frame_comes_out_once_and_in_order(networks: Networks) -> None:
    frames, _, _ = run(networks, video(23))
    assert [frame.index for frame in frames] == list(range(23))
    assert all(frame.keyframe == (frame.index % 2 == 0) for frame in frames)


def test_state_does_not_grow_with_the_video(networks: Networks) -> None:
    machine = Reconstructor(networks, SETTINGS)
    held = []
    for image in video(150):
        machine.push(image[None])
        held.append(machine.num_held)
    look_ahead = SETTINGS.window_radius * 2
    bound = 2 * look_ahead + SETTINGS.buffer_size + 2 * 2
    assert max(held[30:]) <= bound
    assert held[-1] <= bound


def test_what_depends_on_a_frame_alone_is_computed_once(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, retrieval and registrations share it, and a frame that left the buffering set is not kept for it."""
    started: dict[str, list[int]] = {}
    for name in ("start_sources", "start_references"):
        original, counts = getattr(networks, name), started.setdefault(name, [])

        def counted(tokens: torch.Tensor, *arguments, original=original, counts=counts):
            counts.append(len(tokens))
            return original(tokens, *arguments)

        monkeypatch.setattr(networks, name, counted)
    _, _, events = run(networks, video(40))
    assert sum(started["start_sources"]) == 40
    referenced = {frame for event in events if isinstance(event, Registered) for frame in event.selected}
    founding = {frame for event in events if isinstance(event, Initialized) for frame in event.frames}
    assert sum(started["start_references"]) == len(referenced | founding)


def test_a_frame_is_finished_as_soon_as_its_look_ahead_is_there(networks: Networks) -> None:
    for look_ahead, latest in ((None, 4), (1, 1), (0, 0)):
        machine = Reconstructor(networks, replace(SETTINGS, look_ahead=look_ahead))
        lag = []
        for number, image in enumerate(video(40)):
            for frame in machine.push(image[None]):
                lag.append(number - frame.index)
        # Rounds of one frame at stride 2: nothing waits but for the look-ahead, once the world is founded.
        assert max(lag[10:]) == latest


def test_frames_of_a_backlog_are_finished_one_round_after_the_other(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a frame waits for the batches of windows up to its own, not for those of the frames behind."""
    decoded, local_pointmaps = [0], networks.local_pointmaps

    def counted(references: torch.Tensor, *arguments) -> Pointmaps:
        decoded[0] += len(references)
        return local_pointmaps(references, *arguments)

    monkeypatch.setattr(networks, "local_pointmaps", counted)
    machine = Reconstructor(networks, SETTINGS)
    machine.push(video(4))  # too few to found a world
    decoded[0] = 0
    windows_ahead = [decoded[0] - frame.index for frame in machine.feed(video(44)[4:])]
    assert len(windows_ahead) == 40
    assert max(windows_ahead) <= 2 * SETTINGS.window_batch


def test_frames_between_the_initial_keyframes_are_registered_alone_or_together(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone as published, in a batch; a setting makes it one pass over the references."""
    shapes, register = [], networks.register

    def noted(references: ViewStart, tokens: torch.Tensor, *arguments) -> Pointmaps:
        shapes.append(tuple(tokens.shape[:2]))
        return register(references, tokens, *arguments)

    monkeypatch.setattr(networks, "register", noted)
    first = []
    for together in (1, 5):
        shapes.clear()
        run(networks, video(12), replace(SETTINGS, min_frames_per_round=together))
        first.append(shapes[0])
    assert first == [(2, 1), (1, 2)]  # frames 1 and 3


def test_frames_of_a_round_are_registered_together_and_few_of_them_ask(networks: Networks) -> None:
    """The published round is half a stride; with more, one retrieval and one pass over the references serve several."""
    published = run(networks, video(40))
    together = run(networks, video(40), replace(SETTINGS, min_frames_per_round=5, retrieval_queries=1))
    for (frames, _, events), size, queries in ((published, 1, 1), (together, 5, 1)):
        assert [frame.index for frame in frames] == list(range(40))
        rounds = [event for event in events if isinstance(event, Registered)]
        assert len(rounds) == -(-(40 - 5) // size)  # without the founding frames 0 to 4
        assert {len(event.queries) for event in rounds} == {queries}
    assert len([event for event in together[2] if isinstance(event, Buffered)]) > 5


def test_windows_do_not_depend_on_how_frames_are_pushed(networks: Networks) -> None:
    settings = replace(SETTINGS, look_ahead=2)
    one, _, _ = run(networks, video(25), settings, chunk=1)
    all_at_once, _, _ = run(networks, video(25), settings, chunk=25)
    # The last frames' windows end with the video, which only the second run knows in advance: nothing else differs.
    for first, second in zip(one, all_at_once, strict=True):
        torch.testing.assert_close(first.world_points, second.world_points, rtol=1e-4, atol=1e-4)


def test_live_stride_search_looks_at_the_first_frames_only(networks: Networks) -> None:
    settings = replace(SETTINGS, keyframe_stride=-1, stride_search_frames=14, stride_max=2)
    machine = Reconstructor(networks, settings)
    machine.push(video(13))
    assert machine.stride is None
    machine.push(video(14)[13:])
    assert machine.stride in (1, 2)


@pytest.mark.parametrize(("strategy", "size"), [("fifo", 4), ("reservoir", 4), ("reservoir", 0)])
def test_the_buffering_set_keeps_its_size(networks: Networks, strategy: str, size: int) -> None:
    _, machine, events = run(networks, video(60), replace(SETTINGS, buffer_strategy=strategy, buffer_size=size))
    entered = [event for event in events if isinstance(event, Buffered)]
    assert entered
    if size:
        assert len(machine.buffered_frames) == size
        assert any(event.removed is not None for event in entered)
    else:
        assert len(machine.buffered_frames) == 3 + len(entered)
    for event in events:
        if isinstance(event, Registered):
            assert set(event.selected) <= set(event.buffer)


@pytest.mark.parametrize("at", [3, 31])
def test_a_loaded_state_continues_as_if_it_had_never_stopped(networks: Networks, at: int) -> None:
    settings = replace(SETTINGS, buffer_size=4)  # so that the reservoir draws
    images = video(44)
    expected, _, events = run(networks, images, settings, chunk=1)
    first = Reconstructor(networks, settings)
    frames = [frame for image in images[:at] for frame in first.push(image[None])]
    observed: list = []
    second = Reconstructor(networks, settings, observed.append)
    second.load_state_dict(first.state_dict())
    frames += [frame for image in images[at:] for frame in second.push(image[None])] + second.flush()
    assert [frame.name for frame in frames] == [frame.name for frame in expected]
    assert torch.equal(frames[-1].world_points, expected[-1].world_points)
    assert observed == events[len(events) - len(observed) :]
    assert any(isinstance(event, Buffered) and event.removed is not None for event in observed)
    with pytest.raises(RuntimeError, match="cannot be resumed"):
        second.state_dict()


def test_pixels_without_a_point_are_told_by_the_mask(networks: Networks) -> None:
    """In the initial window those are the pixels that the network is unsure of."""
    sure, _, _ = run(networks, video(12), replace(SETTINGS, local_threshold=0.0))
    assert all(frame.valid.all() for frame in sure)
    threshold = float(sure[0].local_confidence.median())
    frames, _, _ = run(networks, video(12), replace(SETTINGS, local_threshold=threshold))
    first, later = frames[0], frames[-1]
    assert torch.equal(first.valid, first.local_confidence > threshold) and not first.valid.all()
    assert later.valid.all()
    assert len(first.confident_points(0.0).points) == int(first.valid.sum())
    assert first.depth() is None or not first.depth()[~first.valid].any()


def test_a_short_sequence_uses_a_smaller_initial_window(networks: Networks) -> None:
    frames, _, events = run(networks, video(4))
    assert len(frames) == 4
    assert next(e for e in events if isinstance(e, Initialized)).frames == (0, 2)


def test_too_short_a_sequence_says_how_many_frames_are_needed(networks: Networks) -> None:
    machine = Reconstructor(networks, replace(SETTINGS, keyframe_stride=5))
    machine.push(video(4))
    with pytest.raises(SequenceTooShort, match="at least 6 frames"):
        machine.flush()


def test_mistakes_are_named(networks: Networks) -> None:
    machine = Reconstructor(networks, SETTINGS)
    with pytest.raises(ValueError, match="frames, 3, height, width"):
        machine.push(torch.zeros(3, 32, 32))
    machine.push(video(2))
    with pytest.raises(ValueError, match="one size"):
        machine.push(video(2, size=48))
    machine = Reconstructor(networks, SETTINGS)
    machine.push(video(12))
    machine.flush()
    with pytest.raises(RuntimeError, match="flushed"):
        machine.push(video(1))
    with pytest.raises(ValueError, match="buffer_strategy"):
        ReconstructionSettings(buffer_strategy="lifo")  # type: ignore[arg-type]


def test_models_of_different_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Networks(ImageToPoints(**SIZES), LocalToWorld(**{**SIZES, "encoder_width": 64}))


def test_an_unsolved_pose_is_none_and_never_identity(networks: Networks) -> None:
    # Random weights give pointmaps that no camera explains.
    frames, _, _ = run(networks, video(20), replace(SETTINGS, pose_method="pnp"))
    assert all(frame.camera_to_world is None for frame in frames if frame.pose_inliers == 0)
    assert any(frame.camera_to_world is None for frame in frames)


def test_pose_inliers_are_the_share_of_pixels_that_fit_the_pose() -> None:
    size = (16, 16)
    rays = torch.stack(torch.meshgrid(torch.linspace(-0.5, 0.5, 16), torch.linspace(-0.5, 0.5, 16), indexing="xy"), -1)
    local = torch.cat([rays, torch.ones(*size, 1)], -1) * (2 + rays[..., :1])
    world = 3 * local + torch.tensor([1.0, 2.0, 3.0])
    world[:4] *= 1.5  # a quarter of the frame was registered elsewhere
    solver = PoseSolver(ReconstructionSettings(pose_method="pointmaps"), size, torch.eye(3))
    everywhere = torch.ones(size, dtype=torch.bool)
    confidence = torch.full(size, 9.0)
    pose = solver.solve(
        WorldPointmap(world, confidence, everywhere, 9.0), LocalPointmap(local, confidence, local, everywhere, 9.0)
    )
    assert pose.camera_to_world is not None and pose.inliers == pytest.approx(0.75)
