"""Synthetic clips: the motion against an explicit twin, its distribution, and what a pair has in common."""

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from unreel.corpus.discovery import find_videos
from unreel.errors import InputError
from unreel.seeding import make_generator
from unreel.types import Instance
from unreel.video.decoding.decoder import iter_frames, iter_keyframes, read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import check_decodable, probe
from unreel.video.loading.synthetic_clips import SyntheticClipDataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.synthetic import pairs, textures
from unreel.video.synthetic.drawn_video import list_videos, parse_address
from unreel.video.synthetic.motion import Link, Thing, Wave, compute_poses, draw_motion
from unreel.video.synthetic.pairs import draw_pair
from unreel.video.synthetic.properties import SyntheticProperties
from unreel.video.synthetic.render import compose, invert, paste_part
from unreel.video.synthetic.scene import draw_look, draw_shot
from unreel.video.synthetic.textures import BACKGROUND_SIDE, SPRITE_SIDE, LookTextures, draw_texture

TIMES_S, SIZE, ALL_ON = (np.arange(9) - 4) / 12.5, (48, 64), SyntheticProperties()
ALL_OFF = SyntheticProperties(*[False] * len(fields(SyntheticProperties)))


def draw_things(count: int, properties: SyntheticProperties) -> list[Thing]:
    motions = [draw_motion(make_generator(0, 0, index, "synthetic motion"), properties) for index in range(count)]
    return [thing for motion in motions for thing in motion.things]


def slow_poses(thing: Thing, t: float) -> list[tuple[list[list[float]], list[float]]]:
    """Matrix and centre of body and links at one time, in scalars."""

    def wave(w: Wave) -> float:
        return w.amplitude * math.sin(w.rate * t + w.phase)

    def turn(angle: float, scale: float) -> list[list[float]]:
        c, s = math.cos(angle) * scale, math.sin(angle) * scale
        return [[c, -s], [s, c]]

    def apply(m: list[list[float]], x: float, y: float) -> tuple[float, float]:
        return m[0][0] * x + m[0][1] * y, m[1][0] * x + m[1][1] * y

    centre = [
        thing.place[k] + thing.velocity[k] * t + thing.acceleration[k] * t * t / 2 + wave(thing.across[k])
        for k in range(2)
    ]
    size = thing.size * math.exp(min(1, max(-1, thing.growth * t))) * (1 + wave(thing.pulse))
    angle = thing.angle + thing.spin * t + wave(thing.swing)
    (a, b), (c, d) = turn(angle, size)
    shear = wave(thing.shear)
    body = [[a, a * shear + b], [c, c * shear + d]]
    poses = [(body, centre)]
    for limb in thing.limbs:
        parent, middle, limb_angle = body, centre, angle
        for link in limb:
            x, y = apply(parent, *link.anchor)
            limb_angle += link.rest + wave(link.swing)
            parent = turn(limb_angle, size * link.length)
            dx, dy = apply(parent, 0.0, 0.9)
            middle = [middle[0] + x + dx, middle[1] + y + dy]
            poses.append((parent, middle))
    return poses


def test_poses_against_the_explicit_twin() -> None:
    things = draw_things(40, ALL_ON)
    assert sum(len(limb) == 2 for thing in things for limb in thing.limbs) > 5
    for thing in things:
        fast = compute_poses(thing, TIMES_S)
        for t, time_s in enumerate(TIMES_S):
            for pose_T23, (matrix, centre) in zip(fast, slow_poses(thing, float(time_s)), strict=True):
                assert np.allclose(pose_T23[t], np.column_stack([matrix, centre]), atol=1e-12)


def test_a_limb_stays_on_its_body() -> None:
    """The point of a link that is 0.9 before its centre lies on its anchor at all times."""
    (thing,) = [replace(draw_things(1, ALL_ON)[0], limbs=((Link((0.5, -0.4), 0.8, 1.0, Wave(0.7, 9.0, 0.3)),),))]
    body, link = compute_poses(thing, TIMES_S)
    joint_T2 = link[:, :, 2] - link[:, :, :2] @ np.array([0.0, 0.9])
    assert np.allclose(joint_T2, body[:, :, :2] @ np.array([0.5, -0.4]) + body[:, :, 2])


