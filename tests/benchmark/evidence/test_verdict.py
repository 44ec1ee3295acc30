"""Did it help? Every system at every width, share and seed, once; paired; one table and one picture."""

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image, ImageOps

from benchmark.evidence import verdict, verdict_page
from benchmark.evidence.verdict import GIVEN, OURS, RANDOM, Question, answer, rows
from pretrain import UserError, load_universal
from tests.pretrain.helpers import universal
from transfer.recognition.settings import RecognitionSettings
from transfer.results import read_results


@pytest.fixture
def question(image_folder, tmp_path):
    torch.manual_seed(0)
    net = universal(base_channels=8)
    net.metadata |= {"data": {"name": "digits", "images": 10, "image_size": 16}}
    net.metadata["calibration"] |= {"batch_size": 16, "batches": 2}
    path = net.save(tmp_path / "run" / "universal.safetensors")
    torch.save({"encoder.": 0, "net": net.backbone.state_dict()}, tmp_path / "given.pth")
    settings = RecognitionSettings("knn", neighbours=3)
    return Question(
        path,
        "folder",
        image_folder,
        [1.0, 0.5],
        [0.25, 1.0],
        [0, 1],
        settings,
        tmp_path / "out",
        tmp_path / "given.pth",
    )


def test_everything_is_evaluated_once_and_paired(question, monkeypatch):
    calls, real = [], verdict.evaluate

    def counted(source, *args, **kwargs):
        calls.append((source.method, args[2]))
        return real(source, *args, **kwargs, progress=False)

    monkeypatch.setattr(verdict, "evaluate", counted)
    scores, net, (train, test) = answer(question)
    assert len(calls) == 3 * 2 * 2 and {method for method, _ in calls} == {"random", "given", "us3l"}
    assert len(scores) == 2 * 2 * 3 and all(set(values) == {0, 1} for values in scores.values())
    assert (len(train), len(test)) == (48, 16) and net.metadata["method"] == "us3l"
    calls.clear()
    assert answer(question)[0] == scores and calls == [], "nothing is done again"
    assert answer(replace(question, seeds=[0, 1, 2]))[0].keys() == scores.keys()
    assert len(calls) == 3 * 2, "only the new seed"
    calls.clear()
    answer(replace(question, widths=[1.0, 0.25]))
    assert {tuple(widths) for _, widths in calls} == {(0.25,)}


def test_other_images_or_settings_are_evaluated_anew(question, image_folder, monkeypatch):
    question = replace(question, weights=None, seeds=[0], labels=[1.0], widths=[1.0])
    answer(question)
    calls, real = [], verdict.evaluate
    monkeypatch.setattr(
        verdict, "evaluate", lambda *args, **kw: [calls.append(0), real(*args, **kw, progress=False)][1]
    )
    next(image_folder.glob("train/dark/*")).unlink()
    answer(question)
    answer(replace(question, settings=RecognitionSettings("knn", neighbours=5)))
    answer(replace(question, settings=RecognitionSettings("knn", interpolation="bilinear")))
    assert len(calls) == 6


@pytest.fixture
def evaluations(monkeypatch):
    """Systems and images of every evaluation."""
    calls, real = [], verdict.evaluate

    def counted(source, target, root, *args, **kwargs):
        calls.append((source.method, root))
        return real(source, target, root, *args, **kwargs, progress=False)

    monkeypatch.setattr(verdict, "evaluate", counted)
    return calls


def test_a_folder_of_the_same_name_classes_and_numbers_is_evaluated_anew(question, tmp_path, evaluations):
    """birds_cropped beside birds: nothing but the pixels tells them apart."""
    question = replace(question, weights=None, seeds=[0], widths=[1.0])
    scores, *_ = answer(question)
    other = tmp_path / "other" / question.root.name
    shutil.copytree(question.root, other)
    for path in other.glob("*/*/*"):
        ImageOps.invert(Image.open(path)).rotate(180).save(path)
    evaluations.clear()
    answer(replace(question, root=other))
    assert evaluations == [("random", other), ("us3l", other)] * 2, "for both shares of the labels"
    evaluations.clear()
    assert answer(question)[0] == scores and evaluations == [], "the other images overwrote nothing"


def test_another_architecture_or_normalisation_is_evaluated_anew(question, tmp_path, evaluations):
    question = replace(question, weights=None, seeds=[0], labels=[1.0], widths=[1.0])
    answer(question)
    for changes, options in (({}, {"base_channels": 16}), ({"mean": [0.4] * 3}, {"base_channels": 8})):
        net = universal(**options)
        net.metadata |= load_universal(question.checkpoint).metadata | {"backbone": net.backbone.arguments} | changes
        path = net.save(tmp_path / str(changes) / "universal.safetensors")
        evaluations.clear()
        answer(replace(question, checkpoint=path))
        assert [method for method, _ in evaluations] == ["random", "us3l"]


