"""Models by name with their own class, weights and preprocessing: real checkpoints, written here.

Run by `make test-models`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from benchmarks.architectures.torchvision_names import import_timm
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

import invariscope as iv
from invariscope.cli.app import app
from invariscope.cli.hugging_face import ImageProcessing, SoundProcessing, Tokenizing
from invariscope.cli.images import ResizeCropNormalize
from invariscope.cli.models import Request, load_model
from invariscope.readers.fingerprint import identify

timm = import_timm()

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "dog", "sat", "ran", "on", "mat"]
WORDS += ["good", "bad", "movie"]
TEXTS = [
    "a cat sat on the mat",
    "the dog ran",
    "a good movie",
    "bad movie the cat ran",
    "dog",
    "the good mat",
]
WORDING = """
elements = [lambda text: text, str.upper, lambda text: " ".join(reversed(text.split()))]
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def seeded(make: Any, *arguments: Any, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*arguments, **options).eval()


def tokenizer(folder: str, *, longest: int = 12) -> Any:
    Path("vocab.txt").write_text("\n".join(WORDS))
    found = transformers.BertTokenizerFast("vocab.txt", model_max_length=longest)
    found.save_pretrained(folder)
    return found


def classifier(folder: str = "bert", **options: Any) -> Any:
    sizes = {"vocab_size": len(WORDS), "max_position_embeddings": 16, "num_labels": 3}
    config = transformers.BertConfig(**SMALL | sizes | options)
    model = seeded(transformers.BertForSequenceClassification, config)
    model.save_pretrained(folder)
    return model


def vision(folder: str = "vit") -> tuple[Any, Any]:
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8, num_labels=3)
    model = seeded(transformers.ViTForImageClassification, config)
    model.save_pretrained(folder)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.25] * 3)
    processor.save_pretrained(folder)
    return model, processor


def photos(count: int = 6) -> list[Image.Image]:
    """Smooth photographs of several sizes, the third of them grey."""
    pixels = np.random.default_rng(0).integers(0, 255, (count, 6, 5, 3)).astype(np.uint8)
    found = [Image.fromarray(one).resize((40 + 4 * k, 50)) for k, one in enumerate(pixels)]
    return [image.convert("L") if k == 2 else image for k, image in enumerate(found)]


