// A byte by hand: the parts of a model for 1 to 8 positions of one text, without any framework.
// Not shipped: the yardstick of limit.py, which compiles and calls it.
//
// A matrix lies in panels of 32 columns, each (in, 32), so that its numbers are read in order. A
// cache of keys or values is such a matrix too, one for each head: panels of 32 slots, or of 32 of
// a head's numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum Kind { FLOAT32, FLOAT16, BFLOAT16, INT8, INT8_BY_INT8 };

struct Matrix {
  const void* numbers;
  const float* scales;  // of each column, where numbers are int8; else null
  const float* sums;    // of each column, times 128: what INT8_BY_INT8 takes off
  const float* norm;    // weights of the norm in front; null: none, or multiplied into the matrix
  int in, out, stride;  // stride: rows of a panel
  int kind, normed, gated;  // gated: panels hold 16 gates and 16 ups, silu is taken at once
};

struct Layer {
  Matrix qkv, out, gate_up, down;
  Matrix query, read;  // cross-attention, where a stack has it
  float *keys, *values;
};

struct Stack {
  const Layer* layers;
  const float* radians;  // of a position
  Matrix output;
  int n_layers, dim, heads, hidden, slots, window;
  int latents;  // vectors that cross-attention reads; 0: there is none
  float residual, eps;
};

constexpr int LANES = 16, PANEL = 32, MOST = 8, WIDTH = 4096;
typedef float Vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(64)));

// -- products ----------------------------------------------------------------------------------

// 16 numbers as floats.
static Vec widen(const float* w) { return *(const Vec*)w; }
#ifdef __AVX512F__
static Vec widen(const _Float16* w) {
  return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)w));
}
static Vec widen(const uint16_t* w) {
  __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)w));
  return (Vec)_mm512_slli_epi32(halves, 16);
}
static Vec widen(const int8_t* w) {
  __m512i whole = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)w));
  return (Vec)_mm512_cvtepi32_ps(whole);
}
#else
static Vec widen(const uint16_t* w) {
  Ints halves;
  for (int i = 0; i < LANES; ++i) halves[i] = w[i] << 16;
  return (Vec)halves;
}
template <class N>
static Vec widen(const N* w) {
  Vec wide;
  for (int i = 0; i < LANES; ++i) wide[i] = w[i];
  return wide;
}
#endif

// Where the rows of a product come from and go to: y = keep * y + scale * sums.
struct Rows {
  const float* x;
  float* y;
  int x_stride, y_stride;
  float keep;
  float scale[MOST];
};

static void finish(const Matrix& m, const Rows& rows, int t, int j, Vec left, Vec right) {
  left *= rows.scale[t], right *= rows.scale[t];
  if (m.scales) left *= *(Vec*)(m.scales + j), right *= *(Vec*)(m.scales + j + LANES);
  float* y = rows.y + t * rows.y_stride;
  if (m.gated) {
    for (int i = 0; i < LANES; ++i) y[j / 2 + i] = left[i] / (1 + std::exp(-left[i])) * right[i];
    return;
  }
  if (m.out - j >= PANEL) {
    Vec *first = (Vec*)(y + j), *second = (Vec*)(y + j + LANES);
    *first = rows.keep * *first + left, *second = rows.keep * *second + right;
    return;
  }
  for (int i = 0; i < m.out - j; ++i)
    y[j + i] = rows.keep * y[j + i] + (i < LANES ? left[i] : right[i - LANES]);
}

template <int T, class N>
static void multiply(const Matrix& m, const Rows& rows) {
  constexpr int AT_ONCE = T > 2 ? 1 : 4 / T;  // sums that need not wait for each other
  for (int j = 0; j < m.out; j += PANEL) {
    const N* w = (const N*)m.numbers + (long)j * m.stride;
    Vec sums[AT_ONCE][T][2] = {};
    for (int k = 0; k < m.in; k += AT_ONCE)
#pragma GCC unroll 8
      for (int a = 0; a < AT_ONCE; ++a, w += PANEL) {
        Vec left = widen(w), right = widen(w + LANES);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          float number = rows.x[t * rows.x_stride + k + a];
          sums[a][t][0] += number * left, sums[a][t][1] += number * right;
        }
      }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int a = 1; a < AT_ONCE; ++a)
        sums[0][t][0] += sums[a][t][0], sums[0][t][1] += sums[a][t][1];
      finish(m, rows, t, j, sums[0][t][0], sums[0][t][1]);
    }
  }
}