def test_distribution_of_motions() -> None:
    things = draw_things(1500, ALL_ON)
    headings = [math.atan2(t.velocity[1], t.velocity[0]) for t in things if any(t.velocity)]
    assert np.allclose(np.histogram(headings, 8, (-np.pi, np.pi))[0] / len(headings), 1 / 8, atol=0.035)
    speeds = np.array([math.hypot(*t.velocity) for t in things])
    assert 0.55 < (speeds > 0).mean() < 0.65 and 0.045 < speeds[speeds > 0].min() < speeds.max() < 1.6
    rates = np.array([t.across[0].rate for t in things])
    assert rates.max() / rates.min() > 8  # two octaves of tempo, and the spread of rates within one
    assert {len(t.limbs) for t in things} == {0, 1, 2}
    orbits = [t for t in things if abs((t.across[1].phase - t.across[0].phase) - np.pi / 2) < 1e-9]
    assert 0.15 < len(orbits) / len(things) < 0.35


@pytest.mark.parametrize(
    ("off", "is_absent"),
    [
        ("jointed", lambda t: not t.limbs),
        ("acceleration", lambda t: not any(t.acceleration)),
        ("rotation", lambda t: t.spin == 0 and t.swing.amplitude == 0),
        ("scaling", lambda t: t.growth == 0 and t.pulse.amplitude == 0),
        ("deformation", lambda t: t.shear.amplitude == 0),
        ("periodic", lambda t: t.across[0].amplitude == t.across[1].amplitude == 0),
    ],
)
def test_a_property_can_be_switched_off(off: str, is_absent: object) -> None:
    assert callable(is_absent)
    assert all(is_absent(thing) for thing in draw_things(60, replace(ALL_ON, **{off: False})))
    assert not all(is_absent(thing) for thing in draw_things(60, ALL_ON))


def test_shots_without_camera_background_and_light_stand_still() -> None:
    shots = [draw_shot(make_generator(0, 0, k, "shot"), ALL_OFF) for k in range(40)]
    assert all(
        s.pan == (0, 0) and s.zoom == s.shake[0].amplitude == s.shake[1].amplitude == 0 and s.drift == (0, 0)
        for s in shots
    )
    assert all(s.flicker.amplitude == 0 for s in shots)
    moving = [draw_shot(make_generator(0, 0, k, "shot"), ALL_ON) for k in range(200)]
    assert 0.4 < np.mean([s.pan != (0, 0) for s in moving]) < 0.6


def test_how_far_shots_of_one_motion_are_apart() -> None:
    """The encoder that comes with the package was trained on these: other ranges are other videos at an old address."""
    shots = [draw_shot(np.random.default_rng(seed), SyntheticProperties()) for seed in range(1000)]
    ranges = {name: [getattr(shot, name) for shot in shots] for name in ("delay_s", "light")}
    assert 0.14 < max(ranges["delay_s"]) < 0.15 and -0.15 < min(ranges["delay_s"]) < -0.14
    assert 1.14 < max(ranges["light"]) < 1.15 and 0.6 < min(ranges["light"]) < 0.61
    spread = np.std([(math.log(s.scale), math.log(s.pace), *s.shift) for s in shots], axis=0)
    assert spread == pytest.approx([0.15, 0.1, 0.08, 0.08], rel=0.1)


def test_no_texture_is_repeated_and_neighbours_share_theirs() -> None:
    def draw(number: int, parts: tuple[bool, ...]) -> list[bytes]:
        kept = LookTextures(make_generator(0, 0, number, "synthetic look"), patterned=True)
        look = draw_look(kept, np.random.default_rng(number), parts)
        return [look.background.tobytes(), *(sprite.tobytes() for sprite in look.sprites)]

    pictures = [picture for number in range(60) for picture in draw(number, (False, True, True))]
    assert len(set(pictures)) == len(pictures)
    assert draw(3, (False, True))[0] == draw(3, (False, False, True))[0]


