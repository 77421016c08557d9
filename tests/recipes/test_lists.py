"""Lists and metadata that were saved by Excel or Notepad are read like those that were not."""

import importlib
from types import SimpleNamespace

import pytest

from mixit_lightning.collection.listed import listed
from mixit_lightning.config import load_config
from mixit_lightning.errors import UserError
from mixit_lightning.reading import read_text

SAVED = {
    "Notepad": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "Excel": lambda text: "\ufeff" + text.replace("\n", "\r\n") + "\r\n",
}
METADATA = (
    "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain\n"
    "1-1-1_2-2-2,train/1/1/1-1-1.flac,0.5,train/2/2/2-2-2.flac,0.25,tr/a.wav,0.125\n"
)
UTTERANCES = "si_tr_s/011/011a0101.wav 0.5 si_tr_s/012/012c0201.wav -0.5\n"


def wsj0(name):
    load_config(["recipe=wsj0-2mix", "data=."])  # makes the recipe's modules known
    return getattr(importlib.import_module("wsj0_2mix_preparation"), name)


def libri2mix(path):
    load_config(["recipe=libri2mix", "data=."])
    return importlib.import_module("libri2mix_preparation").read_metadata(path)


def fuss(path):
    load_config(["recipe=fuss", "data=."])
    return importlib.import_module("fuss").Fuss.listed(SimpleNamespace(folder=path.parent), "train")[1]


LISTS = {
    "list.txt": (listed, "a.wav\nb b.wav\n"),
    "list.csv": (listed, "path,number\na.wav,1\nb b.wav,2\n"),
    "mix_2_spk_tr.txt": (lambda path: wsj0("read_list")(path.parent, 2, "tr"), UTTERANCES),
    "activlev_a.txt": (lambda path: wsj0("read_active_levels")(path.parent), "011a0101 0.01\n012c0201 0.02\n"),
    "libri2mix_dev-clean.csv": (libri2mix, METADATA),
    "train_example_list.txt": (fuss, "train/0.wav\ttrain/a.wav\ttrain/b.wav\ntrain/1.wav\ttrain/c.wav\n"),
}


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_whoever_saved_it(tmp_path, name, saved):
    read, text = LISTS[name]
    path = tmp_path / name
    path.write_bytes(text.encode())
    expected = read(path)
    assert len(expected) >= 1
    path.write_bytes(SAVED[saved](text).encode())
    assert read(path) == expected
    path.write_bytes(SAVED["Excel"](text).replace("\ufeff", "").encode("utf-16"))
    assert read(path) == expected


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("name", ["list.csv", "libri2mix_dev-clean.csv"])
def test_columns_may_be_parted_as_excel_parts_them_elsewhere(tmp_path, name, delimiter):
    read, text = LISTS[name]
    path = tmp_path / name
    path.write_text(text)
    expected = read(path)
    path.write_text(text.replace(",", delimiter))
    assert read(path) == expected


def test_what_is_no_text_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("Jürgen".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfea")
    for name in ("a.txt", "b.txt"):
        with pytest.raises(UserError, match=name):
            read_text(tmp_path / name)
