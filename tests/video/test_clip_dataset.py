"""Batches of real files: one pass per instance, the same for any number of workers, and broken files left out."""

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from unreel.errors import VIDEO_ERROR_REASONS, VideoError
from unreel.rows.instance_rows import InstanceRows
from unreel.seeding import make_generator
from unreel.types import Clips, FileFailure, Instance
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.writer import write_video
from unreel.video.loading import clip_dataset, frame_cache
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader, build_training_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.pair_sampling import IntervalDistribution, cdf, sample_start_pair

FPS, SIZE = 25.0, (16, 24)
LENGTHS = (40, 24, 30, 17, 8, 1, 50)
ENDLESS = float("inf")


def picture(video: int, frame: int) -> np.ndarray:
    """The brightness of the upper half is the number of the frame, that of the lower half the number of the video."""
    out = np.empty((32, 48, 3), np.uint8)
    out[:16], out[16:] = 20 + 4 * frame, 30 + 25 * video
    return out


def read_marks(frames: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(numbers of the frames, numbers of the videos) of decoded frames (..., H, W, C)."""
    grey = np.asarray(frames, dtype=np.float64).mean(axis=-1)
    upper, lower = grey[..., 2:5, :].mean(axis=(-1, -2)), grey[..., 11:14, :].mean(axis=(-1, -2))
    return np.rint((upper - 18.5) / 4).astype(int), np.rint((lower - 28.5) / 25).astype(int)  # YUV rounds down


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coded")
    for video, length in enumerate(LENGTHS):
        write_video(out / f"{video}.mp4", (picture(video, k) for k in range(length)), FPS, crf=8)
    return out


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Instance]:
    return [Instance(str(folder / f"{video}.mp4"), video, 0.0, ENDLESS) for video in range(len(LENGTHS))]


@pytest.fixture(params=["cut short", "no video", "missing"])
def with_broken(request: pytest.FixtureRequest, whole: list[Instance], tmp_path: Path) -> list[Instance]:
    """The videos, of which number 2 can't be used."""
    bad = tmp_path / "bad.mp4"
    if request.param == "cut short":
        content = Path(whole[2].path).read_bytes()
        bad.write_bytes(content[: len(content) * 2 // 3])
    elif request.param == "no video":
        bad.write_text("this is no video\n" * 50)
    return [*whole[:2], Instance(str(bad), 2, 0.0, ENDLESS), *whole[3:]]


def loaded(clips: ClipDataset, workers: int = 0, start: int = 0, stop: int = 4) -> list[Clips]:
    return list(
        build_training_loader(clips, ResumableBatchSampler(len(clips), 3, 5, start, stop), workers, pin_memory=False)
    )


def assert_same(one: Clips, other: Clips) -> None:
    for name in ("frames", "index_B", "video_B", "start_s_B"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and torch.equal(a, b), name
    assert (one.epoch, one.failures) == (other.epoch, other.failures)


def test_one_pass_over_a_file_for_all_clips_of_an_instance(
    whole: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, np.ndarray]] = []
    real = clip_dataset.read_frames

    def counted(path: str, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        calls.append((path, frames))
        return real(path, frames, size)

    monkeypatch.setattr(clip_dataset, "read_frames", counted)
    clips = ClipDataset(whole, ClipSpec(8), SIZE, num_clips=5, seed=0)
    for index in range(len(whole)):
        sample = clips[(0, index)]
        clip_frames = clips.sample_clips(clips.get_candidates(index, index_frames(whole[index].path).times_s), 0, index)
        assert len(calls) == index + 1 and calls[-1][0] == whole[index].path
        assert calls[-1][1].tolist() == sorted(
            {int(f) for clip in clip_frames for f in clip}
        )  # each frame decoded once
        assert sample.frames is not None and sample.frames.shape == (5, 8, *SIZE, 3)
        assert sample.frames.dtype == np.uint8
        numbers, videos = read_marks(sample.frames)
        np.testing.assert_array_equal(numbers, np.stack(clip_frames))
        assert (videos == index).all()


@pytest.mark.parametrize(
    "spec", [ClipSpec(8), ClipSpec(8, stride_frames=2, lead_in=1), ClipSpec(8, fps=12.5, stride_frames=0)]
)
def test_workers_change_nothing(spec: ClipSpec, whole: list[Instance]) -> None:
    clips = ClipDataset(whole, spec, SIZE, 2, 7, IntervalDistribution("decreasing"))
    expected = loaded(clips)
    assert [len(batch.index_B) for batch in expected] == [3, 3, 3, 3]
    for workers in (1, 2):
        cached = ClipDataset(whole, spec, SIZE, 2, 7, IntervalDistribution("decreasing"), cache_mb=workers)
        for one, other in zip(expected, loaded(cached, workers), strict=True):
            assert_same(one, other)


def test_a_resumed_loader_gives_the_same_batches(whole: list[Instance]) -> None:
    clips = ClipDataset(whole, ClipSpec(8), SIZE, num_clips=1, seed=7)
    for one, other in zip(loaded(clips)[3:], loaded(clips, start=3), strict=True):
        assert_same(one, other)


def test_a_batch_identifies_its_instances(whole: list[Instance]) -> None:
    late = [Instance(i.path, 10 + i.video, 0.04 * i.video, ENDLESS) for i in whole]
    clips = ClipDataset(late, ClipSpec(8), SIZE, num_clips=1, seed=7)
    for batch, items in zip(loaded(clips), ResumableBatchSampler(len(late), 3, 5, 0, 4), strict=True):
        assert [(batch.epoch, i) for i in batch.index_B.tolist()] == items
        assert batch.video_B.tolist() == [10 + i for _, i in items]
        assert batch.start_s_B.tolist() == [0.04 * i for _, i in items]
        assert batch.index_B.dtype == batch.video_B.dtype == torch.int64 and batch.start_s_B.dtype == torch.float64
        assert (read_marks(batch.frames)[1] == batch.index_B[:, None, None].numpy()).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_left_out_and_reported(
    workers: int, whole: list[Instance], with_broken: list[Instance]
) -> None:
    sound = loaded(ClipDataset(whole, ClipSpec(8), SIZE, 1, seed=7))
    failures = []
    for batch, full in zip(loaded(ClipDataset(with_broken, ClipSpec(8), SIZE, 1, seed=7), workers), sound, strict=True):
        kept = full.index_B != 2
        assert batch.epoch == full.epoch
        assert torch.equal(batch.index_B, full.index_B[kept]) and torch.equal(batch.frames, full.frames[kept])
        assert torch.equal(batch.video_B, full.video_B[kept]) and torch.equal(batch.start_s_B, full.start_s_B[kept])
        assert len(batch.failures) == int((~kept).sum())
        failures += batch.failures
    assert failures and {failure.path for failure in failures} == {with_broken[2].path}
    assert all(f.reason in VIDEO_ERROR_REASONS and not str(f).endswith(":") for f in failures)


def test_a_batch_of_broken_files_is_empty_and_reports_them(tmp_path: Path) -> None:
    nothing = [Instance(str(tmp_path / f"{k}.mp4"), k, 0.0, ENDLESS) for k in range(3)]
    (batch,) = loaded(ClipDataset(nothing, ClipSpec(8), SIZE, 2, seed=0), stop=1)
    assert len(batch.frames) == len(batch.index_B) == len(batch.video_B) == len(batch.start_s_B) == 0
    assert batch.frames.ndim == 6 and batch.frames.dtype == torch.uint8 and batch.epoch == 0
    assert sorted(batch.failures) == [FileFailure(i.path, "missing") for i in nothing]


def test_broken_files_do_not_stop_a_sequential_loader(with_broken: list[Instance]) -> None:
    clips = ClipDataset(with_broken, ClipSpec(8), SIZE, 3)
    walks: list[list[ClipSample]] = [list(build_sequential_loader(clips, workers)) for workers in (0, 2)]
    for walk in walks:
        assert [sample.index for sample in walk] == list(range(len(LENGTHS)))
        assert [sample.failure is not None for sample in walk] == [k == 2 for k in range(len(LENGTHS))]
        assert walk[2].frames is None and walk[2].failure is not None and walk[2].failure.path == with_broken[2].path
    for one, other in zip(*walks, strict=True):
        np.testing.assert_array_equal(np.asarray(one.frames), np.asarray(other.frames))
        np.testing.assert_array_equal(np.asarray(one.spans_s), np.asarray(other.spans_s))


def test_evaluation_clips_are_evenly_spread_from_the_first_frame_to_the_last(whole: list[Instance]) -> None:
    clips = ClipDataset(whole, ClipSpec(8), SIZE, num_clips=4)
    for index, length in enumerate(LENGTHS):
        numbers = read_marks(np.asarray(clips[(0, index)].frames))[0]
        if length < 8:
            np.testing.assert_array_equal(numbers, np.tile(np.arange(8) % length, (4, 1)))
            continue
        starts = numbers[:, 0]
        assert starts.tolist() == [k * (length - 8) // 3 for k in range(4)]
        np.testing.assert_array_equal(numbers, starts[:, None] + np.arange(8))
        np.testing.assert_array_equal(numbers, read_marks(np.asarray(clips[(9, index)].frames))[0])


@pytest.mark.parametrize(
    ("spec", "video", "first", "last"),
    [
        (ClipSpec(8), 0, [0, 32], [7, 39]),
        (ClipSpec(8, lead_in=2), 0, [2, 32], [9, 39]),
        (ClipSpec(8, stride_frames=3), 0, [0, 18], [21, 39]),
        (ClipSpec(8, fps=12.5, stride_frames=0), 0, [0, 24], [14, 38]),
        (ClipSpec(12), 4, [0, 0], [7, 7]),
        (ClipSpec(12, short="hold"), 4, [0, 0], [7, 7]),
        (ClipSpec(8), 5, [0, 0], [0, 0]),
    ],
)
def test_spans_are_the_seconds_that_the_clips_show(
    spec: ClipSpec, video: int, first: list[int], last: list[int], whole: list[Instance]
) -> None:
    sample = ClipDataset(whole, spec, SIZE, num_clips=2)[(0, video)]
    assert sample.spans_s is not None and sample.spans_s.shape == (2, 2)
    np.testing.assert_allclose(sample.spans_s[:, 0], np.array(first) / FPS, atol=1e-6)
    if LENGTHS[video] > 1:
        np.testing.assert_allclose(sample.spans_s[:, 1], (np.array(last) + 1) / FPS, atol=1e-6)
    numbers = read_marks(np.asarray(sample.frames)[:, spec.lead_in :])[0]
    assert numbers.min(axis=1).tolist() == first and numbers.max(axis=1).tolist() == last


@pytest.mark.parametrize("seed", [None, 3])
def test_clips_of_a_segment_stay_inside(seed: int | None, whole: list[Instance]) -> None:
    parts = [Instance(whole[6].path, 6, start / FPS, (start + 20) / FPS) for start in (0, 20, 30)]
    clips = ClipDataset(parts, ClipSpec(8), SIZE, num_clips=6, seed=seed)
    for index, start in enumerate((0, 20, 30)):
        sample = clips[(0, index)]
        numbers = read_marks(np.asarray(sample.frames))[0]
        assert numbers.min() >= start and numbers.max() < start + 20
        assert (np.diff(numbers, axis=1) == 1).all()
        assert sample.spans_s is not None
        assert sample.spans_s.min() >= start / FPS - 1e-6 and sample.spans_s.max() <= (start + 20) / FPS + 1e-6


def test_draws_depend_on_seed_epoch_and_index_alone(whole: list[Instance]) -> None:
    same = [Instance(whole[6].path, 6, 0.0, ENDLESS)] * 8

    def starts(seed: int, epoch: int, index: int) -> list[int]:
        times_s = index_frames(same[0].path).times_s
        clips = ClipDataset(same, ClipSpec(8), SIZE, num_clips=6, seed=seed)
        return [int(clip[0]) for clip in clips.sample_clips(clips.get_candidates(index, times_s), epoch, index)]

    assert starts(0, 0, 0) == starts(0, 0, 0)
    assert len({tuple(starts(*which)) for which in np.ndindex(2, 3, 8)}) == 48
    assert len(set(starts(0, 0, 0))) > 1


def draw_clips(length: int, spec: ClipSpec, count: int) -> np.ndarray:
    """Frame numbers of `count` clips drawn from a file of `length` frames, (count, span)."""
    clips = ClipDataset([Instance("", 0, 0.0, ENDLESS)], spec, SIZE, num_clips=count, seed=1)
    return np.stack(clips.sample_clips(clips.get_candidates(0, np.arange(length) / FPS), 0, 0))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("spare", [0, 1, 4, 10])
def test_every_frame_that_a_clip_can_begin_with_is_drawn_equally_often(stride: int, spare: int) -> None:
    """IIC's release for any stride; a video just long enough for a clip is never looped."""
    numbers = draw_clips(15 * stride + 1 + spare, ClipSpec(stride_frames=stride), 4000)
    assert (np.diff(numbers, axis=1) == stride).all()
    counts = np.bincount(numbers[:, 0])
    assert len(counts) == spare + 1
    if spare:
        assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("make", [lambda s: s, lambda s: ClipSpec(16, 0.0, 3, 1, "hold")])
def test_short_videos_at_random_are_looped_or_held(make: Callable[[ClipSpec], ClipSpec]) -> None:
    spec = make(ClipSpec())
    numbers = draw_clips(5, spec, 50)
    if spec.short == "loop":
        np.testing.assert_array_equal(numbers, np.tile(np.arange(16) % 5, (50, 1)))
    else:
        assert (np.diff(numbers, axis=1) >= 0).all() and numbers.max() < 5 and (numbers[:, -3] == numbers[:, -1]).all()


def test_independent_clips_are_drawn_as_in_earlier_versions(whole: list[Instance]) -> None:
    """Published results depend on these draws: never change them."""
    clips = ClipDataset(whole, ClipSpec(8), SIZE, num_clips=2, seed=7)
    for epoch, index in np.ndindex(3, 4):
        clip_frames = clips.sample_clips(
            clips.get_candidates(index, index_frames(whole[index].path).times_s), epoch, index
        )
        u = make_generator(7, epoch, index, "start").random(2)
        assert [int(c[0]) for c in clip_frames] == [int(x * (LENGTHS[index] - 7)) for x in u]


def test_pairs_of_clips_are_drawn_at_a_distance() -> None:
    clips = ClipDataset(
        [Instance("", 0, 0.0, ENDLESS)], ClipSpec(8), SIZE, 2, 7, IntervalDistribution("increasing", 3.0)
    )
    candidates = clips.get_candidates(0, np.arange(207) / FPS)
    starts = np.array([[c[0] for c in clips.sample_clips(candidates, epoch, 0)] for epoch in range(2000)])
    for epoch in range(5):
        u = make_generator(7, epoch, 0, "interval").random(3)
        assert tuple(starts[epoch]) == sample_start_pair(200, "increasing", 3.0, u)
    distance = np.abs(starts[:, 1] - starts[:, 0]) + np.random.default_rng(0).random(2000)
    assert kstest(distance / 200, lambda x: cdf("increasing", 3.0, x)).pvalue > 1e-3


@pytest.mark.parametrize(("num_clips", "seed"), [(1, 7), (3, 7), (2, None)])
def test_only_two_random_clips_make_a_pair(num_clips: int, seed: int | None, whole: list[Instance]) -> None:
    times_s = index_frames(whole[0].path).times_s
    pairs, singles = (
        (clips := ClipDataset(whole, ClipSpec(8), SIZE, num_clips, seed, interval)).sample_clips(
            clips.get_candidates(0, times_s), 0, 0
        )
        for interval in (IntervalDistribution("decreasing"), IntervalDistribution())
    )
    np.testing.assert_array_equal(pairs, singles)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(number of the video, frames decoded) of each call of `read_frames`."""
    calls: list[tuple[int, int]] = []
    real = clip_dataset.read_frames

    def counted(path: str, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        calls.append((int(Path(path).stem), len(frames)))
        return real(path, frames, size)

    monkeypatch.setattr(clip_dataset, "read_frames", counted)
    return calls


def assert_cache_changes_nothing(instances: list[Instance], spec: ClipSpec, cached: ClipDataset) -> None:
    """Three epochs of every instance equal those without a cache, to the bit."""
    plain = ClipDataset(instances, spec, SIZE, 2, 7)
    for epoch, index in np.ndindex(3, len(instances)):
        one, other = plain[(epoch, index)], cached[(epoch, index)]
        np.testing.assert_array_equal(np.asarray(one.frames), np.asarray(other.frames))
        np.testing.assert_array_equal(np.asarray(one.spans_s), np.asarray(other.spans_s))
        assert one.failure == other.failure


@pytest.mark.parametrize(
    ("spec", "frames"),
    [
        (ClipSpec(8), LENGTHS),
        (ClipSpec(8, stride_frames=2, lead_in=1), LENGTHS),  # any frame may be the first
        (ClipSpec(8, fps=12.5, stride_frames=0), (20, 12, 15, 8, 4, 1, 25)),  # only the frames on its ticks
    ],
)
def test_cached_instances_are_decoded_once(
    spec: ClipSpec, frames: tuple[int, ...], whole: list[Instance], decoded: list[tuple[int, int]]
) -> None:
    cached = ClipDataset(whole, spec, SIZE, 2, 7, cache_mb=1)
    for epoch, index in np.ndindex(3, len(whole)):
        cached[(epoch, index)]
    assert decoded == list(enumerate(frames))
    assert_cache_changes_nothing(whole, spec, cached)


def test_a_segment_keeps_its_own_frames(whole: list[Instance], decoded: list[tuple[int, int]]) -> None:
    parts = [Instance(whole[6].path, 6, start / FPS, (start + 20) / FPS) for start in (0, 20, 30)]
    cached = ClipDataset(parts, ClipSpec(8), SIZE, 2, 7, cache_mb=1)
    for index in (0, 1, 2, 0, 1, 2):
        cached[(index, index)]
    assert decoded == [(6, 20)] * 3
    assert_cache_changes_nothing(parts, ClipSpec(8), cached)


@pytest.mark.parametrize("per_process", [False, True])
def test_instances_that_do_not_fit_are_decoded_each_time(
    per_process: bool, whole: list[Instance], decoded: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only whole instances are cached; a process that was not forked has an equal share of the budget."""
    monkeypatch.setattr(frame_cache, "MB", (2 if per_process else 1) * 75 * SIZE[0] * SIZE[1] * 3)
    monkeypatch.setattr(frame_cache, "get_worker_info", lambda: SimpleNamespace(num_workers=2))
    cached = ClipDataset(whole, ClipSpec(8), SIZE, 1, 7, cache_mb=1)
    if per_process:
        cached = pickle.loads(pickle.dumps(cached))
    for epoch, index in np.ndindex(2, len(whole)):
        cached[(epoch, index)]
    first = [(0, 40), (1, 24), (2, 8), (3, 8), (4, 8), (5, 1), (6, 8)]  # 75 frames: 40 + 24 + 8 + 1 are cached
    assert decoded == [*first, (2, 8), (3, 8), (6, 8)]
    assert cached.cache.cached_instances == {0, 1, 4, 5} and cached.cache.used_bytes == 73 * SIZE[0] * SIZE[1] * 3
    assert_cache_changes_nothing(whole, ClipSpec(8), ClipDataset(whole, ClipSpec(8), SIZE, 2, 7, cache_mb=1))


def test_long_instances_are_not_cached(
    whole: list[Instance], decoded: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_cache, "MAX_FRAMES", 30)
    cached = ClipDataset(whole, ClipSpec(8), SIZE, 1, 7, cache_mb=1)
    for epoch, index in np.ndindex(2, len(whole)):
        cached[(epoch, index)]
    again = [call for call in decoded[len(whole) :]]
    assert again == [(0, 8), (6, 8)] and (2, 30) in decoded


def test_a_clip_before_the_damage_is_read_as_without_a_cache(
    whole: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Video 0 is damaged from frame 30 on; the attempt to cache it is not repeated."""
    real, whole_reads = clip_dataset.read_frames, []

    def damaged(path: str, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if path == whole[0].path and len(frames) > 16:
            whole_reads.append(len(frames))
        if path == whole[0].path and frames.max() >= 30:
            raise VideoError(path, "damaged", "from frame 30")
        return real(path, frames, size)

    monkeypatch.setattr(clip_dataset, "read_frames", damaged)
    cached = ClipDataset(whole[:2], ClipSpec(8), SIZE, 2, 7, cache_mb=1)
    assert_cache_changes_nothing(whole[:2], ClipSpec(8), cached)
    assert whole_reads == [40]
    outcomes = {cached[(epoch, 0)].failure for epoch in range(12)}
    assert outcomes == {None, FileFailure(whole[0].path, "damaged", "from frame 30")}


def test_a_cached_file_that_goes_missing_is_reported(whole: list[Instance], tmp_path: Path) -> None:
    path = tmp_path / "0.mp4"
    path.write_bytes(Path(whole[0].path).read_bytes())
    cached = ClipDataset([Instance(str(path), 0, 0.0, ENDLESS)], ClipSpec(8), SIZE, 1, 7, cache_mb=1)
    assert cached[(0, 0)].failure is None and 0 in cached.cache.cached_instances
    path.unlink()
    assert cached[(1, 0)].failure == FileFailure(str(path), "missing")


def test_files_are_excluded_by_path_whatever_holds_the_instances() -> None:
    """A list may have names that are not UTF-8, which no column holds."""
    listed = [Instance(f"/v/{name}.mp4", n, 0.0, 1.0) for n, name in enumerate("abab")]
    failure = FileFailure("/v/b.mp4", "damaged")
    odd = [*listed, Instance("/v/caf\udce9.mp4", 4, 0.0, 1.0)]
    for instances in (listed, InstanceRows.from_instances(listed), odd):
        clips = ClipDataset(instances, ClipSpec(8), SIZE, num_clips=1)
        clips.exclude_files([])
        clips.exclude_files([failure, FileFailure("/v/other.mp4", "damaged")])
        assert clips.excluded_failures == {1: failure, 3: failure}
    clips.exclude_files([FileFailure("/v/caf\udce9.mp4", "damaged")])
    assert clips.excluded_failures.keys() == {1, 3, 4}