// int8 by int8: x is rounded to 255 steps, four of its numbers meet four of a column at once.
template <int T>
static void multiply_bytes(const Matrix& m, Rows rows) {
#ifdef __AVX512VNNI__
  static uint8_t x[MOST][WIDTH];
  for (int t = 0; t < T; ++t) {
    const float* from = rows.x + t * rows.x_stride;
    float most = 1e-20f;
    for (int i = 0; i < m.in; ++i) most = std::max(most, std::fabs(from[i]));
    for (int i = 0; i < m.in; ++i) x[t][i] = (uint8_t)(int)(from[i] * (127 / most) + 128.5f);
    rows.scale[t] *= most / 127;
  }
  constexpr int AT_ONCE = T > 2 ? 1 : 4 / T;
  for (int j = 0; j < m.out; j += PANEL) {
    const int8_t* w = (const int8_t*)m.numbers + (long)j * m.stride;
    Ints sums[AT_ONCE][T][2] = {};
    for (int k = 0; k < m.in; k += 4 * AT_ONCE)
#pragma GCC unroll 8
      for (int a = 0; a < AT_ONCE; ++a, w += 4 * PANEL) {
        __m512i left = _mm512_loadu_si512(w), right = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 8
        for (int t = 0; t < T; ++t) {
          __m512i four = _mm512_set1_epi32(*(const int*)(x[t] + k + 4 * a));
          sums[a][t][0] = (Ints)_mm512_dpbusd_epi32((__m512i)sums[a][t][0], four, left);
          sums[a][t][1] = (Ints)_mm512_dpbusd_epi32((__m512i)sums[a][t][1], four, right);
        }
      }
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
      for (int a = 1; a < AT_ONCE; ++a)
        sums[0][t][0] += sums[a][t][0], sums[0][t][1] += sums[a][t][1];
      Vec left = __builtin_convertvector(sums[0][t][0], Vec) - *(Vec*)(m.sums + j);
      Vec right = __builtin_convertvector(sums[0][t][1], Vec) - *(Vec*)(m.sums + j + LANES);
      finish(m, rows, t, j, left, right);
    }
  }
#endif
}

extern "C" int multiplies_bytes() {
#ifdef __AVX512VNNI__
  return 1;
#else
  return 0;
#endif
}

template <int T>
static void multiply_rows(const Matrix& m, const Rows& rows, int n) {
  if constexpr (T > 1)
    if (n < T) return multiply_rows<T - 1>(m, rows, n);
  if (m.kind == FLOAT32) multiply<T, float>(m, rows);
  if (m.kind == FLOAT16) multiply<T, _Float16>(m, rows);
  if (m.kind == BFLOAT16) multiply<T, uint16_t>(m, rows);
  if (m.kind == INT8) multiply<T, int8_t>(m, rows);
  if (m.kind == INT8_BY_INT8) multiply_bytes<T>(m, rows);
}

// y (n, out) = keep * y + W norm(x), x (n, in).
static void product(const Matrix& m, float eps, const float* x, int n, float* y, float keep = 0,
                    int x_stride = 0, int y_stride = 0) {
  static float normed[MOST * WIDTH];
  Rows rows{x, y, x_stride ? x_stride : m.in, y_stride ? y_stride : m.out, keep, {}};
  for (int t = 0; t < n; ++t) {
    rows.scale[t] = 1;
    if (!m.normed) continue;
    const float* from = x + t * m.in;
    float sum = 0;
    for (int i = 0; i < m.in; ++i) sum += from[i] * from[i];
    rows.scale[t] = 1 / std::sqrt(sum / m.in + eps);
    if (!m.norm) continue;
    for (int i = 0; i < m.in; ++i) normed[t * m.in + i] = from[i] * m.norm[i];
    rows.x = normed;
  }
  multiply_rows<MOST>(m, rows, n);
}

// -- attention and layers ----------------------------------------------------------------------

static void softmax(float* x, int n) {
  float most = -1e30f, total = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, x[i]);
  for (int i = 0; i < n; ++i) total += x[i] = std::exp(x[i] - most);
  for (int i = 0; i < n; ++i) x[i] /= total;
}

// x = residual * x + what queries x (n, dim) read of keys (count, 2, dim): bytes of a patch's
// vectors, or a patch's queries of its bytes.
static void cross(const Matrix& query, const Matrix& out, int heads, float residual, float eps,
                  float* x, int n, const float* keys, int count) {
  static float q[MOST * WIDTH], read[MOST * WIDTH];
  int dim = query.in, head = dim / heads;
  product(query, eps, x, n, q);
  memset(read, 0, n * dim * sizeof(float));
  for (int row = 0; row < n * heads; ++row) {
    const float* from = keys + row % heads * head;
    float score[MOST];
    for (int c = 0; c < count; ++c) {
      float sum = 0;
      for (int i = 0; i < head; ++i) sum += q[row * head + i] * from[2 * c * dim + i];
      score[c] = sum / std::sqrt((float)head);
    }
    softmax(score, count);
    for (int c = 0; c < count; ++c)
      for (int i = 0; i < head; ++i)
        read[row * head + i] += score[c] * from[(2 * c + 1) * dim + i];
  }
  product(out, eps, read, n, x, residual);
}

