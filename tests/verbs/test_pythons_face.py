"""Results in Python: a few lines, a table in a notebook, a DataFrame; clips for a loop of one's own."""

import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from evaluations import retrieval
from torch.utils.data import DataLoader, RandomSampler

import unreel
from unreel.embedding import join_views
from unreel.errors import InputError
from unreel.indexing.search.results import Hit, Hits
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Embeddings, Tabular
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

HITS = Hits(Hit(f"<{n}>.mp4", 1.0, 2.5, score=0.5, rows=(n,)) for n in range(30))
EMBEDDINGS = Embeddings(np.ones((8, 4), np.float32), [f"{n}.mp4" for n in range(8)], np.zeros(8), np.ones(8))


@pytest.mark.parametrize("made", [HITS, EMBEDDINGS, retrieval()])
def test_they_print_in_a_few_lines_and_as_a_table(made: Tabular) -> None:
    assert len(repr(made).splitlines()) <= 8 and len(repr(made)) < 600
    table = made._repr_html_()
    assert table.startswith("<table>") and table.count("<tr>") == min(len(made.list_rows()), 20) + 1
    assert "<0>" not in table


def test_what_they_say() -> None:
    assert repr(HITS).splitlines()[:2] == ["30 hits", "  <0>.mp4 1.00 to 2.50 s, score 0.5000"]
    assert repr(EMBEDDINGS).startswith("Embeddings of 8 videos, 8 x 4 numbers") and "... 5 more" in repr(EMBEDDINGS)
    assert "  joint              61.5 [52, 71]" in repr(retrieval()) and "(of R@1, mAP)" in repr(retrieval())
    assert retrieval().list_rows()[-1] == {
        **{"row": "joint", "R@1": 61.5, "R@1 low": 52.25, "R@1 high": 70.75},
        **{"mAP": 36.7, "mAP low": 32.15, "mAP high": 41.35},
    }
    assert "vector" in EMBEDDINGS.list_rows()[0] and "vector" not in EMBEDDINGS._repr_html_()


def test_a_result_has_a_picture_of_its_main_figures() -> None:
    made = retrieval()
    made.rows["<b>"] = {"mAP": 3.0}  # without the main figure
    picture = ElementTree.fromstring("<svg" + made._repr_html_().partition("<svg")[2])
    names = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert names[::2] == [name for name in made.rows if name != "<b>"] and names[-1] == "61.5"
    bars = [float(bar.attrib["width"]) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    figures = [row["R@1"] for name, row in made.rows.items() if name != "<b>"]
    assert bars == pytest.approx([figure / 70.75 * 320 for figure in figures], abs=0.06)  # 70.75 ends an interval
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) == len(made.intervals)


def test_outcomes_are_rows_of_videos() -> None:
    made = retrieval()
    made.test_videos = {"path": ["a", "b"], "label": ["x", "y"], "group": ["", ""]}
    made.outcomes = {"joint": {"first hit": [1, 4]}}
    assert made.list_outcomes()[1] == {"row": "joint", "path": "b", "label": "y", "group": "", "first hit": 4}


def test_a_dataframe_where_pandas_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert HITS.to_pandas() == ("frame", HITS.list_rows())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        HITS.to_pandas()


def test_an_encoder_is_a_module_whose_rows_are_those_of_embed() -> None:
    encoder = Encoder(EncoderSpec("tiny", "iic", ClipSpec(4, lead_in=1), ViewSpec(size=32))).eval()
    frames = torch.randint(0, 255, (2, 5, *encoder.spec.views.resize_hw, 3), dtype=torch.uint8)
    rows_BD = encoder(frames)
    expected = join_views({name: part.numpy() for name, part in encoder.extract_parts(frames).items()})
    np.testing.assert_allclose(rows_BD.detach().numpy(), expected, atol=1e-5)
    rows_BD.sum().backward()
    assert all(p.grad is not None for p in encoder.backbone.parameters())


def test_clips_are_an_ordinary_dataset_whose_draws_follow_the_index(motion_set: Path) -> None:
    drawn = unreel.clips(motion_set, num_frames=4, size=(24, 32), num_clips=2, seed=5)
    assert len(drawn) == 24
    order = RandomSampler(drawn, generator=torch.Generator().manual_seed(0))
    batches = list(DataLoader(drawn, batch_size=6, sampler=order, num_workers=2))
    assert batches[0]["frames"].shape == (6, 2, 4, 24, 32, 3) and batches[0]["frames"].dtype == torch.uint8
    for batch in batches:
        for n, index in enumerate(batch["index"].tolist()):
            assert torch.equal(batch["frames"][n], drawn[index]["frames"]) and batch["path"][n] == drawn[index]["path"]
    before = [drawn[n]["spans_s"] for n in range(8)]
    drawn.set_epoch(1)
    assert not all(torch.equal(drawn[n]["spans_s"], before[n]) for n in range(8))
    with pytest.raises(IndexError):
        drawn[24]
    with pytest.raises(InputError, match="num_clips=0"):
        unreel.clips(motion_set, num_clips=0)


def test_every_protocol_has_a_name_in_python(small_run: Path, motion_set: Path) -> None:
    checkpoint = sorted((small_run / "checkpoints").glob("step-*"))[0]
    made = unreel.evaluate(None, checkpoint, motion_set, "finetune", num_clips=1, epochs=1, min_steps=0, scratch=False)
    assert list(made) == ["finetune"] and len(made["finetune"].outcomes["fine-tuned"]["top-1"]) == 8
    with pytest.raises(InputError, match="unknown evaluation 'nothing'"):
        unreel.evaluate(None, checkpoint, motion_set, "nothing")
