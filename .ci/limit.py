"""What is left to the limit: microseconds of each part for one byte, eager, compiled and by hand.

    python .ci/limit.py --checkpoint blt-d-phrases-8

By hand: the entropy model's pass in forty lines of C++ for one vector, compiled here and not
shipped, as the yardstick of what this processor does without any framework. Bound: the time that
reading a part's weights takes at the speed of a copy from memory; weights that stay in the
processor's cache are read faster. Seconds of the thread, the best of many, so that a busy machine
does least harm.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402

import bltlab  # noqa: E402
from bltlab.bench.measuring import copy_bandwidth  # noqa: E402
from bltlab.layers import rotary_radians  # noqa: E402

TEXT = b"In the beginning of the world there was a byte, and it was read by a small model. " * 4

SOURCE = r"""
#include <cmath>
#include <cstring>
// y (n) = W x, W stored by column: x (k) times k rows of n numbers.
static void product(const float* x, const float* w, float* y, int k, int n) {
  memset(y, 0, n * sizeof(float));
  for (int i = 0; i < k; i += 8)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int lane = 0; lane < 8; ++lane) sum += x[i + lane] * w[(i + lane) * n + j];
      y[j] += sum;
    }
}
static void norm(const float* x, const float* w, float* y, int n, float eps) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * x[i];
  float scale = 1 / std::sqrt(sum / n + eps);
  for (int i = 0; i < n; ++i) y[i] = x[i] * scale * w[i];
}
// w: for each layer two norms and four matrices; the last norm; the output. kv: a cache each layer.
extern "C" void pass(const float* in, const float** w, float** kv, const float* turn, float* out,
                     int layers, int dim, int heads, int hidden, int ids, int slots, int low,
                     int at, float eps) {
  float x[1024], a[1024], b[4096], c[4096], score[4096];
  int head = dim / heads;
  memcpy(x, in, dim * sizeof(float));
  for (int layer = 0; layer < layers; ++layer, w += 6) {
    norm(x, w[0], a, dim, eps);
    product(a, w[1], b, dim, 3 * dim);
    for (int i = 0; i < 2 * dim; i += 2) {
      float cos = turn[i % head], sin = turn[i % head + 1], even = b[i], odd = b[i + 1];
      b[i] = even * cos - odd * sin, b[i + 1] = even * sin + odd * cos;
    }
    for (int h = 0; h < heads; ++h) {
      float* k = kv[layer] + h * slots * head;
      float* v = k + heads * slots * head;
      memcpy(k + at * head, b + dim + h * head, head * sizeof(float));
      memcpy(v + at * head, b + 2 * dim + h * head, head * sizeof(float));
      float most = -1e30, total = 0, *read = a + h * head;
      for (int s = low; s <= at; ++s) {
        float sum = 0;
        for (int i = 0; i < head; ++i) sum += b[h * head + i] * k[s * head + i];
        score[s] = sum / std::sqrt((float)head);
        most = std::fmax(most, score[s]);
      }
      for (int s = low; s <= at; ++s) total += score[s] = std::exp(score[s] - most);
      memset(read, 0, head * sizeof(float));
      for (int s = low; s <= at; ++s)
        for (int i = 0; i < head; ++i) read[i] += score[s] / total * v[s * head + i];
    }
    product(a, w[2], c, dim, dim);
    for (int i = 0; i < dim; ++i) x[i] += c[i];
    norm(x, w[3], a, dim, eps);
    product(a, w[4], b, dim, 2 * hidden);
    for (int i = 0; i < hidden; ++i) c[i] = b[i] / (1 + std::exp(-b[i])) * b[hidden + i];
    product(c, w[5], a, hidden, dim);
    for (int i = 0; i < dim; ++i) x[i] += a[i];
  }
  norm(x, w[0], a, dim, eps);
  product(a, w[1], out, dim, ids);
}
"""


def by_hand(state: bltlab.DecodingState, folder: str) -> Callable[[], torch.Tensor]:
    """The entropy model's logits for the last byte of a text of one row, in C++."""
    (Path(folder) / "pass.cpp").write_text(SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    command = ["g++", *flags, "pass.cpp", "-o", "pass.so"]
    subprocess.run(command, cwd=folder, check=True)
    run = getattr(ctypes.CDLL(f"{folder}/pass.so"), "pass")
    patcher, config = state.model.patcher, state.model.config.patcher
    modules = []
    for layer in patcher.stack.layers:
        modules += [layer.attention_norm, layer.attention.qkv, layer.attention.out]
        modules += [layer.feed_forward_norm, layer.feed_forward.gate_up, layer.feed_forward.down]
    modules += [patcher.norm, patcher.output]
    weights = [module.weight.t().contiguous() for module in modules]
    caches = state._passes.kv["patcher"].layers
    position = state.lengths[0] - 1
    head = config.dim // config.n_heads
    angles = position * rotary_radians(head, config.rope_theta, torch.float32, state.model.device)
    turn = torch.stack([angles.cos(), angles.sin()], -1).flatten()
    begin = patcher.embedding.weight[state.rows[0].ids[-1]]
    n_ids = patcher.output.weight.shape[0]
    logits = torch.empty(n_ids)
    low = max(0, position + 1 - (config.window or position + 1))
    sizes = [config.n_layers, config.dim, config.n_heads, config.hidden_dim, n_ids]
    arrays = [_pointers(weights), _pointers(caches)]
    arguments = [ctypes.c_void_p(begin.data_ptr()), *arrays]
    arguments += [ctypes.c_void_p(turn.data_ptr()), ctypes.c_void_p(logits.data_ptr())]
    arguments += [*sizes, caches[0].shape[3], low, position, ctypes.c_float(config.norm_eps)]
    held = weights, turn, begin  # C++ knows only where they are

    def work() -> torch.Tensor:
        run(*arguments)
        return held and logits

    return work


def _pointers(tensors: list[torch.Tensor]) -> ctypes.Array:
    addresses = [tensor.data_ptr() for tensor in tensors]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def microseconds(work: Callable[[], object], runs: int = 400) -> float:
    """The best of some runs, in seconds of the thread."""
    best = float("inf")
    for _ in range(runs):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return 1e6 * best


def parts_of(state: bltlab.DecodingState) -> dict[str, Callable[[], object]]:
    """One pass of each part over the last byte, or the last closed patch, of a text."""
    passes, row = state._passes, state.rows[0]
    span = passes.span([row.length - 1], [1])
    ids = torch.tensor([row.ids[-1:]])
    state.rows[0].decoded = row.length - 1
    part = state._pending_part()
    edges = row.starts[-2:]
    return {
        "patcher": lambda: passes.find_patches(ids, span),
        "encoder": lambda: passes.encode(ids, span),
        "global_": lambda: passes.close_patches([0], [row.closed - 1], [edges]),
        "decoder": lambda: passes.decode(part),
    }


@torch.inference_mode()
def main() -> None:
    """Measure, and print a line for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="blt-d-phrases-8")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    eager = bltlab.BLT.from_pretrained(asked.checkpoint, device="cpu")
    compiled = copy(eager)
    compiled.compile()
    states = [bltlab.DecodingState(model) for model in (eager, compiled)]
    for state in states:
        state.extend(bltlab.encode(TEXT))
    ways = [parts_of(state) for state in states]
    copied = copy_bandwidth(eager.device)  # bytes a second, read and written
    weights = eager.weight_bytes()
    weights["global_"] += weights["pool"] + weights["keys"]
    print(f"{'part':8} {'eager':>8} {'compiled':>8} {'by hand':>8} {'bound':>8}  microseconds")
    with tempfile.TemporaryDirectory() as folder:
        hand = by_hand(states[0], folder)
        check = eager.patcher.output.weight.new_tensor(hand().tolist())
        nats = bltlab.patching.entropy(check).item()
        assert abs(nats - states[0].rows[0].entropies[-1]) < 1e-3, "by hand something else is found"
        for part in ways[0]:
            times = [microseconds(way[part]) for way in ways]
            times.append(microseconds(hand) if part == "patcher" else float("nan"))
            times.append(1e6 * weights[part] / copied)
            print(f"{part.strip('_'):8} " + " ".join(f"{one:8.1f}" for one in times), flush=True)


if __name__ == "__main__":
    main()
