#pragma once

// What the kernels in device/ are given, as both sides see it: this text is compiled into the program and, at run time,
// for the device. Pointers are to the device's memory; distances between neighbours ("strides") count elements.
namespace glmimage::kernels::cuda {

struct RmsNormArguments {
  const void *x, *weight;  // rows of `width`
  void* y;
  int width;
  float eps;
};

struct AddNormedArguments {
  const void *x, *update, *weight, *next_weight;  // next_weight: null where no second norm is wanted
  void *sum, *normed;
  int width;
  float eps;
};

struct SwigluArguments {
  const void* gate_up;  // rows of 2 · width
  void* y;
  long long rows;
  int width;
};

// x (B, T, H, D), the last dimension dense; cos and sin (B or 1, T, half).
struct RopeArguments {
  const void *x, *cos, *sin;
  void* y;         // dense
  long long rows;  // B · T · H
  int tokens, heads, dim, half;
  long long x_batch, x_token, x_head, table_batch, table_token;
  int table_is_float;  // else it has x's type
  float eps;           // of a layer norm over D before the turn; negative: none
};

struct TokenRun {
  const void *tokens, *shift, *scale;  // of a residual: shift is the gate, scale is unused
  long long batch, token, factor_batch;
};

struct ModulatedNormArguments {
  TokenRun first, second;
  void* y;  // (B, first_count + second_count, width), dense
  int first_count, second_count, width;
  float eps;
};

struct GatedResidualArguments {
  TokenRun run;
  const void* update;  // (B, T, width), from the run's first token on
  long long update_batch, update_token;
  void* y;  // (B, count, width), dense
  int count, width;
};

// One token through a matrix of floats, of 8 bits or of 4 bits (kernels/linear.h).
struct VectorArguments {
  const void *x, *weight, *scale, *bias;  // bias: may be null
  void* y;
  int in, out, groups;
  int scale_is_float;  // else bfloat16
};

struct DequantiseArguments {
  const void *q, *scale;
  void* y;  // (out, in)
  long long values;
  int in, groups;
  int scale_is_float;
};

// One query token over the first `keys` of a cache, in pieces of kKeys keys, and their joining.
struct DecodeAttentionArguments {
  const void* q;                // (B, Hq, D): the last dimension dense, here and below
  void *k, *v;                  // (B, Hkv, room, D)
  const void *next_k, *next_v;  // (B, Hkv, D): the last of the keys, which is written into the cache; null: it is there
  float *values, *weights;      // (B · Hq, pieces, D); (B · Hq, pieces, 2): largest score, sum of exponentials
  void* y;                      // (B, Hq, D), dense
  long long q_batch, q_head, next_batch, next_head, k_batch, k_head, k_token, v_batch, v_head, v_token;
  int heads, group, dim, keys, pieces;
  float scale;
};

constexpr int kRowThreads = 512, kRowChunks = 4;  // a row is held in registers: so many chunks of 16 bytes a thread
constexpr int kHeadDim = 256;                     // the widest head that rope takes
constexpr int kFloatRows = 1, kFewBitRows = 2;    // of a matrix that a warp takes for one token
constexpr int kKeys = 32, kGroup = 16, kCachedDim = 128;

}  // namespace glmimage::kernels::cuda
