"""Trains the example model on the text of corpus.py with JAX on the CPU and writes it to a folder (default: keeper)."""

import argparse
import random
import re
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import ASSISTANT, END, SYSTEM, USER, write_corpus
from export import write_gguf, write_hugging_face

MARK = re.compile("|".join(map(re.escape, (END, USER, ASSISTANT, SYSTEM))))
CONFIG = {
    "vocab": 1024,
    "dim": 192,
    "layers": 4,
    "heads": 6,
    "kv_heads": 2,
    "ffn": 512,
    "context": 256,
    "rope_theta": 10000.0,
    "eps": 1e-5,
}
SEED, BATCH, WARMUP_STEPS, PEAK_RATE, WEIGHT_DECAY, CLIP_NORM = 7, 8, 50, 3e-3, 0.05, 1.0


def train_tokenizer(documents):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab"],
        special_tokens=[END, USER, ASSISTANT, SYSTEM],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [text for document in documents for text in MARK.split(document)]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def init_params(key):
    dim, ffn, head = CONFIG["dim"], CONFIG["ffn"], CONFIG["dim"] // CONFIG["heads"]
    shapes = {
        "q_proj": (dim, dim),
        "k_proj": (CONFIG["kv_heads"] * head, dim),
        "v_proj": (CONFIG["kv_heads"] * head, dim),
        "o_proj": (dim, dim),
        "gate_proj": (ffn, dim),
        "up_proj": (ffn, dim),
        "down_proj": (dim, ffn),
    }
    keys = iter(jax.random.split(key, 1 + CONFIG["layers"] * len(shapes)))
    params = {
        "embed": 0.02 * jax.random.normal(next(keys), (CONFIG["vocab"], dim)),
        "norm": jnp.ones(dim),
        "layers": [],
    }
    for _ in range(CONFIG["layers"]):
        layer = {"input_norm": jnp.ones(dim), "post_norm": jnp.ones(dim)}
        for name, shape in shapes.items():
            scale = 0.02 / (2 * CONFIG["layers"]) ** 0.5 if name in ("o_proj", "down_proj") else shape[1] ** -0.5
            layer[name] = scale * jax.random.normal(next(keys), shape)
        params["layers"].append(layer)
    return params


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + CONFIG["eps"]) * weight


