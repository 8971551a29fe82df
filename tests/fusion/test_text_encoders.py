"""Text encoders of transformers in the presets: fitted, loaded, kept in a folder, refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from encoders.text_model import PretrainedTextModel
from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.config import ModelConfig
from fusion.inference.featurizer import Featurizer, ItemInput
from fusion.pretrained import Pretrained, PretrainedReader
from schema.errors import ModelError, UsageError
from tests.encoders.made_text_models import KINDS, SIZES, write_text_model
from training.objectives.gmlm import GlobalMaskedLanguageModeling
from training.objectives.mlm import MaskedLanguageModeling
from training.presets import preset

ROOT = Path(__file__).parent.parent.parent
TITLES = ["red mug", "Blue lamp of steel"]
PRESETS = ["joint", "k3m", "mbsd", "vtbert", "bert", "vit", "vilt", "fashionbert"]
CASES = [("joint", kind) for kind in KINDS] + [
    (name, kind) for name in PRESETS[1:] for kind in ("bert", "roberta", "albert")
]


def build(folder: Path, name: str, ontology: Any, **changes: Any) -> Any:
    reader = PretrainedReader.open(str(folder))
    config = replace(reader.fit(preset(name, "tiny").model), **changes)
    tokenizer = CatalogTokenizer.pretrained(reader.read_pieces(), TITLES, 16)
    torch.manual_seed(0)
    model = build_model(config, tokenizer, ontology).eval()
    reader.load(model)
    return config, tokenizer, model


def reader_of(model: Any) -> PretrainedTextModel:
    (found,) = {part for part in model.modules() if isinstance(part, PretrainedTextModel)}
    return found


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_any_text_encoder_reads_the_texts_of_any_preset(tmp_path, ontology, name, kind):
    theirs = write_text_model(tmp_path, kind)
    config, tokenizer, model = build(tmp_path, name, ontology)
    assert config.dim == 64 != reader_of(model).norm.normalized_shape[0]
    own = reader_of(model).text_model.state_dict()
    kept = {each.removeprefix("text_model."): value for each, value in theirs.state_dict().items()}
    assert all(torch.equal(value, kept[each]) for each, value in own.items())
    items = [ItemInput(str(n), title) for n, title in enumerate([*TITLES, None])]
    batch = Featurizer(tokenizer, config).batch(items)
    query = batch.pieces[:, :2]
    with torch.no_grad():
        fused = model.fuse(batch, None)
        asked = model.fuse(batch, None, query)
        known = model.know(torch.arange(3))
    assert fused.title.hidden.shape == (*batch.pieces.shape, 64)
    if name != "vit":
        assert not torch.allclose(fused.node[0], fused.node[1])
    assert not torch.allclose(fused.node, asked.node)
    assert known.values.isfinite().all()
    # Masked pieces are predicted by the encoder's own pieces, of whatever width these are.
    for objective in (MaskedLanguageModeling, GlobalMaskedLanguageModeling):
        built = objective.build(model, config, preset(name, "tiny").recipe)
        assert built is not None
        assert built.head.weight is reader_of(model).piece_embedding.weight
    assert model.title_positions(torch.tensor([0, 3])).shape == (2, 64)


def test_a_folder_is_whole_without_the_model_that_it_came_from(tmp_path, ontology):
    source = tmp_path / "source"
    write_text_model(source, "xlm-roberta")
    config, tokenizer, model = build(source, "joint", ontology)
    save_pretrained(tmp_path / "kept", config, tokenizer, ontology, model.state_dict(), {})
    shutil.move(tmp_path / "kept", tmp_path / "copied")
    shutil.rmtree(source)
    for path in (tmp_path / "copied").iterdir():
        assert str(source).encode() not in path.read_bytes()
    featurizer = Featurizer(tokenizer, config)
    batch = featurizer.batch([ItemInput("a", TITLES[0]), ItemInput("b", TITLES[1])])
    with torch.no_grad():
        expected = model.fuse(batch, None).node.sum(1).tolist()
    script = (
        "import sys, json, torch\n"
        "from pathlib import Path\n"
        "from fusion.checkpoint import ModelFolder\n"
        "from fusion.inference.featurizer import Featurizer, ItemInput\n"
        "folder = ModelFolder(Path(sys.argv[1]))\n"
        "items = [ItemInput(str(n), title) for n, title in enumerate(json.loads(sys.argv[2]))]\n"
        "batch = Featurizer(folder.tokenizer, folder.config).batch(items)\n"
        "with torch.no_grad():\n"
        "    print(json.dumps(folder.model.fuse(batch, None).node.sum(1).tolist()))\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "copied"), json.dumps(TITLES)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-4)


def test_a_folder_cannot_name_a_model_elsewhere(tmp_path, ontology):
    write_text_model(tmp_path / "source", "bert")
    config, tokenizer, model = build(tmp_path / "source", "joint", ontology)
    described = json.loads(config.text_model)
    described["config"]["_name_or_path"] = str(tmp_path / "source")
    changed = ModelConfig(**{**config.as_dict(), "text_model": json.dumps(described)})
    save_pretrained(tmp_path / "kept", changed, tokenizer, ontology, model.state_dict(), {})
    with pytest.raises(ModelError, match="no text model is described"):
        ModelFolder(tmp_path / "kept")


@pytest.mark.parametrize("name", ["joint", "k3m", "mbsd"])
def test_a_frozen_encoder_learns_nothing_and_all_else_does(tmp_path, ontology, name):
    write_text_model(tmp_path, "electra")
    config, tokenizer, model = build(tmp_path, name, ontology, frozen_text=True)
    batch = Featurizer(tokenizer, config).batch([ItemInput("a", TITLES[0])])
    # A plain sum of what LayerNorm gives is constant: it has no gradient but for rounding.
    weights = torch.linspace(-1, 1, config.dim)
    (model.train().fuse(batch, None).node @ weights).sum().backward()
    reader = reader_of(model)
    assert not any(each.requires_grad for each in reader.text_model.parameters())
    assert reader.project.weight.grad is not None
    _, _, tuned = build(tmp_path, name, ontology)
    (tuned.train().fuse(batch, None).node @ weights).sum().backward()
    gradient = reader_of(tuned).piece_embedding.weight.grad
    assert gradient is not None
    assert gradient.any()


def test_long_titles_are_cut_to_what_the_encoder_reads(tmp_path, ontology):
    tokenizer = KINDS["bert"][1]()
    sizes = {**SIZES, "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 22}
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name, title, query in (("joint", 20, 5), ("k3m", 15, 5)):
        config, own, model = build(tmp_path, name, ontology)
        assert (config.max_title, config.max_query, config.max_string) == (title, query, 12)
        batch = Featurizer(own, config).batch([ItemInput("a", "a b c " * 30)])
        with torch.no_grad():
            assert model.fuse(batch, None, batch.pieces[:, :query]).node.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model_type": "gpt2"}, r"no pretrained model at .*: .*it is a 'gpt2'"),
        ({"model_type": "vit"}, "it is a 'vit'"),
        ({"model_type": "bert", "trust_remote_code": True}, "trust_remote_code is not supported"),
        ({"model_type": "bert", "hidden_size": 10**12}, "above its maximum"),
    ],
)
def test_what_is_no_text_encoder_is_refused_at_once(tmp_path, settings, told):
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=told) as caught:
        PretrainedReader.open(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_serve_is_named_with_what_it_lacks(tmp_path):
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "vocab_size": 40,
    }
    transformers.FNetModel(transformers.FNetConfig(**sizes)).save_pretrained(tmp_path)
    reader = PretrainedReader.open(str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot read texts in a network: it takes no attention_"):
        reader.fit(preset("joint", "tiny").model)


def test_weights_and_vocabulary_have_to_be_there(tmp_path, ontology):
    write_text_model(tmp_path, "bert")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no word pieces at .*: name a folder with"):
        PretrainedReader.open(str(tmp_path)).read_pieces()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be used"):
        PretrainedReader.open(str(tmp_path)).fit(preset("joint", "tiny").model)


def test_a_larger_vocabulary_than_the_models_is_refused(tmp_path, ontology):
    write_text_model(tmp_path, "bert")
    reader = PretrainedReader.open(str(tmp_path))
    config = reader.fit(preset("joint", "tiny").model)
    pieces = KINDS["bert"][1]()
    pieces.add_tokens(["crimson"])
    with pytest.raises(UsageError, match=r"has 84 pieces, and the vocabulary 85: give the text"):
        build_model(config, CatalogTokenizer.pretrained(pieces, [], 16), ontology)


def test_presets_that_read_texts_otherwise_refuse_it(tmp_path):
    write_text_model(tmp_path, "bert")
    reader = PretrainedReader.open(str(tmp_path))
    with pytest.raises(UsageError, match="the preset wrapped reads texts by the model that it"):
        reader.fit(preset("wrapped", "tiny").model)
    fitted = reader.fit(preset("mbsd", "tiny").model)
    with pytest.raises(UsageError, match="both read the texts: leave out one of them"):
        Pretrained.open(str(tmp_path)).fit(fitted)
    with pytest.raises(UsageError, match="name a text encoder by text_pretrained"):
        Pretrained.open(str(tmp_path)).fit(preset("joint", "tiny").model)