def test_kept_textures_are_those_of_a_new_generator() -> None:
    """In whatever order they are asked for, and each is drawn once."""
    expected, rng = [], np.random.default_rng(4)
    for side in (BACKGROUND_SIDE, SPRITE_SIDE, SPRITE_SIDE):
        expected.append(draw_texture(rng, side))
    kept = LookTextures(np.random.default_rng(4), patterned=True)
    for number in (2, 0, 1, 2):
        assert np.array_equal(kept[number], expected[number])
    assert kept[1] is kept[1]


def test_neighbours_share_their_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A motion and its neighbour, one after the other, draw no texture twice; alone each is the same."""
    drawn: list[int] = []
    monkeypatch.setattr(textures, "draw_texture", lambda *args: drawn.append(args[1]) or draw_texture(*args))
    pairs.begin_textures.cache_clear()
    both = [draw_pair(9, 0, index, TIMES_S, SIZE, ALL_ON) for index in (6, 7)]
    num_parts = [len(draw_motion(make_generator(9, 0, index, "synthetic motion"), ALL_ON).is_limb) for index in (6, 7)]
    assert len(drawn) == 2 * (1 + max(num_parts))
    for index, pair in zip((6, 7), both, strict=True):
        pairs.begin_textures.cache_clear()
        assert np.array_equal(pair, draw_pair(9, 0, index, TIMES_S, SIZE, ALL_ON))


def test_a_pair_is_a_function_of_its_arguments() -> None:
    first, again = (draw_pair(1, 2, 5, TIMES_S, SIZE, ALL_ON) for _ in range(2))
    assert np.array_equal(first, again) and first.shape == (2, 9, *SIZE, 3) and first.dtype == np.uint8
    for other in ((2, 2, 5), (1, 3, 5), (1, 2, 6)):
        assert not np.array_equal(first, draw_pair(*other, TIMES_S, SIZE, ALL_ON))


def test_looks_lead_to_the_neighbour() -> None:
    """By mean colour the second clip of a motion looks like the first of its neighbour, not like its own first."""
    wins = 0
    for k in range(40):
        even, odd = (draw_pair(0, 0, 2 * k + n, TIMES_S, SIZE, ALL_OFF).mean(axis=(1, 2, 3)) for n in range(2))
        own, neighbour = np.abs(even[1] - even[0]).sum(), np.abs(even[1] - odd[0]).sum()
        wins += neighbour < own
    assert wins > 30


def test_clips_move_unless_everything_is_off() -> None:
    changes = [np.diff(draw_pair(0, 0, k, TIMES_S, SIZE, ALL_ON).astype(float), axis=1).any() for k in range(30)]
    assert np.mean(changes) > 0.9


def test_pasting_against_the_explicit_twin() -> None:
    """A part pasted without turning, at full pixels: colours over what opacity leaves, elsewhere nothing changes."""
    rng = np.random.default_rng(0)
    opacity = rng.integers(0, 256, (SPRITE_SIDE, SPRITE_SIDE, 1))
    colours = rng.integers(0, 256, (SPRITE_SIDE, SPRITE_SIDE, 3)) * opacity // 255
    sprite = np.concatenate([colours, 255 - opacity], axis=2).astype(np.uint8)
    frame = rng.integers(0, 256, (60, 80, 4)).astype(np.uint8)
    pose_123 = np.array([[[SPRITE_SIDE / 2, 0, 40.0 - 0.5], [0, SPRITE_SIDE / 2, 30.0 - 0.5]]])
    pasted = frame.copy()
    paste_part([pasted], sprite, pose_123)
    y0, x0 = 30 - SPRITE_SIDE // 2, 40 - SPRITE_SIDE // 2
    expected = frame.astype(float)[..., :3]
    window = expected[y0 : y0 + SPRITE_SIDE, x0 : x0 + SPRITE_SIDE]
    window[:] = window * (255 - opacity) / 255 + colours
    assert np.abs(pasted[..., :3] - expected).max() <= 1.0  # one rounding of each of two steps
    for edge in (np.s_[:y0], np.s_[:, :x0]):
        assert np.array_equal(pasted[edge][..., :3], frame[edge][..., :3])


def test_inverse_maps() -> None:
    maps = np.random.default_rng(0).normal(size=(6, 2, 3))
    identity = np.tile(np.eye(2, 3), (6, 1, 1))
    assert np.allclose(compose(maps, invert(maps)), identity) and np.allclose(compose(invert(maps), maps), identity)


def test_a_frame_of_a_drawn_video_does_not_depend_on_what_else_is_read() -> None:
    path = "synthetic://all#7"
    whole = read_frames(path, range(50), SIZE)
    assert np.array_equal(read_frames(path, [31, 4, 31], SIZE), whole[[31, 4, 31]])
    assert np.array_equal(np.stack(list(iter_frames(path, 10, 13, SIZE))), whole[10:13])
    info, index = probe(path), index_frames(path)
    assert (info.num_frames, info.duration_s, index.num_frames) == (50, 2.0, 50)
    assert read_frames(path, [0]).shape == (1, info.height, info.width, 3)
    assert not np.array_equal(whole, read_frames("synthetic://all#8", range(50), SIZE))


def test_reading_nothing_and_too_far() -> None:
    path = "synthetic://all#7"
    assert read_frames(path, [], SIZE).shape == (0, *SIZE, 3) and not list(iter_frames(path, 5, 5, SIZE))
    for numbers in ([50], [-1, 3]):
        with pytest.raises(InputError, match="frames 0 to 49"):
            read_frames(path, numbers, SIZE)
    assert [time_s for time_s, _ in iter_keyframes(path, SIZE)] == [0.0]
    check_decodable(path, all_frames=True)
    assert [str(entry.path) for entry in find_videos(Path(path))] == [str(Path(path))]


def test_clips_at_a_stride_and_single_clips() -> None:
    instances = [Instance(path, n, 0.0, 2.0) for n, path in enumerate(list_videos("synthetic://all", 5))]
    every_other = SyntheticClipDataset(instances, ClipSpec(8, 0, 2), SIZE, 1, seed=3, num_draws=2)
    sample = every_other[0, 1]
    assert sample.frames is not None and sample.frames.shape == (2, 8, *SIZE, 3)
    assert np.array_equal(sample.frames[0], draw_pair(3, 0, 1, (np.arange(8) - 4) * 0.08, SIZE, ALL_ON)[0])
    assert [every_other.get_rng_index(n, 1) for n in range(3)] == [6, 7, 8]  # even numbers stay even
    with pytest.raises(InputError, match="3 clips at once"):
        SyntheticClipDataset(instances, ClipSpec(8), SIZE, 3, seed=3)


def test_addresses() -> None:
    assert parse_address("synthetic:/no-camera") == (replace(ALL_ON, camera=False), 0)  # as `Path` writes it
    for address, says in (
        ("synthetic://no-colour", "'no-colour'"),
        ("synthetic://all,no-colour", "'no-colour'"),
        ("synthetic://camera", "no-camera"),
        ("synthetic://all#x", "#NUMBER"),
        ("synthetic://all#99999999999", "below"),
    ):
        with pytest.raises(InputError, match=says):
            parse_address(address)


def test_the_dataset_draws_pairs_anew_in_every_epoch() -> None:
    instances = [Instance(path, n, 0.0, 2.0) for n, path in enumerate(list_videos("synthetic://all", 4))]
    dataset = SyntheticClipDataset(instances, ClipSpec(8, 12.5, 0, 1), SIZE, 2, seed=3)
    batch = dataset.collate([dataset[0, n] for n in range(4)])
    assert batch.frames.shape == (4, 2, 9, *SIZE, 3) and not batch.failures
    assert np.array_equal(batch.frames[2].numpy(), draw_pair(3, 0, 2, TIMES_S - 0.5 / 12.5, SIZE, ALL_ON))
    assert not np.array_equal(batch.frames[2], dataset[1, 2].frames)
