"""Features come from the right box at the right time, and the table says what was done."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from unreel.corpus.labels.boxes import Keyframe, read_detections, write_boxes
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.corpus.motion_set.boxes import make_box_set
from unreel.errors import InputError, NonFiniteError
from unreel.evaluation.metrics.frame_map import compute_frame_map
from unreel.evaluation.protocols.box_features import extract_box_features, extract_roi_features
from unreel.evaluation.protocols.detection import evaluate_detection
from unreel.evaluation.protocols.detection_head import DetectionProtocol, build_targets, finetune_detector, fit_head
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.roi_align import RoiHead, build_bilinear_weights, pool_roi_vectors, roi_align
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

SPEC = EncoderSpec("tiny", clip=ClipSpec(4, 12.5, 0), views=ViewSpec(("rgb",), size=32))
SHORT = DetectionProtocol(epochs=20)


def slow_roi_align(map_DHW: np.ndarray, box: np.ndarray, grid: int, samples: int) -> np.ndarray:
    """Four loops: each cell is the mean of points, each point the bilinear mean of the four centres around it."""
    depth, height, width = map_DHW.shape
    out = np.zeros((depth, grid, grid))
    for i in range(grid):
        for j in range(grid):
            for m in range(samples * samples):
                v = (i + (m // samples + 0.5) / samples) / grid
                u = (j + (m % samples + 0.5) / samples) / grid
                y = min(max((box[1] + (box[3] - box[1]) * v) * height - 0.5, 0), height - 1)
                x = min(max((box[0] + (box[2] - box[0]) * u) * width - 0.5, 0), width - 1)
                top, left = min(int(y), height - 2), min(int(x), width - 2)
                dy, dx = y - top, x - left
                part = map_DHW[:, top : top + 2, left : left + 2]
                out[:, i, j] += (
                    part[:, 0, 0] * (1 - dy) * (1 - dx) + part[:, 0, 1] * (1 - dy) * dx
                    + part[:, 1, 0] * dy * (1 - dx) + part[:, 1, 1] * dy * dx
                ) / samples**2  # fmt: skip
    return out


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray:
    low = rng.random((number, 2)) * 0.7
    return np.concatenate([low, low + 0.05 + rng.random((number, 2)) * (0.95 - low)], axis=1)


def test_roi_align_agrees_with_loops() -> None:
    rng = np.random.default_rng(0)
    maps, boxes, owner = rng.standard_normal((3, 2, 5, 8)), random_boxes(rng, 6), np.array([2, 0, 1, 1, 0, 2])
    boxes[0] = [0, 0, 1, 1]
    got = roi_align(torch.from_numpy(maps), torch.from_numpy(boxes), torch.from_numpy(owner), grid=3)
    expected = [slow_roi_align(maps[b], box, 3, 2) for b, box in zip(owner, boxes, strict=True)]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_roi_align_agrees_with_grid_sample() -> None:
    """Torch's own bilinear sampling at the same points."""
    rng = np.random.default_rng(1)
    maps, boxes = torch.from_numpy(rng.standard_normal((1, 3, 7, 7))), torch.from_numpy(random_boxes(rng, 5))
    share = (torch.arange(14, dtype=torch.float64) + 0.5) / 14
    x, y = (boxes[:, k, None] + (boxes[:, k + 2] - boxes[:, k])[:, None] * share for k in (0, 1))
    points = torch.stack([x[:, None].expand(-1, 14, -1), y[:, :, None].expand(-1, -1, 14)], dim=-1) * 2 - 1
    sampled = F.grid_sample(maps.expand(5, -1, -1, -1), points, padding_mode="border", align_corners=False)
    got = roi_align(maps, boxes, torch.zeros(5, dtype=torch.int64))
    torch.testing.assert_close(got, F.avg_pool2d(sampled, 2), atol=1e-12, rtol=0)


def test_constants_stay_and_ramps_give_the_centre() -> None:
    rng = np.random.default_rng(2)
    boxes, owner = torch.from_numpy(0.2 + 0.6 * random_boxes(rng, 9)), torch.zeros(9, dtype=torch.int64)
    y, x = torch.meshgrid(*((torch.arange(8, dtype=torch.float64) + 0.5) / 8 for _ in range(2)), indexing="ij")
    got = roi_align(torch.stack([torch.full((8, 8), 3.5, dtype=torch.float64), x, y])[None], boxes, owner)
    torch.testing.assert_close(got[:, 0], torch.full((9, 7, 7), 3.5, dtype=torch.float64))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    torch.testing.assert_close(got[:, 1:].mean(dim=(2, 3)), centres)
    assert build_bilinear_weights(boxes[:, 0], boxes[:, 2], 8).sum(dim=2) == pytest.approx(1)


