"""Define the models of transformers for images, sound, video, time series, and images with text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import (
    IMAGE_ELEMENTS,
    SERIES_ELEMENTS,
    Architecture,
    mirror,
    noise,
    unmoved,
)
from benchmarks.architectures.text import TEXT, WIDTHS, hf

VIT = {**WIDTHS, "image_size": 32, "patch_size": 8}
SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
TOWERS = {
    "text_config": {**TEXT, "eos_token_id": 2, "pad_token_id": 1},
    "vision_config": VIT,
    "projection_dim": 16,
}
WAV = {
    **{**WIDTHS, "conv_dim": (16, 16), "conv_stride": (4, 4), "conv_kernel": (8, 4)},
    **{"num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
}


def image(model: str, config: str, settings: dict[str, Any], size: int = 32, **options: Any) -> Architecture:
    """Return an image model."""
    return hf(model, config, settings, noise(3, size, size), IMAGE_ELEMENTS, **options)


def vision() -> Iterator[Architecture]:
    """Yield models of single images."""
    yield image("ViTModel", "ViTConfig", {**VIT, "output_hidden_states": True})
    yield image("DeiTForImageClassification", "DeiTConfig", {**VIT, "num_labels": 3})
    yield image("BeitModel", "BeitConfig", {**VIT, "use_relative_position_bias": True})
    yield image("Dinov2Model", "Dinov2Config", VIT)
    yield image("YolosModel", "YolosConfig", {**VIT, "image_size": [32, 32], "num_detection_tokens": 4})
    yield image("SwinModel", "SwinConfig", SWIN)
    yield image("Swinv2Model", "Swinv2Config", SWIN)
    yield image("SegformerForSemanticSegmentation", "SegformerConfig", _segformer(), 64)
    yield image("PvtModel", "PvtConfig", _pvt(), 64)
    yield image("ConvNextModel", "ConvNextConfig", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]})
    yield image(
        "ConvNextV2Model", "ConvNextV2Config", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    )
    yield image(
        "ResNetModel", "ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    )
    yield image("RegNetModel", "RegNetConfig", _regnet())
    yield image("MobileNetV2Model", "MobileNetV2Config", {"image_size": 32, "depth_multiplier": 0.25})
    yield image("EfficientNetModel", "EfficientNetConfig", _efficientnet())
    yield image("MobileViTModel", "MobileViTConfig", _mobilevit(), 64)
    yield image("LevitModel", "LevitConfig", _levit(), 64)
    yield image("PoolFormerModel", "PoolFormerConfig", _poolformer(), 64)
    yield image("CvtModel", "CvtConfig", _cvt(), 64)
    yield image("DetrModel", "DetrConfig", _detr(), 64)
    yield image("DPTForDepthEstimation", "DPTConfig", _dpt(), 32)


def video_and_sound() -> Iterator[Architecture]:
    """Yield models of clips, spectrograms, waveforms and time series."""
    clip = noise(4, 3, 32, 32)
    yield hf(
        "VideoMAEModel", "VideoMAEConfig", {**VIT, "num_frames": 4, "tubelet_size": 2}, clip, IMAGE_ELEMENTS
    )
    yield hf("TimesformerModel", "TimesformerConfig", {**VIT, "num_frames": 4}, clip, IMAGE_ELEMENTS)
    sound = noise(800), (unmoved, mirror)
    yield hf("Wav2Vec2Model", "Wav2Vec2Config", WAV, *sound)
    yield hf("HubertModel", "HubertConfig", WAV, *sound)
    yield hf("WavLMModel", "WavLMConfig", WAV, *sound)
    yield hf("ASTModel", "ASTConfig", _ast(), noise(32, 16), SERIES_ELEMENTS)
    yield hf("WhisperModel", "WhisperConfig", _whisper(), noise(16, 32), (unmoved, mirror), call=_whispered)
    yield hf("PatchTSTModel", "PatchTSTConfig", _patch_tst(), noise(32, 3), SERIES_ELEMENTS)
    yield hf("PatchTSMixerModel", "PatchTSMixerConfig", _patch_mixer(), noise(32, 3), SERIES_ELEMENTS)


def images_with_text() -> Iterator[Architecture]:
    """Yield models with two inputs; the text is the same for every image."""
    yield image("CLIPModel", "CLIPConfig", TOWERS, call=_with_text)
    yield image("SiglipModel", "SiglipConfig", _siglip(), call=_with_text)
    yield image("ViltModel", "ViltConfig", {**TEXT, "image_size": 32, "patch_size": 8}, call=_vilt)
    yield image("BlipForConditionalGeneration", "BlipConfig", TOWERS, call=_with_text)


def _words(x: Tensor) -> Tensor:
    words = torch.arange(5, 13, device=x.device)
    words[-1] = 2  # the end token, which CLIP requires
    return words.expand(len(x), -1)


def _with_text(model: nn.Module, x: Tensor) -> Any:
    return model(input_ids=_words(x), pixel_values=x)


def _vilt(model: nn.Module, x: Tensor) -> Any:
    mask = torch.ones(len(x), *x.shape[-2:], dtype=torch.long, device=x.device)
    return model(input_ids=_words(x), pixel_values=x, pixel_mask=mask)


def _whispered(model: nn.Module, x: Tensor) -> Any:
    return model(input_features=x, decoder_input_ids=_words(x))


def _segformer() -> dict[str, Any]:
    return {
        **{"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 2, 4]},
        **{"decoder_hidden_size": 16, "num_labels": 3},
    }


def _pvt() -> dict[str, Any]:
    return {
        **{"image_size": 64, "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]},
        **{"num_attention_heads": [1, 2, 2, 4], "mlp_ratios": [2, 2, 2, 2]},
    }


def _regnet() -> dict[str, Any]:
    return {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "groups_width": 4,
        "layer_type": "y",
    }


def _efficientnet() -> dict[str, Any]:
    return {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320}


def _mobilevit() -> dict[str, Any]:
    return {
        **{"image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": 4},
        **{"neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32]},
    }


def _levit() -> dict[str, Any]:
    return {
        **{"image_size": 64, "hidden_sizes": [16, 32, 48], "num_attention_heads": [2, 2, 2]},
        **{"depths": [1, 1, 1], "key_dim": [8, 8, 8]},
    }


def _poolformer() -> dict[str, Any]:
    return {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}


def _cvt() -> dict[str, Any]:
    return {"embed_dim": [8, 16, 32], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}


def _detr() -> dict[str, Any]:
    from transformers import ResNetConfig

    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"])
    return {
        **{"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None},
        **{"backbone_config": backbone, "d_model": 32, "num_queries": 4},
        **{"encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 32},
        **{"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 32},
    }


def _dpt() -> dict[str, Any]:
    return {
        **{**VIT, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3]},
        **{"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8},
    }


def _ast() -> dict[str, Any]:
    return {
        **{**WIDTHS, "patch_size": 8, "max_length": 32, "num_mel_bins": 16},
        **{"frequency_stride": 8, "time_stride": 8},
    }


def _whisper() -> dict[str, Any]:
    from benchmarks.architectures.text import BART

    sizes = {key: value for key, value in BART.items() if key != "max_position_embeddings"}
    return {
        **{**sizes, "num_mel_bins": 16, "max_source_positions": 16, "max_target_positions": 16},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
    }


def _patch_tst() -> dict[str, Any]:
    return {
        **{"num_input_channels": 3, "context_length": 32, "patch_length": 8, "patch_stride": 8},
        **{"d_model": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "ffn_dim": 64},
    }


def _patch_mixer() -> dict[str, Any]:
    return {
        **{"num_input_channels": 3, "context_length": 32, "patch_length": 8, "patch_stride": 8},
        **{"d_model": 16, "num_layers": 2},
    }


def _siglip() -> dict[str, Any]:
    return {"text_config": {**TEXT, "projection_size": 32}, "vision_config": VIT}


def perception() -> list[Architecture]:
    """Return all models of images, sound, video and series."""
    return [*vision(), *video_and_sound(), *images_with_text()]
