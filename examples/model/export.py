"""Writes trained weights as the files other programs read: Hugging Face layout and GGUF, both in 16-bit floats."""

import json

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
END_TOKEN = "<|end|>"
LAYER_NAMES = {
    "input_norm": ("input_layernorm", "attn_norm"),
    "q_proj": ("self_attn.q_proj", "attn_q"),
    "k_proj": ("self_attn.k_proj", "attn_k"),
    "v_proj": ("self_attn.v_proj", "attn_v"),
    "o_proj": ("self_attn.o_proj", "attn_output"),
    "post_norm": ("post_attention_layernorm", "ffn_norm"),
    "gate_proj": ("mlp.gate_proj", "ffn_gate"),
    "up_proj": ("mlp.up_proj", "ffn_up"),
    "down_proj": ("mlp.down_proj", "ffn_down"),
}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def name_tensors(params, kind):
    """Yields (name, array) in file order; kind 0 is the Hugging Face name, kind 1 the GGUF name."""
    embed, layer_prefix, norm = (
        ("model.embed_tokens", "model.layers", "model.norm"),
        ("token_embd", "blk", "output_norm"),
    )[kind]
    yield f"{embed}.weight", params["embed"]
    for index, layer in enumerate(params["layers"]):
        for key, names in LAYER_NAMES.items():
            yield f"{layer_prefix}.{index}.{names[kind]}.weight", layer[key]
    yield f"{norm}.weight", params["norm"]


def write_safetensors(path, tensors):
    header, chunks, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in tensors:
        data = np.ascontiguousarray(array, dtype="<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def write_hugging_face(folder, config, params, tokenizer):
    end = tokenizer.token_to_id(END_TOKEN)
    write_safetensors(folder / "model.safetensors", name_tensors(params, 0))
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": config["vocab"],
            "hidden_size": config["dim"],
            "intermediate_size": config["ffn"],
            "num_hidden_layers": config["layers"],
            "num_attention_heads": config["heads"],
            "num_key_value_heads": config["kv_heads"],
            "head_dim": config["dim"] // config["heads"],
            "hidden_act": "silu",
            "max_position_embeddings": config["context"],
            "rms_norm_eps": config["eps"],
            "rope_theta": config["rope_theta"],
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": end,
            "eos_token_id": end,
            "torch_dtype": "float16",
        },
    )
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": end, "eos_token_id": end, "do_sample": True, "temperature": 0.7, "max_new_tokens": 160},
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_TOKEN,
            "eos_token": END_TOKEN,
            "add_bos_token": False,
            "model_max_length": config["context"],
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def permute_for_interleaved_rope(weight, heads):
    """llama.cpp rotates neighbouring pairs, the Hugging Face layout rotates halves; so rows of Q and K change places."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def add_gguf_tokenizer(writer, tokenizer):
    model = json.loads(tokenizer.to_str())
    special = {token["content"] for token in model["added_tokens"]}
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    end = tokenizer.token_to_id(END_TOKEN)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["model"]["merges"]])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_gguf(path, config, params, tokenizer):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("keeper")
    writer.add_license("apache-2.0")
    writer.add_vocab_size(config["vocab"])
    writer.add_context_length(config["context"])
    writer.add_embedding_length(config["dim"])
    writer.add_block_count(config["layers"])
    writer.add_feed_forward_length(config["ffn"])
    writer.add_head_count(config["heads"])
    writer.add_head_count_kv(config["kv_heads"])
    writer.add_rope_dimension_count(config["dim"] // config["heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_gguf_tokenizer(writer, tokenizer)
    for name, array in name_tensors(params, 1):
        if "attn_q" in name or "attn_k" in name:
            array = permute_for_interleaved_rope(array, config["heads" if "attn_q" in name else "kv_heads"])
        writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float16 if array.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