def rotate(x):
    """Rotary position in the half-split order of the Hugging Face layout; x is [batch, time, heads, head]."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * CONFIG["rope_theta"] ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attend(layer, x):
    """Grouped-query attention; the query heads of a group are stacked into one matrix, which is faster on a CPU."""
    batch, length, dim = x.shape
    heads, kv_heads = CONFIG["heads"], CONFIG["kv_heads"]
    head, groups = dim // heads, heads // kv_heads
    q = rotate((x @ layer["q_proj"].T).reshape(batch, length, heads, head))
    k = rotate((x @ layer["k_proj"].T).reshape(batch, length, kv_heads, head))
    v = (x @ layer["v_proj"].T).reshape(batch, length, kv_heads, head)
    q = q.transpose(0, 2, 1, 3).reshape(batch * kv_heads, groups * length, head)
    k = k.transpose(0, 2, 3, 1).reshape(batch * kv_heads, head, length)
    v = v.transpose(0, 2, 1, 3).reshape(batch * kv_heads, length, head)
    visible = jnp.tile(jnp.tril(jnp.ones((length, length), bool)), (groups, 1))
    mixed = jax.nn.softmax(jnp.where(visible, q @ k / head**0.5, -1e9)) @ v
    return (
        mixed.reshape(batch, heads, length, head).transpose(0, 2, 1, 3).reshape(batch, length, dim) @ layer["o_proj"].T
    )


def forward(params, tokens):
    x = params["embed"][tokens]
    for layer in params["layers"]:
        x = x + attend(layer, rms_norm(x, layer["input_norm"]))
        y = rms_norm(x, layer["post_norm"])
        x = x + (jax.nn.silu(y @ layer["gate_proj"].T) * (y @ layer["up_proj"].T)) @ layer["down_proj"].T
    return rms_norm(x, params["norm"]) @ params["embed"].T


def mean_loss(params, rows):
    log_probability = jax.nn.log_softmax(forward(params, rows[:, :-1]))
    return -jnp.take_along_axis(log_probability, rows[:, 1:, None], -1).mean()


@partial(jax.jit, donate_argnums=(0, 1, 2))
def adam_step(params, first, second, rows, step, rate):
    loss, grads = jax.value_and_grad(mean_loss)(params, rows)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, CLIP_NORM / norm), grads)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, second, grads)

    def move(p, m, v):
        update = (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.95**step)) + 1e-8)
        return p - rate * (update + (WEIGHT_DECAY * p if p.ndim == 2 else 0))

    return jax.tree.map(move, params, first, second), first, second, loss


def sample_rows(documents, seed):
    """Yields batches of [BATCH, context + 1]; every row starts where a document starts, as a prompt does."""
    rng, width, stream = random.Random(seed), CONFIG["context"] + 1, []
    while True:
        rows = []
        while len(rows) < BATCH:
            if not stream:
                stream = rng.sample(documents, len(documents))
            row = []
            while len(row) < width and stream:
                row += stream.pop()
            if len(row) >= width:
                rows.append(row[:width])
        yield jnp.array(np.array(rows, np.int32))


def train(documents, steps, on_progress):
    params = init_params(jax.random.key(SEED))
    first, second = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    started, recent = time.monotonic(), []
    for step, rows in zip(range(1, steps + 1), sample_rows(documents, SEED)):
        rate = PEAK_RATE * min(step / WARMUP_STEPS, 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        params, first, second, loss = adam_step(params, first, second, rows, step, rate)
        recent.append(float(loss))
        if step % 25 == 0 or step == steps:
            on_progress(f"step {step}/{steps}  loss {np.mean(recent[-25:]):.4f}  {time.monotonic() - started:.0f} s")
    return params, float(np.mean(recent[-25:]))


def print_samples(params, tokenizer, questions):
    """Greedy answers, to see at a glance that the text reads like its training text."""
    logits_of = jax.jit(forward)
    for question in questions:
        tokens = tokenizer.encode(f"{USER}{question}{END}{ASSISTANT}").ids
        start, end = len(tokens), tokenizer.token_to_id(END)
        while len(tokens) < CONFIG["context"] and (tokens[-1] != end or len(tokens) == start):
            padded = jnp.array([tokens + [0] * (CONFIG["context"] - len(tokens))])
            tokens.append(int(logits_of(params, padded)[0, len(tokens) - 1].argmax()))
        print(f"> {question}\n{tokenizer.decode(tokens[start:])}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "keeper")
    parser.add_argument("--steps", type=int, default=900)
    options = parser.parse_args()

    documents = write_corpus()
    tokenizer = train_tokenizer(documents)
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(documents)]
    held_out, encoded = encoded[:300], encoded[300:]
    print(f"{len(documents)} documents, {sum(map(len, encoded))} training tokens", flush=True)

    params, loss = train(encoded, options.steps, partial(print, flush=True))
    held_out_rows = sample_rows(held_out, SEED)
    held_out_loss = float(np.mean([jax.jit(mean_loss)(params, next(held_out_rows)) for _ in range(4)]))
    count = sum(p.size for p in jax.tree.leaves(params))
    print(f"{count} parameters, training loss {loss:.3f}, held-out loss {held_out_loss:.3f}")

    arrays = jax.tree.map(np.asarray, params)
    options.out.mkdir(parents=True, exist_ok=True)
    write_hugging_face(options.out, CONFIG, arrays, tokenizer)
    write_gguf(options.out / "keeper.gguf", CONFIG, arrays, tokenizer)
    print_samples(params, tokenizer, ["Who keeps the lighthouse?", "Where are the keys?", "Tell me a story."])


if __name__ == "__main__":
    main()
