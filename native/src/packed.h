// The layout of packed integer weights, and the arguments that each instruction set's kernels take.
//
// A *panel* is 16 rows of w[N,K], a *block* 32 columns. Both are filled up with zeros: N to whole panels, K to whole blocks. A panel lies
// in memory as its blocks one after the other, and a block as its *quads*: 4 neighbouring columns of 16 rows, row after row, 64 bytes
// for 8 bits. So one load holds 4 columns of 8 rows (AVX2) or 16 rows (AVX-512), one broadcast the 4 activations that they meet, and one
// dot-product instruction leaves a row's sum in that row's lane: no sum is ever taken across a vector, and any number of lanes that divides
// 16 reads the same bytes. A product reads a panel from front to back, once.
//
//   8 bits: block = quad 0 .. quad 7, 512 bytes; a byte is the weight, -127 to 127 (-128 is refused: its magnitude is no int8).
//   4 bits: block = 4 x 64 bytes, 256 bytes; byte j holds quad 2j in its low and quad 2j+1 in its high half, each as weight + 8.
//
// Scales: [panel][group][16 rows], in their own type.
#pragma once
#include <stdint.h>

namespace puna {

constexpr int64_t kPanel = 16, kBlock = 32, kQuad = 4;

constexpr int64_t blocks_of(int64_t K) { return (K + kBlock - 1) / kBlock; }
constexpr int64_t panels_of(int64_t N) { return (N + kPanel - 1) / kPanel; }

struct Plain {
    const float *x;
    int64_t x_stride;
    const void *w;
    int64_t w_stride;
    float *y;
    int64_t y_stride;
    int64_t T, K;
};

// Activations rounded to 8 bits: row t's block b begins at a[(t * blocks + b) * 32] and stands for a * scale; `sums` are its integers'
// sums, for instruction sets that multiply unsigned weights (w + offset) and take offset * sum off again.
struct Rounded {
    int8_t *a;
    float *scales;
    int32_t *sums;
};

struct Packed {
    const float *x; // exact products read x, the others `rounded`
    int64_t x_stride;
    Rounded rounded;
    const uint8_t *w;
    const void *scales;
    int scale_type; // puna_type
    int64_t blocks, groups, blocks_per_group; // of a row
    float *y;
    int64_t y_stride;
    int64_t T, N, K;
};

// One table of these per instruction set. First and last are rows of w (a multiple of 4 apart from the end of w), or panels.
struct Kernels {
    const char *name;
    void (*linear[2])(const Plain &, int64_t first, int64_t last);               // by w's type: fp32, bf16
    void (*packed[2][2])(const Packed &, int64_t first, int64_t last);           // by 4 or 8 bits, rounded or exact
    void (*round_row)(const float *x, int64_t K, int8_t *a, float *scales, int32_t *sums);
    void (*rms_norm)(const float *x, const float *w, float eps, float *y, int64_t D);
    void (*swiglu)(const float *gate, const float *up, float *y, int64_t F);
};

extern const Kernels kPortable, kAvx2, kAvx512, kNeon;

} // namespace puna
