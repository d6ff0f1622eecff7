"""Draws the frames of a motion in a look by a shot.

Pictures have four channels of uint8 (see `Look`), of which the last means nothing in frames: OpenCV is fastest so.
"""

import cv2
import numpy as np

from unreel.video.synthetic.motion import Motion, compute_poses
from unreel.video.synthetic.scene import Look, Shot

MAX_REACH_HEIGHTS = 1.2  # a part that grows beyond is not drawn
FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
ABSENT = (0, 0, 0, 255)  # a picture beyond its edges: it hides nothing


def render_clip(motion: Motion, look: Look, shot: Shot, times_s: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (T, H, W, 3): the frames at `times_s`, of which 0 is the middle of the motion; `size` is (H, W).

    Parts are drawn from behind to the front.
    """
    camera_T23 = compute_camera(shot, times_s, size)
    t_T = times_s * shot.pace + shot.delay_s
    frames = draw_backgrounds(look.background, camera_T23, shot, times_s, size)
    poses = [pose_T23 for thing in motion.things for pose_T23 in compute_poses(thing, t_T)]
    for sprite, pose_T23 in zip(look.sprites, poses, strict=True):
        paste_part(frames, sprite, compose(camera_T23, place_part(pose_T23, shot, size)))
    light_T = shot.light * (1 + shot.flicker.at(times_s))
    video = np.empty((len(frames), *size, 3), np.uint8)
    for picture, frame, light in zip(video, frames, light_T.tolist(), strict=True):
        cv2.cvtColor(cv2.convertScaleAbs(frame, alpha=light), cv2.COLOR_RGBA2RGB, dst=picture)
    return video


def compute_camera(shot: Shot, times_s: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (T, 2, 3) from the scene to the frame, both in pixels: a zoom about the middle, a pan and the shake."""
    height, width = size
    zoom_T = np.exp(shot.zoom * times_s)
    shake_T2 = np.stack([wave.at(times_s) for wave in shot.shake], axis=1)
    maps = np.zeros((len(times_s), 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = zoom_T
    maps[:, :, 2] = np.outer(1 - zoom_T, (width / 2, height / 2)) + (np.outer(times_s, shot.pan) + shake_T2) * height
    return maps


def place_part(pose_T23: np.ndarray, shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """Poses in heights as maps to pixels of the frame: the motion scaled about the middle of the frame and shifted."""
    height, width = size
    pixels = pose_T23 * (height * shot.scale)
    pixels[:, :, 2] += np.array([width, height]) / 2 + height * (np.array(shot.shift) - 0.5 * shot.scale)
    return pixels


def compose(outer_T23: np.ndarray, inner_T23: np.ndarray) -> np.ndarray:
    """The maps that do `inner` first: (T, 2, 3) each."""
    result: np.ndarray = outer_T23[:, :, :2] @ inner_T23
    result[:, :, 2] += outer_T23[:, :, 2]
    return result


def invert(maps_T23: np.ndarray) -> np.ndarray:
    """The inverse maps (T, 2, 3)."""
    (a_T, b_T, x_T), (c_T, d_T, y_T) = maps_T23.transpose(1, 2, 0)
    determinant_T = a_T * d_T - b_T * c_T
    rows = [[d_T, -b_T, b_T * y_T - d_T * x_T], [-c_T, a_T, c_T * x_T - a_T * y_T]]
    return (np.array(rows) / determinant_T).transpose(2, 0, 1)


def draw_backgrounds(
    picture: np.ndarray, camera_T23: np.ndarray, shot: Shot, times_s: np.ndarray, size: tuple[int, int]
) -> list[np.ndarray]:
    """The backgrounds of all frames, uint8 (H, W, 4) each; beyond its edges the picture is mirrored."""
    height, width = size
    scale = 1.3 * width / len(picture)
    own_T23 = np.zeros((len(times_s), 2, 3))
    own_T23[:, 0, 0] = own_T23[:, 1, 1] = scale
    own_T23[:, :, 2] = np.array([width, height]) / 2 - scale * len(picture) / 2 + np.outer(times_s, shot.drift) * height
    maps_T23 = invert(compose(camera_T23, own_T23))
    num_different = 1 if (maps_T23 == maps_T23[0]).all() else len(maps_T23)
    frames = [
        cv2.warpAffine(picture, map_23, (width, height), flags=FLAGS, borderMode=cv2.BORDER_REFLECT)
        for map_23 in maps_T23[:num_different]
    ]
    return frames if num_different > 1 else [frames[0].copy() for _ in maps_T23]


def paste_part(frames: list[np.ndarray], sprite: np.ndarray, pose_T23: np.ndarray) -> None:
    """Lay a part over each frame (H, W, 4), in place, within the box that it covers; poses are (T, 2, 3)."""
    height, width = frames[0].shape[:2]
    half = len(sprite) / 2
    reach_T2 = np.abs(pose_T23[:, :, :2]).sum(axis=2)
    low_T2 = np.floor(pose_T23[:, :, 2] - reach_T2).clip(0).astype(int)
    high_T2 = np.minimum(np.ceil(pose_T23[:, :, 2] + reach_T2).astype(int) + 1, (width, height))
    is_drawn_T = (high_T2 > low_T2).all(axis=1) & (reach_T2.max(axis=1) < MAX_REACH_HEIGHTS * height)
    maps_T23 = pose_T23.copy()
    maps_T23[:, :, :2] /= half
    maps_T23[:, :, 2] -= low_T2 + maps_T23[:, :, :2].sum(axis=2) * (half - 0.5)
    maps_T23 = invert(maps_T23)
    boxes = np.concatenate([low_T2, high_T2], axis=1).tolist()
    for t in np.flatnonzero(is_drawn_T).tolist():
        x0, y0, x1, y1 = boxes[t]
        box, window = (x1 - x0, y1 - y0), frames[t][y0:y1, x0:x1]
        part = cv2.warpAffine(sprite, maps_T23[t], box, flags=FLAGS, borderValue=ABSENT)
        rest = cv2.cvtColor(cv2.extractChannel(part, 3), cv2.COLOR_GRAY2RGBA)
        cv2.multiply(window, rest, dst=window, scale=1 / 255)
        cv2.add(window, part, dst=window)
