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

// Activations rounded to 8 bits: row t's block b begins at a[(t * blocks + b) * 32] and stands for a * scale; `kept` is what an
// instruction set that multiplies unsigned weights (w + offset) needs of its integers' sum, to begin with -offset * sum.
struct Rounded {
    int8_t *a;
    float *scales;
    int32_t *kept;
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

// The last `tokens` of a piece's `num_keys` tokens look at its keys and values, for the `groups` query heads of one key/value head. Row t of q
// begins at q + t * q_stride and holds groups * H numbers; so does `out`. Pages hold `per_page` rows of H numbers, their number times
// per_page rows from the head's first; `scales` one a row. `scratch`: `attend_scratch` floats.
struct Attend {
    const float *q;
    int64_t q_stride, tokens, groups, H;
    const void *keys, *values;
    const float *key_scales, *value_scales;
    int type; // 0 fp32, 1 bf16, 8 int8
    const int64_t *pages;
    int64_t per_page, num_keys;
    float scale;
    float *out;
    int64_t out_stride;
    float *scratch;
};

constexpr int64_t attend_scratch(int64_t rows, int64_t H) { return rows * (2 * H + 64 + 2) + 2 * 64 * H; }

// One table of these per instruction set. First and last are rows of w (a multiple of 4 apart from the end of w), or panels.
struct Kernels {
    const char *name;
    void (*linear[2])(const Plain &, int64_t first, int64_t last);               // by w's type: fp32, bf16
    void (*packed[2][2])(const Packed &, int64_t first, int64_t last);           // by 4 or 8 bits, rounded or exact
    void (*round_row)(const float *x, int64_t K, int8_t *a, float *scales, int32_t *kept);
    void (*rms_norm)(const float *x, const float *w, float eps, float *y, int64_t D);
    void (*swiglu)(const float *gate, const float *up, float *y, int64_t F);
    void (*attend)(const Attend &);
    void (*keep)(const float *x, int64_t H, void *data, float *scales, int type, int64_t place);
    void (*rotate)(float *x, const float *cosines, const float *sines, int64_t H);
};

extern const Kernels kPortable, kAvx2, kAvx512, kNeon;
const Kernels &kernels(); // those in use

} // namespace puna
