"""The data set of questions: what is stored, and which files are refused with which line."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import build
from data_pipelines.builders.clevrer_qa.clevrer_qa_dataset_builder import Builder, ClevrerQaConfig
from data_pipelines.builders.clevrer_qa.raw import QuestionScene, find_question_files, read_questions
from data_pipelines.builders.clevrer_qa.records import open_questions
from data_pipelines.builders.clevrer_qa.vocabulary import ANSWERS, WORDS
from data_pipelines.datasets import VERSION, read_index

REAL_QUESTIONS = Path(__file__).parents[2].parent / "shared" / "data" / "clevrer_questions_train_sample.json"
CUBE = ["objects", "cube", "filter_shape", "unique"]
SPHERE = ["objects", "metal", "filter_material", "sphere", "filter_shape", "unique"]


def collision(source):
    return [source, *CUBE, "filter_collision", *SPHERE, "filter_collision", "unique"]


# As CLEVRER writes them: one descriptive question, one with a single choice, one with four and none of them correct.
SCENE = {
    "scene_index": 7,
    "video_filename": "video_00007.mp4",
    "questions": [
        {
            "question_id": 0,
            "question": "How many objects enter the scene?",
            "question_type": "descriptive",
            "question_subtype": "count",
            "program": ["events", "objects", "filter_in", "count"],
            "answer": "3",
        },
        {
            "question_id": 1,
            "question": "Which of the following is not responsible for the cube's exit?",
            "question_type": "explanatory",
            "program": "events events objects cube filter_shape unique filter_out unique filter_ancestor "
            "belong_to negate".split(),
            "choices": [
                {
                    "choice_id": 0,
                    "choice": "the presence of the metal sphere",
                    "program": SPHERE,
                    "answer": "correct",
                }
            ],
        },
        {
            "question_id": 2,
            "question": "Without the gray object, which event will happen?",
            "question_type": "counterfactual",
            "program": "all_events objects gray filter_color unique get_counterfact belong_to".split(),
            "choices": [
                {
                    "choice_id": number,
                    "choice": "The cube and the metal sphere collide",
                    "program": collision("all_events"),
                    "answer": "wrong",
                }
                for number in range(4)
            ],
        },
    ],
}


def without_answers(scene, index):
    scene = copy.deepcopy(scene) | {"scene_index": index, "video_filename": f"video_{index:05d}.mp4"}
    for question in scene["questions"]:
        for entry in (question, *question.get("choices", ())):
            entry.pop("program")
            entry.pop("answer", None)
    return scene


@pytest.fixture
def raw_dir(tmp_path) -> Path:
    """Three splits as people store them: "val" and "validation" both occur."""
    folder = tmp_path / "raw" / "questions"
    folder.mkdir(parents=True)
    second = copy.deepcopy(SCENE) | {"scene_index": 9}
    (folder / "train.json").write_text(json.dumps([SCENE, second]))
    (folder / "val.json").write_text(json.dumps([copy.deepcopy(SCENE) | {"scene_index": 10000}]))
    (folder / "test.json").write_text(json.dumps([without_answers(SCENE, 15000)]))
    return tmp_path / "raw"


def prepare(raw_dir, data_dir, config="questions") -> Path:
    builder = Builder(data_dir=str(data_dir), config=config, file_format="array_record")
    builder.download_and_prepare(
        download_dir=str(data_dir / "downloads"),
        download_config=tfds.download.DownloadConfig(manual_dir=raw_dir, try_download_gcs=False),
    )
    return Path(builder.data_dir)


def decode(word_ids):
    return " ".join(WORDS[number - 1] for number in word_ids if number)


def test_what_is_stored(raw_dir, tmp_path):
    path = prepare(raw_dir, tmp_path / "data")
    train = open_questions(path, "train")
    assert read_index(path, "train")["entries"] == [
        {"scene_index": index, "num_questions": 3} for index in (7, 9)
    ]
    records = [train[position] for position in range(6)]
    assert [(int(r["scene_index"]), int(r["question_id"])) for r in records] == [
        (index, number) for index in (7, 9) for number in range(3)
    ]
    count, cause, removal = records[:3]
    assert count["question"] == b"How many objects enter the scene?"
    assert count["question_words"].shape == (20,)
    assert decode(count["question_words"]) == "how many objects enter the scene"
    assert ANSWERS[count["answer_id"] - 1] == "3" and count["question_subtype"] == b"count"
    assert count["num_choices"] == 0 and not count["choice_words"].any()
    assert count["program"] == b"events objects filter_in count"
    assert (count["choice_is_correct"] == -1).all()
    with pytest.raises(ValueError, match="no split 'dev'"):
        open_questions(path, "dev")

    assert cause["num_choices"] == 1 and cause["answer_id"] == -1
    np.testing.assert_array_equal(cause["choice_is_correct"], [1, -1, -1, -1])
    assert cause["choice_words"].shape == (4, 12)
    assert decode(cause["choice_words"][0]) == "the presence of the metal sphere"
    assert cause["choices"]["program"] == [" ".join(SPHERE).encode()]

    assert removal["num_choices"] == 4
    np.testing.assert_array_equal(removal["choice_is_correct"], [0, 0, 0, 0])
    assert decode(removal["question_words"]) == "without the gray object, which event will happen"

    types = tfds.builder_from_directory(str(path)).info.features["question_type"].names
    assert [types[r["question_type"]] for r in records[:3]] == [
        "descriptive",
        "explanatory",
        "counterfactual",
    ]


def test_the_test_split_has_no_answers(raw_dir, tmp_path):
    path = prepare(raw_dir, tmp_path / "data")
    assert len(open_questions(path, "validation")) == 3
    records = open_questions(path, "test")
    for position in range(3):
        record = records[position]
        assert record["scene_index"] == 15000 and record["program"] == b"" and record["answer"] == b""
        assert record["answer_id"] == -1 and (record["choice_is_correct"] == -1).all()
        assert record["question_words"].any()
    assert [int(records[position]["num_choices"]) for position in range(3)] == [0, 1, 4]


def test_limit_and_card(raw_dir, tmp_path):
    (raw_dir / "questions" / "simulator.json").write_text('{"simulator": "1.0.0"}')
    path = prepare(raw_dir, tmp_path / "data", ClevrerQaConfig(name="first", limit=1))
    assert len(open_questions(path, "train")) == 3
    assert json.loads((path / "simulator.json").read_text()) == {"simulator": "1.0.0"}
    with pytest.raises(ValueError, match="limit"):
        ClevrerQaConfig(name="none", limit=-1)


def test_the_build_command(raw_dir, tmp_path, capsys):
    arguments = ["clevrer_qa", f"--data_dir={tmp_path / 'data'}", f"--raw_dir={raw_dir}"]
    assert build.main(arguments) == 0
    assert (tmp_path / "data" / "clevrer_qa" / "questions" / VERSION / "train.index.json").is_file()
    (raw_dir / "questions" / "train.json").write_text("[]")
    capsys.readouterr()
    assert build.main([*arguments[:1], f"--data_dir={tmp_path / 'other'}", *arguments[2:]]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def change(path, value):
    """Sets what lies at the end of a path of keys, or removes it."""

    def apply(scenes):
        entry = scenes
        for key in path[:-1]:
            entry = entry[key]
        if value is None:
            del entry[path[-1]]
        else:
            entry[path[-1]] = value

    return apply


FIVE = SCENE["questions"][2]["choices"] + [SCENE["questions"][2]["choices"][0] | {"choice_id": 4}]
CHOICE = (0, "questions", 2, "choices", 1)


@pytest.mark.parametrize(
    "changed, where, reason",
    [
        (change((0, "questions", 0, "question"), None), "scene 7: question 0", "key 'question' is missing"),
        (change((0, "questions", 0, "answer"), None), "scene 7: question 0", "key 'answer' is missing"),
        (change((0, "questions", 0, "question_id"), None), "scene 7: question at place 0", "'question_id'"),
        (change((0, "questions", 0, "question_id"), 1), "scene 7: question 1", "its id is there twice"),
        (change((0, "questions", 0, "question_type"), "causal"), "scene 7: question 0", "type 'causal'"),
        (change((0, "questions", 0, "question_subtype"), "sum"), "scene 7: question 0", "subtype 'sum'"),
        (change((0, "questions", 0, "program"), []), "scene 7: question 0", "program is empty"),
        (change((0, "questions", 0, "program"), ["objects"]), "scene 7: question 0", "ends in objects"),
        (change((0, "questions", 0, "program"), ["objects", 3]), "scene 7: question 0", "list of words"),
        (change((0, "questions", 0, "answer"), "many"), "scene 7: question 0", "answer 'many'"),
        (change((0, "questions", 0, "question"), "How many dice?"), "scene 7: question 0", "word 'dice'"),
        (change((0, "questions", 0, "question"), "the " * 21), "scene 7: question 0", "21 words"),
        (change((0, "questions", 1, "choices"), None), "scene 7: question 1", "key 'choices' is missing"),
        (change((0, "questions", 1, "choices"), []), "scene 7: question 1", "it has 0 choices"),
        (change((0, "questions", 2, "choices"), FIVE), "scene 7: question 2", "it has 5 choices"),
        (change((0, "questions", 2, "program"), ["jump"]), "scene 7: question 2", "unknown word 'jump'"),
        (change((*CHOICE, "answer"), "yes"), "scene 7: question 2", "choice 1: its answer 'yes'"),
        (change((*CHOICE, "program"), None), "scene 7: question 2", "choice 1: the key 'program' is missing"),
        (change((*CHOICE, "choice"), "The car and the sphere collide"), "scene 7: question 2", "word 'car'"),
        (change((*CHOICE, "choice_id"), 0), "scene 7: question 2", "choices have one id"),
        (change((0, "questions", 1), 5), "scene 7: question at place 1", "not an object with keys but int"),
        (change((0, "questions"), None), "scene 7", "key 'questions' is missing"),
        (change((0, "scene_index"), 12000), "scene 12000", "not of the train split"),
        (change((0, "scene_index"), None), "entry 0", "key 'scene_index' is missing"),
        (change((0,), "nothing"), "entry 0", "not an object with keys but str"),
    ],
)
def test_malformed_files(raw_dir, tmp_path, changed, where, reason):
    path = raw_dir / "questions" / "train.json"
    scenes = json.loads(path.read_text())
    changed(scenes)
    path.write_text(json.dumps(scenes))
    with pytest.raises(ValueError) as error:
        list(read_questions(path, "train"))
    line = str(error.value)
    assert line.startswith(f"{path}: {where}: ") and reason in line and "\n" not in line
    with pytest.raises(ValueError, match=r"questions/train\.json"):
        prepare(raw_dir, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.array_record*"))


@pytest.mark.parametrize("content", ["", "{}", "[]", "[{", "3"])
def test_files_that_are_no_question_files(tmp_path, content):
    path = tmp_path / "train.json"
    path.write_text(content)
    with pytest.raises(ValueError) as error:
        list(read_questions(path, "train"))
    assert str(error.value).startswith(f"{path}: not a") and "\n" not in str(error.value)


def test_two_scenes_of_one_index(raw_dir):
    path = raw_dir / "questions" / "train.json"
    path.write_text(json.dumps([SCENE, SCENE]))
    scenes = read_questions(path, "train")
    assert isinstance(next(scenes), QuestionScene)
    with pytest.raises(ValueError, match="scene 7: it is there twice"):
        next(scenes)


def test_finding_files(raw_dir, tmp_path):
    assert list(find_question_files(raw_dir)) == ["train", "validation", "test"]
    (raw_dir / "validation.json").write_text("[]")
    with pytest.raises(ValueError, match="question file of the validation split is there twice"):
        find_question_files(raw_dir)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no CLEVRER questions"):
        find_question_files(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_question_files(tmp_path / "missing")


@pytest.mark.skipif(not REAL_QUESTIONS.exists(), reason="needs the sample of real questions")
def test_real_questions_are_read(tmp_path):
    # The sample is keyed by video; CLEVRER's own files are lists.
    sample = json.loads(REAL_QUESTIONS.read_text())
    path = tmp_path / "train.json"
    path.write_text(
        json.dumps(
            [
                {"scene_index": int(index), "video_filename": f"video_{int(index):05d}.mp4", **scene}
                for index, scene in sample.items()
            ]
        )
    )
    scenes = list(read_questions(path, "train"))
    assert len(scenes) == 564
    assert all(len(question.choices) == 4 for scene in scenes for question in scene.questions)
