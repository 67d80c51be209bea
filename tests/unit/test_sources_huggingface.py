"""Data sets in the style of Hugging Face: folders with a card, saved ones, and those of a hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError, ResourceError, WorkbenchError
from workbench.core.laws import FolderRun
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.data.sources import hub
from workbench.data.sources.data_folder import find_splits, label_names, read_card
from workbench.data.sources.fetch import fetch_again
from workbench.data.sources.huggingface import HuggingfaceSource
from workbench.data.sources.laws import SourceLaws

CARD = """---
license: mit
configs:
- config_name: plain
  default: true
  data_files:
  - {split: train, path: "data/train-*"}
  - {split: test, path: ["data/test-*"]}
- config_name: other
  data_dir: other
dataset_info:
- config_name: plain
  features:
  - {name: text, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': bad, '1': good}}}
---
# News
"""
FEATURES = {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["bad", "good"]}}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def parquet(texts: list[str], labels: list[int], **metadata: str) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"text": texts, "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata or None), sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def arrow_stream(texts: list[str], labels: list[int]) -> bytes:
    table = pa.table({"text": texts, "label": labels})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def saved(folder: Path, shards: list[bytes], **state: Any) -> Path:
    """Write what ``save_to_disk`` writes for one split."""
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    told = {"_data_files": [{"filename": name} for name in names], "_split": None, **state}
    info = {"features": FEATURES, "license": ""}
    return write(
        folder,
        dict(zip(names, shards, strict=True))
        | {"state.json": json.dumps(told), "dataset_info.json": json.dumps(info)},
    )


def with_card(folder: Path) -> Path:
    return write(folder, {
        "README.md": CARD,
        "data/train-00000-of-00002.parquet": parquet(["one", "two"], [0, 1]),
        "data/train-00001-of-00002.parquet": parquet(["three"], [-1]),
        "data/test-00000-of-00001.parquet": parquet(["four"], [1]),
        "other/all.jsonl": '{"text": "five", "label": "mixed"}\n',
        "news.py": "raise SystemExit('code of a data set was run')\n",
    })  # fmt: skip


def source(dataset: Path | str, **settings: Any) -> HuggingfaceSource:
    given = {"name": "h", "dataset": str(dataset), "label_column": "label"}
    return HuggingfaceSource.parse({**given, **settings})


def told(dataset: Path | str, **settings: Any) -> list[tuple[Any, ...]]:
    return [
        (row.extra["split"], row.text, row.label)  # type: ignore[union-attr]
        for row in source(dataset, **settings).read()
    ]


def failure(dataset: Path | str, **settings: Any) -> WorkbenchError:
    with pytest.raises(WorkbenchError) as caught:
        list(source(dataset, **settings).read())
    assert caught.value.where
    assert caught.value.next_step
    return caught.value


# -- folders --------------------------------------------------------------------------------------


def test_a_card_names_splits_and_labels(tmp_path: Path) -> None:
    folder = with_card(tmp_path)
    assert told(folder) == [
        ("train", "one", "bad"), ("train", "two", "good"), ("train", "three", None),
        ("test", "four", "good"),
    ]  # fmt: skip
    assert told(folder, splits=["test"]) == [("test", "four", "good")]
    assert told(folder, configuration="other") == [("train", "five", "mixed")]


def test_saved_data_sets_are_read_as_they_were_saved(tmp_path: Path) -> None:
    shards = [arrow_stream(["one"], [0]), arrow_stream(["two"], [1])]
    saved(tmp_path / "one", shards)
    assert told(tmp_path / "one") == [("train", "one", "bad"), ("train", "two", "good")]
    write(tmp_path / "all", {"dataset_dict.json": '{"splits": ["dev", "test"]}'})
    saved(tmp_path / "all/dev", shards[:1])
    saved(tmp_path / "all/test", shards[1:])
    assert told(tmp_path / "all") == [("dev", "one", "bad"), ("test", "two", "good")]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["all.csv"], {"train": ["all.csv"]}),
        (["a.csv", "b.csv"], {"train": ["a.csv", "b.csv"]}),
        (
            ["my-train.csv", "my_dev.csv", "eval/a.csv", "notes.csv"],
            {"train": ["my-train.csv"], "validation": ["my_dev.csv"], "test": ["eval/a.csv"]},
        ),
        (["trainer.csv"], {"train": ["trainer.csv"]}),
        (
            ["hard-00000-of-00001.parquet", "test-00000-of-00001.parquet", "readme.txt"],
            {"test": ["test-00000-of-00001.parquet"], "hard": ["hard-00000-of-00001.parquet"]},
        ),
        (["a.jsonl.gz", "a.csv", ".git/b.csv", "__MACOSX/b.csv"], {"train": ["a.jsonl.gz"]}),
    ],
)
def test_names_of_files_tell_their_splits(names: list[str], splits: dict[str, list[str]]) -> None:
    found = find_splits(names, "", "", "here")
    assert {split.name: split.files for split in found} == splits


def test_a_pattern_stays_in_its_folder_unless_it_says_otherwise() -> None:
    names = ["a/1.csv", "a/b/2.csv", "a/b/c/3.csv"]

    def chosen(pattern: str) -> list[str]:
        card = f"---\nconfigs:\n- data_files: '{pattern}'\n---\n"
        return [file for split in find_splits(names, card, "", "here") for file in split.files]

    assert chosen("a/*.csv") == ["a/1.csv"]
    assert chosen("a/**/*.csv") == names
    assert chosen("./a/b/?.csv") == ["a/b/2.csv"]
    assert chosen("**.csv") == names


def test_labels_are_named_in_parquet_files_too(tmp_path: Path) -> None:
    info = json.dumps({"info": {"features": FEATURES}})
    write(tmp_path, {"a.parquet": parquet(["one", "two"], [1, -1], huggingface=info)})
    assert told(tmp_path) == [("train", "one", "good"), ("train", "two", None)]


def test_a_column_called_split_is_the_data_s_own(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": '{"text": "x", "label": "y", "split": "own"}'})
    assert told(tmp_path) == [("own", "x", "y")]


def test_tables_with_tabs_are_told_by_their_name(tmp_path: Path) -> None:
    write(tmp_path, {"a.tsv": "text\tlabel\na, b\tgood\n"})
    assert told(tmp_path) == [("train", "a, b", "good")]


def test_records_of_a_folder_are_integrated_in_parts_and_fetched_again(tmp_path: Path) -> None:
    folder = with_card(tmp_path / "news")
    spec = IntegrateSpec.parse({"sources": [source(folder).model_dump()]})
    made = FolderRun(tmp_path / "run").run(spec)
    records = read_records(made["dataset"]).to_pylist()
    assert [r["label"] for r in records] == ["bad", "good", None, "good"]
    assert [fetch_again(r) for r in records] == [b"one", b"two", b"three", b"four"]
    provenance = json.loads(records[0]["provenance"])
    assert provenance["uri"] == (folder / "data/train-00000-of-00002.parquet").as_uri()
    assert (provenance["kind"], provenance["split"], provenance["row"]) == (
        "huggingface", "train", 1,
    )  # fmt: skip


# -- what is not as it should be ------------------------------------------------------------------


def test_code_of_a_data_set_is_not_run(tmp_path: Path) -> None:
    write(tmp_path, {"news.py": "raise SystemExit"})
    assert "code that would load it is not run" in failure(tmp_path).what


def test_a_split_or_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = with_card(tmp_path)
    assert failure(folder, splits=["tset"]).next_step == "Did you mean 'test'?"
    assert failure(folder, configuration="othr").next_step == "Did you mean 'other'?"


def test_one_of_several_configurations_must_be_chosen(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: de\n- config_name: en\n---\n"
    write(tmp_path, {"README.md": card, "a.csv": "text,label\nx,y\n"})
    error = failure(tmp_path)
    assert "none was chosen" in error.what
    assert error.next_step == "Choose one: de, en"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "no folder" in failure(tmp_path / "nothing").what


@pytest.mark.parametrize("name", ["link.csv", "linked/a.csv"])
def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    secret = write(tmp_path / "secret", {"a.csv": "text,label\nsecret,x\n"})
    folder = write(tmp_path / "news", {"b.csv": "text,label\nopen,x\n"})
    if "/" in name:
        (folder / "linked").symlink_to(secret)  # a folder behind a link is none of the set's
        assert told(folder) == [("train", "open", "x")]
    else:
        (folder / name).symlink_to(secret / "a.csv")
        assert "leads out" in failure(folder).what


@pytest.mark.parametrize("name", ["../secret/data.arrow", "/etc/passwd"])
def test_a_saved_data_set_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    write(tmp_path / "secret", {"data.arrow": arrow_stream(["secret"], [0])})
    saved(tmp_path / "news", [], _data_files=[{"filename": name}])
    assert "leads out" in failure(tmp_path / "news").what


def test_a_saved_split_cannot_lie_elsewhere(tmp_path: Path) -> None:
    saved(tmp_path / "secret", [arrow_stream(["secret"], [0])])
    write(tmp_path / "news", {"dataset_dict.json": '{"splits": ["../secret"]}'})
    assert "no list of splits" in failure(tmp_path / "news").what


@pytest.mark.parametrize(
    "state", ["{", "[]", "{}", '{"_data_files": [3]}', '{"_data_files": [{}]}']
)
def test_a_damaged_description_is_told(tmp_path: Path, state: str) -> None:
    write(tmp_path, {"state.json": state})
    assert "state.json is not what save_to_disk writes" in failure(tmp_path).what


def test_a_choice_of_rows_beside_the_rows_is_told(tmp_path: Path) -> None:
    folder = saved(tmp_path, [arrow_stream(["one"], [0])], _indices_data_files=[{"filename": "i"}])
    assert "a choice of its rows" in failure(folder).what


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    folder = saved(tmp_path, [arrow_stream(["one"], [0])] * 2)
    (folder / "data-00001-of-00002.arrow").unlink()
    assert failure(folder).what == "The file data-00001-of-00002.arrow is missing"


@pytest.mark.parametrize("head", ["a: [", "a: &x 1\nb: *x", "a: 1: 2"])
def test_a_card_that_cannot_be_read_is_told(tmp_path: Path, head: str) -> None:
    write(tmp_path, {"README.md": f"---\n{head}\n---\n", "a.csv": "text,label\nx,y\n"})
    assert "The head of its card cannot be read" in failure(tmp_path).what


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["configs", "config_name", "data_files", "split", "path",
                                 "data_dir", "dataset_info", "features", "dtype", "name",
                                 "class_label", "names", "_type", "default", "0"]),
                inner, max_size=4,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_card_is_read_or_told(head: Any) -> None:
    card = f"---\n{json.dumps(head)}\n---\n"
    label_names(head)
    try:
        read_card(card)
        found = find_splits(["a.csv", "data/test.csv"], card, "", "here")
    except DataError:
        return
    assert all(split.files for split in found)


# -- the hub --------------------------------------------------------------------------------------


class Hub:
    """A server that answers as the hub does for one data set, ann/news, at one commit."""

    commit = "a" * 40

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(path)
                status, headers, body = hub.answer(path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        told = {"Content-Type": "application/json"}
        oids = {name: hashlib.sha1(body).hexdigest() for name, body in self.files.items()}
        if path.startswith("/api/datasets/ann/news/tree/"):
            tree = [{"type": "file", "path": n, "size": len(b), "oid": oids[n]} for n, b in
                    self.files.items()]  # fmt: skip
            return 200, told, json.dumps(tree).encode()
        if path.startswith("/api/datasets/ann/news"):
            info = {"id": "ann/news", "sha": self.commit,
                    "siblings": [{"rfilename": name} for name in self.files]}  # fmt: skip
            return 200, told, json.dumps(info).encode()
        name = path.removeprefix(f"/datasets/ann/news/resolve/{self.commit}/")
        if name not in self.files:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        headers = {"ETag": f'"{oids[name]}"', "X-Repo-Commit": self.commit}
        return 200, headers, self.files[name]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    folder = with_card(tmp_path / "of-the-hub")
    files = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    shutil.rmtree(folder)
    found = Hub({"../outside.csv": b"text,label\nno,no\n", **files})
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield found
    found.close()


def test_a_data_set_of_the_hub_reads_like_its_folder(news: Hub, tmp_path: Path) -> None:
    expected = told(with_card(tmp_path / "folder"))
    assert told("ann/news") == expected
    assert not [path for path in news.asked if path.endswith((".py", "outside.csv"))]


def test_records_of_the_hub_remember_the_commit_and_come_again(news: Hub, tmp_path: Path) -> None:
    spec = IntegrateSpec.parse({"sources": [source("ann/news", splits=["test"]).model_dump()]})
    (record,) = read_records(FolderRun(tmp_path / "run").run(spec)["dataset"]).to_pylist()
    uri = f"hf://datasets/ann/news@{news.commit}/data/test-00000-of-00001.parquet"
    assert json.loads(record["provenance"])["uri"] == uri
    assert fetch_again(record) == b"four"
    shutil.rmtree(tmp_path / "cache")
    assert fetch_again(record) == b"four"


def test_what_is_in_the_cache_is_read_again_without_the_hub(news: Hub, tmp_path: Path) -> None:
    rows = list(source("ann/news").read())
    parts = source("ann/news").parts()
    news.close()
    assert [row for part in parts for row in source("ann/news").read_part(part)] == rows


def test_the_fingerprint_of_a_data_set_of_the_hub_is_its_commit(news: Hub) -> None:
    pinned = source("ann/news", revision=news.commit).fingerprint()
    assert not news.asked  # a commit never moves
    assert source("ann/news").fingerprint() == pinned
    news.commit = "b" * 40
    assert source("ann/news").fingerprint() != pinned


@pytest.mark.parametrize("name", ["ann/nothing", "no//name", "a b"])
def test_a_name_that_the_hub_does_not_know_is_told(news: Hub, name: str) -> None:
    error = failure(name)
    assert isinstance(error, ResourceError)
    assert f"The data set {name} cannot be had from the hub" in error.what


def test_without_a_network_the_hub_is_a_named_error(
    news: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    news.close()
    monkeypatch.setattr(hub, "_TIMEOUT_SECONDS", 1.0)
    error = failure("ann/news")
    assert isinstance(error, ResourceError)
    assert "Check its name and the network" in error.next_step


# -- laws -----------------------------------------------------------------------------------------


class TestFolder(SourceLaws):
    def example(self, folder: Path) -> HuggingfaceSource:
        return source(with_card(folder))


class TestSaved(SourceLaws):
    def example(self, folder: Path) -> HuggingfaceSource:
        return source(saved(folder, [arrow_stream(["one"], [0]), arrow_stream(["two"], [1])]))


class TestHub(SourceLaws):
    @pytest.fixture(autouse=True)
    def _on_the_hub(self, news: Hub) -> None:
        """Read from the server."""

    def example(self, folder: Path) -> HuggingfaceSource:
        return source("ann/news")