def edited(folder: str, **changes: Any) -> None:
    path = Path(folder, "config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Hugging Face


@pytest.mark.parametrize("name", ["hf:bert", "bert"])
def test_a_classifier_keeps_its_head_and_brings_its_tokenizer(name):
    model, own = classifier(), tokenizer("bert")
    named = load_model(name)
    assert (type(named.model), named.label, named.notes) == (type(model), "bert", ())
    batch = own(TEXTS, return_tensors="pt", padding=True)
    found = named.preprocess(TEXTS)
    assert all(torch.equal(found[key], batch[key]) for key in batch)
    with torch.no_grad():
        assert torch.equal(named.model(**found).logits, model(**batch).logits)


def test_the_command_measures_texts_as_a_call_with_the_tokenizer_does():
    model, own = classifier(), tokenizer("bert")
    Path("texts.txt").write_text("\n".join(TEXTS))
    Path("wording.py").write_text(WORDING)
    done = CliRunner().invoke(app, ["measure", "bert", "texts.txt", "-t", "wording.py:elements"])
    assert done.exit_code == 0, done.output
    assert "Loading weights" not in done.output
    space: dict[str, Any] = {}
    exec(WORDING, space)
    right = iv.measure(
        model,
        TEXTS,
        space["elements"],
        preprocess=lambda texts: own(texts, return_tensors="pt", padding=True),
        pool={"bert.e*": iv.Pool("mean", mask="attention_mask")},
        progress=False,
    )
    found = iv.load("run")
    both = found.table.merge(right.table, on=["layer", "call"], suffixes=("", "_right"))
    assert len(both) == len(found.table) == len(right.table) > 30
    np.testing.assert_allclose(both["value"], both["value_right"], rtol=1e-4)
    assert any("averaged over the tokens" in note for note in found.provenance["notes"])


def test_a_head_that_the_checkpoint_lacks_is_refused():
    classifier()
    weights = load_file("bert/model.safetensors")
    save_file({k: v for k, v in weights.items() if "classifier" not in k}, "bert/model.safetensors")
    with pytest.raises(ValueError, match=r"bert lacks classifier\.bias, classifier\.weight, so BertFor"):
        load_model("hf:bert")


def test_weights_of_another_shape_are_refused():
    classifier()
    weights = load_file("bert/model.safetensors")
    save_file(weights | {"classifier.weight": torch.zeros(5, 16)}, "bert/model.safetensors")
    with pytest.raises(ValueError, match=r"has classifier\.weight \(5, 16\) instead of \(3, 16\)"):
        load_model("hf:bert")


def test_weights_that_the_class_does_not_use_are_noted():
    classifier()
    edited("bert", architectures=["BertModel"])
    named = load_model("hf:bert", Request(preprocess=False))
    assert named.notes == (
        "BertModel does not use 2 weights of the checkpoint: classifier.bias, classifier.weight",
    )


def test_a_checkpoint_that_names_no_class_says_that_it_has_no_head():
    classifier()
    edited("bert", architectures=None)
    named = load_model("hf:bert", Request(preprocess=False))
    assert isinstance(named.model, transformers.BertModel)
    assert "without a head" in named.notes[0]


def test_a_class_that_needs_code_of_the_checkpoint_is_refused():
    classifier()
    edited("bert", architectures=["Remote"], auto_map={"AutoModel": "remote.Remote"})
    Path("bert/remote.py").write_text("open('sentinel', 'w')")
    with pytest.raises(ValueError, match="needs the class Remote"):
        load_model("hf:bert")
    edited("bert", model_type="remote", auto_map={"AutoConfig": "remote.Remote"})
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_model("hf:bert")
    assert not Path("sentinel").exists()


def test_a_checkpoint_without_safetensors_is_refused():
    model = classifier()
    Path("bert/model.safetensors").unlink()
    torch.save(model.state_dict(), "bert/pytorch_model.bin")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        load_model("hf:bert")


def test_random_weights_keep_the_class_and_the_seed():
    classifier()
    first, again, other = (load_model("bert", Request("random", seed=seed)).model for seed in (1, 1, 2))
    weights = [model.classifier.weight for model in (first, again, other)]
    assert isinstance(first, transformers.BertForSequenceClassification)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_folder_without_tokenizer_says_so_instead_of_reading_unknown_words():
    classifier()
    named = load_model("bert")
    assert named.preprocess is None
    assert "has no preprocessing, so the model gets the data unchanged (no vocabulary)" in named.notes[0]


def test_truncation_is_noted_and_no_part_of_the_identity():
    classifier()
    tokenizer("bert", longest=6)
    preprocess = load_model("bert").preprocess
    before = identify(preprocess, "preprocess")
    assert preprocess(TEXTS[1:3])["input_ids"].shape == (2, 5)
    assert preprocess.notes == ()
    assert preprocess(TEXTS)["input_ids"].shape == (6, 6)
    assert preprocess.notes == ("texts longer than 6 tokens were truncated",)
    assert identify(preprocess, "preprocess") == before
    assert before.unseen == ()


def test_a_tokenizer_without_a_limit_gets_that_of_the_model():
    classifier()
    tokenizer("bert", longest=10**30)
    named = load_model("bert")
    found = named.preprocess([" ".join(TEXTS)])
    assert found["input_ids"].shape == (1, 16)
    assert named.model(**found).logits.isfinite().all()


def test_a_generator_without_padding_token_pads_with_the_end_of_text():
    own = tokenizer("plain")
    config = transformers.GPT2Config(vocab_size=len(WORDS), n_positions=16, n_embd=16, n_layer=1, n_head=2)
    seeded(transformers.GPT2ForSequenceClassification, config).save_pretrained("gpt")
    bare = transformers.PreTrainedTokenizerFast(
        tokenizer_object=own.backend_tokenizer, unk_token="[UNK]", eos_token="[SEP]", model_max_length=16
    )
    bare.save_pretrained("gpt")
    named = load_model("gpt")
    assert "padded with its end-of-text token" in named.preprocess.notes[0]
    with torch.no_grad():
        together = named.model(**named.preprocess(TEXTS)).logits
        alone = torch.cat([named.model(**named.preprocess([text])).logits for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_classifier_of_images_brings_its_processor():
    model, processor = vision()
    named = load_model("vit")
    images = photos()
    assert isinstance(named.preprocess, ImageProcessing)
    right = processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
    assert torch.equal(named.preprocess(images)["pixel_values"], right)
    with torch.no_grad():
        assert torch.equal(named.model(right).logits, model(right).logits)


def test_tensors_of_the_size_of_the_processor_are_normalized_without_rounding():
    vision()
    preprocess = load_model("vit").preprocess
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(preprocess(x)["pixel_values"], (x - 0.25) / 0.5)
    assert preprocess.notes == ()


def test_tensors_of_another_size_are_resized_and_noted():
    _, processor = vision()
    preprocess = load_model("vit").preprocess
    image = photos(1)[0]
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None] / 255
    right = processor([image], return_tensors="pt")["pixel_values"]
    assert (preprocess(x)["pixel_values"] - right).abs().max() < 2.5 / 255 / 0.5
    assert "images of 50 × 40 pixels were resized or cropped to 32 × 32" in preprocess.notes


def test_photographs_are_measured_by_the_command_and_notes_reach_the_result():
    vision()
    Path("photos").mkdir()
    for place, image in enumerate(photos()):
        image.save(f"photos/{place}.png")
    np.save("grey.npy", np.random.default_rng(0).random((6, 1, 28, 28)))
    for data in ("photos", "grey.npy"):
        done = CliRunner().invoke(app, ["measure", "vit", data, "-t", "Flip()", "--out", f"of_{data}"])
        assert done.exit_code == 0, done.output
    assert iv.load("of_photos").provenance["options"]["preprocess"] == "ImageProcessing"
    assert "grey images were repeated across 3 channels" in iv.load("of_grey.npy").provenance["notes"]


@pytest.mark.parametrize(
    ("values", "said"),
    [(lambda x: 255 * x, "Divide them by 255"), (lambda x: 4 * x - 2, "use --preprocess none")],
)
def test_arrays_in_another_range_are_one_line(values, said):
    vision()
    np.save("x.npy", values(np.random.default_rng(0).random((6, 3, 32, 32))))
    done = CliRunner().invoke(app, ["measure", "vit", "x.npy", "-t", "Flip()"])
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    done = CliRunner().invoke(app, ["measure", "vit", "x.npy", "-t", "Flip()", "--preprocess", "none"])
    assert done.exit_code == 0, done.output


def test_a_model_of_sounds_brings_its_feature_extractor():
    layers = {"conv_dim": (8, 8), "conv_kernel": (4, 4), "conv_stride": (4, 4), "num_feat_extract_layers": 2}
    config = transformers.Wav2Vec2Config(**SMALL, **layers, num_conv_pos_embedding_groups=2)
    seeded(transformers.Wav2Vec2ForSequenceClassification, config).save_pretrained("wav")
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained("wav")
    named = load_model("wav")
    assert isinstance(named.preprocess, SoundProcessing)
    x = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    found = named.preprocess(x)
    torch.testing.assert_close(found["input_values"].mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    assert torch.equal(found["input_values"], named.preprocess(list(x.numpy()))["input_values"])
    assert named.model(**found).logits.shape == (3, 2)


def test_a_model_of_images_and_text_asks_for_a_function():
    text = transformers.CLIPTextConfig(**SMALL, vocab_size=20)
    image = transformers.CLIPVisionConfig(**SMALL, image_size=32, patch_size=8)
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=image.to_dict())
    seeded(transformers.CLIPModel, config).save_pretrained("clip")
    named = load_model("clip")
    assert named.preprocess is None
    assert "--preprocess file.py:function" in named.notes[0]


def test_samples_of_another_kind_are_refused():
    classifier()
    tokenizer("bert")
    preprocess = load_model("bert").preprocess
    assert isinstance(preprocess, Tokenizing)
    assert preprocess([{"text": "a cat"}])["input_ids"].shape == (1, 4)
    with pytest.raises(TypeError, match="takes text, but a sample is Tensor"):
        preprocess(torch.zeros(2, 3))


# timm


def test_a_model_of_timm_brings_its_data_configuration():
    named = load_model("timm:resnet18", Request("random", seed=3))
    config = timm.data.resolve_data_config({}, model=named.model)
    assert config["crop_pct"] == 0.95, "the example must resize and crop"
    assert named.preprocess == ResizeCropNormalize(
        scale=(235, 235), crop=(224, 224), mean=config["mean"], std=config["std"], mode="bicubic"
    )
    assert named.label == "resnet18, random"
    assert isinstance(named.model, nn.Module)
    assert named.preprocess(photos()).shape == (6, 3, 224, 224)


def test_photographs_go_through_timm_as_they_should():
    image = photos(1)[0].resize((300, 260))
    named = load_model("timm:resnet18", Request("random"))
    resized = image.resize((235 * 300 // 260, 235), Image.Resampling.BICUBIC)
    left = round((resized.width - 224) / 2)
    right = torch.from_numpy(np.array(resized.crop((left, 6, left + 224, 230)))).movedim(-1, 0) / 255
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (named.preprocess.mean, named.preprocess.std)
    )
    assert (named.preprocess([image])[0] - (right - mean) / std).abs().max() < 2.5 / 255 / 0.22


def own_weights(**config: Any) -> Any:
    model = seeded(timm.create_model, "resnet10t", num_classes=3)
    Path("own").mkdir()
    save_file(model.state_dict(), "own/model.safetensors")
    about = {"architecture": "resnet10t", "num_classes": 3, "pretrained_cfg": config}
    Path("own/config.json").write_text(json.dumps(about))
    return model


def test_weights_of_timm_in_a_folder_are_loaded():
    model = own_weights(input_size=[3, 64, 64])
    named = load_model("timm:local-dir:own")
    assert torch.equal(named.model.fc.weight, model.fc.weight)
    assert named.preprocess.crop == (64, 64)


@pytest.mark.parametrize("name", ["resnet18.of_nobody", "resnet81"])
def test_weights_that_timm_does_not_have_are_a_user_error(name):
    with pytest.raises(ValueError, match=r"timm cannot load resnet18|unknown timm model 'resnet81'"):
        load_model(f"timm:{name}")


def test_a_data_configuration_that_cannot_be_followed_is_refused():
    own_weights(crop_mode="border")
    with pytest.raises(ValueError, match="crop_mode 'border', but only center, squash"):
        load_model("timm:local-dir:own")
    assert load_model("timm:local-dir:own", Request(preprocess=False)).preprocess is None
