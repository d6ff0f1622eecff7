"""The verdict without labels on files: the untrained network is never better than itself; which videos are drawn."""

from collections import Counter
from pathlib import Path

import pytest

from unreel.corpus.motion_set.make_set import MOTIONS, render_video
from unreel.evaluation.baselines.untrained_encoder import build_untrained_encoder
from unreel.evaluation.verdict.label_free import (
    MIN_JUDGED,
    count_judged_clips,
    draw_videos,
    judge_without_labels,
    select_videos,
)
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


def make_instances(count: int, num_recordings: int, name: str = "") -> list[Instance]:
    return [Instance(f"{name}{n}.mp4", n, 0.0, 1.0, "", f"{name}{n % num_recordings}") for n in range(count)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    folder, instances = tmp_path_factory.mktemp("judged"), []
    for n in range(6):
        write_video(folder / f"{n}.mp4", render_video(list(MOTIONS)[n], 1, n, num_frames=36, size=(40, 52)), 25.0)
        instances.append(Instance(str(folder / f"{n}.mp4"), n, 0.0, float("inf")))
    return instances


def test_the_untrained_network_is_not_better_than_itself(videos: list[Instance]) -> None:
    spec = EncoderSpec("tiny", clip=ClipSpec(8), views=ViewSpec(("rgb",), size=32))
    encoder = build_untrained_encoder(Encoder(spec), seed=0)  # the very floor
    gone = Instance(str(Path(videos[0].path).with_name("gone.mp4")), 9, 0.0, float("inf"))
    verdict = judge_without_labels(encoder, [*videos[:2], gone], videos[2:])
    assert verdict.level == "not better" and verdict.basis == "2 held-out videos and 4 training videos, without labels"
    assert len(verdict.comparisons) == 3 * 4
    itself = [c for c in verdict.comparisons if c.floor == "untrained encoder"]
    assert [(c.margin, c.low, c.high) for c in itself] == [(0.0, 0.0, 0.0)] * 3
    assert all(0 <= figure <= 100 for test in verdict.list_tests().values() for figure in test.values())
    assert set(verdict.same_video_r1) >= {"encoder", "colour histogram"} and verdict.same_video_sentence
    few = judge_without_labels(encoder, videos[:1], [])
    assert few.comparisons == () and few.headline == "No verdict"


def test_few_of_each_recording_are_drawn_always_alike() -> None:
    videos = make_instances(400, 100)
    drawn = draw_videos(videos)
    assert max(Counter(v.group for v in drawn).values()) == 3 and len(drawn) == 300
    assert drawn == draw_videos(videos) != videos[:300]
    assert len(draw_videos(make_instances(50, 1))) == 50, "a single recording gives all it has"


def test_training_videos_make_up_for_few_held_out_ones() -> None:
    held_out, training = make_instances(30, 30, "held"), make_instances(500, 500, "train")
    chosen = select_videos(held_out, training)
    assert len(chosen) == MIN_JUDGED and set(chosen[:30]) == set(held_out)
    assert len(select_videos(make_instances(250, 250), training)) == 200, "and no training video"
    assert count_judged_clips(30, 500) == 2 * 16 * MIN_JUDGED and count_judged_clips(2, 8) == 2 * 16 * 10