// read (n, dim) of n positions from `at` on; a block is read both ways.
static void attend(const Stack& s, const Layer& layer, const float* qkv, int n, int at, int block,
                   float* read) {
  static float score[MOST * WIDTH];
  int head = s.dim / s.heads, padded = (head + PANEL - 1) / PANEL * PANEL;
  int low = std::max(0, at + 1 - s.window), first = low / PANEL * PANEL;
  int count = (at + n - first + PANEL - 1) / PANEL * PANEL;
  for (int h = 0; h < s.heads; ++h) {
    float* keys = layer.keys + (long)h * head * s.slots;
    float* values = layer.values + (long)h * padded * s.slots;
    for (int t = 0; t < n; ++t) {
      const float* k = qkv + (3 * t + 1) * s.dim + h * head;
      float* to = keys + (at + t) / PANEL * PANEL * head + (at + t) % PANEL;
      for (int i = 0; i < head; ++i) to[i * PANEL] = k[i];
      to = values + (at + t) * PANEL;
      for (int i = 0; i < head; ++i) to[i / PANEL * PANEL * s.slots + i % PANEL] = k[s.dim + i];
    }
    Matrix k{keys + first * head, 0, 0, 0, head, count, head, FLOAT32, 0, 0};
    Matrix v{values + first * PANEL, 0, 0, 0, count, head, s.slots, FLOAT32, 0, 0};
    product(k, 0, qkv + h * head, n, score, 0, 3 * s.dim);
    for (int t = 0; t < n; ++t) {
      float* row = score + t * count;
      int from = std::max(0, at + t + 1 - s.window) - first;
      int end = (block ? at + n : at + t + 1) - first;
      for (int i = from; i < end; ++i) row[i] /= std::sqrt((float)head);
      softmax(row + from, end - from);
      std::fill(row, row + from, 0.0f), std::fill(row + end, row + count, 0.0f);
    }
    product(v, 0, score, n, read + h * head, 0, 0, s.dim);
  }
}

// Cosines, and behind them sines, of n positions: (n, head) each.
static void turns_of(const Stack& s, int n, int at, float* turns) {
  int half = s.dim / s.heads / 2;
  for (int t = 0; t < n; ++t, turns += 2 * half) {
    for (int i = 0; i < half; ++i) turns[i] = std::cos((at + t) * s.radians[i]);
    for (int i = 0; i < half; ++i) turns[half + i] = std::sin((at + t) * s.radians[i]);
  }
}

static void rotate(const Stack& s, float* qkv, int n, const float* turns) {
  int head = s.dim / s.heads;
  for (int row = 0; row < 2 * n * s.heads; ++row) {
    int t = row / (2 * s.heads);
    float* x = qkv + row * head + t * s.dim;  // values lie between
    const float *cos = turns + t * head, *sin = cos + head / 2;
    for (int i = 0; i < head / 2; ++i) {
      float even = x[2 * i], odd = x[2 * i + 1];
      x[2 * i] = even * cos[i] - odd * sin[i], x[2 * i + 1] = even * sin[i] + odd * cos[i];
    }
  }
}

// x (n, dim) through all layers, in place; latent: for each layer (latents, 2, dim).
static void layers(const Stack& s, float* x, int n, int at, int block, const float* latent) {
  static float a[MOST * WIDTH], b[MOST * WIDTH], turns[MOST * WIDTH];
  turns_of(s, n, at, turns);
  for (int l = 0; l < s.n_layers; ++l) {
    const Layer& layer = s.layers[l];
    if (s.latents)
      cross(layer.query, layer.read, s.heads, s.residual, s.eps, x, n,
            latent + 2 * l * s.latents * s.dim, s.latents);
    product(layer.qkv, s.eps, x, n, a);
    rotate(s, a, n, turns);
    attend(s, layer, a, n, at, block, b);
    product(layer.out, s.eps, b, n, x, 1);
    if (layer.gate_up.gated) {
      product(layer.gate_up, s.eps, x, n, b, 0, 0, s.hidden);
    } else {
      product(layer.gate_up, s.eps, x, n, a);
      for (int t = 0; t < n; ++t)
        for (int i = 0; i < s.hidden; ++i) {
          float gate = a[2 * t * s.hidden + i], up = a[(2 * t + 1) * s.hidden + i];
          b[t * s.hidden + i] = gate / (1 + std::exp(-gate)) * up;
        }
    }
    product(layer.down, s.eps, b, n, x, 1);
  }
}

// -- parts -------------------------------------------------------------------------------------