def test_a_record_that_does_not_say_what_its_images_are_is_not_reused(question, evaluations):
    question = replace(question, weights=None, seeds=[0], labels=[1.0], widths=[1.0])
    answer(question)
    for path in question.output.rglob("result.json"):
        record = json.loads(path.read_text())
        del record["details"]["identity"]
        path.write_text(json.dumps(record))
    evaluations.clear()
    answer(question)
    assert [method for method, _ in evaluations] == ["random", "us3l"]


def test_channels_of_given_weights_are_sorted_by_their_magnitude_on_the_images(question):
    """Here they are the checkpoint's: equal figures at width 1, whatever the order of channels."""
    given = replace(question, weights=question.checkpoint, widths=[1.0], seeds=[0], labels=[1.0], sort="activation")
    scores, _, _ = answer(given)
    assert scores[1.0, 1.0, GIVEN] == pytest.approx(scores[1.0, 1.0, OURS])


def test_given_weights_are_the_files_own_at_width_1(question):
    """Here they are the checkpoint's, which says its normalisation: equal figures, whatever the order of channels."""
    given = replace(question, weights=question.checkpoint, widths=[1.0], seeds=[0], labels=[1.0])
    scores, _, _ = answer(given)
    assert scores[1.0, 1.0, GIVEN] == pytest.approx(scores[1.0, 1.0, OURS])


def test_given_weights_are_recorded_with_what_their_own_file_says(question, tmp_path):
    network = load_universal(question.checkpoint).extract(1.0)
    torch.save(network.state_dict(), tmp_path / "foreign.pth")
    answer(replace(question, weights=tmp_path / "foreign.pth", widths=[1.0], seeds=[0], labels=[1.0]))
    (record,) = (r for r in read_results(question.output) if r["method"] == "foreign")
    assert record["details"]["pretraining"] == {"file": "foreign.pth"}


def made_up(question, ours, random):
    scores = defaultdict(dict)
    for share in question.labels:
        for width in question.widths:
            for seed in question.seeds:
                scores[share, width, OURS][seed] = ours(share, width) + seed
                scores[share, width, RANDOM][seed] = random + seed
    return scores


def test_the_answer_is_a_table_a_sentence_and_a_picture(question):
    question = replace(question, weights=None)
    scores = made_up(question, lambda share, width: 60.0 if share == 1 else 45.0, 50.0)
    table = rows(question, scores)
    assert [(row.labels, row.width) for row in table] == [(0.25, 1.0), (0.25, 0.5), (1.0, 1.0), (1.0, 0.5)]
    assert table[0].means == {RANDOM: 50.5, OURS: 45.5}
    page, picture = verdict_page.write(question, table, scores, "top-1", ["a note"])
    text = " ".join(page.read_text().split())
    assert "| 25 % | 1 | 50.5 | 45.5 | -5.0 ± 0.0 contradicted |" in text
    assert "| 100 % | 0.5 | 50.5 | 60.5 | +10.0 ± 0.0 seen |" in text
    assert "- Did it help, against random weights? Seen in 2 of 4 rows, the contrary in 2. - a note" in text
    assert (
        "25 % of the labels" in "".join(ElementTree.parse(picture).getroot().itertext())
        or picture.stat().st_size > 5000
    )


@pytest.mark.parametrize(
    ("ours", "seeds", "said"),
    [(60, [0, 1], "Yes, in every row"), (40, [0, 1], "No, it hurt in every row"), (60, [0], "One seed cannot tell")],
)
def test_what_is_said_of_all_rows(question, ours, seeds, said):
    question = replace(question, weights=None, seeds=seeds)
    [sentence] = verdict_page.sentences(question, rows(question, made_up(question, lambda *_: ours, 50.0)))
    assert f"against random weights? {said}" in sentence


def test_what_cannot_be_answered_is_one_line_before_anything_is_trained(question, tmp_path):
    for changes, message in (
        ({"weights": tmp_path / "absent.pth"}, "no such file: .*absent.pth; expected --weights FILE"),
        ({"widths": [0.1]}, "outside the range 0.25 to 1"),
        ({"seeds": []}, "expected at least one of --seeds"),
        ({"root": tmp_path / "nowhere"}, "no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            answer(replace(question, **changes))
    assert not question.output.exists()
