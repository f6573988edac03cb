"""Define the language models of transformers, including recurrent models and mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import (
    TOKEN_ELEMENTS,
    Adapter,
    Architecture,
    Element,
    tokens,
)

Call = Callable[[nn.Module, Tensor], Any]

WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = {"vocab_size": 64, "max_position_embeddings": 32, **WIDTHS}
LLAMA = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
GPT = {"vocab_size": 64, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
BART = {
    **{"vocab_size": 64, "d_model": 32, "max_position_embeddings": 32, "pad_token_id": 1},
    **{"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64},
    **{"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64},
}
LOOPED = {"experts_implementation": "eager"}  # the grouped matrix product does not support float64
EXPERTS = {**LLAMA, **LOOPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def hf(
    model: str,
    config: str,
    settings: dict[str, Any],
    inputs: Callable[[torch.Generator], Tensor] | None = None,
    elements: tuple[Element, ...] = TOKEN_ELEMENTS,
    call: Call | None = None,
) -> Architecture:
    """Return a transformers model with random weights, built from its configuration."""

    def build() -> nn.Module:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(**settings))
        return Adapter(made, call) if call else made

    return Architecture("transformers", model, build, inputs or tokens(), elements)


def both_sides(model: nn.Module, x: Tensor) -> Any:
    """Call encoder and decoder on the same tokens."""
    return model(input_ids=x, decoder_input_ids=x)


def encoders() -> Iterator[Architecture]:
    """Yield masked language models and sentence encoders."""
    yield hf("BertModel", "BertConfig", TEXT)
    yield hf("RobertaForSequenceClassification", "RobertaConfig", {**TEXT, "num_labels": 3})
    yield hf("DistilBertForMaskedLM", "DistilBertConfig", _distilled())
    yield hf("AlbertModel", "AlbertConfig", {**TEXT, "embedding_size": 16})
    yield hf("ElectraForTokenClassification", "ElectraConfig", {**TEXT, "embedding_size": 16})
    yield hf(
        "DebertaV2Model",
        "DebertaV2Config",
        {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    )
    yield hf("MPNetModel", "MPNetConfig", TEXT)
    yield hf("FNetModel", "FNetConfig", {**TEXT, "use_tpu_fourier_optimizations": False})
    yield hf("SqueezeBertModel", "SqueezeBertConfig", {**TEXT, "embedding_size": 32})
    yield hf("LongformerModel", "LongformerConfig", {**TEXT, "attention_window": 4}, tokens(12))
    yield hf("FunnelModel", "FunnelConfig", _funnel())
    yield hf("XLNetModel", "XLNetConfig", _xlnet())
    yield hf("ModernBertModel", "ModernBertConfig", {**TEXT, "pad_token_id": 0, "local_attention": 4})
    yield hf("ConvBertModel", "ConvBertConfig", {**TEXT, "embedding_size": 32})


def decoders() -> Iterator[Architecture]:
    """Yield causal models."""
    yield hf("GPT2Model", "GPT2Config", GPT)
    yield hf("GPTNeoForCausalLM", "GPTNeoConfig", _gpt_neo())
    yield hf("GPTNeoXModel", "GPTNeoXConfig", TEXT)
    yield hf("OPTModel", "OPTConfig", _opt())
    yield hf("BloomModel", "BloomConfig", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4})
    yield hf("FalconModel", "FalconConfig", {**TEXT, "alibi": False})
    yield hf("LlamaForCausalLM", "LlamaConfig", LLAMA)
    yield hf("MistralModel", "MistralConfig", {**LLAMA, "sliding_window": 4})
    yield hf("Qwen2Model", "Qwen2Config", LLAMA)
    yield hf("Gemma2Model", "Gemma2Config", {**LLAMA, "sliding_window": 4, "query_pre_attn_scalar": 8})
    yield hf("PhiModel", "PhiConfig", TEXT)
    yield hf("MixtralModel", "MixtralConfig", {**LLAMA, "num_local_experts": 4, **LOOPED})
    yield hf("Qwen2MoeModel", "Qwen2MoeConfig", {**EXPERTS, "shared_expert_intermediate_size": 32})
    yield hf("MambaModel", "MambaConfig", _mamba())
    yield hf("RwkvModel", "RwkvConfig", _rwkv())


def sequence_to_sequence() -> Iterator[Architecture]:
    """Yield models with encoder and decoder."""
    yield hf("T5Model", "T5Config", T5, call=both_sides)
    yield hf("BartModel", "BartConfig", BART, call=both_sides)
    yield hf("PegasusModel", "PegasusConfig", {**BART, "pad_token_id": 0}, call=both_sides)
    yield hf("SwitchTransformersModel", "SwitchTransformersConfig", _switch(), call=both_sides)


def _distilled() -> dict[str, Any]:
    return {
        **{"vocab_size": 64, "max_position_embeddings": 32},
        **{"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    }


def _funnel() -> dict[str, Any]:
    return {"vocab_size": 64, "block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64}


def _xlnet() -> dict[str, Any]:
    return {"vocab_size": 64, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}


def _gpt_neo() -> dict[str, Any]:
    return {
        **{"vocab_size": 64, "max_position_embeddings": 32, "hidden_size": 32, "num_layers": 2},
        **{"num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 4},
    }


def _opt() -> dict[str, Any]:
    settings = {**TEXT, "ffn_dim": 64, "word_embed_proj_dim": 32}
    return {name: value for name, value in settings.items() if name != "intermediate_size"}


def _mamba() -> dict[str, Any]:
    return {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4}


def _rwkv() -> dict[str, Any]:
    return {"vocab_size": 64, "context_length": 32, "hidden_size": 32, "num_hidden_layers": 2}


def _switch() -> dict[str, Any]:
    return {
        **{**T5, "num_experts": 4, "num_decoder_layers": 2},
        **{"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
    }


def text() -> list[Architecture]:
    """Return all language models."""
    return [*encoders(), *decoders(), *sequence_to_sequence()]