// Logits and their entropy after one byte.
extern "C" void patcher(const Stack& s, const float* table, int64_t id, int at, float* logits,
                        float* nats) {
  float x[WIDTH], p[WIDTH];
  memcpy(x, table + id * s.dim, s.dim * sizeof(float));
  layers(s, x, 1, at, 0, nullptr);
  product(s.output, s.eps, x, 1, logits);
  memcpy(p, logits, s.output.out * sizeof(float));
  softmax(p, s.output.out);
  float sum = 0;
  for (int i = 0; i < s.output.out; ++i) sum -= p[i] * std::log(std::max(p[i], 1e-30f));
  *nats = sum;
}

struct Hashes {
  const float *bytes, *table;
  const int64_t* powers;  // (sizes, reach)
  int sizes, reach, rows;
};

// The state of a byte; ids: the last `reach`, 0 before the text.
extern "C" void encoder(const Stack& s, const Hashes& hashes, const int64_t* ids, int at,
                        float* state) {
  memcpy(state, hashes.bytes + ids[hashes.reach - 1] * s.dim, s.dim * sizeof(float));
  for (int size = 0; size < hashes.sizes; ++size) {
    uint64_t sum = 0;
    for (int i = 0; i < hashes.reach; ++i)
      sum += (uint64_t)ids[i] * (uint64_t)hashes.powers[size * hashes.reach + i];
    int64_t row = (int64_t)sum % hashes.rows;  // as in Python: never negative
    row += row < 0 ? hashes.rows : 0;
    const float* found = hashes.table + (size * (int64_t)hashes.rows + row) * s.dim;
    for (int i = 0; i < s.dim; ++i) state[i] += found[i];
  }
  layers(s, state, 1, at, 0, nullptr);
}

struct Patch {
  Matrix queries, key_value, query, read;  // of pooling
  Matrix projection, vectors;  // in front of the stack (in = 0: none) and behind it
  const Matrix* keys;          // of the decoder's layers
  int n_layers, latents, heads;
  float residual, eps;
};

// What the decoder's layers read (n_layers, latents, 2, dim) of a patch of n states (n, dim).
extern "C" void global(const Stack& s, const Patch& p, const float* states, int n, int at,
                       float* keys) {
  static float largest[WIDTH], bytes[2 * MOST * WIDTH], pooled[WIDTH], x[WIDTH];
  int dim = p.queries.in;
  for (int i = 0; i < dim; ++i) {
    largest[i] = states[i];
    for (int t = 1; t < n; ++t) largest[i] = std::max(largest[i], states[t * dim + i]);
  }
  product(p.queries, s.eps, largest, 1, pooled);
  product(p.key_value, p.eps, states, n, bytes);
  cross(p.query, p.read, p.heads, p.residual, p.eps, pooled, p.latents, bytes, n);
  if (p.projection.in) product(p.projection, s.eps, pooled, 1, x);
  else memcpy(x, pooled, s.dim * sizeof(float));
  layers(s, x, 1, at, 0, nullptr);
  product(p.vectors, s.eps, x, 1, pooled);
  for (int l = 0; l < p.n_layers; ++l)
    product(p.keys[l], p.eps, pooled, p.latents, keys + 2 * l * p.latents * p.keys[l].in);
}

// Logits (n, ids) of n inputs (n, dim) that read one latent.
extern "C" void decoder(const Stack& s, const float* inputs, int n, int at, int block,
                        const float* latent, float* logits) {
  static float x[MOST * WIDTH];
  memcpy(x, inputs, n * s.dim * sizeof(float));
  layers(s, x, n, at, block, latent);
  product(s.output, s.eps, x, n, logits);
}

// -- what the processor does at best -----------------------------------------------------------

// The sum of n numbers, so many times over: bytes a second from wherever they lie.
extern "C" float read_all(const float* x, long n, int times) {
  Vec sums[8] = {};
  for (; times > 0; --times) {
    for (long i = 0; i < n; i += 8 * LANES)
#pragma GCC unroll 8
      for (int a = 0; a < 8; ++a) sums[a] += *(const Vec*)(x + i + a * LANES);
    asm volatile("" ::: "memory");  // read again
  }
  for (int a = 1; a < 8; ++a) sums[0] += sums[a];
  float total = 0;
  for (int i = 0; i < LANES; ++i) total += sums[0][i];
  return total;
}

// n times 16 products and sums of 16 numbers, all in registers: 512 n operations.
extern "C" float multiply_add(long n, float by, float plus) {
  Vec sums[16];
  for (int a = 0; a < 16; ++a) sums[a] = Vec{} + (float)a;
  for (long i = 0; i < n; ++i)
#pragma GCC unroll 16
    for (int a = 0; a < 16; ++a) sums[a] = sums[a] * by + plus;
  for (int a = 1; a < 16; ++a) sums[0] += sums[a];
  return sums[0][0];
}