def test_gradients_reach_the_map() -> None:
    rng = np.random.default_rng(3)
    boxes, owner = torch.from_numpy(random_boxes(rng, 2)), torch.tensor([0, 1])
    maps = torch.from_numpy(rng.standard_normal((2, 1, 2, 3, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: pool_roi_vectors(m, boxes, owner, grid=2), maps)


class Colours(nn.Module):
    """An encoder that sees nothing but which colours are where: its map is the clip, averaged in 16 x 16 cells."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, clips: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(clips, (clips.shape[2], 16, 16)) * self.gain


class Places(Colours):
    """Its map says where each of its cells is, and in which clip of the batch: by the clip's mean colour."""

    def forward(self, clips: Tensor) -> Tensor:
        y, x = torch.meshgrid(*((torch.arange(16.0) + 0.5) / 16 for _ in range(2)), indexing="ij")
        places = torch.stack([x, y, torch.ones(16, 16)])[None, :, None].repeat(len(clips), 1, 2, 1, 1)
        places[:, 2] *= clips.mean(dim=(1, 2, 3, 4))[:, None, None, None]
        return places


def test_vectors_come_from_the_box_and_the_clip_they_belong_to() -> None:
    encoder = Encoder(SPEC, Places())
    frames = torch.stack([torch.full((4, 32, 32, 3), grey, dtype=torch.uint8) for grey in (51, 204, 102)])
    boxes = [np.array([[0.1, 0.2, 0.5, 0.9], [0.3, 0.1, 0.4, 0.2]]), np.zeros((0, 4)), np.array([[0.5, 0.0, 0.9, 0.3]])]
    vectors = extract_roi_features(encoder, frames, boxes).detach().numpy()
    every = np.concatenate(boxes)
    edge = every[:, 2:] - (every[:, 2:] - every[:, :2]) / 14  # centre of the last of seven cells
    np.testing.assert_allclose(vectors[:, :2], edge, atol=0.02)
    np.testing.assert_allclose(vectors[:, 2], [0.2, 0.2, 0.4], atol=1e-4)


RED, BLUE = (230, 20, 20), (20, 20, 230)


def coloured_set(folder: Path, videos: int = 8) -> Path:
    """Two squares each, red for a while and blue for a while: the colour at a keyframe's moment is its action."""
    (folder / "videos").mkdir(parents=True)
    rng, lists = np.random.default_rng(0), {"train": [], "test": []}
    for n in range(videos):
        frames = np.full((38, 48, 64, 3), 90, np.uint8)
        left, right = (int(rng.integers(2, 8)), int(rng.integers(4, 24))), (int(rng.integers(36, 42)), 12)
        starts = rng.permutation(2)
        for (x, y), first in zip((left, right), starts, strict=True):
            frames[:19, y : y + 20, x : x + 20] = (RED, BLUE)[first]
            frames[19:, y : y + 20, x : x + 20] = (RED, BLUE)[1 - first]
        write_video(folder / "videos" / f"v{n}.mp4", frames, fps=12.5, crf=5)
        boxes = np.array([(x, y, x + 20, y + 20) for x, y in (left, right)]) / [64, 48, 64, 48]
        for at_s, first in ((0.5, starts), (2.0, 1 - starts)):
            labels = [frozenset({int(f) + 1}) for f in first]
            lists["test" if n % 2 else "train"].append(Keyframe(f"v{n}", at_s, boxes, labels))
    for name, keyframes in lists.items():
        write_boxes(folder / f"{name}.csv", keyframes)
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_set(tmp_path_factory.mktemp("colours") / "set")


def test_what_can_be_seen_in_the_box_is_found(colours: Path) -> None:
    """Only features of the right box at the right time tell red from blue: the whole frame is the same for both."""
    result = evaluate_detection(Encoder(SPEC, Colours()), colours)
    assert list(result.rows) == ["chance", "untrained encoder", "encoder"]
    assert result.rows["encoder"] == {"mAP@0.5": 100.0}
    assert result.extras["per_class"]["encoder"] == {"1": 100.0, "2": 100.0}
    assert result.rows["chance"]["mAP@0.5"] == pytest.approx(50.0)  # half of the test boxes, exactly
    assert result.protocol["test_boxes"] == result.protocol["judged_boxes"] == 16
    assert result.protocol["left_out"] == [] and set(result.floors) == {"chance", "untrained encoder"}


def test_boxes_of_the_wrong_square_are_no_use(colours: Path) -> None:
    """The control of the test above: the same labels at the other square's place."""
    found = DetectionSet.load(colours)
    found.test = [Keyframe(k.video, k.time_s, k.boxes[::-1].copy(), k.actions) for k in found.test]
    assert evaluate_detection(Encoder(SPEC, Colours()), found).rows["encoder"]["mAP@0.5"] < 60


def test_proposals_in_the_place_of_the_true_boxes(colours: Path, tmp_path: Path) -> None:
    data, encoder = DetectionSet.load(colours), Encoder(SPEC, Colours())

    def figure(*rows: str) -> tuple[float, list[str], dict]:
        (tmp_path / "p.csv").write_text("".join(f"{row}\n" for row in rows))
        result = evaluate_detection(
            encoder, data, DetectionProtocol(proposals=str(tmp_path / "p.csv"), least_score=0.5)
        )
        assert "an external detector's" in result.caption
        return result.rows["encoder"]["mAP@0.5"], result.warnings, result.protocol

    def row(k: Keyframe, box: np.ndarray, score: float = 0.9, video: str = "") -> str:
        return f"{video or k.video},{k.time_s},{','.join(map(str, box))},,{score}"

    true = [row(k, box) for k in data.test for box in k.boxes]
    far = np.array([0.0, 0.9, 0.1, 1.0])
    value, warnings, protocol = figure(*true, row(data.test[0], far, 0.4), row(data.test[0], far, video="v0"))
    assert (value, protocol["judged_boxes"], protocol["test_boxes"]) == (100.0, 16, 16)
    assert "boxes of 1 video not in the test list" in warnings[0] and "v0" in warnings[0]
    assert figure(*true[: len(true) // 2])[0] == pytest.approx(50)  # what is not proposed is not found
    assert figure(*(row(k, far) for k in data.test))[0] == 0
    beside = [row(Keyframe(k.video, 1.0, k.boxes, []), box) for k in data.test for box in k.boxes]
    assert figure(*true, *beside)[0] < 90  # keyframes that nobody labelled count as wrong
    with pytest.raises(InputError, match="no box of the test list can be used: no keyframe has a box"):
        figure(row(data.test[0], far, 0.1))


@pytest.fixture(scope="module")
def box_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("boxes") / "set"
    make_box_set(out, videos=8, seed=1, seconds=3, size=(48, 64), fps=12.5, test_share=0.4)
    return out


def test_the_whole_way_on_the_synthetic_set(box_set: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    both = replace(SPEC, clip=ClipSpec(4, 12.5, 0, lead_in=1), views=ViewSpec(("rgb", "residual"), size=32))
    encoder, seen = Encoder(both).eval(), []
    kept = DetectionProtocol(epochs=20, save_detections=str(tmp_path / "d.csv"))
    result = evaluate_detection(encoder, box_set, kept, progress=lambda *now: seen.append(now))
    again = evaluate_detection(encoder, box_set, SHORT)
    assert result.rows == again.rows and result.extras == again.extras  # to the last digit
    assert seen[-1] == (16, 16) and seen == sorted(seen)
    assert json.loads(json.dumps(result.to_json()))["protocol"]["actions"][0] == "still"
    assert result.protocol["dimensions"] == 2 * 128
    data = DetectionSet.load(box_set)
    mean, _ = compute_frame_map(data.test, read_detections(tmp_path / "d.csv", data.action_names), data.action_names)
    assert 100 * mean == pytest.approx(result.rows["encoder"]["mAP@0.5"])
    shares = build_targets(data.test, sorted(data.action_names)).mean(dim=0)
    assert result.rows["chance"]["mAP@0.5"] == pytest.approx(100 * float(shares[shares > 0].mean()))
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result.to_table())
    console.file.close()
    text = " ".join(console.export_text().split())
    assert "mAP@0.5" in text and "person detector, which unreel does not have" in text


def test_finetuning_changes_a_copy_and_is_repeatable(box_set: Path) -> None:
    torch.manual_seed(0)
    encoder, data = Encoder(SPEC).eval(), DetectionSet.load(box_set)
    before = [p.clone() for p in encoder.state_dict().values()]
    protocol = DetectionProtocol(epochs=5, finetune=True, finetune_epochs=4, finetune_batch_size=2)
    features = extract_box_features({"encoder": encoder}, data, data.train)
    truth = build_targets(features.keyframes, sorted(data.action_names))
    head = fit_head(features.vectors["encoder"], truth, protocol)
    (one, head_one), (two, head_two) = (finetune_detector(encoder, head, data, data.train, protocol) for _ in range(2))
    for first, second in ((one, two), (head_one, head_two)):
        pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.state_dict().values(), strict=True))
    assert not torch.equal(next(one.parameters()), next(encoder.parameters()))

    def loss(network: Encoder, layer: RoiHead) -> float:
        vectors = extract_box_features({"it": network}, data, data.train).vectors["it"]
        with torch.no_grad():
            return float(F.binary_cross_entropy_with_logits(layer(vectors), truth))

    assert loss(one, head_one) < loss(encoder, head)
    result = evaluate_detection(encoder, data, replace(protocol, finetune_epochs=1))
    assert "fine-tuned" in result.caption and result.protocol["finetune"]


def test_the_head_begins_at_the_shares_and_learns() -> None:
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.standard_normal((200, 6)).astype(np.float32)) * 50 + 7
    truth = torch.stack([vectors[:, 0] > 7, vectors[:, 1] > 60, torch.zeros(200, dtype=torch.bool)], dim=1).float()
    state = torch.get_rng_state()
    start = torch.sigmoid(RoiHead(vectors, truth)(vectors)).detach()
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(start[0], (truth.sum(dim=0) + 0.5) / 201)
    assert torch.equal(start, start[:1].expand(200, -1))
    head = fit_head(vectors, truth, DetectionProtocol(lr=0.05))
    with torch.no_grad():
        right = ((head(vectors) > 0) == truth.bool()).float().mean(dim=0)
    assert right.min() > 0.97
    with pytest.raises(NonFiniteError, match="detection head"):
        fit_head(vectors * torch.nan, truth, SHORT)


def test_what_can_not_be_read_is_left_out_and_named(colours: Path) -> None:
    data = DetectionSet.load(colours)
    whole = evaluate_detection(Encoder(SPEC, Colours()), data, SHORT)
    box = data.test[0].boxes
    lost = [Keyframe("v1", 9.0, box, data.test[0].actions), Keyframe("gone", 1.0, box, data.test[0].actions)]
    broken = colours / "videos" / "broken.mp4"
    broken.write_bytes(b"no video at all")
    data.video_paths["broken"] = broken
    data.train.append(Keyframe("broken", 1.0, box, data.test[0].actions))
    data.test += lost
    result = evaluate_detection(Encoder(SPEC, Colours()), data, SHORT)
    broken.unlink()
    assert result.rows == whole.rows
    assert [(e["list"], e["keyframes"]) for e in result.protocol["left_out"]] == [
        ("training", 1),
        ("test", 1),
        ("test", 1),
    ]
    training, test = result.warnings
    assert "1 training keyframes are left out: broken at 1 s" in training
    assert "v1 at 9 s (too short: the keyframe at 9 s is not in the video, which ends at 3.04 s)" in test
    assert "gone at 1 s (missing)" in test
    data.clock_s = 900
    with pytest.raises(InputError, match=r"training list.*all 9 keyframes are left out.*clock_s"):
        evaluate_detection(Encoder(SPEC, Colours()), data, SHORT)


def test_cautions(colours: Path) -> None:
    data = DetectionSet.load(colours)
    data.test += [Keyframe("v0", 1.0, data.train[0].boxes[:1], [frozenset({7})])]
    data.action_names[7], data.action_names[1] = "wave", data.action_names[2]
    data.excluded_keys = {data.test[0].key, data.train[0].key}
    result = evaluate_detection(Encoder(SPEC, Colours()), data, SHORT)
    assert "no training box shows wave" in result.warnings[0]
    assert "1 test videos are training videos too" in result.warnings[1]
    assert result.protocol["actions"] == ["2 (1)", "2 (2)", "wave"]
    assert (result.protocol["training_keyframes"], result.protocol["test_keyframes"]) == (7, 8)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"lr": 0.0}, {"least_iou": 0.0}, {"least_iou": 1.5}])
def test_bad_protocols_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        DetectionProtocol(**options)
